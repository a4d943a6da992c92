"""Every filter from the command line: the pixels are the public function's, whatever the mode and the depth."""

import numpy as np
import pytest
import torch
from PIL import Image

import texfilters
from cli_helpers import pixels
from cuda_cases import MARKS
from texfilters.cli import filters
from texfilters.cli.image_files import is_image

# The functions with the defaults that the command line promises.
DEFAULTS = {
    "anisotropic-diffusion": {"niter": 20, "kappa": 20.0, "gamma": 0.1, "option": 1, "coupling": "none"},
    "bilateral": {"d": 9, "sigma_color": 75.0, "sigma_space": 75.0, "border": "reflect101"},
    "gaussian": {"sigma": 2.0, "kernel_size": None, "border": "reflect101"},
    "median": {"ksize": 5},
    "cartoon": {
        "d": 9,
        "sigma_color": 300.0,
        "sigma_space": 300.0,
        "passes": 1,
        "ksize": 7,
        "block_size": 9,
        "c": 9.0,
    },
}
FUNCTIONS = {
    "anisotropic-diffusion": texfilters.anisotropic_diffusion,
    "bilateral": texfilters.bilateral_filter,
    "gaussian": texfilters.gaussian_blur,
    "median": texfilters.median_blur,
    "cartoon": texfilters.cartoonize,
}
ALL = list(DEFAULTS)


def expected(name: str, planes: np.ndarray, **changes) -> np.ndarray:
    """The function on `[C, H, W]`; the cartoon of a gray image is one channel of that of R = G = B."""
    image = torch.from_numpy(planes.copy())
    gray = name == "cartoon" and len(image) == 1
    result = FUNCTIONS[name](image.repeat(3, 1, 1) if gray else image, **{**DEFAULTS[name], **changes}).numpy()
    if gray:
        assert np.array_equal(result[0], result[1])
        assert np.array_equal(result[0], result[2])
    return result[: len(planes)]


def filtered(name: str, image: Image.Image, **flags) -> np.ndarray:
    return np.asarray(filters.apply(filters.choose(name, flags), image))


def with_alpha(image: Image.Image) -> Image.Image:
    image = image.copy()
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


def test_every_filter_is_known():
    assert {name: dict(filter.flags) for name, filter in filters.FILTERS.items()} == DEFAULTS


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("anisotropic-diffusion", ({"niter": 5}, {"kappa": 40.0}, {"gamma": 0.2}, {"option": 3}, {"coupling": "l2"})),
        (
            "bilateral",
            (
                *({"d": 5}, {"sigma_color": 30.0}, {"sigma_space": 1.5}, {"border": "constant"}),
                {"d": 0, "sigma_space": 2.5},
            ),
        ),
        ("gaussian", ({"sigma": 0.8}, {"kernel_size": 3}, {"border": "wrap"})),
        ("median", ({"ksize": 3}, {"ksize": 9})),
        (
            "cartoon",
            (
                *({"d": 5}, {"sigma_color": 40.0}, {"sigma_space": 2.0}, {"passes": 2}, {"passes": 0}, {"ksize": 3}),
                *({"block_size": 15}, {"c": 4.5}, {"c": -2.0}),
            ),
        ),
    ],
)
def test_every_flag_reaches_the_function(tmp_path, small, call, name, changes):
    small.save(tmp_path / "a.png")
    planes = np.moveaxis(np.asarray(small), -1, 0)
    seen = set()
    for i, parameters in enumerate(({}, *changes)):
        flags = [text for key, value in parameters.items() for text in ("--" + key.replace("_", "-"), value)]
        outcome = call("suppress", tmp_path / "a.png", tmp_path / f"{i}.png", "--filter", name, *flags)
        assert outcome.code == 0, outcome.err
        result = pixels(tmp_path / f"{i}.png")
        assert np.array_equal(np.moveaxis(result, -1, 0), expected(name, planes, **parameters)), parameters
        seen.add(result.tobytes())
    assert len(seen) == 1 + len(changes)
    assert {key for parameters in changes for key in parameters} == set(DEFAULTS[name])


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "CMYK"])
def test_colors_go_together_and_alpha_is_untouched(small, name, mode):
    image = with_alpha(small.convert(mode[:-1])) if mode.endswith("A") else small.convert(mode)
    if (name, mode) == ("cartoon", "CMYK"):
        with pytest.raises(filters.WrongColors, match=r"^cartoon takes gray and RGB images, got CMYK$"):
            filtered(name, image)
        return
    before, after = (np.atleast_3d(np.asarray(image)), np.atleast_3d(filtered(name, image)))
    colors = before.shape[2] - mode.endswith("A")
    assert np.array_equal(np.moveaxis(after, -1, 0)[:colors], expected(name, np.moveaxis(before, -1, 0)[:colors]))
    assert np.array_equal(after[..., colors:], before[..., colors:])
    assert not np.array_equal(after[..., :colors], before[..., :colors])


def test_the_bilateral_filter_sees_colors_jointly(small):
    """Channel by channel it would give another picture."""
    joint = filtered("bilateral", small)
    apart = np.stack([filtered("bilateral", channel) for channel in small.split()], axis=-1)
    assert (joint != apart).mean() > 0.5


@pytest.mark.parametrize("name", ALL)
def test_16_bits_are_computed_in_levels_of_8(small, name):
    gray = small.convert("L")
    fine = np.asarray(gray, dtype=np.uint16) * 257 + np.arange(small.width, dtype=np.uint16) % 200
    levels = expected(name, (fine.astype(np.float32) / 257)[None])[0]
    after = filtered(name, Image.fromarray(fine))
    assert np.array_equal(after.astype(np.int64), np.round(levels * np.float32(257)).astype(np.int64))
    # Flags mean what they mean for 8 bits; a cartoon's line may be drawn or not by the rounding of a mean.
    coarse = filtered(name, Image.fromarray(np.asarray(gray, dtype=np.uint16) * 257)).astype(float) / 257
    same = np.abs(coarse - filtered(name, gray)) < 0.51
    assert same.mean() > 0.97 if name == "cartoon" else same.all()


def three_images(small: Image.Image, astronaut: Image.Image, mode: str) -> list[Image.Image]:
    """Of one size."""
    images = [small, astronaut.crop((200, 150, 277, 203)), small.transpose(Image.Transpose.ROTATE_180)]
    if mode == "I;16":
        return [Image.fromarray(np.asarray(image.convert("L"), dtype=np.uint16) * 250) for image in images]
    return [with_alpha(image.convert(mode[:-1])) if mode.endswith("A") else image.convert(mode) for image in images]


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "CMYK", "I;16"])
def test_images_together_are_as_each_by_itself(small, astronaut, name, mode):
    images = three_images(small, astronaut, mode)
    function, shapes = filters.choose(name, {}), []

    def watched(planes: torch.Tensor) -> torch.Tensor:
        shapes.append(tuple(planes.shape))
        return function(planes)

    if (name, mode) == ("cartoon", "CMYK"):
        with pytest.raises(filters.WrongColors):
            filters.apply_to_all(function, images)
        return
    together = filters.apply_to_all(watched, images)
    assert shapes == [(3, {"L": 1, "LA": 1, "I;16": 1, "CMYK": 4}.get(mode, 3), 53, 77)]
    for image, result in zip(images, together, strict=True):
        assert (result.mode, result.size) == (mode, image.size)
        assert np.array_equal(np.asarray(result), filtered(name, image))
        assert not np.array_equal(np.asarray(result), np.asarray(image))


class TestOnAGpu:
    pytestmark = MARKS

    @pytest.mark.parametrize("name", ALL)
    @pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "I;16"])
    def test_the_batch_does_not_show(self, small, astronaut, name, mode):
        """The pixels of an image are the same whatever it is filtered with: only so do shards add up to the job."""
        images = three_images(small, astronaut, mode)
        function, seen = filters.choose(name, {}, device="cuda"), []

        def watched(planes: torch.Tensor) -> torch.Tensor:
            seen.append(planes.device.type)
            return function(planes)

        together = filters.apply_to_all(watched, images, "cuda")
        assert seen == ["cuda"]
        for image, result in zip(images, together, strict=True):
            (alone,) = filters.apply_to_all(function, [image], "cuda")
            assert np.array_equal(np.asarray(result), np.asarray(alone))
            apart = np.abs(np.asarray(result).astype(int) - filtered(name, image))
            # A cartoon's line may be drawn or not by the rounding of a mean.
            assert (apart <= (257 if mode == "I;16" else 1)).mean() > (0.99 if name == "cartoon" else 1 - 1e-9)


def test_cmyk_images_have_no_cartoon_and_do_not_stop_the_others(tmp_path, small, call):
    (tmp_path / "source").mkdir()
    small.save(tmp_path / "source" / "a.png")
    small.convert("CMYK").save(tmp_path / "source" / "b.jpg")
    outcome = call("suppress", tmp_path / "source", tmp_path / "target", "--filter", "cartoon")
    assert outcome.code == 1
    assert outcome.err == f"{tmp_path}/source/b.jpg: cartoon takes gray and RGB images, got CMYK\n"
    assert [path.name for path in (tmp_path / "target").iterdir() if is_image(path.name)] == ["a.png"]

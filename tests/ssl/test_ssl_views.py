"""Views: torchvision's crops and colors with numbers of its own for every sample, and the suppression among them."""

import importlib.util
import math
import random

import numpy as np
import pytest
import torch

for package in ("kornia", "lightning", "torchvision"):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs {package}", allow_module_level=True)

from torchvision import transforms as tv  # noqa: E402
from torchvision.transforms.v2 import functional as tvf  # noqa: E402

import cuda_cases  # noqa: E402
from texfilters import anisotropic_diffusion, gaussian_blur, transforms  # noqa: E402
from texfilters.ssl import _color, _crop  # noqa: E402
from texfilters.ssl.views import CenterView, Views  # noqa: E402

LEVEL = 1 / 255
PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
NOTHING = {"scale": (1, 1), "ratio": (1, 1), "jitter": 0, "gray": 0, "flip": 0, "suppress": None, **PLAIN}


def squares(n=8, side=32):
    return torch.randint(0, 256, (n, 3, side, side), dtype=torch.uint8), torch.full((n, 2), float(side))


def seen(views, images, sizes, seed=0):
    torch.manual_seed(seed)
    return views(images, sizes)


def test_identity():
    images, sizes = squares()
    for views in (Views(32, **NOTHING), CenterView(32, share=1, **PLAIN)):
        assert torch.equal(views(images, sizes), images / 255)


def test_normalized_by_imagenet_unless_told():
    images, sizes = squares()
    found = Views(32, **NOTHING | {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)})(images, sizes)
    torch.testing.assert_close(found, tvf.normalize(images / 255, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    assert Views().mean == (0.485, 0.456, 0.406)
    assert Views().state_dict() == {}  # nothing of it goes into checkpoints


class TestCrops:
    def test_as_torchvision_draws_them(self):
        """Quantiles of area, ratio and place, over crops of which one in a hundred falls back to the middle."""
        n, h, w = 3000, 300, 700
        scale, ratio = (0.2, 1.0), (3 / 4, 4 / 3)
        boxes = _crop.drawn(torch.tensor([[h, w]]).float().expand(n, 2), scale, ratio) * torch.tensor([h, w, h, w])
        image = torch.empty(1, h, w)
        theirs = torch.tensor([tv.RandomResizedCrop.get_params(image, scale, ratio) for _ in range(n)]).double()
        assert torch.equal(boxes, boxes.round()) or (boxes - boxes.round()).abs().max() < 1e-9
        steps = torch.linspace(0.05, 0.95, 19, dtype=torch.float64)
        for what in (
            lambda b: b[:, 2] * b[:, 3] / (h * w),
            lambda b: (b[:, 3] / b[:, 2]).log(),
            lambda b: b[:, 0] / h,
            lambda b: b[:, 1] / w,
        ):
            torch.testing.assert_close(what(boxes).quantile(steps), what(theirs).quantile(steps), atol=0.035, rtol=0)

    @pytest.mark.parametrize("size", [(20, 300), (300, 20), (40, 50)])
    def test_the_middle_if_nothing_fits(self, size):
        scale, ratio = (4.0, 4.0), (3 / 4, 4 / 3)
        (found,) = _crop.drawn(torch.tensor([size]).float(), scale, ratio)
        expected = torch.tensor(tv.RandomResizedCrop.get_params(torch.empty(1, *size), scale, ratio))
        torch.testing.assert_close(found * torch.tensor([*size, *size]), expected.double())

    def test_inside(self):
        sizes = torch.randint(1, 40, (2000, 2)).float()
        top, left, height, width = _crop.drawn(sizes, (0.05, 1.0), (0.5, 2.0)).unbind(1)
        assert top.min() >= 0
        assert left.min() >= 0
        assert (top + height).max() <= 1 + 1e-12
        assert (left + width).max() <= 1 + 1e-12
        assert (height * sizes[:, 0]).min() > 0.999
        assert (width * sizes[:, 1]).min() > 0.999
        assert len({tuple(box.tolist()) for box in torch.stack([top, left, height, width], 1)}) > 1900

    @pytest.mark.parametrize("flip", [0, 1])
    def test_pixels_are_those_of_cutting_out_and_enlarging(self, flip):
        images, sizes = squares(16, 24)
        views = Views(48, **NOTHING | {"scale": (0.1, 0.9), "ratio": (0.5, 2.0), "flip": flip})
        found = seen(views, images, sizes, seed=3)
        torch.manual_seed(3)
        boxes = (_crop.drawn(sizes, (0.1, 0.9), (0.5, 2.0)) * 24).round().int().tolist()
        assert len({tuple(box) for box in boxes}) > 12
        for view, image, (top, left, height, width) in zip(found, images, boxes, strict=True):
            cut = tvf.resized_crop(image / 255, top, left, height, width, [48, 48], antialias=False)
            torch.testing.assert_close(view, cut.flip(-1) if flip else cut, atol=1e-4, rtol=0)

    def test_in_the_originals_geometry(self):
        """A ring of 200 x 100 pixels, squashed, is found round again."""
        y, x = torch.meshgrid(torch.arange(100) + 0.5, torch.arange(200) + 0.5, indexing="ij")
        disk = ((y - 50) ** 2 + (x - 100) ** 2 < 30**2).float()[None].expand(3, -1, -1)
        squashed = (tvf.resize(disk, [64, 64]) * 255).round().byte()[None]
        found = CenterView(50, share=1, **PLAIN)(squashed, torch.tensor([[100.0, 200.0]]))[0, 0] > 0.5
        assert abs(found.any(0).sum() - 30) <= 2
        assert abs(found.any(1).sum() - 30) <= 2

    def test_much_smaller_views_do_not_alias(self):
        """A finest checkerboard is gray from afar."""
        board = ((torch.arange(96)[:, None] + torch.arange(96)) % 2 * 255).byte().expand(4, 3, 96, 96)
        views = Views(24, **NOTHING | {"scale": (0.5, 1.0), "ratio": (0.8, 1.25)})
        found = views(board, torch.full((4, 2), 96.0))
        assert (found - 0.5).abs().max() < 0.2
        assert (found - 0.5).abs().mean() < 0.02

    def test_flips_half(self):
        images, _ = squares(1)
        images = images.expand(600, -1, -1, -1)
        found = Views(32, **NOTHING | {"flip": 0.5})(images, torch.full((600, 2), 32.0))
        flipped = (found - images.flip(-1) / 255).abs().amax((1, 2, 3)) < 1e-3
        kept = (found - images / 255).abs().amax((1, 2, 3)) < 1e-3
        assert torch.equal(flipped, ~kept)
        assert 240 < flipped.sum() < 360


class TestColor:
    def test_torchvisions_functions_in_the_order_drawn(self):
        torch.manual_seed(1)
        images = torch.rand(48, 3, 12, 12)
        factors, order = _color.Jitter(0.8, 0.8, 0.8, 0.5).draw(48)
        chosen = torch.rand(48) < 0.8
        assert len({tuple(o) for o in order.tolist()}) > 15  # of 24
        found = _color.adjusted(images, factors, order, chosen)
        functions = (tvf.adjust_brightness, tvf.adjust_contrast, tvf.adjust_saturation, tvf.adjust_hue)
        for i, image in enumerate(images):
            expected = image
            for which in order[i].tolist() if chosen[i] else []:
                expected = functions[which](expected, factors[which, i].item())
            assert (found[i] - expected).abs().max() < LEVEL
        assert torch.equal(found[~chosen], images[~chosen])
        assert not (found[chosen] == images[chosen]).flatten(1).all(1).any()

    def test_hue(self):
        images = torch.rand(20, 3, 8, 8)
        images[:4] = (images[:4] * 2).round() / 2  # two or three equal channels, black, white
        turns = torch.linspace(-0.5, 0.5, 20)
        found = _color.with_hue_turned(images, turns)
        expected = [tvf.adjust_hue(image, turn) for image, turn in zip(images, turns.tolist(), strict=True)]
        torch.testing.assert_close(found, torch.stack(expected), atol=1e-5, rtol=0)

    def test_ranges_of_the_factors(self):
        factors, order = _color.Jitter(0.4, 1.5, 0.0, 0.1).draw(4000)
        for values, (least, most) in zip(factors, [(0.6, 1.4), (0, 2.5), (1, 1), (-0.1, 0.1)], strict=True):
            assert least - 1e-6 <= values.min()
            assert values.max() <= most + 1e-6
            assert values.min() < least + 0.01
            assert values.max() > most - 0.01
        counts = [(order[:, 0] == which).sum() for which in range(4)]
        assert all(850 < count < 1150 for count in counts)
        assert order.sort(1).values.eq(torch.arange(4)).all()

    def test_pillows_view_of_a_photo(self, photo):
        """The whole pipeline of MoCo's authors on 8 bits: what rounding between the steps makes of it."""
        image = photo[:, :64, :64]
        factors, order = torch.tensor([[1.3], [0.7], [1.2], [0.05]]), torch.tensor([[2, 0, 3, 1]])
        (found,) = _color.adjusted(image[None] / 255, factors, order, torch.tensor([True])) * 255
        pil = tvf.to_pil_image(image)
        for function, factor in (("saturation", 1.2), ("brightness", 1.3), ("hue", 0.05), ("contrast", 0.7)):
            pil = getattr(tvf, f"adjust_{function}")(pil, factor)
        error = (found - tvf.pil_to_tensor(pil).float()).abs()
        assert error.mean() < 2
        assert error.max() < 8

    def test_gray_by_itus_weights(self):
        images, sizes = squares()
        found = Views(32, **NOTHING | {"gray": 1})(images, sizes)
        expected = (images * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True) / 255
        torch.testing.assert_close(found, expected.expand(-1, 3, -1, -1))
        some = Views(32, **NOTHING | {"gray": 0.2})(*squares(500, 4))
        assert 60 < (some[:, 0] == some[:, 1]).flatten(1).all(1).sum() < 145

    def test_solarized(self):
        images, sizes = squares()
        found = Views(32, **NOTHING | {"solarize": 1})(images, sizes)
        torch.testing.assert_close(found, tvf.solarize(images, 128) / 255)

    def test_blurred(self):
        images, sizes = squares()
        found = Views(32, **NOTHING | {"blur": 1, "blur_sigma": (1.5, 1.5)})(images, sizes)
        torch.testing.assert_close(found, gaussian_blur(images / 255, 1.5))
        some = Views(8, **NOTHING | {"blur": 0.5})(*(pair := squares(400, 8)))
        kept = (some - pair[0] / 255).abs().amax((1, 2, 3)) < 1e-4
        assert 150 < kept.sum() < 250


class TestDraws:
    def test_every_sample_of_every_call_has_its_own(self):
        images, _ = squares(1)
        images, sizes = images.expand(12, -1, -1, -1), torch.full((12, 2), 32.0)
        views = Views(32)
        both = torch.cat([views(images, sizes), views(images, sizes)])
        distances = torch.cdist(both.flatten(1), both.flatten(1)) + 1e9 * torch.eye(24)
        assert distances.min() > 1

    def test_a_function_of_torchs_seed_alone(self):
        images, sizes = squares()
        views = Views(24, blur=0.5, solarize=0.2)
        first = seen(views, images, sizes, 5)
        random.seed(1)
        np.random.seed(1)
        assert torch.equal(seen(views, images, sizes, 5), first)
        assert not torch.equal(seen(views, images, sizes, 6), first)

    def test_the_same_within_autocast(self):
        images, sizes = squares()
        views = Views(24)
        expected = seen(views, images, sizes)
        with torch.autocast("cpu", torch.bfloat16):
            found = seen(views, images, sizes)
        assert found.dtype == torch.float32
        assert torch.equal(found, expected)


class TestSuppression:
    def test_the_papers_mixture_comes_last(self):
        images, sizes = squares(16)
        views = Views(32, **PLAIN)
        found = seen(views, images, sizes)
        plain = seen(Views(32, suppress=None, **PLAIN), images, sizes)
        assert isinstance(views.suppress, transforms.RandomTextureSuppression)
        torch.testing.assert_close(views.suppress.replay(plain), found)
        drawn = views.suppress.last_draw["filter"]
        changed = (found != plain).flatten(1).any(1)
        assert torch.equal(changed, drawn < 2)
        assert len(drawn.unique()) == 3

    def test_in_grey_levels(self):
        images, sizes = squares()
        suppress = transforms.AnisotropicDiffusion(niter=7, kappa=30.0)
        found = Views(32, **NOTHING | {"suppress": suppress})(images, sizes)
        torch.testing.assert_close(found * 255, anisotropic_diffusion(images.float(), 7, 30.0), atol=1e-3, rtol=0)

    def test_none(self):
        assert Views(suppress=None).suppress is None


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"size": 0}, ValueError, "size must be at least 1, got 0"),
        ({"jitter": 1.5}, ValueError, r"jitter must lie in \[0, 1\], got 1.5"),
        ({"hue": 0.6}, ValueError, r"hue must lie in \[0, 0.5\], got 0.6"),
        ({"contrast": -1}, ValueError, "contrast must be finite and >= 0, got -1"),
        ({"scale": (0.9, 0.2)}, ValueError, r"scale must be a range from a smaller to a larger number"),
        ({"scale": 0.5}, TypeError, "scale must be a pair of numbers, got 0.5"),
        ({"ratio": (0, 1)}, ValueError, "ratio must be > 0, got 0"),
        ({"std": (1, 0, 1)}, ValueError, "std must be positive and finite, got 0"),
        ({"mean": (0.5,)}, ValueError, "mean must have one number for each of 3 channels, got 1"),
        ({"suppress": "off"}, ValueError, "suppress must be one of 'mixture', 'none', got 'off'"),
        ({"blur_sigma": (-1, 1)}, ValueError, "sigma must be >= 0, got -1"),
    ],
)
def test_refused(change, error, match):
    with pytest.raises(error, match=match):
        Views(**change)


@pytest.mark.parametrize("views", [Views(16), CenterView(16)])
def test_refused_when_called(views):
    images, sizes = squares()
    with pytest.raises(TypeError, match=r"images must be uint8, got torch\.float32"):
        views(images.float(), sizes)
    with pytest.raises(ValueError, match=r"images must be squares \[B, 3, S, S\], got \(8, 3, 32, 30\)"):
        views(images[..., :30], sizes)
    with pytest.raises(ValueError, match=r"sizes must be \[B, 2\] for 8 images, got \(7, 2\)"):
        views(images, sizes[:7])


def test_the_center_is_torchvisions(photo):
    """Resize(256), CenterCrop(224) of a photo of 256 x 320, but for what squashing its width by a fifth blurs."""
    squashed = tvf.resize(photo, [256, 256], antialias=True)[None]
    found = CenterView(224, **PLAIN)(squashed, torch.tensor([[256.0, 320.0]]))[0] * 255
    expected = tvf.center_crop(photo, [224, 224]).float()
    error = (found - expected).abs().mean()
    assert error < 4
    assert (found[..., 2:] - expected[..., :-2]).abs().mean() > 2 * error  # a shift would be seen
    assert math.isclose(CenterView().share, 224 / 256)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_on_a_gpu_nothing_waits_and_the_numbers_are_the_same():
    cuda_cases.needs("native")
    images, sizes = squares(32, 64)
    options = {"blur": 0.5, "solarize": 0.2, **PLAIN}
    expected = seen(Views(48, **options), images, sizes)
    views = Views(48, **options).cuda()
    there = images.cuda(), sizes.cuda()
    seen(views, *there)  # compiles and fills the allocators
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = seen(views, *there)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert found.is_contiguous(memory_format=torch.channels_last)
    # A pixel beside a threshold of the solarization, or of a hue, may fall on its other side.
    assert ((found.cpu() - expected).abs() < LEVEL).float().mean() > 0.999

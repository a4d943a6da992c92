"""PIL images, tv_tensors and what else a sample holds."""

import numpy as np
import PIL.Image
import pytest
import torch

from transform_cases import BUILDERS, Launches, batch, by_functions, transforms, tv_tensors

every_transform = pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)
COLORS = {"L": 1, "LA": 1, "RGB": 3, "RGBA": 3, "CMYK": 4}


def pil(mode, height=12, width=15):
    channels = COLORS[mode] + (mode in ("LA", "RGBA"))
    return PIL.Image.fromarray(batch(channels, height, width).movedim(0, -1).squeeze(-1).numpy(), mode)


def planes(image):
    pixels = np.array(image)
    return torch.from_numpy(pixels.reshape(*pixels.shape[:2], -1)).movedim(-1, 0)


@every_transform
@pytest.mark.parametrize("mode", COLORS)
def test_pil(build, mode):
    transform, image = build(), pil(mode)
    if mode == "CMYK" and "cartoon" in str(transform).lower():
        transform = build() if transform.__class__ is not transforms.Cartoonize else transforms.MedianBlur()
        transform.weights = (1, 1, 1, 0, 1)
    before = planes(image)
    result = transform(image)
    assert (result.mode, result.size) == (image.mode, image.size)
    assert result is not image
    assert torch.equal(planes(image), before)
    k = COLORS[mode]
    filtered = planes(result)
    assert torch.equal(filtered[k:], before[k:])
    colors = before[None, :k]
    if k == 1:
        assert torch.equal(filtered[None, :k], transform.replay(colors))
    else:
        assert torch.equal(filtered[None, :k], by_functions(transform, colors, transform.last_draw))


@pytest.mark.parametrize("mode", ["P", "1", "HSV", "YCbCr", "LAB", "RGBX", "I", "F", "I;16", "PA", "La"])
def test_other_modes_are_refused(mode):
    way = "pil_to_tensor" if mode[0] in "IF" else r"image.convert\('RGB'\)"
    for transform in (transforms.AnisotropicDiffusion(), transforms.PatchNegatives(2)):
        with pytest.raises(ValueError, match=rf"mode L, LA, RGB, RGBA, CMYK, got {mode}; convert it: .*{way}"):
            transform(PIL.Image.new(mode, (4, 4)))


def test_cartoons_of_four_channels_are_refused():
    with pytest.raises(ValueError, match="cartoonize needs an image of 3 channels"):
        transforms.Cartoonize()(pil("CMYK"))


@every_transform
def test_tv_images_stay_what_they_are(build):
    transform, plain = build(), batch(5, 3, 8, 9)
    image = tv_tensors.Image(plain)
    result = transform(image)
    assert type(result) is tv_tensors.Image
    assert torch.equal(result.as_subclass(torch.Tensor), by_functions(transform, plain, transform.last_draw))
    assert type(transform(plain)) is torch.Tensor


@every_transform
def test_a_video_draws_once(build):
    transform, frames = build(p=0.7), batch(3, 2, 4, 3, 8, 9)
    video = tv_tensors.Video(frames)
    with Launches() as launches:
        result = transform(video)
    draw = transform.last_draw
    assert {len(numbers) for numbers in draw.values()} == {6}
    assert type(result) is tv_tensors.Video
    assert result.shape == frames.shape
    flat = frames.flatten(0, 1)
    for t in range(4):
        assert torch.equal(result.flatten(0, 1)[:, t], by_functions(transform, flat[:, t], draw))
    one = transforms.GaussianBlur()
    assert one(tv_tensors.Video(frames[0, 0])).shape == (4, 3, 8, 9)
    assert len(one.last_draw["sigma"]) == 1
    if isinstance(transform, transforms.AnisotropicDiffusion | transforms.GaussianBlur):
        assert list(launches.calls.values()) == [1]


def test_a_video_shares_the_draw_of_images():
    transform = transforms.GaussianBlur()
    transform(tv_tensors.Image(batch(4, 3, 8, 8)), tv_tensors.Video(batch(4, 2, 3, 8, 8)))
    assert len(transform.last_draw["sigma"]) == 4
    with pytest.raises(ValueError, match="their samples must be as many, got 8, 4"):
        transform(tv_tensors.Image(batch(4, 2, 3, 8, 8)), tv_tensors.Video(batch(4, 2, 3, 8, 8)))


@pytest.mark.parametrize("transform", [*(build() for build in BUILDERS.values()), transforms.PatchNegatives(2)])
def test_whatever_else_passes(transform):
    boxes = tv_tensors.BoundingBoxes([[0, 0, 4, 4]], format="XYXY", canvas_size=(8, 8))
    sample = {
        "mask": tv_tensors.Mask(torch.ones(1, 8, 8, dtype=torch.uint8)),
        "boxes": boxes,
        "points": tv_tensors.KeyPoints([[1, 2]], canvas_size=(8, 8)),
        "label": torch.tensor(3),
        "path": "a/b.png",
        "nothing": None,
        "number": 4.5,
        "array": np.ones((8, 8, 3), np.uint8),
    }
    image = tv_tensors.Image(batch(3, 8, 8))
    result = transform({"image": image, **sample})
    assert isinstance(result["image"], tv_tensors.Image)
    assert result["image"] is not image
    assert torch.equal(result["image"], transform.replay(image))
    for key, value in sample.items():
        assert result[key] is value
    picture = pil("RGB")
    result, label = transform(picture, 7)
    assert label == 7
    assert result is not picture
    assert result == transform.replay(picture)


def test_of_plain_tensors_the_first_changes_unless_there_is_an_image():
    transform = transforms.GaussianBlur(2)
    first, second = batch(3, 8, 8), batch(3, 8, 8)
    results = transform(first, second)
    assert torch.equal(results[0], transform.replay(first))
    assert not torch.equal(results[0], first)
    assert results[1] is second
    image = tv_tensors.Image(first)
    results = transform(second, image)
    assert results[0] is second
    assert not torch.equal(results[1], image)


class TestPatchNegatives:
    def test_as_the_function(self):
        import texfilters

        transform, images = transforms.PatchNegatives((2, 5), n=3), batch(4, 3, 12, 13)
        result = transform(images)
        generator = torch.Generator().manual_seed(int(transform.last_draw["seed"]))
        assert torch.equal(result, texfilters.patch_negatives(images, (2, 5), 3, generator=generator))
        assert result.shape == (4, 3, 3, 12, 13)
        assert torch.equal(transform.replay(images), result)
        assert not torch.equal(transform(images), result)
        assert transform(images[0]).shape == (3, 3, 12, 13)
        assert transform(images.view(2, 2, 3, 12, 13)).shape == (2, 2, 3, 3, 12, 13)
        assert transform(images[0, 0]).shape == (3, 1, 12, 13)

    def test_types(self):
        transform = transforms.PatchNegatives(3, n=2)
        image = transform(tv_tensors.Image(batch(3, 12, 12)))
        assert type(image) is tv_tensors.Image
        assert image.shape == (2, 3, 12, 12)
        for mode in COLORS:
            negatives = transform(picture := pil(mode))
            assert [negative.mode for negative in negatives] == [mode] * 2
            assert torch.equal(torch.stack([*map(planes, negatives)]), transform.replay(planes(picture)))

    def test_frames_of_a_video_are_cut_at_the_same_places(self):
        transform = transforms.PatchNegatives((3, 6), n=2)
        numbered = torch.arange(4 * 12 * 14).reshape(4, 1, 1, 12, 14).float().expand(4, 5, 3, 12, 14)
        result = transform(tv_tensors.Video(numbered))
        assert type(result) is tv_tensors.Video
        assert result.shape == (4, 2, 5, 3, 12, 14)
        assert torch.equal(result, result[:, :, :1, :1].expand_as(result))
        sources = result[:, :, 0, 0].long() // (12 * 14)
        assert torch.equal(sources, torch.arange(4)[:, None, None, None].expand_as(sources))
        assert not torch.equal(result[:, 0], result[:, 1])

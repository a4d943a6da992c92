"""Corrupting images, and the errors that it causes."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from corrupt_cases import crops, seeded
from texfilters.evaluate import _corrupt_weather, corruptions
from texfilters.evaluate.corruptions import (
    CORRUPTIONS,
    corrupt,
    corruption_errors,
    corruption_table,
)


@pytest.fixture
def images(photo):
    return crops(photo)


@pytest.fixture
def unit(photo):
    return crops(photo).float() / 255


class TestCorrupt:
    @pytest.mark.parametrize("name", CORRUPTIONS)
    def test_each_severity_and_dtype(self, images, name):
        unit = images.float() / 255
        # Not all grow at each step, by their constants.
        distances = []
        for severity in corruptions.SEVERITIES:
            got = corrupt(images, name, severity, generator=seeded())
            assert got.dtype == torch.uint8
            assert got.shape == images.shape
            same = corrupt(unit, name, severity, generator=seeded())
            assert same.dtype == torch.float32
            assert 0 <= same.min() <= same.max() <= 1
            assert torch.equal((same * 255).round().to(torch.uint8), got)
            distances.append((same - unit).abs().mean().item())
        assert min(distances) > 0.005
        if name not in ("glass_blur", "snow", "elastic_transform", "frost"):
            assert distances == sorted(distances)
        assert torch.equal(corrupt(images.half() / 255, "contrast", 1).isfinite(), torch.ones_like(images).bool())

    @pytest.mark.parametrize("name", CORRUPTIONS)
    def test_the_constants_of_small_images_are_milder(self, images, name):
        small = images[:, :, :32, :32]
        mild, strong = (
            torch.stack([corrupt(small, name, s, constants=which, generator=seeded()).float() for s in (1, 2, 3, 4, 5)])
            for which in ("cifar-10-c", "imagenet-c")
        )
        errors = [(each - small.float()).abs().mean((1, 2, 3, 4)) for each in (mild, strong)]
        assert errors[0].min() > 0.5
        assert errors[0].mean() < 0.9 * errors[1].mean()

    def test_noise_and_what_it_spares(self):
        """NaN stays where it is, and what lies below 0 brings no error from a GPU."""
        x = torch.full((1, 3, 16, 16), 0.5)
        x[0, 0, 0, 0], x[0, 1, 2, 3] = math.nan, -1
        got = corrupt(x, "shot_noise", 3, generator=seeded())
        assert got.isnan().nonzero().tolist() == [[0, 0, 0, 0]]
        assert got[0, 1, 2, 3] == 0

    @pytest.mark.parametrize("name", ["contrast", "brightness", "defocus_blur", "jpeg_compression", "fog"])
    def test_each_image_is_corrupted_for_itself(self, images, name):
        whole = corrupt(images, name, 3, generator=seeded())
        if name == "fog":
            assert not torch.equal(
                corrupt(images[:1].expand(2, -1, -1, -1), name, 3)[0],
                corrupt(images[:1].expand(2, -1, -1, -1), name, 3)[1],
            )
        else:
            assert torch.equal(corrupt(images[1:], name, 3), whole[1:])

    def test_frost_that_is_drawn_is_as_bright_and_rough_as_the_photos(self):
        drawn = _corrupt_weather.drawn_frost(torch.zeros(4, 3, 224, 224), seeded())
        # Mean colors of the five photos on average; 15 to 33 and, between neighbors, 8 to 23 within a part of one.
        np.testing.assert_allclose(drawn.mean((0, 2, 3)).numpy() * 255, [146, 167, 177], atol=5)
        assert 15 < 255 * drawn.std((2, 3)).mean() < 33
        assert 8 < 255 * drawn.diff(dim=3).std((2, 3)).mean() < 23

    def test_bad_input(self, images):
        with pytest.raises(ValueError, match=r"name must be one of 'gaussian_noise', .*got 'rain'"):
            corrupt(images, "rain", 1)
        with pytest.raises(ValueError, match=r"severity must be one of 1, 2, 3, 4, 5, got 0"):
            corrupt(images, "fog", 0)
        with pytest.raises(ValueError, match=r"at least 16, got \(2, 3, 15, 48\)"):
            corrupt(images[:, :, :15], "fog", 1)
        with pytest.raises(ValueError, match=r"needs an image of 3 channels"):
            corrupt(images[:, :1], "fog", 1)
        with pytest.raises(TypeError, match=r"image must be uint8"):
            corrupt(images.int(), "fog", 1)
        with pytest.raises(ValueError, match=r"as large as the images, \(48, 48\), got one of \(40, 48\)"):
            corrupt(images, "frost", 1, frost=[images[0], images[1, :, :40]])
        with pytest.raises(ValueError, match="at least one picture, got none"):
            corrupt(images, "frost", 1, frost=[])
        with pytest.raises(ValueError, match=r"pictures \[3, h, w\], got shape \(2, 3, 48, 48\)"):
            corrupt(images, "frost", 1, frost=[images])
        with pytest.raises(ValueError, match=r"constants must be one of 'imagenet-c', 'cifar-10-c', got 'cifar'"):
            corrupt(images, "fog", 1, constants="cifar")

    def test_frost_is_shrunk_for_small_images(self, images, photo):
        """To a fifth, as OpenCV shrinks it."""
        cv2 = pytest.importorskip("cv2", reason="needs OpenCV")
        picture = photo[:, :240, :]
        small = cv2.resize(picture.permute(1, 2, 0).numpy(), (0, 0), fx=0.2, fy=0.2)
        black = torch.zeros(1, 3, 48, 48)
        got = corrupt(black, "frost", 5, constants="cifar-10-c", generator=seeded(), frost=[picture])[0] / 0.45
        windows = torch.from_numpy(small).permute(2, 0, 1).float().unfold(2, 48, 1) / 255
        near = (windows.permute(2, 0, 1, 3) - got).abs().amax((1, 2, 3))
        assert near.min() < 1.01 / 255  # OpenCV rounds
        with pytest.raises(ValueError, match=r"as large as the images, \(48, 48\), got one of \(47, 64\)"):
            corrupt(images, "frost", 1, constants="cifar-10-c", frost=[photo[:, :235]])


class Bright(nn.Module):
    """Answers 1 where the mean of the image is above a half, else 0."""

    def forward(self, x):
        mean = x.flatten(1).mean(1)
        return torch.stack([1 - mean, mean], 1)


def graded():
    """Flat images from black to white, all of class 0, in batches of unequal size."""
    images = torch.linspace(0, 1, 21)[:, None, None, None].expand(21, 3, 16, 16).contiguous()
    return [(images[:8], torch.zeros(8).long()), (images[8:], torch.zeros(13).long())]


class TestErrors:
    def test_by_hand(self):
        got = corruption_errors(Bright(), graded(), corruptions=["brightness", "contrast"])
        # Of 0, 0.05, ..., 1, those above a half are wrong: 10; a tenth more of brightness is two images more.
        assert got.clean == pytest.approx(10 / 21)
        assert got.errors["contrast"] == pytest.approx([10 / 21] * 5)
        assert got.errors["brightness"] == pytest.approx([n / 21 for n in (12, 14, 16, 18, 20)], abs=1.01 / 21)
        assert got.mean("contrast") == pytest.approx(10 / 21)

    def test_the_transform_sees_the_whole_batch_and_the_device_range(self):
        seen = []

        def transform(batch):
            seen.append((batch[0].dtype, len(batch)))
            return batch[0].float() / 255

        batches = [((x * 255).byte(), y) for x, y in graded()]
        got = corruption_errors(Bright(), batches, corruptions=["contrast"], severities=[5], transform=transform)
        assert set(seen) == {(torch.uint8, 2)}
        assert got.severities == (5,)
        assert got.errors["contrast"] == pytest.approx((10 / 21,))

    def test_what_is_drawn_does_not_depend_on_the_other_corruptions(self):
        network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 16 * 16, 4))
        both = corruption_errors(network, graded(), corruptions=["snow", "gaussian_noise"], severities=[4, 2], seed=3)
        one = corruption_errors(network, graded(), corruptions=["gaussian_noise"], severities=[2], seed=3)
        assert both.errors["gaussian_noise"][1:] == one.errors["gaussian_noise"]
        assert network.training

    def test_constants(self):
        got = corruption_errors(Bright(), graded(), corruptions=["brightness"], severities=[5], constants="cifar-10-c")
        assert got.constants == "cifar-10-c"
        assert got.errors["brightness"] == pytest.approx((16 / 21,), abs=1.01 / 21)
        other = corruption_errors(Bright(), graded(), corruptions=["brightness"], severities=[5])
        assert other.errors["brightness"] == pytest.approx((20 / 21,), abs=1.01 / 21)

    def test_frost_that_is_drawn_is_marked(self):
        drawn = corruption_errors(Bright(), graded(), corruptions=["frost"])
        white = corruption_errors(Bright(), graded(), corruptions=["frost"], frost=[torch.ones(3, 16, 20)])
        assert corruption_table({"a": white, "b": drawn})[-1][0] == "frost (drawn)"
        assert corruption_table({"a": white})[-1][0] == "frost"
        # White pictures alone: x + 0.4, 0.8 x + 0.6, ... above a half.
        assert white.errors["frost"] == pytest.approx((18 / 21, 1, 1, 1, 1))

    def test_bad_input(self):
        with pytest.raises(ValueError, match="at least one image, got none"):
            corruption_errors(Bright(), [])
        with pytest.raises(ValueError, match=r"corruptions must be one of .*got 'rain'"):
            corruption_errors(Bright(), graded(), corruptions=["rain"])
        with pytest.raises(ValueError, match=r"must hold at least one"):
            corruption_errors(Bright(), graded(), severities=[])
        with pytest.raises(ValueError, match=r"finite, got NaN or infinity for 21 of 21 images, as they are"):
            corruption_errors(lambda x: Bright()(x) * math.nan, graded(), corruptions=["contrast"])
        with pytest.raises(
            ValueError, match=r"images must lie in \[0, 1\], before any normalization, got 11 that do not"
        ):
            corruption_errors(Bright(), [(x - 0.501, y) for x, y in graded()], corruptions=["shot_noise"])
        with pytest.raises(ValueError, match=r"labels must lie in \[0, C\)"):
            corruption_errors(Bright(), [(x, y + 2) for x, y in graded()], corruptions=["contrast"])
        with pytest.raises(ValueError, match=r"scores \[B, C\] for 8 images, got shape \(8,\)"):
            corruption_errors(lambda x: x.flatten(1).mean(1), graded(), corruptions=["contrast"])

"""Corruptions against OpenCV, SciPy, scikit-image, Pillow and plain loops, and the errors they cause."""

import io
import math

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from skimage import color, filters
from torch import nn

from texfilters.evaluate import _corrupt_blur, _corrupt_noise, _corrupt_weather, corruptions
from texfilters.evaluate.corruptions import (
    ALEXNET,
    CORRUPTIONS,
    CorruptionErrors,
    corrupt,
    corruption_errors,
    corruption_figure,
    corruption_table,
)
from texfilters.evaluate.figures import save

SIDE = 48
# Averages as published beside the errors by severity, which they check.
AVERAGES = (
    *(0.886428, 0.894468, 0.922640, 0.819880, 0.826268, 0.785948, 0.798360, 0.866816, 0.826572, 0.819324),
    *(0.564592, 0.853204, 0.646056, 0.717840, 0.606500),
)


@pytest.fixture
def images(photo):
    """Two crops, `[2, 3, 48, 48]` uint8."""
    return torch.stack([photo[:, 20 : 20 + SIDE, 60 : 60 + SIDE], photo[:, 90 : 90 + SIDE, 100 : 100 + SIDE]])


@pytest.fixture
def unit(images):
    return images.float() / 255


def rows(x):
    """As NumPy and the libraries have images, float64 `[B, H, W, 3]`."""
    return x.permute(0, 2, 3, 1).double().numpy()


def seeded():
    return torch.Generator().manual_seed(5)


def along_a_line(x, radius, sigma, angle):
    """One image `[H, W, C]`, pixel by pixel of the line, with the border repeated."""
    steps = 2 * radius + 1
    weights = [math.exp(-(i**2) / (2 * sigma**2)) for i in range(steps)]
    padded = np.pad(x, ((steps, steps), (steps, steps), (0, 0)), mode="edge")
    total = np.zeros_like(x)
    for i, weight in enumerate(weights):
        top = steps + math.ceil(i * math.sin(math.radians(angle)) - 0.5)
        left = steps + math.ceil(i * math.cos(math.radians(angle)) - 0.5)
        total += weight / sum(weights) * padded[top : top + x.shape[0], left : left + x.shape[1]]
    return total


def enlarged(x, factor):
    """The middle of one image `[H, W, C]` by SciPy."""
    side = x.shape[0]
    inner = math.ceil(side / factor)
    top = (side - inner) // 2
    large = ndimage.zoom(x[top : top + inner, top : top + inner], (factor, factor, 1), order=1)
    top = (large.shape[0] - side) // 2
    return large[top : top + side, top : top + side]


class TestAgainstOtherLibraries:
    @pytest.mark.parametrize("severity", range(5))
    def test_defocus_is_opencvs_filter(self, unit, severity):
        radius, sigma = ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))[severity]
        reach, window = (8, 3) if radius <= 8 else (radius, 5)
        y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
        disk = (x**2 + y**2 <= radius**2).astype(np.float64)
        kernel = cv2.GaussianBlur(disk / disk.sum(), (window, window), sigma)
        expected = np.stack([cv2.filter2D(image, -1, kernel) for image in rows(unit)])
        np.testing.assert_allclose(rows(_corrupt_blur.defocus_blur(unit, severity, None)), expected, atol=2e-6)

    @pytest.mark.parametrize("severity", range(5))
    def test_zoom_blur_is_scipys_zoom(self, unit, severity):
        ends = ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))[severity]
        factors = np.arange(1, *ends)
        x = rows(unit)
        expected = np.stack([(i + sum(enlarged(i, f) for f in factors)) / (len(factors) + 1) for i in x])
        np.testing.assert_allclose(rows(_corrupt_blur.zoom_blur(unit, severity, None)), expected, atol=2e-5)

    @pytest.mark.parametrize("sigma", [0.7, 1.5])
    def test_the_gaussian_of_glass_is_scikit_images(self, unit, sigma):
        expected = np.stack([filters.gaussian(image, sigma, channel_axis=-1) for image in rows(unit)])
        np.testing.assert_allclose(rows(_corrupt_blur._gaussian(unit, sigma)), expected, atol=2e-6)

    @pytest.mark.parametrize("severity", range(5))
    def test_brightness_is_scikit_images_value(self, unit, severity):
        unit[0, :, 3, 4] = 0
        hsv = color.rgb2hsv(rows(unit))
        hsv[..., 2] = np.clip(hsv[..., 2] + (severity + 1) / 10, 0, 1)
        np.testing.assert_allclose(rows(_corrupt_noise.brightness(unit, severity, None)), color.hsv2rgb(hsv), atol=2e-6)

    @pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
    @pytest.mark.parametrize("side", [(48, 48), (45, 37)])
    def test_pixelate_is_pillows_resize(self, photo, severity, side):
        share = (0.6, 0.5, 0.4, 0.3, 0.25)[severity - 1]
        image = photo[:, : side[0], : side[1]]
        picture = Image.fromarray(image.permute(1, 2, 0).numpy())
        small = picture.resize((int(side[1] * share), int(side[0] * share)), Image.Resampling.BOX)
        expected = np.array(small.resize(picture.size, Image.Resampling.BOX)).astype(int)
        # Pillow's weights are fixed point numbers.
        got = corrupt(image[None], "pixelate", severity)[0].permute(1, 2, 0).numpy()
        assert np.abs(got - expected).max() <= 1

    @pytest.mark.parametrize("severity", [1, 2, 3, 4, 5])
    @pytest.mark.parametrize("side", [(96, 96), (90, 77)])
    def test_jpeg_is_pillows(self, photo, severity, side):
        image = photo[:, 100 : 100 + side[0], 100 : 100 + side[1]]
        file = io.BytesIO()
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(file, "JPEG", quality=(25, 18, 15, 10, 7)[severity - 1])
        expected = np.array(Image.open(file)).astype(int)
        got = corrupt(image[None], "jpeg_compression", severity)[0].permute(1, 2, 0).numpy()
        difference = np.abs(got - expected)
        # libjpeg computes in whole numbers: now and then a coefficient is rounded to the next step.
        assert difference.mean() < 0.4
        assert np.quantile(difference, 0.97) <= 4

    def test_elastic_is_scipys_map_of_coordinates(self, unit):
        draws = seeded()
        for severity in range(5):
            strength, sigma, shift = ((2, 0.7, 0.1), (2, 0.08, 0.2), (0.05, 0.01, 0.02), (0.07, 0.01, 0.02))[
                min(severity, 3)
            ]
            strength = 0.12 if severity == 4 else strength
            size = 244 * SIDE / 224
            state = draws.get_state()
            got = rows(_corrupt_blur.elastic_transform(unit, severity, draws))
            draws.set_state(state)
            moves = ((2 * torch.rand(2, 3, 2, generator=draws) - 1) * (shift * size)).numpy()
            noise = (2 * torch.rand(2, 2, SIDE, SIDE, generator=draws) - 1).double().numpy()
            middle, reach = SIDE // 2, SIDE // 3
            points = np.float32([[middle + reach] * 2, [middle + reach, middle - reach], [middle - reach] * 2])
            y, x = np.mgrid[:SIDE, :SIDE]
            for i, image in enumerate(rows(unit)):
                back = cv2.invertAffineTransform(cv2.getAffineTransform(points, points + moves[i]))
                places = back @ np.stack([x.ravel(), y.ravel(), np.ones(SIDE**2)])
                where = places[1].reshape(SIDE, SIDE), places[0].reshape(SIDE, SIDE)
                warped = [ndimage.map_coordinates(c, where, order=1, mode="mirror") for c in np.moveaxis(image, -1, 0)]
                dy, dx = (
                    ndimage.gaussian_filter(n, sigma * size, mode="reflect", truncate=3) * strength * size
                    for n in noise[i]
                )
                expected = [ndimage.map_coordinates(c, (y + dy, x + dx), order=1, mode="reflect") for c in warped]
                # float32 places times the slope of a photo.
                np.testing.assert_allclose(got[i], np.stack(expected, -1), atol=2e-4)


class TestAgainstPlainLoops:
    @pytest.mark.parametrize("delta", [1, 2, 3, 4])
    def test_glass_changes_one_pixel_after_the_other(self, images, delta):
        dy, dx = torch.randint(-delta, delta, (2, 2, SIDE, 40), generator=seeded())
        x = images[..., :40].float()
        expected = x.clone()
        for image, down, across in zip(expected, dy.tolist(), dx.tolist(), strict=True):
            for h in range(SIDE - delta, delta, -1):
                for w in range(40 - delta, delta, -1):
                    image[:, h, w] = image[:, h + down[h][w], w + across[h][w]]
        assert torch.equal(_corrupt_blur.shuffled(x, dy, dx, delta), expected)

    @pytest.mark.parametrize(("radius", "sigma"), [(10, 3), (20, 15)])
    def test_motion_goes_along_a_line_of_its_own_for_each_image(self, unit, radius, sigma):
        angles = (-37.0, 121.0)
        expected = [along_a_line(i, radius, sigma, a) for i, a in zip(rows(unit), angles, strict=True)]
        got = _corrupt_blur.moved(unit, radius, sigma, torch.tensor(angles))
        np.testing.assert_allclose(rows(got), np.stack(expected), atol=2e-6)

    def test_fractal_is_the_diamond_square_algorithm(self):
        side, decay = 16, 1.7
        got = _corrupt_weather.fractal(1, side, decay, seeded(), torch.device("cpu"))[0].numpy()
        draws = seeded()
        height = np.zeros((side, side))
        step, wobble = side, 100.0
        while step >= 2:
            half, n = step // 2, side // step
            for shift, (down, across) in (((half, half), (1, 1)), ((0, half), (0, 1)), ((half, 0), (0, 1))):
                noise = torch.rand(1, n, n, generator=draws)[0].double().numpy()
                for i in range(n):
                    for j in range(n):
                        y, x = shift[0] + i * step, shift[1] + j * step
                        # Squares take their diagonal neighbors, diamonds those beside and above them.
                        corners = [(half * down, half * across), (half * down, -half * across)]
                        corners += [(-a, -b) for a, b in corners]
                        if not down:
                            corners = [(half, 0), (-half, 0), (0, half), (0, -half)]
                        near = sum(height[(y + a) % side, (x + b) % side] for a, b in corners)
                        height[y, x] = near / 4 + wobble**2 * (2 * noise[i, j] - 1)
            step, wobble = half, wobble / decay
        expected = (height - height.min()) / np.ptp(height)
        np.testing.assert_allclose(got, expected, atol=2e-6)

    @pytest.mark.parametrize("severity", [0, 3])
    def test_fog(self, unit, severity):
        amount, decay = ((1.5, 2), None, None, (2.5, 1.5))[severity]
        mist = _corrupt_weather.fractal(2, 64, decay, seeded(), unit.device)[:, :SIDE, :SIDE].double().numpy()
        got = rows(_corrupt_weather.fog(unit, severity, seeded()))
        for one, cloud, result in zip(rows(unit), mist, got, strict=True):
            top = one.max()
            np.testing.assert_allclose(result, (one + amount * cloud[..., None]) * top / (top + amount), atol=2e-6)

    def test_snow(self, unit):
        draws = seeded()
        layer = (0.55 + 0.3 * torch.randn(2, 1, SIDE, SIDE, generator=draws)).double().numpy()
        angles = (-135 + 90 * torch.rand(2, generator=draws)).tolist()
        got = rows(_corrupt_weather.snow(unit, 2, seeded()))
        for one, flakes, angle, result in zip(rows(unit), layer, angles, got, strict=True):
            flakes = enlarged(np.moveaxis(flakes, 0, -1), 4)
            flakes = np.where(flakes < 0.9, 0, np.clip(flakes, 0, 1))
            flakes = along_a_line(np.floor(flakes * 255) / 255, 12, 8, angle)
            gray = (one @ [0.299, 0.587, 0.114])[..., None]
            expected = 0.7 * one + 0.3 * np.maximum(one, 1.5 * gray + 0.5) + flakes + np.rot90(flakes, 2)
            # A flake at a threshold, or at a step of the grey levels, may fall to either side.
            assert (np.abs(result - expected) > 1e-4).mean() < 0.01

    def test_frost_is_a_part_of_a_picture(self, unit, photo):
        pictures = [photo[:, :52, :60].float() / 255, photo[:, 100:148, 100:150].float() / 255]
        unit = unit[:1].expand(40, -1, -1, -1)
        got = _corrupt_weather.frost(unit, 4, seeded(), _corrupt_weather.Pictures.of(pictures))
        parts = (got - 0.6 * unit) / 0.75
        places = set()
        for part in parts:
            for number, picture in enumerate(pictures):
                windows = picture.unfold(1, SIDE, 1).unfold(2, SIDE, 1)
                same = ((windows - part[:, None, None]).abs().amax((0, 3, 4)) < 1e-5).nonzero().tolist()
                places.update((number, *place) for place in same)
        # Both pictures, and their last places too.
        assert {number for number, _, _ in places} == {0, 1}
        assert max(top for number, top, _ in places if not number) == 4
        assert max(left for number, _, left in places if number) == 2
        assert len(places) > 15

    def test_contrast(self, unit):
        x = rows(unit)
        means = x.mean((1, 2), keepdims=True)
        np.testing.assert_allclose(rows(_corrupt_noise.contrast(unit, 3, None)), means + 0.1 * (x - means), atol=1e-6)


class TestNoise:
    def test_moments(self):
        flat = torch.full((1, 3, 200, 200), 0.4)
        for severity in range(5):
            noisy = _corrupt_noise.gaussian_noise(flat, severity, None) - flat
            assert noisy.std().item() == pytest.approx((0.08, 0.12, 0.18, 0.26, 0.38)[severity], rel=0.02)
            assert abs(noisy.mean().item()) < 0.01
            photons = (60, 25, 12, 5, 3)[severity]
            shot = _corrupt_noise.shot_noise(flat, severity, None)
            assert shot.mean().item() == pytest.approx(0.4, rel=0.02)
            assert shot.var().item() == pytest.approx(0.4 / photons, rel=0.03)
            assert (shot * photons).frac().abs().min() < 1e-5

    def test_impulses_are_black_or_white_in_any_channel(self):
        flat = torch.full((1, 3, 200, 200), 0.4)
        for severity, amount in enumerate((0.03, 0.06, 0.09, 0.17, 0.27)):
            noisy = _corrupt_noise.impulse_noise(flat, severity, None)
            assert (noisy == 1).float().mean().item() == pytest.approx(amount / 2, rel=0.05)
            assert (noisy == 0).float().mean().item() == pytest.approx(amount / 2, rel=0.05)
            hit = (noisy != 0.4).float()
            assert (hit[:, 0] * hit[:, 1]).mean().item() == pytest.approx(amount**2, abs=4 * amount / 200)


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
        with pytest.raises(ValueError, match=r"labels must lie in \[0, C\)"):
            corruption_errors(Bright(), [(x, y + 2) for x, y in graded()], corruptions=["contrast"])
        with pytest.raises(ValueError, match=r"scores \[B, C\] for 8 images, got shape \(8,\)"):
            corruption_errors(lambda x: x.flatten(1).mean(1), graded(), corruptions=["contrast"])


class TestMeanCorruptionError:
    def test_alexnets_errors_have_the_published_averages(self):
        assert tuple(ALEXNET.errors) == CORRUPTIONS
        assert [ALEXNET.mean(name) for name in CORRUPTIONS] == pytest.approx(AVERAGES, abs=1e-9)
        assert ALEXNET.mce() == pytest.approx(1)
        assert ALEXNET.relative_mce() == pytest.approx(1)

    def test_by_hand(self):
        model = CorruptionErrors(0.2, {"fog": (0.3, 0.5), "snow": (0.4, 0.6)}, (2, 5))
        baseline = CorruptionErrors(
            0.4, {"snow": (0.1, 0.5, 0.6, 0.7, 1.0), "fog": (0.3, 0.6, 0.6, 0.7, 0.9)}, (1, 2, 3, 4, 5)
        )
        assert model.corruption_error("fog", baseline) == pytest.approx(0.8 / 1.5)
        assert model.mce(baseline) == pytest.approx((0.8 / 1.5 + 1.0 / 1.5) / 2)
        assert model.relative_corruption_error("snow", baseline) == pytest.approx((1.0 - 0.4) / (1.5 - 0.8))
        head, clean, mce, fog, snow = corruption_table({"a": model, "b": model}, baseline)
        assert head == ("", "a", "b")
        assert clean == ("clean error", "20.0", "20.0")
        assert mce == ("mCE", "60.0", "60.0")
        assert (fog[0], snow[2]) == ("fog", "66.7")

    def test_a_baseline_that_lacks_something(self):
        model = CorruptionErrors(0.2, {"fog": (0.3,)}, (2,))
        with pytest.raises(ValueError, match=r"baseline must have errors for fog, severities \(2,\)"):
            model.mce(CorruptionErrors(0.2, {"fog": (0.3,)}, (1,)))
        with pytest.raises(ValueError, match="baseline must have an error above 0 for fog"):
            model.mce(CorruptionErrors(0.0, {"fog": (0.0,)}, (2,)))
        assert math.isnan(model.relative_mce(CorruptionErrors(0.3, {"fog": (0.3,)}, (2,))))
        other = CorruptionErrors(0.2, {"snow": (0.3,)}, (2,))
        with pytest.raises(ValueError, match="under the same corruptions, unlike 'a' and 'b'"):
            corruption_table({"a": model, "b": other})
        with pytest.raises(ValueError, match="at least one model"):
            corruption_figure({})

    def test_figure(self, tmp_path):
        figure = corruption_figure({"AlexNet": ALEXNET}, "errors")
        panels = [axes for axes in figure.axes if axes.get_visible()]
        assert len(panels) == 15
        assert panels[0].lines[0].get_ydata().tolist() == pytest.approx(
            [43.5, *(100 * e for e in ALEXNET.errors["gaussian_noise"])]
        )
        few = CorruptionErrors(0.2, {"fog": (0.3, 0.4), "jpeg_compression": (0.5, 0.6)}, (2, 5))
        save(corruption_figure({"few": few}), tmp_path / "errors.svg")
        assert "<!-- jpeg compression -->" in (tmp_path / "errors.svg").read_text()

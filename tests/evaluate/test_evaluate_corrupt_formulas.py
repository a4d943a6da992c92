"""Corruptions against plain loops and formulas, and the moments of noise."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from corrupt_cases import SIDE, crops, rows, seeded
from texfilters.evaluate import _corrupt_blur, _corrupt_noise, _corrupt_weather
from texfilters.evaluate._corrupt_constants import IMAGENET_C


@pytest.fixture
def images(photo):
    return crops(photo)


@pytest.fixture
def unit(photo):
    return crops(photo).float() / 255


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
        got = rows(_corrupt_weather.fog(unit, IMAGENET_C["fog"][severity], seeded()))
        for one, cloud, result in zip(rows(unit), mist, got, strict=True):
            top = one.max()
            np.testing.assert_allclose(result, (one + amount * cloud[..., None]) * top / (top + amount), atol=2e-6)

    def test_snow(self, unit):
        draws = seeded()
        layer = (0.55 + 0.3 * torch.randn(2, 1, SIDE, SIDE, generator=draws)).double().numpy()
        angles = (-135 + 90 * torch.rand(2, generator=draws)).tolist()
        got = rows(_corrupt_weather.snow(unit, IMAGENET_C["snow"][2], seeded()))
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
        got = _corrupt_weather.frost(unit, IMAGENET_C["frost"][4], seeded(), _corrupt_weather.Pictures.of(pictures))
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
        np.testing.assert_allclose(
            rows(_corrupt_noise.contrast(unit, IMAGENET_C["contrast"][3], None)), means + 0.1 * (x - means), atol=1e-6
        )


class TestNoise:
    def test_moments(self):
        flat = torch.full((1, 3, 200, 200), 0.4)
        for severity in range(5):
            noisy = _corrupt_noise.gaussian_noise(flat, IMAGENET_C["gaussian_noise"][severity], None) - flat
            assert noisy.std().item() == pytest.approx((0.08, 0.12, 0.18, 0.26, 0.38)[severity], rel=0.02)
            assert abs(noisy.mean().item()) < 0.01
            photons = (60, 25, 12, 5, 3)[severity]
            shot = _corrupt_noise.shot_noise(flat, IMAGENET_C["shot_noise"][severity], None)
            assert shot.mean().item() == pytest.approx(0.4, rel=0.02)
            assert shot.var().item() == pytest.approx(0.4 / photons, rel=0.03)
            assert (shot * photons).frac().abs().min() < 1e-5

    def test_impulses_are_black_or_white_in_any_channel(self):
        flat = torch.full((1, 3, 200, 200), 0.4)
        for severity, amount in enumerate((0.03, 0.06, 0.09, 0.17, 0.27)):
            noisy = _corrupt_noise.impulse_noise(flat, IMAGENET_C["impulse_noise"][severity], None)
            assert (noisy == 1).float().mean().item() == pytest.approx(amount / 2, rel=0.05)
            assert (noisy == 0).float().mean().item() == pytest.approx(amount / 2, rel=0.05)
            hit = (noisy != 0.4).float()
            assert (hit[:, 0] * hit[:, 1]).mean().item() == pytest.approx(amount**2, abs=4 * amount / 200)

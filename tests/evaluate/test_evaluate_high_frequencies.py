"""Low-pass filters against NumPy's centered Fourier plane, and accuracy by radius."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from texfilters.evaluate import high_frequencies
from texfilters.evaluate.figures import save
from texfilters.evaluate.high_frequencies import FrequencyCurve, accuracy_by_radius, frequency_figure, low_pass


def by_hand(images, radius, mask):
    """Whole, shifted planes in float64, one after the other."""
    height, width = images.shape[-2:]
    v, u = np.mgrid[:height, :width]
    v, u = v - height // 2, u - width // 2
    kept = np.maximum(abs(u), abs(v)) <= radius if mask == "square" else np.hypot(u, v) <= radius
    planes = np.fft.fftshift(np.fft.fft2(images), axes=(-2, -1)) * kept
    result = np.fft.ifft2(np.fft.ifftshift(planes, axes=(-2, -1)))
    assert np.abs(result.imag).max() < 1e-12
    return np.clip(result.real, 0, 1)


class TestLowPass:
    @pytest.mark.parametrize("mask", ["disk", "square"])
    @pytest.mark.parametrize("radius", [0, 1, 2.5, 7, 11, 16, 40])
    @pytest.mark.parametrize("size", [(32, 32), (33, 24), (20, 31), (1, 5)])
    def test_numpy_agrees(self, photo, size, radius, mask):
        images = photo[:, 40 : 40 + size[0], 90 : 90 + size[1]].double()[None] / 255
        got = low_pass(images, radius, mask=mask)
        assert got.dtype == torch.float64
        np.testing.assert_allclose(got.numpy(), by_hand(images.numpy(), radius, mask), atol=1e-12)
        np.testing.assert_allclose(low_pass(images.float(), radius, mask=mask).numpy(), got.numpy(), atol=2e-6)

    @pytest.mark.parametrize("mask", ["disk", "square"])
    @pytest.mark.parametrize("size", [(32, 32), (33, 24), (1, 7), (2, 2)])
    def test_radii_a_hair_below_a_frequency_leave_it_out(self, size, mask):
        """Noise, of which every frequency shows; radii that float32 would round up."""
        images = torch.rand(1, 1, *size, dtype=torch.float64)
        for radius in (1, 3, math.sqrt(2), math.sqrt(13), math.sqrt(50)):
            for below in (radius, radius - 1e-9):
                expected = by_hand(images.numpy(), below, mask)
                np.testing.assert_allclose(low_pass(images, below, mask=mask).numpy(), expected, atol=1e-12)

    @pytest.mark.parametrize("mask", ["disk", "square"])
    def test_the_largest_radius_changes_nothing(self, photo, mask):
        assert torch.equal(low_pass(photo, 1.7e308, mask=mask), photo)

    def test_what_is_kept(self, photo):
        images = photo[None, :, :64, :64]
        flat = low_pass(images, 0)
        mean = images.double().mean((2, 3))
        assert torch.equal(flat, mean.round().byte()[:, :, None, None].expand_as(images))
        for mask in high_frequencies.MASKS:
            assert torch.equal(low_pass(images, 46, mask=mask), images)
            assert not torch.equal(low_pass(images, 31, mask=mask), images)
        # A square holds more than the disk in it.
        wave = 0.5 + 0.4 * torch.cos(2 * math.pi * 5 * (torch.arange(32)[:, None] + torch.arange(32)) / 32)
        torch.testing.assert_close(low_pass(wave, 5, mask="square"), wave)
        torch.testing.assert_close(low_pass(wave, 7), torch.full_like(wave, 0.5))
        torch.testing.assert_close(low_pass(wave, 7.08), wave)

    def test_the_result_stays_in_the_range_of_the_images(self):
        edge = torch.zeros(1, 1, 32, 32)
        edge[..., 16:] = 1
        for images in (edge, (edge * 255).byte(), edge.half()):
            got = low_pass(images, 6)
            assert got.dtype == images.dtype
            assert got.min() == 0
            assert got.max() == edge.max() * (255 if images.dtype == torch.uint8 else 1)

    def test_bad_input(self):
        images = torch.zeros(1, 3, 8, 8)
        with pytest.raises(ValueError, match="radius must be finite and >= 0, got -1"):
            low_pass(images, -1)
        with pytest.raises(ValueError, match="radius must be finite and >= 0, got nan"):
            low_pass(images, math.nan)
        with pytest.raises(ValueError, match="mask must be one of 'disk', 'square', got 'ring'"):
            low_pass(images, 1, mask="ring")
        with pytest.raises(TypeError, match="image must be uint8"):
            low_pass(images.int(), 1)
        with pytest.raises(ValueError, match=r"at least 1 x 1 pixels, got shape \(1, 3, 0, 8\)"):
            low_pass(images[:, :, :0], 1)


class Striped(nn.Module):
    """Class 1 for images with much of a wave, else class 0."""

    def forward(self, x):
        share = x.std((1, 2, 3))
        return torch.stack([torch.full_like(share, 0.1), share], 1)


def waves():
    """Waves of 2 to 9 cycles, all of class 1, in unequal batches."""
    i = torch.arange(32)
    images = torch.stack([0.5 + 0.4 * torch.cos(2 * math.pi * k * i / 32).expand(3, 32, 32) for k in range(2, 10)])
    return [(images[:3], torch.ones(3).long()), (images[3:], torch.ones(5).long())]


class TestAccuracyByRadius:
    @pytest.mark.parametrize("mask", ["disk", "square"])
    def test_waves_are_seen_up_to_the_radius(self, mask):
        network = Striped().train()
        curve = accuracy_by_radius(network, waves(), [9, 0, 5, 1.5], mask=mask)
        assert curve == FrequencyCurve((9, 0, 5, 1.5), (1.0, 0.0, 0.5, 0.0), 1.0, mask, 8)
        assert network.training

    def test_the_transform_gets_filtered_batches(self):
        batches = [((255 * x).byte(), y, "name") for x, y in waves()]

        def transform(batch):
            images, _, name = batch
            assert images.dtype == torch.uint8
            assert name == "name"
            return images.float() / 255

        assert accuracy_by_radius(Striped(), batches, [5], transform=transform).accuracy == (0.5,)

    def test_bad_input(self):
        with pytest.raises(ValueError, match="radii must hold at least one radius"):
            accuracy_by_radius(Striped(), waves(), [])
        with pytest.raises(ValueError, match="at least one image, got none"):
            accuracy_by_radius(Striped(), [], [1])
        with pytest.raises(ValueError, match="got NaN or infinity for 8 of 8 images, at radius 0"):
            accuracy_by_radius(lambda x: Striped()(x) / (Striped()(x)[:, 1:] > 0.01), waves(), [0])
        with pytest.raises(ValueError, match=r"labels must lie in \[0, C\) of the C scores, got 8 that do not"):
            accuracy_by_radius(lambda x: x.flatten(1)[:, :1], waves(), [0])

    def test_images_that_are_normalized_already(self):
        """They would be clamped, and what is left of them be measured."""
        batches = [(x - 0.45 * (len(x) == 5), y) for x, y in waves()]
        with pytest.raises(
            ValueError, match=r"images must lie in \[0, 1\], before any normalization, got 5 that do not"
        ):
            accuracy_by_radius(Striped(), batches, [5])
        batches[0][0][1, 2, 3, 4] = math.nan
        with pytest.raises(ValueError, match="got 6 that do not"):
            accuracy_by_radius(nn.Sequential(nn.Flatten(), nn.Linear(3072, 2)), batches, [5])

    def test_figure(self, tmp_path):
        curve = FrequencyCurve((9, 0, 5), (0.9, 0.1, 0.5), 0.95, "disk", 8)
        figure = frequency_figure({"plain": curve, "diffused": curve})
        line = figure.axes[0].lines[0]
        assert line.get_xdata().tolist() == [0, 5, 9]
        assert line.get_ydata().tolist() == pytest.approx([10, 50, 90])
        save(figure, tmp_path / "curve.svg")
        assert "diffused" in (tmp_path / "curve.svg").read_text()
        with pytest.raises(ValueError, match=r"one mask, got \['disk', 'square'\]"):
            frequency_figure({"a": curve, "b": FrequencyCurve((1,), (1.0,), 1.0, "square", 8)})
        with pytest.raises(ValueError, match="at least one curve"):
            frequency_figure({})

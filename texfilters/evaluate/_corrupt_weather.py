"""Snow, frost and fog, as ImageNet-C has them. See `_corrupt_noise` for the arguments."""

import math
from typing import Any

import torch
from torch import Tensor

from texfilters.evaluate._corrupt_blur import moved, zoomed
from texfilters.evaluate._corrupt_noise import Generator


def snow(x: Tensor, severity: int, generator: Generator) -> Tensor:
    mean, deviation, zoom, threshold, radius, sigma, share = (
        (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
        (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
        (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
        (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
        (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
    )[severity]
    options: dict[str, Any] = {"generator": generator, "device": x.device}
    flakes = zoomed(mean + deviation * torch.randn(len(x), 1, *x.shape[-2:], **options), zoom)
    flakes = torch.where(flakes < threshold, 0, flakes).clamp(0, 1)
    flakes = moved((flakes * 255).floor() / 255, radius, sigma, -135 + 90 * torch.rand(len(x), **options))
    gray = 0.299 * x[:, 0:1] + 0.587 * x[:, 1:2] + 0.114 * x[:, 2:3]
    paler = share * x + (1 - share) * torch.maximum(x, gray * 1.5 + 0.5)
    return paler + flakes + flakes.flip(2, 3)


def frost(x: Tensor, severity: int, generator: Generator, pictures: Tensor | None = None) -> Tensor:
    """Pictures of frost `[N, 3, h, w]` in [0, 1], of which each image gets a part of its size at random."""
    keep, add = ((1.0, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))[severity]
    if pictures is None:
        return keep * x + add * drawn_frost(x, generator)
    height, width = x.shape[-2:]
    count, _, rows, columns = pictures.shape
    options: dict[str, Any] = {"generator": generator, "device": x.device}
    which = torch.randint(count, (len(x), 1, 1), **options)
    top = torch.randint(rows - height + 1, (len(x), 1, 1), **options)
    left = torch.randint(columns - width + 1, (len(x), 1, 1), **options)
    down = top + torch.arange(height, device=x.device)[:, None]
    across = left + torch.arange(width, device=x.device)
    return keep * x + add * pictures.permute(0, 2, 3, 1)[which, down, across].permute(0, 3, 1, 2)


def drawn_frost(x: Tensor, generator: Generator) -> Tensor:
    """Frost without pictures: ridges of fractal noise, bluish, with the mean and deviation of the authors' photos.

    Those photos cannot be distributed here. What is drawn hides an image as much, but it is not ImageNet-C's frost.
    """
    side = 2 ** math.ceil(math.log2(max(x.shape[-2:])))
    layers = torch.stack([fractal(len(x), side, 1.7, generator, x.device) for _ in range(2)], 1)
    layers = layers[:, :, : x.shape[2], : x.shape[3]]
    layers = layers - layers.mean((2, 3), keepdim=True)
    ridges = -layers.abs()
    ridges = ridges / ridges.std((2, 3), keepdim=True)
    crystals = ridges.amax(1, keepdim=True)
    crystals = (crystals - crystals.mean((2, 3), keepdim=True)) / crystals.std((2, 3), keepdim=True)
    crystals = 0.11 * crystals
    return torch.cat([0.573 + crystals, 0.656 + crystals, 0.701 + crystals], 1).clamp(0, 1)


def fog(x: Tensor, severity: int, generator: Generator) -> Tensor:
    amount, decay = ((1.5, 2), (2.0, 2), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))[severity]
    height, width = x.shape[-2:]
    side = 2 ** math.ceil(math.log2(max(height, width)))
    mist = fractal(len(x), side, decay, generator, x.device)[:, None, :height, :width]
    brightest = x.amax((1, 2, 3), keepdim=True)
    return (x + amount * mist) * brightest / (brightest + amount)


def fractal(count: int, side: int, decay: float, generator: Generator, device: torch.device) -> Tensor:
    """Plasma fractals `[count, side, side]` that span [0, 1], by the diamond-square algorithm on a torus.

    Args:
        side: a power of two.
        decay: what the deviations are divided by, and once more, from each scale to the next finer one.
    """
    heights = torch.zeros(count, side, side, device=device)
    step, wobble = side, 100.0

    def around(total: Tensor) -> Tensor:
        noise = 2 * torch.rand(total.shape, generator=generator, device=device) - 1
        return total / 4 + wobble**2 * noise

    while step >= 2:
        half = step // 2
        corners = heights[:, ::step, ::step]
        pairs = corners + corners.roll(-1, 1)
        middles = around(pairs + pairs.roll(-1, 2))
        heights[:, half::step, half::step] = middles
        left_and_right = corners + corners.roll(-1, 2)
        heights[:, ::step, half::step] = around(left_and_right + middles + middles.roll(1, 1))
        above_and_below = corners + corners.roll(-1, 1)
        heights[:, half::step, ::step] = around(above_and_below + middles + middles.roll(1, 2))
        step, wobble = half, wobble / decay
    heights -= heights.amin((1, 2), keepdim=True)
    return heights / heights.amax((1, 2), keepdim=True)

"""Snow, frost and fog, as ImageNet-C has them. See `_corrupt_noise` for the arguments."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from texfilters.evaluate._corrupt_blur import moved, zoomed
from texfilters.evaluate._corrupt_noise import Generator


def snow(x: Tensor, constants: tuple[float, float, float, float, int, float, float], generator: Generator) -> Tensor:
    mean, deviation, zoom, threshold, radius, sigma, share = constants
    options: dict[str, Any] = {"generator": generator, "device": x.device}
    flakes = zoomed(mean + deviation * torch.randn(len(x), 1, *x.shape[-2:], **options), zoom)
    flakes = torch.where(flakes < threshold, 0, flakes).clamp(0, 1)
    flakes = moved((flakes * 255).floor() / 255, radius, sigma, -135 + 90 * torch.rand(len(x), **options))
    gray = 0.299 * x[:, 0:1] + 0.587 * x[:, 1:2] + 0.114 * x[:, 2:3]
    paler = share * x + (1 - share) * torch.maximum(x, gray * 1.5 + 0.5)
    return paler + flakes + flakes.flip(2, 3)


class Pictures(NamedTuple):
    """Pictures of frost of any sizes: their pixels in one row, and of each picture where it begins and its size."""

    pixels: Tensor  # [P, 3]
    first: Tensor  # int64 [N], like the next two
    height: Tensor
    width: Tensor
    sizes: tuple[tuple[int, int], ...]  # the same two, for the host

    @classmethod
    def of(cls, pictures: Sequence[Tensor]) -> "Pictures":
        """Of `[3, h, w]` in [0, 1] each."""
        pixels = torch.cat([picture.flatten(1).T for picture in pictures])
        sizes = tuple((picture.shape[1], picture.shape[2]) for picture in pictures)
        height, width = torch.tensor(sizes).unbind(1)
        area = height * width
        first, height, width = (each.to(pixels.device) for each in (area.cumsum(0) - area, height, width))
        return cls(pixels, first, height, width, sizes)


def frost(x: Tensor, constants: tuple[float, float], generator: Generator, pictures: Pictures | None = None) -> Tensor:
    """Each image gets a part of one of the pictures, of its size, at random; without them, what is drawn."""
    keep, add = constants
    if pictures is None:
        return keep * x + add * drawn_frost(x, generator)
    height, width = x.shape[-2:]
    options: dict[str, Any] = {"generator": generator, "device": x.device}
    which = torch.randint(len(pictures.first), (len(x), 1, 1), **options)
    places = torch.rand(2, len(x), 1, 1, dtype=torch.float64, **options)
    across = pictures.width[which]
    top = (places[0] * (pictures.height[which] - height + 1)).long()
    left = (places[1] * (across - width + 1)).long()
    rows = top + torch.arange(height, device=x.device)[:, None]
    columns = left + torch.arange(width, device=x.device)
    return keep * x + add * pictures.pixels[pictures.first[which] + rows * across + columns].permute(0, 3, 1, 2)


def drawn_frost(x: Tensor, generator: Generator) -> Tensor:
    """Frost without pictures: ridges of fractal noise, bluish.

    Mean, deviation and the deviation between neighbors are chosen after the authors' photos, which cannot be
    distributed here. It has none of their crystals, and is not ImageNet-C's frost.
    """
    side = 2 ** math.ceil(math.log2(max(x.shape[-2:])))
    layers = torch.stack([fractal(len(x), side, 1.2, generator, x.device) for _ in range(2)], 1)
    layers = layers[:, :, : x.shape[2], : x.shape[3]]
    layers = layers - layers.mean((2, 3), keepdim=True)
    ridges = -layers.abs()
    ridges = ridges / ridges.std((2, 3), keepdim=True)
    crystals = ridges.amax(1, keepdim=True)
    crystals = (crystals - crystals.mean((2, 3), keepdim=True)) / crystals.std((2, 3), keepdim=True)
    crystals = 0.11 * crystals
    return torch.cat([0.573 + crystals, 0.656 + crystals, 0.701 + crystals], 1).clamp(0, 1)


def fog(x: Tensor, constants: tuple[float, float], generator: Generator) -> Tensor:
    amount, decay = constants
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

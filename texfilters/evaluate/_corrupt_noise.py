"""Noise, contrast, brightness, pixelation, JPEG: corruptions of each pixel or block, as ImageNet-C has them.

Each takes float32 images `[B, 3, H, W]` in [0, 1], its constants for a severity, which `_corrupt_constants` has, and a
generator on the device of the images, and returns such images, perhaps beyond [0, 1].
"""

import functools
import math

import torch
from torch import Tensor
from torch.nn import functional

Generator = torch.Generator | None

# Kept on their device: a copy to a GPU would wait for all that it still has to do.
constant = functools.lru_cache(maxsize=64)


def gaussian_noise(x: Tensor, deviation: float, generator: Generator) -> Tensor:
    return x + deviation * torch.randn(x.shape, generator=generator, device=x.device)


def shot_noise(x: Tensor, photons: float, generator: Generator) -> Tensor:
    # On a GPU a rate that is NaN or below 0 ends the process.
    counts = torch.poisson(torch.where(x >= 0, x, 0) * photons, generator=generator)
    return torch.where(x >= 0, counts / photons, x)


def impulse_noise(x: Tensor, amount: float, generator: Generator) -> Tensor:
    """Every channel of every pixel for itself."""
    drawn = torch.rand(x.shape, generator=generator, device=x.device)
    return torch.where(drawn < amount, (drawn < amount / 2).float(), x)


def brightness(x: Tensor, added: float, generator: Generator) -> Tensor:
    """More of V in HSV; with hue and saturation kept, the channels grow in proportion to it."""
    value = x.amax(1, keepdim=True)
    brighter = (value + added).clamp(max=1)
    return torch.where(value > 0, x * (brighter / value), brighter)


def contrast(x: Tensor, kept: float, generator: Generator) -> Tensor:
    mean = x.mean((2, 3), keepdim=True)
    return mean + kept * (x - mean)


def pixelate(x: Tensor, share: float, generator: Generator) -> Tensor:
    height, width = x.shape[-2:]
    # Pillow keeps 8 bits between its passes, along rows and then along columns.
    narrow = _grey_levels(x @ _boxes(width, int(width * share), x.device).mT)
    small = _grey_levels(_boxes(height, int(height * share), x.device) @ narrow)
    rows = (2 * torch.arange(height, device=x.device) + 1) * small.shape[2] // (2 * height)
    columns = (2 * torch.arange(width, device=x.device) + 1) * small.shape[3] // (2 * width)
    return small[:, :, rows[:, None], columns]


def jpeg_compression(x: Tensor, quality: int, generator: Generator) -> Tensor:
    return jpeg(x, quality)


@constant
def _boxes(size: int, smaller: int, device: torch.device) -> Tensor:
    """Means `[smaller, size]` of the pixels whose middles lie in each box, as Pillow's box filter takes them."""
    scale = size / smaller
    middles = (torch.arange(smaller, dtype=torch.float64)[:, None] + 0.5) * scale
    pixels = torch.arange(size, dtype=torch.float64)
    # Twice, as there, for a pixel on an edge: it is in the box where neither rounding puts it outside.
    reach = scale / 2
    within = (pixels >= (middles - reach + 0.5).floor()) & (pixels < (middles + reach + 0.5).floor())
    distance = (pixels - middles + 0.5) * (1 / scale)
    weights = (within & (distance > -0.5) & (distance <= 0.5)).double()
    return (weights / weights.sum(1, keepdim=True)).float().to(device)


def _grey_levels(x: Tensor) -> Tensor:
    return (x * 255).round() / 255


_LUMA = (
    (16, 11, 10, 16, 24, 40, 51, 61),
    (12, 12, 14, 19, 26, 58, 60, 55),
    (14, 13, 16, 24, 40, 57, 69, 56),
    (14, 17, 22, 29, 51, 87, 80, 62),
    (18, 22, 37, 56, 68, 109, 103, 77),
    (24, 35, 55, 64, 81, 104, 113, 92),
    (49, 64, 78, 87, 103, 121, 120, 101),
    (72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA = (
    (17, 18, 24, 47, 99, 99, 99, 99),
    (18, 21, 26, 66, 99, 99, 99, 99),
    (24, 26, 56, 99, 99, 99, 99, 99),
    (47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 8,) * 4,
)


def jpeg(x: Tensor, quality: int) -> Tensor:
    """What baseline JPEG with halved chroma makes of images: its entropy coding loses nothing and is left out.

    The steps are those of libjpeg, which Pillow calls, but in floating point. Source: ITU-T T.81, tables K.1 and K.2;
    JFIF 1.02 for the colors.
    """
    height, width = x.shape[-2:]
    x = functional.pad(x * 255, (0, -width % 16, 0, -height % 16), mode="replicate").round()
    r, g, b = x.unbind(1)
    luma = 0.299 * r + 0.587 * g + 0.114 * b
    chroma = (torch.stack([(b - luma) / 1.772, (r - luma) / 1.402], 1) + 128).round()
    # Halves are rounded down and up in turn.
    turn = 0.25 + 0.25 * (torch.arange(chroma.shape[3] // 2, device=x.device) % 2)
    chroma = (functional.avg_pool2d(chroma, 2) + turn).floor()
    y = _quantized(luma.round()[:, None], _LUMA, quality)[:, 0, :height, :width]
    chroma = _quantized(chroma, _CHROMA, quality)[:, :, : (height + 1) // 2, : (width + 1) // 2]
    blue, red = (_doubled(chroma)[:, :, :height, :width] - 128).unbind(1)
    rgb = torch.stack([y + 1.402 * red, y - (0.114 * 1.772 * blue + 0.299 * 1.402 * red) / 0.587, y + 1.772 * blue], 1)
    return rgb.round() / 255


def _quantized(planes: Tensor, table: tuple[tuple[int, ...], ...], quality: int) -> Tensor:
    """Blocks of 8 x 8 through the cosine transform, rounded to multiples of the table's steps, and back."""
    steps, basis = _steps(table, quality, planes.device), _cosines(planes.device)
    blocks = planes.unflatten(-1, (-1, 8)).unflatten(-3, (-1, 8)).transpose(-2, -3) - 128
    coefficients = basis @ blocks @ basis.T
    blocks = basis.T @ ((coefficients / steps).round() * steps) @ basis + 128
    return blocks.transpose(-2, -3).flatten(-2).flatten(-3, -2).round().clamp(0, 255)


@constant
def _steps(table: tuple[tuple[int, ...], ...], quality: int, device: torch.device) -> Tensor:
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return ((torch.tensor(table) * scale + 50) // 100).clamp(1, 255).float().to(device)


@constant
def _cosines(device: torch.device) -> Tensor:
    """The orthonormal cosine transform of 8 values."""
    i = torch.arange(8, dtype=torch.float64)
    basis = torch.cos(math.pi * i[:, None] * (2 * i + 1) / 16) / 2
    basis[0] /= math.sqrt(2)
    return basis.float().to(device)


def _doubled(planes: Tensor) -> Tensor:
    """Twice the size with weights 3/4 and 1/4, as libjpeg's decoder: bilinear between the middles of pixels."""
    return functional.interpolate(planes, scale_factor=2, mode="bilinear", align_corners=False)

"""Blurs and warps: corruptions that move or mix pixels, as ImageNet-C has them. Arguments as in `_corrupt_noise`."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from texfilters import gaussian_blur
from texfilters.evaluate._corrupt_noise import Generator, constant


def defocus_blur(x: Tensor, constants: tuple[float, float], generator: Generator) -> Tensor:
    radius, sigma = constants
    kernel = _disk(radius, sigma, x.device)
    reach = len(kernel) // 2
    padded = functional.pad(x, (reach,) * 4, mode="reflect")
    size = padded.shape[-2:]
    # Not conv2d, which on a GPU rounds to 10 bits unless it is told not to. The kernel is its own mirror image.
    blurred = torch.fft.irfft2(torch.fft.rfft2(padded) * torch.fft.rfft2(kernel, s=size), s=size)
    return blurred[..., 2 * reach :, 2 * reach :]


@constant
def _disk(radius: float, sigma: float, device: torch.device) -> Tensor:
    """A disk with soft edges, in a window that cuts them off where it ends."""
    reach, window = (8, 3) if radius <= 8 else (int(radius), 5)
    i = torch.arange(-reach, reach + 1)
    disk = (i.square() + i[:, None].square() <= radius**2).double()
    return gaussian_blur(disk / disk.sum(), sigma, kernel_size=window).float().to(device)


def glass_blur(x: Tensor, constants: tuple[float, int, int], generator: Generator) -> Tensor:
    sigma, delta, passes = constants
    x = (_gaussian(x, sigma) * 255).floor() / 255
    for _ in range(passes):
        size = (2, len(x), *x.shape[-2:])
        dy, dx = torch.randint(-delta, delta, size, generator=generator, device=x.device)
        x = shuffled(x, dy, dx, delta)
    return _gaussian(x, sigma)


def _gaussian(x: Tensor, sigma: float) -> Tensor:
    """As scikit-image has it."""
    return gaussian_blur(x, sigma, kernel_size=2 * int(4 * sigma + 0.5) + 1, border="replicate")


def shuffled(x: Tensor, dy: Tensor, dx: Tensor, delta: int) -> Tensor:
    """Every pixel, from the last to the first, takes the color that another one nearby has by then.

    The authors' code means to swap the two, but both end with the color of the other one, and ImageNet-C is made so.

    Args:
        x: `[B, C, H, W]`.
        dy, dx: int64 `[B, H, W]` in [-delta, delta), from a pixel to the other one.
        delta: pixels up to it from the first, or nearer than it to the last row or column, keep their colors.
    """
    batch, _, height, width = x.shape
    size = height * width
    place = torch.arange(size, device=x.device).view(height, width)
    rows, columns = torch.arange(height, device=x.device)[:, None], torch.arange(width, device=x.device)
    changes = (rows > delta) & (rows <= height - delta) & (columns > delta) & (columns <= width - delta)
    other = torch.where(changes, place + dy * width + dx, place)
    # A color that has been changed before comes from where that one came from, and so on: `other + size` stands for
    # the changed color at `other`, less than `size` for one as it was.
    earlier = (other > place) & changes.flatten()[other]
    source = torch.cat([place.flatten().expand(batch, -1), (other + size * earlier).flatten(1)], dim=1)
    # Each doubling follows chains twice as long. They go on with a probability below 1/2: 2**6 steps are never met.
    for _ in range(6):
        source = source.gather(1, source)
    source = source[:, size:] % size
    return x.flatten(2).gather(2, source[:, None].expand(-1, x.shape[1], -1)).view(x.shape)


def motion_blur(x: Tensor, constants: tuple[int, float], generator: Generator) -> Tensor:
    radius, sigma = constants
    angle = -45 + 90 * torch.rand(len(x), generator=generator, device=x.device)
    return moved(x, radius, sigma, angle)


def moved(x: Tensor, radius: int, sigma: float, angle: Tensor) -> Tensor:
    """The mean along half a line of whole pixels, as ImageMagick's motion blur.

    Args:
        radius: the line has 2 radius + 1 pixels.
        sigma: of the half of a Gaussian that weighs them.
        angle: of the line, in degrees `[B]`.
    """
    batch, channels, height, width = x.shape
    steps = 2 * radius + 1
    weights = torch.exp(-torch.arange(steps, dtype=torch.float64).square() / (2 * sigma**2))
    weights /= weights.sum()
    radians = torch.deg2rad(angle.double())
    pixels = x.permute(0, 2, 3, 1).reshape(batch * height * width, channels)
    first = torch.arange(batch, device=x.device)[:, None, None] * (height * width)
    rows = torch.arange(height, device=x.device)[:, None]
    columns = torch.arange(width, device=x.device)
    result = torch.zeros(batch, height, width, channels, device=x.device)
    for i, weight in enumerate(weights.tolist()):
        dy = (i * radians.sin() - 0.5).ceil().long()[:, None, None]
        dx = (i * radians.cos() - 0.5).ceil().long()[:, None, None]
        source = first + (rows + dy).clamp(0, height - 1) * width + (columns + dx).clamp(0, width - 1)
        result.add_(pixels[source], alpha=weight)
    return result.permute(0, 3, 1, 2)


def zoom_blur(x: Tensor, constants: tuple[int, float], generator: Generator) -> Tensor:
    count, step = constants
    total = x.clone()
    for i in range(count):
        total += zoomed(x, 1 + i * step)
    return total / (count + 1)


def zoomed(x: Tensor, factor: float) -> Tensor:
    """The middle of images, bilinear, as large as the images."""
    size = x.shape[-2:]
    inner = [math.ceil(n / factor) for n in size]
    top, left = ((n - m) // 2 for n, m in zip(size, inner, strict=True))
    middle = x[..., top : top + inner[0], left : left + inner[1]]
    larger = functional.interpolate(middle, [round(m * factor) for m in inner], mode="bilinear", align_corners=True)
    top, left = ((m - n) // 2 for n, m in zip(size, larger.shape[-2:], strict=True))
    return larger[..., top : top + size[0], left : left + size[1]]


def elastic_transform(x: Tensor, constants: tuple[float, float, float], generator: Generator) -> Tensor:
    height, width = x.shape[-2:]
    strength, sigma, shift = (share * min(height, width) for share in constants)
    options: dict[str, Any] = {"generator": generator, "device": x.device}
    x = _affine(x, (2 * torch.rand(len(x), 3, 2, **options) - 1) * shift)
    noise = 2 * torch.rand(len(x), 2, height, width, **options) - 1
    down, across = (_smoother(n, sigma, x.device) for n in (height, width))
    dy, dx = (down @ noise @ across.T * strength).unbind(1)
    rows = torch.arange(height, device=x.device)[:, None]
    columns = torch.arange(width, device=x.device)
    return _sampled(x, rows + dy, columns + dx, align_corners=False)


def _affine(x: Tensor, moves: Tensor) -> Tensor:
    """Warp so that three points, (x, y), move by `moves` `[B, 3, 2]`."""
    height, width = x.shape[-2:]
    reach = min(height, width) // 3
    points = _points(width // 2, height // 2, reach, x.device).expand(len(x), 3, 2)
    ones = torch.ones(len(x), 3, 1, device=x.device)
    # From new places to old ones. The other solve would wait for the device to tell of singular matrices.
    back, _ = torch.linalg.solve_ex(torch.cat([points + moves, ones], 2), points)
    rows = torch.arange(height, device=x.device)[:, None].expand(height, width)
    columns = torch.arange(width, device=x.device).expand(height, width)
    old = torch.stack([columns, rows, torch.ones_like(rows)], -1).float() @ back[:, None]
    return _sampled(x, old[..., 1], old[..., 0], align_corners=True)


@constant
def _points(x: int, y: int, reach: int, device: torch.device) -> Tensor:
    return torch.tensor([[x + reach, y + reach], [x + reach, y - reach], [x - reach, y - reach]], device=device).float()


@constant
def _smoother(size: int, sigma: float, device: torch.device) -> Tensor:
    """The matrix `[size, size]` of a Gaussian up to 3 sigma, with the border mirrored as often as that needs."""
    reach = int(3 * sigma + 0.5)
    i = torch.arange(-reach, reach + 1)
    weights = torch.exp(-i.double().square() / (2 * sigma**2)) if reach else torch.ones(1, dtype=torch.float64)
    source = (torch.arange(size)[:, None] + i) % (2 * size)
    source = torch.minimum(source, 2 * size - 1 - source)
    matrix = torch.zeros(size, size, dtype=torch.float64)
    matrix.scatter_add_(1, source, (weights / weights.sum()).expand(size, -1))
    return matrix.float().to(device)


def _sampled(x: Tensor, rows: Tensor, columns: Tensor, *, align_corners: bool) -> Tensor:
    """Bilinear values at places `[B, H, W]` in pixels; the border mirrors with its pixels as axis, or twice."""
    height, width = x.shape[-2:]
    if align_corners:
        grid = torch.stack([columns * (2 / (width - 1)) - 1, rows * (2 / (height - 1)) - 1], -1)
    else:
        grid = torch.stack([(2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1], -1)
    return functional.grid_sample(x, grid, padding_mode="reflection", align_corners=align_corners)

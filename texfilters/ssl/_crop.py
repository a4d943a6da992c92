"""Crops of squashed photos: drawn in the geometry of the originals, all resampled in one call."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from texfilters import _check

_TRIES = 10  # torchvision's


def checked(scale: tuple[float, float], ratio: tuple[float, float]) -> tuple[tuple[float, float], tuple[float, float]]:
    for name, ends in (("scale", scale), ("ratio", ratio)):
        if not isinstance(_check.span(name, ends), tuple):
            raise TypeError(f"{name} must be a pair of numbers, got {ends}")
        _check.positive(name, min(ends))
    return _check.span("scale", scale), _check.span("ratio", ratio)


def drawn(sizes: Tensor, scale: tuple[float, float], ratio: tuple[float, float]) -> Tensor:
    """A box for every image of `sizes` `[B, 2]`: top, left, height and width over those of the image, `[B, 4]`.

    torchvision's rule: of ten boxes, whose area is uniform in `scale` and whose ratio of width to height is uniform in
    the logarithm of `ratio`, in whole pixels, the first that fits, at a random place; if none does, the largest in the
    middle whose ratio is within `ratio`. The numbers come from torch's default generator on the CPU; what they mean
    for an image is computed where `sizes` are, which the host never reads.
    """
    numbers = torch.rand(len(sizes), _TRIES, 4, dtype=torch.float64, device="cpu")
    u = sent(numbers, sizes.device)
    h, w = sizes.double().unsqueeze(2).unbind(1)  # [B, 1]
    area = h * w * (scale[0] + (scale[1] - scale[0]) * u[..., 0])
    least, most = math.log(ratio[0]), math.log(ratio[1])
    aspect = (least + (most - least) * u[..., 1]).exp()
    heights, widths = (area / aspect).sqrt().round(), (area * aspect).sqrt().round()  # [B, tries]
    fits = (heights > 0) & (heights <= h) & (widths > 0) & (widths <= w)
    first = fits.int().argmax(1, keepdim=True)
    height, width = heights.gather(1, first), widths.gather(1, first)
    top = (u[..., 2].gather(1, first) * (h - height + 1)).floor()
    left = (u[..., 3].gather(1, first) * (w - width + 1)).floor()
    box = torch.cat([top, left, height, width], 1)
    highest, widest = (w / ratio[0]).round().minimum(h), (h * ratio[1]).round().minimum(w)
    middle = torch.cat([((h - highest) / 2).floor(), ((w - widest) / 2).floor(), highest, widest], 1)
    return torch.where(fits.any(1, keepdim=True), box, middle) / torch.cat([h, w, h, w], 1)


def centered(sizes: Tensor, share: float) -> Tensor:
    """As `drawn`, the square in the middle whose side is a share of an image's shorter one."""
    sides = share * sizes.double().amin(1, keepdim=True) / sizes
    return torch.cat([(1 - sides) / 2, sides], 1)


def resampled(images: Tensor, boxes: Tensor, size: int, flipped: Tensor | None = None) -> Tensor:
    """uint8 images `[B, C, S, S]` in boxes `[B, 4]` as `drawn` gives them, to float32 `[B, C, size, size]` in [0, 1].

    Bilinear, as if the boxes had been cut out first: nothing beyond their edges is read. Images that are much larger
    than `size` are read at several places a pixel, whose mean it is.
    """
    side = images.shape[-1]
    finer = max(1, round(side / size))
    places = (torch.arange(size * finer, dtype=torch.float64, device=boxes.device) + 0.5) / (size * finer)
    along = places.expand(len(boxes), -1)
    mirrored = along if flipped is None else torch.where(flipped[:, None], 1 - along, along)
    top, left, height, width = (boxes * side).unsqueeze(2).unbind(1)  # [B, 1], in pixels
    y, x = (_within(start, length, at) for start, length, at in ((top, height, along), (left, width, mirrored)))
    y, x = ((2 / side * axis - 1).float() for axis in (y, x))
    grid = torch.stack(torch.broadcast_tensors(x[:, None, :], y[:, :, None]), 3)  # [B, h, w, 2]
    pixels = images.float().div_(255)
    views = functional.grid_sample(pixels, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return functional.avg_pool2d(views, finer) if finer > 1 else views


def _within(start: Tensor, length: Tensor, at: Tensor) -> Tensor:
    """Where along an axis to read, no nearer to a box's edge than the middle of the pixel there."""
    margin = (length / 2).clamp(max=0.5)
    return (start + length * at).clamp(start + margin, start + length - margin)


def sent(numbers: Tensor, device: torch.device) -> Tensor:
    """On a device, and from the CPU without waiting for it."""
    if numbers.device.type == "cpu" and device.type == "cuda":
        return numbers.pin_memory().to(device, non_blocking=True)
    return numbers.to(device)

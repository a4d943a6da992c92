"""What the kernels of the windowed filters share: images as [B, C, H, W], tiles of pixels, borders, and parameters.

A program has LANES lanes in STRIPS rows of COLUMNS; each works on ROWS pixels below one another.
"""

from collections.abc import Callable

import torch
import triton
import triton.language as tl
from torch import Tensor

LANES = 128  # of a program, four warps
COLUMNS = tl.constexpr(32)  # a row of bytes is one sector of memory
STRIPS = tl.constexpr(LANES // COLUMNS.value)


def filtered(image: Tensor, launch: Callable[[Tensor, Tensor], None], like: Tensor | None = None) -> Tensor:
    """What `launch` writes from a source into a target, both `[B, C, H, W]`; `like` what, if not the image."""
    output = torch.empty_like(image if like is None else like)
    if image.numel():
        with torch.cuda.device_of(image):
            # Views; copies only for an image of more dimensions than [B, C, H, W] whose strides forbid to merge them.
            source, target = batch(image), batch(output)
            launch(source, target)
            if target.untyped_storage().data_ptr() != output.untyped_storage().data_ptr():
                output.copy_(target.view_as(output))
    return output


def batch(image: Tensor) -> Tensor:
    """[B, C, H, W]; an image without channels has one."""
    channels = image.shape[-3] if image.ndim > 2 else 1
    return image.reshape(-1, channels, *image.shape[-2:])


def programs(planes: int, H: int, W: int, rows: int) -> tuple[int]:
    """The grid, for `tile`."""
    return (planes * triton.cdiv(H, STRIPS.value * rows) * triton.cdiv(W, COLUMNS.value),)


def offset_type(*images: Tensor) -> tl.dtype:
    """The integers that places within a channel are counted in."""
    H, W = images[0].shape[-2:]
    reach = max((H - 1) * max(y, 1) + (W - 1) * max(x, 1) for *_, y, x in (u.stride() for u in images))
    # Tiles and windows may overhang; a reflected image repeats after twice its size.
    return tl.int32 if 2 * reach + 2**18 < 2**31 else tl.int64


def one_an_image(parameter: Tensor, image: Tensor, dtype: torch.dtype) -> Tensor:
    """[B] on the image's device, without waiting for it."""
    parameter = parameter.to(dtype)
    if parameter.device == image.device:
        return parameter.expand(len(image)).contiguous()
    if parameter.ndim == 0:
        return torch.full((len(image),), parameter.item(), dtype=dtype, device=image.device)
    return sent(parameter, image)


def sent(values: Tensor, image: Tensor) -> Tensor:
    """From the CPU to the image's device, without waiting for it."""
    if not image.is_cuda:
        return values
    # A copy of our own, since the caller may write to theirs before the device has read it.
    pinned = torch.empty(values.shape, dtype=values.dtype, pin_memory=True).copy_(values)
    return pinned.to(image.device, non_blocking=True)


@triton.jit
def tile(H, W, ROWS: tl.constexpr, OFFSET: tl.constexpr):
    """The column and the first row of every lane, which may lie past the border, and the plane."""
    lane = tl.arange(0, STRIPS * COLUMNS).to(OFFSET)
    i = tl.program_id(0)
    across = (W - 1) // COLUMNS + 1
    x = i % across * COLUMNS + lane % COLUMNS
    i = i // across
    down = (H - 1) // (STRIPS * ROWS) + 1
    y = (i % down * STRIPS + lane // COLUMNS) * ROWS
    return x, y, i // down


@triton.jit
def channel(image, image_b, image_c, b, c):
    """The address of a channel."""
    return image + b.to(tl.int64) * image_b + tl.cast(c, tl.int64) * image_c


@triton.jit
def border_index(position, size, BORDER: tl.constexpr, FAR: tl.constexpr):
    """The pixel in 0..size-1 that stands at a position, for "constant" any; FAR: also a whole image away and more."""
    if BORDER == "wrap":
        if FAR:
            position = position % size
        position = tl.where(position < 0, position + size, position)
        position = tl.where(position >= size, position - size, position)
    elif BORDER == "reflect":  # cba|abc|cba
        if FAR:
            position = position % (2 * size)
            position = tl.where(position < 0, position + 2 * size, position)
        position = tl.where(position < 0, -1 - position, position)
        position = tl.minimum(position, 2 * size - 1 - position)
    elif BORDER == "reflect101":  # cb|abc|ba
        if FAR:
            position = position % tl.maximum(2 * size - 2, 1)
        position = tl.abs(position)
        position = tl.minimum(position, 2 * size - 2 - position)
    else:
        position = tl.minimum(tl.maximum(position, 0), size - 1)
    return position


@triton.jit
def is_inside(position, size):
    return (position >= 0) & (position < size)

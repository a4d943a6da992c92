"""Bilateral filter: a pixel a lane, its round window row by row, neighbors read through the cache."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from texfilters._triton.images import (
    LANES,
    border_index,
    channel,
    filtered,
    is_inside,
    offset_type,
    one_an_image,
    programs,
    tile,
)
from texfilters._triton.pixel_math import from_compute_dtype, gaussian, gaussian_scale
from texfilters.reference import bilateral_radius, compute_dtype, largest_radius

CHANNELS = 4  # at most, that a program sums up

_ARGUMENTS = [
    *("source", "source_b", "source_c", "source_y", "source_x"),
    *("output", "output_b", "output_c", "output_y", "output_x"),
    *("mask", "radius", "sigma_color", "sigma_space", "C", "H", "W"),
]


@triton.jit(do_not_specialize=_ARGUMENTS, do_not_specialize_on_alignment=_ARGUMENTS)
def bilateral_kernel(
    source, source_b, source_c, source_y, source_x,
    output, output_b, output_c, output_y, output_x,
    mask,  # [B, H, W] if MASKED: where it is 0, so is the output
    radius, sigma_color, sigma_space,  # each [B]
    C, H, W,
    BORDER: tl.constexpr, FAR: tl.constexpr, MASKED: tl.constexpr,
    CHANNELS: tl.constexpr,  # that a program writes
    ALL: tl.constexpr,  # these are all of them
    OFFSET: tl.constexpr,
):  # fmt: skip
    x, y, plane = tile(H, W, 1, OFFSET)
    groups = (C - 1) // CHANNELS + 1
    b, first = plane // groups, plane % groups * CHANNELS
    written = tl.where((x < W) & (y < H), C - first, 0)  # channels
    x, y = tl.minimum(x, W - 1), tl.minimum(y, H - 1)
    r, color, space = tl.load(radius + b), tl.load(sigma_color + b), tl.load(sigma_space + b)
    image = channel(source, source_b, source_c, b, 0)
    source_y, source_x = source_y.to(OFFSET), source_x.to(OFFSET)
    here = y * source_y + x * source_x
    channels, center = (), ()
    for c in tl.static_range(CHANNELS):
        channels += (tl.minimum(first + c, C - 1).to(tl.int64) * source_c,)
        center += (tl.load(image + channels[c] + here),)
    target = channel(output, output_b, output_c, b, first) + y * output_y.to(OFFSET) + x * output_x.to(OFFSET)
    output_c = output_c.to(tl.int64)
    kept = written > 0
    if MASKED:
        kept = tl.load(mask + b.to(tl.int64) * H * W + (y.to(tl.int64) * W + x)) != 0

    if (color == 0) | (space == 0):
        for c in tl.static_range(CHANNELS):
            _store(target + c * output_c, center[c], c < written, kept, MASKED)
    else:
        dtype: tl.constexpr = color.dtype
        color, space = gaussian_scale(color), gaussian_scale(space)
        total = tl.zeros_like(here).to(dtype)
        sums = ()
        for _ in tl.static_range(CHANNELS):
            sums += (total,)
        for dy in range(-r, r + 1):
            row = border_index(y + dy, H, BORDER, FAR) * source_y
            reach = half_width(r, dy)
            for dx in range(-reach, reach + 1):
                there = row + border_index(x + dx, W, BORDER, FAR) * source_x
                is_there = kept
                if BORDER == "constant":
                    is_there = is_inside(y + dy, H) & is_inside(x + dx, W)
                distance = tl.zeros_like(total)
                neighbor = ()
                for c in tl.static_range(CHANNELS):
                    neighbor += (_read(image + channels[c], there, is_there, BORDER, dtype),)
                    if ALL:
                        distance += tl.abs(neighbor[c] - center[c].to(dtype))
                if not ALL:
                    for c in range(C):
                        any_channel = image + tl.cast(c, tl.int64) * source_c
                        u = tl.load(any_channel + here).to(dtype)
                        distance += tl.abs(_read(any_channel, there, is_there, BORDER, dtype) - u)
                in_color = distance * color
                in_space = tl.cast(dy * dy + dx * dx, dtype) * space * space
                weight = gaussian(tl.fma(in_color, in_color, in_space))
                total += weight
                new = ()
                for c in tl.static_range(CHANNELS):
                    new += (tl.fma(weight, neighbor[c], sums[c]),)
                sums = new
        for c in tl.static_range(CHANNELS):
            average = from_compute_dtype(sums[c] / total, output.dtype.element_ty)
            _store(target + c * output_c, average, c < written, kept, MASKED)


@triton.jit
def half_width(radius, dy):
    """Of a round window, dy rows off its middle: the largest dx with dx^2 + dy^2 <= radius^2."""
    square = radius * radius - dy * dy
    dx = tl.sqrt(square.to(tl.float32)).to(tl.int32)  # off by one at most
    dx -= (dx * dx > square).to(tl.int32)
    return dx + ((dx + 1) * (dx + 1) <= square).to(tl.int32)


@triton.jit
def _read(plane, there, is_there, BORDER: tl.constexpr, dtype: tl.constexpr):
    if BORDER == "constant":
        return tl.load(plane + there, mask=is_there, other=0).to(dtype)
    else:
        return tl.load(plane + there).to(dtype)


@triton.jit
def _store(place, value, is_written, kept, MASKED: tl.constexpr):
    if MASKED:
        value = tl.where(kept, value, tl.zeros_like(value))
    tl.store(place, value, mask=is_written)


def bilateral_filter(
    image: Tensor,  # [..., C, H, W] or [H, W]
    d: int,
    sigma_color: Tensor,  # [] or [B]
    sigma_space: Tensor,  # [] or [B]
    border: str,
) -> Tensor:
    """`functional.bilateral_filter` for checked arguments, on the image's device and its current stream."""
    return filtered(image, lambda source, target: average(source, target, d, sigma_color, sigma_space, border))


def average(
    source: Tensor,  # [B, C, H, W]
    target: Tensor,  # [B, C, H, W]
    d: int,
    sigma_color: Tensor,  # [] or [B]
    sigma_space: Tensor,  # [] or [B]
    border: str,
    mask: Tensor | None = None,  # [B, 1, H, W], contiguous
) -> None:
    B, C, H, W = source.shape
    dtype = compute_dtype(source.dtype)
    radius = torch.tensor(max(1, d // 2)) if d > 0 else bilateral_radius(d, sigma_space)
    far = radius.is_cuda or largest_radius(radius) >= min(H, W)  # a radius that only the device knows may be any
    channels = min(C, CHANNELS)
    bilateral_kernel[programs(B * triton.cdiv(C, channels), H, W, 1)](
        source, *source.stride(),
        target, *target.stride(),
        source if mask is None else mask,
        one_an_image(radius, source, torch.int32),
        one_an_image(sigma_color, source, dtype),
        one_an_image(sigma_space, source, dtype),
        C, H, W,
        BORDER=border, FAR=far, MASKED=mask is not None, CHANNELS=channels, ALL=channels == C,
        OFFSET=offset_type(source, target),
        num_warps=LANES // 32,
        enable_fp_fusion=False,
    )  # fmt: skip

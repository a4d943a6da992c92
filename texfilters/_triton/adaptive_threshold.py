"""Adaptive threshold: every pixel against the mean of its window. For uint8 the mean and its comparison are integer."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from texfilters._triton.images import (
    LANES,
    border_index,
    channel,
    filtered,
    offset_type,
    one_an_image,
    programs,
    sent,
    tile,
)
from texfilters._triton.pixel_math import rounded
from texfilters._triton.windows import ROWS, window_sums
from texfilters.reference import compute_dtype, from_compute_dtype
from texfilters.reference._cartoon import threshold_weights

WIDEST_32_BITS = 1447  # the sums of a wider window, 1024 * block_size**2 at most, need 64 bits
LARGEST_TABLE = 9  # OpenCV's Gaussians up to here are exact in float32 in any order

_ARGUMENTS = [
    *("source", "source_b", "source_c", "source_y", "source_x"),
    *("output", "output_b", "output_c", "output_y", "output_x"),
    *("c", "max_value", "weights", "C", "H", "W", "radius"),
]


@triton.jit(do_not_specialize=_ARGUMENTS, do_not_specialize_on_alignment=_ARGUMENTS)
def threshold_kernel(
    source, source_b, source_c, source_y, source_x,
    output, output_b, output_c, output_y, output_x,
    c,  # [B]
    max_value,  # [1]
    weights,  # [2 * radius + 1], for "table"
    C, H, W, radius,
    WEIGHTS: tl.constexpr, INVERT: tl.constexpr,
    SUM: tl.constexpr,  # the dtype of sums
    OFFSET: tl.constexpr,
):  # fmt: skip
    x, y, plane = tile(H, W, ROWS, OFFSET)
    b = plane // C
    image = channel(source, source_b, source_c, b, plane % C)
    source_y, source_x, output_y = source_y.to(OFFSET), source_x.to(OFFSET), output_y.to(OFFSET)
    target = channel(output, output_b, output_c, b, plane % C) + y * output_y + x * output_x.to(OFFSET)
    c, on, middle = tl.load(c + b), tl.load(max_value), weights + radius
    if WEIGHTS == "opencv":
        sums = ()
        for k in tl.static_range(ROWS):
            sums += (_opencv_gaussian(image, source_y, source_x, x, y + k, H, W, radius, middle),)
    else:
        sums = window_sums(image, source_y, source_x, x, y, H, W, radius, middle, WEIGHTS, "replicate", False, SUM)
    for k in tl.static_range(ROWS):
        inside = (x < W) & (y + k < H)
        u = tl.load(image + (y + k) * source_y + x * source_x, mask=inside, other=0).to(SUM)
        chosen = _is_chosen(u, sums[k], c, radius, WEIGHTS, INVERT, source.dtype.element_ty)
        tl.store(target + k * output_y, tl.where(chosen, on, tl.zeros_like(on)), mask=inside)


@triton.jit
def _opencv_gaussian(image, stride_y, stride_x, x, y, H, W, radius, weights):
    """Added up as by OpenCV, rows from the left and columns from the middle: a last bit can decide the rounding."""
    mean = tl.zeros_like(x).to(tl.float32)
    for i in range(radius + 1):
        pair = _opencv_row(image, stride_y, stride_x, x, y + i, H, W, radius, weights)
        if i > 0:
            pair += _opencv_row(image, stride_y, stride_x, x, y - i, H, W, radius, weights)
        mean = tl.fma(pair, tl.load(weights + i), mean)
    return mean


@triton.jit
def _opencv_row(image, stride_y, stride_x, x, y, H, W, radius, weights):
    row = image + border_index(y, H, "replicate", False) * stride_y
    total = tl.zeros_like(x).to(tl.float32)
    for i in range(-radius, radius + 1):
        u = tl.load(row + border_index(x + i, W, "replicate", False) * stride_x)
        total = tl.fma(u.to(tl.float32), tl.load(weights + i), total)
    return total


@triton.jit
def _is_chosen(u, total, c, radius, WEIGHTS: tl.constexpr, INVERT: tl.constexpr, dtype: tl.constexpr):
    """Whether the pixel u is above the mean less c, or INVERT; neither where any of them is NaN."""
    area = (2 * radius + 1).to(u.dtype) * (2 * radius + 1)
    if dtype == tl.uint8 and WEIGHTS == "ones":
        # The rounded mean is below u + c if the mean is below u + c - 1/2: it is never half a whole number.
        bound = (2 * (u + c) - 1) * area
        return 2 * total > bound if INVERT else 2 * total < bound
    else:
        if dtype == tl.uint8:
            mean = rounded(total)
        elif WEIGHTS != "ones":
            mean = total
        elif u.dtype == tl.float64:
            mean = total / area
        else:
            mean = tl.div_rn(total, area)
        c = c.to(u.dtype)
        return u <= mean - c if INVERT else u > mean - c


def adaptive_threshold(
    image: Tensor,  # [..., H, W]
    block_size: int,
    c: Tensor,  # [] or [B]
    method: str,
    max_value: float,
    invert: bool,
) -> Tensor:
    """`functional.adaptive_threshold` for checked arguments, on the image's device and its current stream."""
    return filtered(image, lambda source, target: threshold(source, target, block_size, c, method, max_value, invert))


def threshold(
    source: Tensor,  # [B, C, H, W]
    target: Tensor,  # [B, C, H, W]
    block_size: int,
    c: Tensor,  # [] or [B]
    method: str,
    max_value: float,
    invert: bool,
) -> None:
    B, C, H, W = source.shape
    dtype = compute_dtype(source.dtype)
    weights = "ones" if method == "mean" else "table"
    if source.dtype == torch.uint8 and method == "gaussian" and block_size > LARGEST_TABLE:
        weights = "opencv"
    if source.dtype == torch.uint8:
        # OpenCV's whole numbers. With the one in place of NaN no pixel is chosen, and none more or less beyond +-256.
        c = c.to(torch.float64).nan_to_num(256 if invert else -256)
        c = (c.floor() if invert else c.ceil()).clamp(-256, 256).to(torch.int32)
    else:
        c = c.to(dtype)
    on = from_compute_dtype(torch.tensor(max_value, dtype=torch.float64), source.dtype)
    threshold_kernel[programs(B * C, H, W, ROWS.value)](
        source, *source.stride(),
        target, *target.stride(),
        one_an_image(c, source, c.dtype),
        torch.full((1,), on.item(), dtype=source.dtype, device=source.device),
        sent(threshold_weights(block_size, method).to(dtype), source) if method == "gaussian" else source,
        C, H, W, block_size // 2,
        WEIGHTS=weights, INVERT=invert, SUM=_sum_type(source.dtype, block_size, method),
        OFFSET=offset_type(source, target),
        num_warps=LANES // 32,
        enable_fp_fusion=False,
    )  # fmt: skip


def _sum_type(dtype: torch.dtype, block_size: int, method: str) -> tl.dtype:
    if dtype == torch.uint8 and method == "mean":
        return tl.int32 if block_size <= WIDEST_32_BITS else tl.int64
    return tl.float64 if dtype == torch.float64 else tl.float32

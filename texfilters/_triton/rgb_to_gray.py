"""Luma."""

import triton
import triton.language as tl
from torch import Tensor

from texfilters._triton.images import LANES, channel, filtered, offset_type, programs, tile
from texfilters.reference._cartoon import FIXED_LUMA, LUMA

ROWS = tl.constexpr(4)  # that a lane works on

_RED, _GREEN, _BLUE = (tl.constexpr(weight) for weight in LUMA)
_FIXED_RED, _FIXED_GREEN, _FIXED_BLUE = (tl.constexpr(weight) for weight in FIXED_LUMA)

_ARGUMENTS = [
    *("source", "source_b", "source_c", "source_y", "source_x"),
    *("output", "output_b", "output_y", "output_x", "H", "W"),
]


@triton.jit(do_not_specialize=_ARGUMENTS, do_not_specialize_on_alignment=_ARGUMENTS)
def gray_kernel(
    source, source_b, source_c, source_y, source_x,
    output, output_b, output_y, output_x,
    H, W,
    OFFSET: tl.constexpr,
):  # fmt: skip
    x, y, b = tile(H, W, ROWS, OFFSET)
    red = channel(source, source_b, source_c, b, 0) + y * source_y.to(OFFSET) + x * source_x.to(OFFSET)
    green = red + source_c.to(tl.int64)
    blue = green + source_c.to(tl.int64)
    target = channel(output, output_b, 0, b, 0) + y * output_y.to(OFFSET) + x * output_x.to(OFFSET)
    for k in tl.static_range(ROWS):
        inside = (x < W) & (y + k < H)
        row = k * source_y.to(OFFSET)
        r = tl.load(red + row, mask=inside)
        g = tl.load(green + row, mask=inside)
        b = tl.load(blue + row, mask=inside)
        tl.store(target + k * output_y.to(OFFSET), luma(r, g, b), mask=inside)


@triton.jit
def luma(r, g, b):
    if r.dtype == tl.uint8:
        fixed = r.to(tl.int32) * _FIXED_RED + g.to(tl.int32) * _FIXED_GREEN + b.to(tl.int32) * _FIXED_BLUE
        return ((fixed + (1 << 14)) >> 15).to(tl.uint8)
    else:
        dtype: tl.constexpr = tl.float64 if r.dtype == tl.float64 else tl.float32
        return (r.to(dtype) * _RED + g.to(dtype) * _GREEN + b.to(dtype) * _BLUE).to(r.dtype)


def rgb_to_gray(image: Tensor) -> Tensor:  # [..., 3, H, W] -> [..., 1, H, W]
    """`functional.rgb_to_gray` for checked arguments, on the image's device and its current stream."""
    return filtered(image, gray, like=image.narrow(-3, 0, 1))


def gray(source: Tensor, target: Tensor) -> None:  # [B, 3, H, W] -> [B, 1, H, W]
    B, _, H, W = source.shape
    gray_kernel[programs(B, H, W, ROWS.value)](
        source, *source.stride(),
        target, target.stride(0), *target.stride()[-2:],
        H, W,
        OFFSET=offset_type(source, target),
        num_warps=LANES // 32,
        enable_fp_fusion=False,
    )  # fmt: skip

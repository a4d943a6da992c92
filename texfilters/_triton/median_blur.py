"""Median: 3 x 3 by sorting rows of three, which rows below one another share; larger windows by counting.

Counting finds the median bit by bit, from the highest: the bit is set if at most half of the window lies below the
number that has it. Numbers are compared as unsigned integers, which order as the values do.
"""

import triton
import triton.language as tl
from torch import Tensor

from texfilters._triton.images import LANES, border_index, channel, filtered, offset_type, programs, tile

ROWS = tl.constexpr(8)  # of pixels that a lane works on, 3 x 3
HELD = 7  # the largest window that a lane holds in its registers

_ARGUMENTS = [
    *("source", "source_b", "source_c", "source_y", "source_x"),
    *("output", "output_b", "output_c", "output_y", "output_x"),
    *("C", "H", "W", "radius"),
]


@triton.jit(do_not_specialize=_ARGUMENTS, do_not_specialize_on_alignment=_ARGUMENTS)
def median3_kernel(
    source, source_b, source_c, source_y, source_x,
    output, output_b, output_c, output_y, output_x,
    C, H, W,
    OFFSET: tl.constexpr,
):  # fmt: skip
    x, y, plane = tile(H, W, ROWS, OFFSET)
    image = channel(source, source_b, source_c, plane // C, plane % C)
    target = channel(output, output_b, output_c, plane // C, plane % C)
    source_y, source_x, output_y = source_y.to(OFFSET), source_x.to(OFFSET), output_y.to(OFFSET)
    left = border_index(x - 1, W, "replicate", False) * source_x
    middle = border_index(x, W, "replicate", False) * source_x
    right = border_index(x + 1, W, "replicate", False) * source_x
    lowest, median, highest = (), (), ()  # of every row of three
    for i in tl.static_range(ROWS + 2):
        row = image + border_index(y + (i - 1), H, "replicate", False) * source_y
        a, b, c = _comparable(row + left), _comparable(row + middle), _comparable(row + right)
        a, b = _least(a, b), _greatest(a, b)
        lowest += (_least(a, c),)
        highest += (_greatest(b, c),)
        median += (_greatest(a, _least(b, c)),)
    place = target + y * output_y + x * output_x.to(OFFSET)
    for i in tl.static_range(ROWS):
        low = _greatest(_greatest(lowest[i], lowest[i + 1]), lowest[i + 2])
        high = _least(_least(highest[i], highest[i + 1]), highest[i + 2])
        result = _median(low, _median(median[i], median[i + 1], median[i + 2]), high)
        tl.store(place + i * output_y, result.to(output.dtype.element_ty), mask=(x < W) & (y + i < H))


@triton.jit
def _comparable(place):
    """A value in a type that has instructions for the lesser and the greater, both of which pass on a NaN."""
    u = tl.load(place)
    if u.dtype == tl.uint8:
        return u.to(tl.int32)
    elif u.dtype == tl.float64:
        return u
    else:
        return u.to(tl.float32)


@triton.jit
def _least(a, b):
    if a.dtype == tl.int32:
        return tl.minimum(a, b)
    else:
        return tl.minimum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _greatest(a, b):
    if a.dtype == tl.int32:
        return tl.maximum(a, b)
    else:
        return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def _median(a, b, c):
    return _greatest(_least(a, b), _least(_greatest(a, b), c))


@triton.jit(do_not_specialize=_ARGUMENTS, do_not_specialize_on_alignment=_ARGUMENTS)
def median_kernel(
    source, source_b, source_c, source_y, source_x,
    output, output_b, output_c, output_y, output_x,
    C, H, W, radius,
    HELD: tl.constexpr,  # the width of a window that is read once into registers; 0: it is read for every bit
    OFFSET: tl.constexpr,
):  # fmt: skip
    x, y, plane = tile(H, W, 1, OFFSET)
    image = channel(source, source_b, source_c, plane // C, plane % C)
    target = channel(output, output_b, output_c, plane // C, plane % C)
    source_y, source_x = source_y.to(OFFSET), source_x.to(OFFSET)
    dtype: tl.constexpr = source.dtype.element_ty
    BITS: tl.constexpr = dtype.primitive_bitwidth
    if HELD:
        window = ()
        for dy in tl.static_range(-(HELD // 2), HELD // 2 + 1):
            for dx in tl.static_range(-(HELD // 2), HELD // 2 + 1):
                window += (_key(image, y + dy, x + dx, H, W, source_y, source_x),)
    zero = tl.zeros_like(_key(image, y, x, H, W, source_y, source_x))
    half = (2 * radius + 1).to(tl.int64) * (2 * radius + 1) // 2

    median = zero
    for bit in range(BITS):
        candidate = median | ((zero + 1) << (BITS - 1 - bit))
        below = zero.to(tl.uint32)  # enough for a window of 65535 x 65535
        if HELD:
            for i in tl.static_range(HELD * HELD):
                below += (window[i] < candidate).to(tl.uint32)
        else:
            for dy in range(-radius, radius + 1):
                for dx in range(-radius, radius + 1):
                    key = _key(image, y + dy, x + dx, H, W, source_y, source_x)
                    below += (key < candidate).to(tl.uint32)
        median = tl.where(below.to(tl.int64) <= half, candidate, median)

    if dtype != tl.uint8:
        greatest = median
        if HELD:
            for i in tl.static_range(HELD * HELD):
                greatest = tl.maximum(greatest, window[i])
        else:
            for dy in range(-radius, radius + 1):
                for dx in range(-radius, radius + 1):
                    greatest = tl.maximum(greatest, _key(image, y + dy, x + dx, H, W, source_y, source_x))
        median = tl.where(greatest == (1 << BITS) - 1, greatest, median)
    place = target + y * output_y.to(OFFSET) + x * output_x.to(OFFSET)
    tl.store(place, _value(median, dtype), mask=(x < W) & (y < H))


@triton.jit
def _key(image, y, x, H, W, stride_y, stride_x):
    """A whole number for the pixel, beyond the border for the nearest: the greater, the greater the value; NaN most."""
    row = border_index(y, H, "replicate", False) * stride_y
    u = tl.load(image + row + border_index(x, W, "replicate", False) * stride_x)
    if u.dtype == tl.uint8:
        return u.to(tl.uint32)
    else:
        number = u
        if u.dtype == tl.float64:
            bits = u.to(tl.uint64, bitcast=True)
        elif u.dtype == tl.float32:
            bits = u.to(tl.uint32, bitcast=True)
        else:
            bits = u.to(tl.uint16, bitcast=True).to(tl.uint32)
            number = u.to(tl.float32)  # bfloat16 has no comparison of its own everywhere
        BITS: tl.constexpr = u.dtype.primitive_bitwidth
        SIGN: tl.constexpr = 1 << (BITS - 1)
        NAN: tl.constexpr = (1 << BITS) - 1
        key = tl.where(bits >= SIGN, NAN - bits, bits + SIGN)
        return tl.where(number == number, key, NAN)


@triton.jit
def _value(key, dtype: tl.constexpr):
    if dtype == tl.uint8:
        return key.to(tl.uint8)
    else:
        BITS: tl.constexpr = dtype.primitive_bitwidth
        SIGN: tl.constexpr = 1 << (BITS - 1)
        NAN: tl.constexpr = (1 << BITS) - 1
        bits = tl.where(key >= SIGN, key - SIGN, NAN - key)
        if dtype == tl.float64 or dtype == tl.float32:
            return bits.to(dtype, bitcast=True)
        else:
            return bits.to(tl.uint16).to(dtype, bitcast=True)


def median_blur(image: Tensor, ksize: int) -> Tensor:  # [..., H, W]
    """`functional.median_blur` for checked arguments, on the image's device and its current stream."""
    if ksize == 1:
        return image.clone()
    return filtered(image, lambda source, target: median(source, target, ksize))


def median(source: Tensor, target: Tensor, ksize: int) -> None:  # both [B, C, H, W]
    B, C, H, W = source.shape
    strides = (source, *source.stride(), target, *target.stride())
    options = {"OFFSET": offset_type(source, target), "num_warps": LANES // 32, "enable_fp_fusion": False}
    if ksize == 3:
        median3_kernel[programs(B * C, H, W, ROWS.value)](*strides, C, H, W, **options)
    else:
        held = ksize if ksize <= HELD else 0
        median_kernel[programs(B * C, H, W, 1)](*strides, C, H, W, ksize // 2, HELD=held, **options)

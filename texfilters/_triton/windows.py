"""Weighted sums over square windows, one axis after the other, by which Gaussian blur and adaptive threshold work."""

import triton
import triton.language as tl

from texfilters._triton.images import border_index, is_inside
from texfilters._triton.pixel_math import gaussian

ROWS = tl.constexpr(8)  # that a lane works on, below one another: they share the sums along the rows of their windows


@triton.jit
def window_sums(
    image, stride_y, stride_x, x, y, H, W, radius,
    weights,  # "ones": nothing; "table": the address of the middle one; "gaussian": `gaussian_scale`
    WEIGHTS: tl.constexpr, BORDER: tl.constexpr, FAR: tl.constexpr, dtype: tl.constexpr,
):  # fmt: skip
    """For the ROWS pixels from (y, x) on downward. FAR where radius + ROWS exceeds the image's height or width."""
    x, y = tl.minimum(x, W - 1), tl.minimum(y, H - 1)
    zero = tl.zeros_like(x).to(dtype)
    sums = ()
    for _ in tl.static_range(ROWS):
        sums += (zero,)
    for j in range(-radius, radius + ROWS):
        row = image + border_index(y + j, H, BORDER, FAR) * stride_y
        sum_of_row = zero
        for i in range(-radius, radius + 1):
            place = row + border_index(x + i, W, BORDER, FAR) * stride_x
            if BORDER == "constant":
                u = tl.load(place, mask=is_inside(y + j, H) & is_inside(x + i, W), other=0).to(dtype)
            else:
                u = tl.load(place).to(dtype)
            sum_of_row = _added(sum_of_row, u, weights, i, WEIGHTS)
        new = ()
        for k in tl.static_range(ROWS):
            # A row beyond the window must not count, and would if it held a NaN and the weight 0.
            i = tl.minimum(tl.maximum(j - k, -radius), radius)
            new += (tl.where(i == j - k, _added(sums[k], sum_of_row, weights, i, WEIGHTS), sums[k]),)
        sums = new
    return sums


@triton.jit
def _added(total, u, weights, i, WEIGHTS: tl.constexpr):
    if WEIGHTS == "ones":
        return total + u
    elif WEIGHTS == "table":
        return tl.fma(u, tl.load(weights + i), total)
    else:
        return tl.fma(u, gaussian(tl.cast(i * i, u.dtype) * weights * weights), total)

"""Per-pixel maths for every Triton kernel: plain functions of tiles, the same in float32 and float64."""

import math

import triton
import triton.language as tl

# conductance() takes (d * difference_scale)**2, which moves all constants out of the work on single edges:
_ROOT_LOG2E = tl.constexpr(math.sqrt(math.log2(math.e)))  # exp(-(d/kappa)**2) is exp2(-(d * _ROOT_LOG2E / kappa)**2),
_TUKEY_SCALE = tl.constexpr(2**-0.75)  # and Tukey's biweight is (_TUKEY_TOP - (d * _TUKEY_SCALE / kappa)**2)**2
_TUKEY_TOP = tl.constexpr(2**-0.5)
_ROUND_TO_INTEGER = tl.constexpr(2.0**23)  # float32 holds no fraction from here on,
_ROUND_FLOAT64 = tl.constexpr(2.0**52)  # and float64 from here

_ROOT_HALF_LOG2E = tl.constexpr(math.sqrt(math.log2(math.e) / 2))  # exp(-t**2 / 2) is exp2(-(t * this)**2)
_FINITE = tl.constexpr(1e38)  # in float32: times the distance 0 it must be 0


@triton.jit
def difference_scale(kappa, OPTION: tl.constexpr):
    """What to multiply differences by before `conductance`; NaN unless kappa > 0, since no host may have checked it."""
    if OPTION == 1:
        scale = _ROOT_LOG2E / kappa
    elif OPTION == 2:
        scale = 1.0 / kappa
    else:
        scale = _TUKEY_SCALE / kappa
    return tl.where(kappa > 0, scale, float("nan"))


@triton.jit
def conductance(square, OPTION: tl.constexpr):
    """g of a squared, scaled difference: 1 exponential, 2 rational, 3 Tukey's biweight. NaN gives NaN."""
    if OPTION == 1:
        return tl.exp2(-square)
    elif OPTION == 2:
        # 1 / (1 + square) to about two units in the last place; the division takes 20 instructions, this takes two.
        root = tl.rsqrt(1.0 + square)
        return root * root
    else:
        rest = tl.maximum(_TUKEY_TOP - square, 0.0, propagate_nan=tl.PropagateNan.ALL)
        return rest * rest


@triton.jit
def flux(difference, scale, OPTION: tl.constexpr):
    """What flows along one edge. Both its ends call this with the same difference, hence get the same bits."""
    scaled = difference * scale
    return conductance(scaled * scaled, OPTION) * difference


@triton.jit
def gaussian_scale(sigma):
    """What to multiply distances by before `gaussian`; NaN unless sigma > 0, since no host may have checked it."""
    return tl.where(sigma > 0, tl.minimum(_ROOT_HALF_LOG2E / sigma, _FINITE), float("nan"))


@triton.jit
def gaussian(square):
    """exp(-distance**2 / (2 sigma**2)) of a squared, scaled distance."""
    return tl.exp2(-square)


@triton.jit
def rounded(u):
    """To the nearest whole number, half to even; 0 <= u < 2**23."""
    if u.dtype == tl.float64:
        return (u + _ROUND_FLOAT64) - _ROUND_FLOAT64
    else:
        return (u + _ROUND_TO_INTEGER) - _ROUND_TO_INTEGER


@triton.jit
def from_compute_dtype(u, dtype: tl.constexpr):
    """To the dtype of an image; to uint8 by rounding half to even, saturated, NaN as 0."""
    if dtype == tl.uint8:
        u = tl.minimum(tl.where(u > 0, u, 0.0), 255.0)  # the comparison is false for NaN
        u = rounded(u)
    return u.to(dtype)

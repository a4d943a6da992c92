"""Gaussian blur: both axes in one launch, the weights computed where they are needed."""

import torch
import triton
import triton.language as tl
from torch import Tensor

from texfilters._triton.images import LANES, channel, filtered, offset_type, one_an_image, programs, tile
from texfilters._triton.pixel_math import from_compute_dtype, gaussian, gaussian_scale
from texfilters._triton.windows import ROWS, window_sums
from texfilters.reference import compute_dtype, gaussian_radius, largest_radius

_ARGUMENTS = [
    *("source", "source_b", "source_c", "source_y", "source_x"),
    *("output", "output_b", "output_c", "output_y", "output_x"),
    *("radius", "sigma", "C", "H", "W"),
]


@triton.jit(do_not_specialize=_ARGUMENTS, do_not_specialize_on_alignment=_ARGUMENTS)
def gaussian_kernel(
    source, source_b, source_c, source_y, source_x,
    output, output_b, output_c, output_y, output_x,
    radius, sigma,  # each [B]
    C, H, W,
    BORDER: tl.constexpr, FAR: tl.constexpr, OFFSET: tl.constexpr,
):  # fmt: skip
    x, y, plane = tile(H, W, ROWS, OFFSET)
    b, c = plane // C, plane % C
    r, sigma = tl.load(radius + b), tl.load(sigma + b)
    image = channel(source, source_b, source_c, b, c)
    source_y, source_x, output_y = source_y.to(OFFSET), source_x.to(OFFSET), output_y.to(OFFSET)
    target = channel(output, output_b, output_c, b, c) + y * output_y + x * output_x.to(OFFSET)
    if sigma == 0:
        for k in tl.static_range(ROWS):
            inside = (x < W) & (y + k < H)
            u = tl.load(image + (y + k) * source_y + x * source_x, mask=inside)
            tl.store(target + k * output_y, u, mask=inside)
    else:
        scale = gaussian_scale(sigma)
        total = 0 * scale
        for i in range(-r, r + 1):
            total += gaussian(tl.cast(i * i, scale.dtype) * scale * scale)
        sums = window_sums(image, source_y, source_x, x, y, H, W, r, scale, "gaussian", BORDER, FAR, scale.dtype)
        for k in tl.static_range(ROWS):
            result = from_compute_dtype(sums[k] / (total * total), output.dtype.element_ty)
            tl.store(target + k * output_y, result, mask=(x < W) & (y + k < H))


def gaussian_blur(
    image: Tensor,  # [..., H, W]
    sigma: Tensor,  # [] or [B]
    kernel_size: int,
    border: str,
) -> Tensor:
    """`functional.gaussian_blur` for checked arguments, on the image's device and its current stream."""

    def launch(source: Tensor, target: Tensor) -> None:
        B, C, H, W = source.shape
        radius = torch.tensor(kernel_size // 2) if kernel_size else gaussian_radius(0, sigma)
        far = radius.is_cuda or largest_radius(radius) + ROWS.value > min(H, W)
        gaussian_kernel[programs(B * C, H, W, ROWS.value)](
            source, *source.stride(),
            target, *target.stride(),
            one_an_image(radius, source, torch.int32),
            one_an_image(sigma, source, compute_dtype(source.dtype)),
            C, H, W,
            BORDER=border, FAR=far, OFFSET=offset_type(source, target),
            num_warps=LANES // 32,
            enable_fp_fusion=False,
        )  # fmt: skip

    return filtered(image, launch)

"""Gray and cartoon."""

from typing import Any

import torch
from torch import Tensor

from texfilters import reference
from texfilters._gradients._smoothing import bilateral_filter


def rgb_to_gray(grad: Tensor) -> Tensor:
    weights = torch.tensor(reference.LUMA, dtype=reference.compute_dtype(grad.dtype), device=grad.device)
    return (grad * weights[:, None, None]).to(grad.dtype)


def cartoonize(
    grad: Tensor,
    image: Tensor,
    d: int,
    sigma_color: Tensor,
    sigma_space: Tensor,
    passes: int,
    ksize: int,
    block_size: int,
    c: Tensor,
    kernels: Any,
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients with respect to image and both sigmas, through the bilateral passes; lines get none."""
    gray = kernels.median_blur(kernels.rgb_to_gray(image), ksize)
    grad = grad * kernels.adaptive_threshold(gray, block_size, c, "mean", 1.0, False)
    stages = [image]
    for _ in range(passes):
        stages.append(kernels.bilateral_filter(stages[-1], d, sigma_color, sigma_space, "reflect101"))
    d_color, d_space = torch.zeros_like(sigma_color), torch.zeros_like(sigma_space)
    while len(stages) > 1:
        output = stages.pop()
        grad, color, space = bilateral_filter(grad, stages[-1], output, d, sigma_color, sigma_space, "reflect101")
        d_color, d_space = d_color + color, d_space + space
    return reference.in_layout_of(image, grad), d_color, d_space

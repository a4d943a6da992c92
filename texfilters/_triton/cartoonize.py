"""Cartoon: a mask from three small launches, and the bilateral filter, whose last pass writes color or black.

Beyond the output it takes two gray planes, and with several bilateral passes three planes of color, of PIXELS pixels or
of one image: larger batches are worked off in groups.
"""

import torch
from torch import Tensor

from texfilters._triton.adaptive_threshold import threshold
from texfilters._triton.bilateral_filter import average
from texfilters._triton.images import filtered
from texfilters._triton.median_blur import median
from texfilters._triton.rgb_to_gray import gray

PIXELS = 2**24  # enough to keep a GPU busy


def cartoonize(
    image: Tensor,  # [..., 3, H, W]
    d: int,
    sigma_color: Tensor,  # [] or [B]
    sigma_space: Tensor,  # [] or [B]
    passes: int,
    ksize: int,
    block_size: int,
    c: Tensor,  # [] or [B]
) -> Tensor:
    """`functional.cartoonize` for checked arguments, on the image's device and its current stream."""

    def launch(source: Tensor, target: Tensor) -> None:
        images = max(1, PIXELS // (source.shape[-2] * source.shape[-1]))
        for start in range(0, len(source), images):
            group = slice(start, start + images)
            parameters = (p[group] if p.ndim else p for p in (sigma_color, sigma_space, c))
            _cartoon(source[group], target[group], d, *parameters, passes, ksize, block_size)

    return filtered(image, launch)


def _cartoon(
    source: Tensor,  # [B, 3, H, W]
    target: Tensor,  # [B, 3, H, W]
    d: int,
    sigma_color: Tensor,  # [] or [B]
    sigma_space: Tensor,  # [] or [B]
    c: Tensor,  # [] or [B]
    passes: int,
    ksize: int,
    block_size: int,
) -> None:
    B, _, H, W = source.shape
    mask, smooth = (source.new_empty(B, 1, H, W) for _ in range(2))
    gray(source, mask)
    median(mask, smooth, ksize)
    threshold(smooth, mask, block_size, c, "mean", 1.0, False)
    if passes == 0:  # sigma 0 changes nothing but what the mask hides
        passes, sigma_color = 1, torch.zeros(())
    between = torch.empty_like(target) if passes > 1 else target
    color = source
    for left in range(passes - 1, -1, -1):  # so that the last one writes into the target
        written = between if left % 2 else target
        average(color, written, d, sigma_color, sigma_space, "reflect101", None if left else mask)
        color = written

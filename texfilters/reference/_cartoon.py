"""Gray, adaptive threshold, and the cartoon made of them and the bilateral filter."""

import torch
from torch import Tensor

from texfilters.reference._border import pad
from texfilters.reference._numbers import compute_dtype, from_compute_dtype, in_layout_of, per_image, total
from texfilters.reference._smoothing import bilateral_filter, median_blur

# ITU-R BT.601, and the same in units of 2^-15 as OpenCV has it for 8 bits.
LUMA = (0.299, 0.587, 0.114)
FIXED_LUMA = (9798, 19235, 3735)


def rgb_to_gray(image: Tensor) -> Tensor:  # [..., 3, H, W] -> [..., 1, H, W]
    """Luma."""
    if image.dtype == torch.uint8:
        luma = total(weight * channel.int() for weight, channel in zip(FIXED_LUMA, image.unbind(-3), strict=True))
        luma = (luma + (1 << 14)) >> 15
    else:
        channels = image.to(compute_dtype(image.dtype)).unbind(-3)
        luma = total(weight * channel for weight, channel in zip(LUMA, channels, strict=True))
    return in_layout_of(image.narrow(-3, 0, 1), luma.unsqueeze(-3))


def adaptive_threshold(
    image: Tensor,  # [..., H, W]
    block_size: int,
    c: Tensor,  # [] or [B]
    method: str,
    max_value: float,
    invert: bool,
) -> Tensor:
    """max_value where a pixel is above the mean of its surroundings less c, else 0; inverted the other way round."""
    whole = image.dtype == torch.uint8
    u = image.to(torch.float64 if whole else compute_dtype(image.dtype))
    mean = opencv_gaussian(u, block_size) if whole and method == "gaussian" else local_mean(u, block_size, method)
    c = per_image(c.to(torch.float64), u)
    if whole:  # as OpenCV has it
        mean, c = mean.round(), (c.floor() if invert else c.ceil())
    above = u <= mean - c if invert else u > mean - c
    result = torch.where(above, u.new_tensor(max_value), 0)
    return in_layout_of(image, from_compute_dtype(result, image.dtype))


def local_mean(u: Tensor, block_size: int, method: str) -> Tensor:
    """Of the block_size x block_size window, beyond the border the nearest pixel."""
    weights = threshold_weights(block_size, method).to(u.device, u.dtype)
    padded = pad(u, block_size // 2, "replicate")
    height, width = u.shape[-2:]
    rows = total(weights[i] * padded[..., i : i + height, :] for i in range(block_size))
    mean = total(weights[i] * rows[..., i : i + width] for i in range(block_size))
    return mean / block_size**2 if method == "mean" else mean


def opencv_gaussian(u: Tensor, block_size: int) -> Tensor:
    """The weighted mean of 8 bit values as OpenCV adds it up, since a last bit can decide how the mean is rounded.

    Float32 with fused multiply-add: rows from the left to the right, columns from the middle outward in pairs. The
    product of two float32 is exact in float64, so that rounding their sum to float32 is the fused operation.
    """
    weights = threshold_weights(block_size, "gaussian").float().to(u.device, u.dtype)
    radius = block_size // 2
    height, width = u.shape[-2:]
    padded = pad(u, radius, "replicate")
    rows = _float32(weights[0] * padded[..., :width])
    for i in range(1, block_size):
        rows = _float32(weights[i] * padded[..., i : i + width] + rows)
    mean = _float32(weights[radius] * rows[..., radius : radius + height, :])
    for i in range(1, radius + 1):
        pair = _float32(rows[..., radius - i :, :][..., :height, :] + rows[..., radius + i : radius + i + height, :])
        mean = _float32(weights[radius + i] * pair + mean)
    return mean


def _float32(u: Tensor) -> Tensor:
    return u.float().double()


def threshold_weights(block_size: int, method: str) -> Tensor:
    """`[block_size]`, float64. Ones for the mean, whose sums are then exact; OpenCV's Gaussian, with its tables."""
    if method == "mean":
        return torch.ones(block_size, dtype=torch.float64)
    if block_size in OPENCV_GAUSSIANS:
        return torch.tensor(OPENCV_GAUSSIANS[block_size], dtype=torch.float64) / 256
    sigma = 0.15 * block_size + 0.35
    i = torch.arange(block_size, dtype=torch.float64) - block_size // 2
    weights = torch.exp(-0.5 * (i / sigma) ** 2)
    return weights / weights.sum()


OPENCV_GAUSSIANS = {
    1: (256,),
    3: (64, 128, 64),
    5: (16, 64, 96, 64, 16),
    7: (8, 28, 56, 72, 56, 28, 8),
    9: (4, 13, 30, 51, 60, 51, 30, 13, 4),
}


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
    """Flat colors by the bilateral filter, black where the adaptive threshold of the smoothed gray finds an edge."""
    color = image
    for _ in range(passes):
        color = bilateral_filter(color, d, sigma_color, sigma_space, "reflect101")
    return in_layout_of(image, torch.where(cartoon_mask(image, ksize, block_size, c), color, 0))


def cartoon_mask(image: Tensor, ksize: int, block_size: int, c: Tensor) -> Tensor:
    """Where the color stays: `[..., 1, H, W]`, bool."""
    gray = median_blur(rgb_to_gray(image), ksize)
    return adaptive_threshold(gray, block_size, c, "mean", 1.0, False) > 0

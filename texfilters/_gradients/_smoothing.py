"""Bilateral filter, Gaussian blur and median."""

import torch
from torch import Tensor

from texfilters import reference


def bilateral_filter(
    grad: Tensor, image: Tensor, output: Tensor, d: int, sigma_color: Tensor, sigma_space: Tensor, border: str
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients with respect to image and both sigmas, one neighbor after the other: a few images of memory.

    With out = sum w p / sum w, a neighbor p receives w g / sum w, and its weight w the sum over the channels of
    g (p - out) / sum w, which goes on to the distance in color, with its sign to p and to the pixel itself, and to the
    sigmas.
    """
    u = image.to(reference.compute_dtype(image.dtype))
    g, out = grad.to(u.dtype), output.to(u.dtype)
    radius = reference.bilateral_radius(d, sigma_space)
    most = reference.largest_radius(radius)
    untouched = reference.per_image((sigma_color == 0) | (sigma_space.to(sigma_color.device) == 0), u)
    padded = reference.pad(u, most, border)

    def neighbor_at(dy: int, dx: int) -> Tensor:
        return reference.within(radius, dy, dx, reference.shifted(padded, dy, dx, most), u)

    total = torch.zeros_like(u[..., :1, :, :] if u.ndim > 2 else u)
    for dy, dx in reference.disk(most):
        total += reference.bilateral_weight(u, neighbor_at(dy, dx), dy, dx, radius, sigma_color, sigma_space)

    g = torch.where(untouched, 0, g / total)
    k_color = reference.positive(reference.per_image(reference.nonnegative_or_nan(sigma_color), u))
    d_padded, d_center = torch.zeros_like(padded), torch.zeros_like(u)
    d_color = torch.zeros_like(sigma_color, dtype=torch.float64)
    d_space = torch.zeros_like(sigma_space, dtype=torch.float64)
    for dy, dx in reference.disk(most):
        neighbor = neighbor_at(dy, dx)
        w = reference.bilateral_weight(u, neighbor, dy, dx, radius, sigma_color, sigma_space)
        distance = reference.color_distance(u, neighbor)
        through_w = g * (neighbor - out)
        through_w = (through_w.sum(-3, keepdim=True) if u.ndim > 2 else through_w) * w
        nothing = untouched | (through_w == 0)  # which times the inverse of a tiny sigma could be NaN
        through_distance = torch.where(nothing, 0, -through_w * (distance / k_color) / k_color)
        to_neighbor = through_distance * (neighbor - u).sign()
        reference.shifted(d_padded, dy, dx, most).add_(g * w + to_neighbor)
        d_center -= to_neighbor
        d_color += _sum_for(sigma_color, torch.where(nothing, 0, -through_distance * distance / k_color))
        in_space = (dy**2 + dx**2) / reference.per_image(sigma_space.double(), through_w.double()) ** 3
        d_space += _sum_for(sigma_space, torch.where(nothing, 0, through_w * in_space))
    d_image = reference.unpad(d_padded, u, border) + d_center
    d_image = torch.where(untouched, grad.to(u.dtype), d_image)
    return (
        reference.in_layout_of(image, d_image),
        reference.in_layout_of(sigma_color, d_color),
        reference.in_layout_of(sigma_space, d_space),
    )


def gaussian_blur(grad: Tensor, image: Tensor, sigma: Tensor, kernel_size: int, border: str) -> tuple[Tensor, Tensor]:
    """The gradients with respect to image and sigma.

    The one axis after the other, as forward. A weight w_i of the sum 1 changes with sigma by w_i (i^2 - m) / sigma^3,
    where m is the weighted mean of i^2.
    """
    u = image.to(reference.compute_dtype(image.dtype))
    untouched = reference.per_image(sigma == 0, u)
    g = torch.where(untouched, 0, grad.to(u.dtype))
    radius = reference.gaussian_radius(kernel_size, sigma)
    most = reference.largest_radius(radius)
    weights = reference.gaussian_weights(sigma, radius)
    i = torch.arange(-most, most + 1, device=sigma.device)
    mean = (weights * i**2).sum(-1, keepdim=True)
    scale = sigma.double().clamp(min=1e-3)  # so narrow that all weights but the middle one are 0
    slopes = weights * (i**2 - mean) / scale[..., None] ** 3

    padded = reference.pad(u, most, border)
    height, width = u.shape[-2:]
    rows = torch.zeros_like(padded[..., :height, :])
    for k in range(2 * most + 1):
        rows += _at(weights, k, u) * padded[..., k : k + height, :]
    d_rows, d_padded = torch.zeros_like(rows), torch.zeros_like(padded)
    d_sigma = torch.zeros_like(sigma, dtype=torch.float64)
    for k in range(2 * most + 1):
        d_rows[..., k : k + width] += _at(weights, k, u) * g
        d_sigma += slopes[..., k] * _sum_for(sigma, g * rows[..., k : k + width])
    for k in range(2 * most + 1):
        d_padded[..., k : k + height, :] += _at(weights, k, u) * d_rows
        d_sigma += slopes[..., k] * _sum_for(sigma, d_rows * padded[..., k : k + height, :])
    d_image = torch.where(untouched, grad.to(u.dtype), reference.unpad(d_padded, u, border))
    return reference.in_layout_of(image, d_image), reference.in_layout_of(sigma, torch.where(sigma == 0, 0, d_sigma))


def _at(weights: Tensor, k: int, u: Tensor) -> Tensor:
    return reference.per_image(weights[..., k], u)


def median_blur(grad: Tensor, image: Tensor, output: Tensor, ksize: int) -> Tensor:
    """To the first pixel of the window, row by row, that has the median's value."""
    radius = ksize // 2
    padded = reference.pad(image, radius, "replicate")
    d_padded = torch.zeros(padded.shape, dtype=reference.compute_dtype(image.dtype), device=image.device)
    waiting = torch.ones_like(output, dtype=torch.bool)
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            neighbor = reference.shifted(padded, dy, dx, radius)
            found = waiting & ((neighbor == output) | (neighbor.isnan() & output.isnan()))
            reference.shifted(d_padded, dy, dx, radius).add_(torch.where(found, grad, 0))
            waiting &= ~found
    return reference.in_layout_of(image, reference.unpad(d_padded, image, "replicate"))


def _sum_for(parameter: Tensor, values: Tensor) -> Tensor:
    """Over all pixels, or over those of each image."""
    total = values.flatten(1).sum(1, dtype=torch.float64) if parameter.ndim else values.sum(dtype=torch.float64)
    return total.to(parameter.device)

"""Bilateral filter, Gaussian blur and median."""

import torch
from torch import Tensor

from texfilters.reference._border import pad, shifted
from texfilters.reference._numbers import (
    compute_dtype,
    from_compute_dtype,
    in_layout_of,
    nonnegative_or_nan,
    per_image,
    total,
)


def bilateral_filter(
    image: Tensor,  # [..., C, H, W] or [H, W]
    d: int,
    sigma_color: Tensor,  # [] or [B]
    sigma_space: Tensor,  # [] or [B]
    border: str,
) -> Tensor:
    """Tomasi and Manduchi 1998 with OpenCV's window and color distance; see `functional.bilateral_filter`."""
    u = image.to(compute_dtype(image.dtype))
    radius = bilateral_radius(d, sigma_space)
    padded = pad(u, largest_radius(radius), border)
    sums, weights = torch.zeros_like(u), torch.zeros_like(u[..., :1, :, :] if u.ndim > 2 else u)
    for dy, dx in disk(largest_radius(radius)):
        neighbor = within(radius, dy, dx, shifted(padded, dy, dx, largest_radius(radius)), u)
        w = bilateral_weight(u, neighbor, dy, dx, radius, sigma_color, sigma_space)
        sums += w * neighbor
        weights += w
    untouched = per_image((sigma_color == 0) | (sigma_space.to(sigma_color.device) == 0), u)
    result = torch.where(untouched, u, sums / weights)
    return in_layout_of(image, from_compute_dtype(result, image.dtype))


def bilateral_weight(
    u: Tensor, neighbor: Tensor, dy: int, dx: int, radius: Tensor, sigma_color: Tensor, sigma_space: Tensor
) -> Tensor:
    """Of one neighbor, for every pixel: `[..., 1, H, W]`, or `[H, W]`."""
    distance = color_distance(u, neighbor)
    in_color = distance / positive(per_image(nonnegative_or_nan(sigma_color), u))
    in_space = (dy**2 + dx**2) ** 0.5 / positive(per_image(nonnegative_or_nan(sigma_space), u))
    inside = per_image(dy**2 + dx**2 <= radius**2, u)
    return torch.where(inside, torch.exp(-0.5 * (in_color**2 + in_space**2)), 0)


def within(radius: Tensor, dy: int, dx: int, neighbor: Tensor, u: Tensor) -> Tensor:
    """The neighbors; for images whose window ends before them something harmless: 0 times infinity would be NaN."""
    return torch.where(per_image(dy**2 + dx**2 <= radius**2, u), neighbor, u)


def color_distance(u: Tensor, neighbor: Tensor) -> Tensor:
    """L1 over the channels."""
    distance = (neighbor - u).abs()
    return distance.sum(-3, keepdim=True) if u.ndim > 2 else distance


def bilateral_radius(d: int, sigma_space: Tensor) -> Tensor:
    """int64 of sigma_space's shape: half of d, or where d <= 0, 1.5 sigma_space; at least 1."""
    if d > 0:
        return torch.full(sigma_space.shape, max(1, d // 2), device=sigma_space.device)
    return radius_of(1.5 * sigma_space.double()).clamp(min=1)


def gaussian_blur(
    image: Tensor,  # [..., H, W]
    sigma: Tensor,  # [] or [B]
    kernel_size: int,
    border: str,
) -> Tensor:
    """A sampled Gaussian, one axis after the other; kernel_size 0 is that of each sigma."""
    u = image.to(compute_dtype(image.dtype))
    radius = gaussian_radius(kernel_size, sigma)
    most = largest_radius(radius)
    weights = gaussian_weights(sigma, radius).to(u.device, u.dtype)  # [2 * most + 1] or [B, 2 * most + 1]

    def weighted(i: int, shifted_u: Tensor) -> Tensor:
        inside = per_image(abs(i - most) <= radius, u)  # beyond an image's own window 0 times infinity would be NaN
        return torch.where(inside, per_image(weights[..., i], u) * shifted_u, 0)

    blurred = pad(u, most, border)
    rows, columns = blurred.shape[-2] - 2 * most, blurred.shape[-1] - 2 * most
    blurred = total(weighted(i, blurred[..., i : i + rows, :]) for i in range(2 * most + 1))
    blurred = total(weighted(i, blurred[..., i : i + columns]) for i in range(2 * most + 1))
    result = torch.where(per_image(sigma == 0, u), u, blurred)
    return in_layout_of(image, from_compute_dtype(result, image.dtype))


def gaussian_radius(kernel_size: int, sigma: Tensor) -> Tensor:
    """int64 of sigma's shape: that of the kernel, or for kernel_size 0 the whole number above 3 sigma."""
    if kernel_size:
        return torch.full(sigma.shape, kernel_size // 2, device=sigma.device)
    return radius_of((3 * sigma.detach().double()).ceil())


def gaussian_weights(sigma: Tensor, radius: Tensor) -> Tensor:
    """`exp(-i^2 / (2 sigma^2))` for |i| <= radius, with the sum 1: `[..., 2 * the largest radius + 1]`, float64."""
    i = torch.arange(-largest_radius(radius), largest_radius(radius) + 1, device=sigma.device)
    scale = positive(nonnegative_or_nan(sigma.double()))[..., None]
    weights = torch.where(i.abs() <= radius[..., None], torch.exp(-0.5 * (i / scale) ** 2), 0)
    return weights / weights.sum(-1, keepdim=True)


def median_blur(image: Tensor, ksize: int) -> Tensor:
    """The median of the ksize x ksize window, beyond the border the nearest pixel; NaN where the window holds one."""
    u = image if image.dtype == torch.uint8 else image.to(compute_dtype(image.dtype))
    padded = pad(u, ksize // 2, "replicate")
    if not image.numel():
        return image.clone()
    rows = []
    for y in range(image.shape[-2]):  # row by row, since the windows of an image take ksize^2 times its memory
        windows = padded[..., y : y + ksize, :].unfold(-1, ksize, 1)  # [..., ksize, W, ksize]
        rows.append(windows.movedim(-3, -2).flatten(-2).median(-1).values)
    return in_layout_of(image, torch.stack(rows, -2))


def disk(radius: int) -> list[tuple[int, int]]:
    """The (dy, dx) of a round window, row by row."""
    reach = range(-radius, radius + 1)
    return [(dy, dx) for dy in reach for dx in reach if dy**2 + dx**2 <= radius**2]


def radius_of(value: Tensor) -> Tensor:
    """Rounded half to even; what only a device knows is kept within bounds."""
    return value.nan_to_num(0).round().clamp(0, LARGEST_RADIUS).long()


def largest_radius(radius: Tensor) -> int:
    return int(radius.max()) if radius.numel() else 0


def positive(sigma: Tensor) -> Tensor:
    """For division. Sigma 0, for which an image stays as it is, and what is 0 in the image's dtype come close to it."""
    return sigma.clamp(min=torch.finfo(sigma.dtype).tiny)


LARGEST_RADIUS = 2**15 - 1

"""Anisotropic diffusion."""

import torch
from torch import Tensor
from torch.nn.functional import pad

from texfilters.reference._numbers import compute_dtype, from_compute_dtype, per_image, positive_or_nan


def anisotropic_diffusion(
    image: Tensor,  # [..., H, W], ndim=3: [..., D, H, W]
    niter: Tensor,  # [] or [B]
    kappa: Tensor,  # [] or [B]
    gamma: Tensor,  # [] or [B]
    option: int,
    coupling: str,
    spacing: list[float],  # [ndim]
    ndim: int,
) -> Tensor:
    """Perona and Malik 1990, conductances and discretization as in MedPy; see `functional.anisotropic_diffusion`."""
    u = image.to(compute_dtype(image.dtype), copy=True)
    for t in range(largest(niter)):
        u = torch.where(per_image(niter, u) > t, diffusion_step(u, kappa, gamma, option, coupling, spacing), u)
    return from_compute_dtype(u, image.dtype)


def diffusion_step(u: Tensor, kappa: Tensor, gamma: Tensor, option: int, coupling: str, spacing: list[float]) -> Tensor:
    """One explicit step: `u + gamma * sum_i (F_i[x] - F_i[x - e_i])`, all axes from the same old u."""
    ndim = len(spacing)
    kappa, gamma = positive_or_nan(per_image(kappa, u)), per_image(positive_or_nan(gamma), u)
    divergence = torch.zeros_like(u)
    for i, s in enumerate(spacing):
        axis = i - ndim
        d = u.diff(dim=axis)  # the edges of the grid along this axis; none of them leaves the image
        flux = conductance(squared_ratio(d, kappa, coupling, ndim), option) * d / s
        last = [0, 0] * (-1 - axis)  # F.pad counts the axes from the last one
        divergence = divergence + pad(flux, [*last, 0, 1]) - pad(flux, [*last, 1, 0])
    return u + gamma * divergence


def squared_ratio(d: Tensor, kappa: Tensor, coupling: str, ndim: int) -> Tensor:
    """q = (d / kappa)^2, or with coupled channels its sum over them."""
    q = (d / kappa).square()
    return q.sum(dim=-ndim - 1, keepdim=True) if coupling == "l2" and d.ndim > ndim else q


def conductance(q: Tensor, option: int) -> Tensor:
    """g of q: 1 exponential and 2 rational (Perona and Malik 1990), 3 Tukey's biweight (Black et al. 1998)."""
    if option == 1:
        return torch.exp(-q)
    if option == 2:
        return 1 / (1 + q)
    return 0.5 * (1 - q / 2).clamp(min=0) ** 2


def largest(niter: Tensor) -> int:
    """The number of iterations that the longest sample takes; 0 for an empty batch."""
    return max(0, int(niter.max())) if niter.numel() else 0

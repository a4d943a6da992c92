"""Anisotropic diffusion."""

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

from texfilters import reference


def anisotropic_diffusion(
    grad: Tensor,
    image: Tensor,
    niter: Tensor,
    kappa: Tensor,
    gamma: Tensor,
    option: int,
    coupling: str,
    spacing: list[float],
) -> tuple[Tensor, Tensor, Tensor]:
    """The gradients with respect to image, kappa and gamma, by replaying the reference's steps.

    Keeps a state every ceil(sqrt(niter)) steps and recomputes those in between, so that memory grows with the square
    root of niter. Images that have taken their steps are left out, not masked: nothing of them reaches the others.
    """
    steps = reference.largest(niter)
    stride = max(1, math.ceil(math.sqrt(steps)))
    law = (option, coupling, spacing)
    u = image.to(reference.compute_dtype(image.dtype))
    grad = grad.to(u.dtype, copy=True)
    d_kappa, d_gamma = torch.zeros_like(kappa, dtype=torch.float64), torch.zeros_like(gamma, dtype=torch.float64)

    def active(t: int) -> Tensor | slice:
        return (niter > t).nonzero().squeeze(1) if niter.ndim else slice(None)

    def step(t: int, u: Tensor) -> Tensor:
        rows = _on(u.device, active(t))
        stepped = u.clone()
        stepped[rows] = reference.diffusion_step(u[rows], _of(kappa, rows), _of(gamma, rows), *law)
        return stepped

    checkpoints = []
    for t in range(steps):
        if t % stride == 0:
            checkpoints.append((t, u))
        if t < (steps - 1) // stride * stride:  # the last segment is recomputed below anyway
            u = step(t, u)

    while checkpoints:
        start, u = checkpoints.pop()
        states = [u]
        for t in range(start, min(start + stride, steps) - 1):
            states.append(step(t, states[-1]))
        while states:
            u = states.pop()
            rows = _on(u.device, active(start + len(states)))
            grad[rows], dk, dg = _pull_back(grad[rows], u[rows], _of(kappa, rows), _of(gamma, rows), *law)
            for total, part in ((d_kappa, dk), (d_gamma, dg)):
                total[_on(total.device, rows) if total.ndim else ...] += part.to(total.device)
    # In the strides that the op's fake promises, whatever those of the incoming gradient were.
    return (
        torch.empty_like(image).copy_(grad),
        torch.empty_like(kappa).copy_(d_kappa),
        torch.empty_like(gamma).copy_(d_gamma),
    )


def _on(device: torch.device, rows: Tensor | slice) -> Tensor | slice:
    """Parameters may live on the CPU and the image elsewhere; an index must be where it is used."""
    return rows.to(device) if isinstance(rows, Tensor) else rows


def _of(parameter: Tensor, rows: Tensor | slice) -> Tensor:
    return parameter[_on(parameter.device, rows)] if parameter.ndim else parameter


def _pull_back(
    v: Tensor, u: Tensor, kappa: Tensor, gamma: Tensor, option: int, coupling: str, spacing: list[float]
) -> tuple[Tensor, Tensor, Tensor]:
    """The adjoint of `reference.diffusion_step` at u: from the gradient v of its result, those of u, kappa and gamma.

    With F = g(q) d / s and q = |d|^2 / kappa^2, an edge receives w = gamma (v[x] - v[x + e]) / s. It hands g w to its
    own difference d, and through q, on which all coupled channels depend, the sum of w d to d and kappa.
    """
    ndim = len(spacing)
    k = reference.positive_or_nan(reference.per_image(kappa, u))
    step = reference.per_image(reference.positive_or_nan(gamma), u)
    d_u = v
    d_kappa, d_gamma = torch.zeros((), device=u.device), torch.zeros((), device=u.device)
    for i, s in enumerate(spacing):
        axis = i - ndim
        d = u.diff(dim=axis)
        q = reference.squared_ratio(d, k, coupling, ndim).clamp(max=1e30)  # keeps 0 * inf out of the products below
        g = reference.conductance(q, option)
        w = -step * v.diff(dim=axis) / s
        wd = w * d
        through_q = (wd.sum(dim=-ndim - 1, keepdim=True) if q.shape != d.shape else wd) * _slope(q, g, option)
        d_d = w * g + through_q * (d / k) * (2 / k)
        last = [0, 0] * (-1 - axis)
        d_u = d_u + pad(d_d, [*last, 1, 0]) - pad(d_d, [*last, 0, 1])
        d_kappa = d_kappa + _sum_for(kappa, through_q * q * (-2 / k))
        d_gamma = d_gamma + _sum_for(gamma, wd * g / step)
    return d_u, d_kappa, d_gamma


def _slope(q: Tensor, g: Tensor, option: int) -> Tensor:
    """The derivative of `reference.conductance` by q."""
    if option == 1:
        return -g
    if option == 2:
        return -(g**2)
    return -0.5 * (1 - q / 2).clamp(min=0)


def _sum_for(parameter: Tensor, edges: Tensor) -> Tensor:
    """Over all edges, or over those of each image."""
    return edges.flatten(1).sum(1, dtype=torch.float64) if parameter.ndim else edges.sum(dtype=torch.float64)

"""Vector-Jacobian products by replaying the reference's steps: one implementation for every backend and device."""

import functools
import math

import torch
from torch import Tensor

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
    """The gradients with respect to image, kappa and gamma.

    Keeps a state every ceil(sqrt(niter)) steps and recomputes those in between, so that memory grows with the square
    root of niter.
    """
    u = image.to(reference.compute_dtype(image.dtype))
    steps = reference.largest(niter)
    stride = max(1, math.ceil(math.sqrt(steps)))
    mask = reference.per_image(niter, u)

    def step(t, u, kappa, gamma):
        return torch.where(mask > t, reference.diffusion_step(u, kappa, gamma, option, coupling, spacing), u)

    checkpoints = []
    for t in range(steps):
        if t % stride == 0:
            checkpoints.append((t, u))
        if t < (steps - 1) // stride * stride:  # the last segment is recomputed below anyway
            u = step(t, u, kappa, gamma)

    grad = grad.to(u.dtype)
    d_kappa, d_gamma = torch.zeros_like(kappa, dtype=torch.float64), torch.zeros_like(gamma, dtype=torch.float64)
    while checkpoints:
        start, u = checkpoints.pop()
        states = [u]
        for t in range(start, min(start + stride, steps) - 1):
            states.append(step(t, states[-1], kappa, gamma))
        while states:
            t = start + len(states) - 1
            pull_back = torch.func.vjp(functools.partial(step, t), states.pop(), kappa, gamma)[1]
            grad, dk, dg = pull_back(grad)
            d_kappa += dk
            d_gamma += dg
    # An op's outputs may not alias its inputs, which they would after zero steps.
    return grad.to(image.dtype, copy=True), d_kappa.to(kappa.dtype), d_gamma.to(gamma.dtype)

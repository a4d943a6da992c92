"""torch.library ops: schema, implementation, fake, gradient. The only file that registers.

`backend` is resolved before the call, so that an op is one attribute look-up away from its kernel.
"""

import torch
from torch import Tensor

from texfilters import _backends, _check, _gradients


@torch.library.custom_op("texfilters::anisotropic_diffusion", mutates_args=())
def anisotropic_diffusion(
    image: Tensor,
    niter: Tensor,
    kappa: Tensor,
    gamma: Tensor,
    option: int,
    coupling: str,
    spacing: list[float],
    ndim: int,
    backend: str,
) -> Tensor:
    _check.cpu_values(niter, kappa, gamma, spacing)
    kernel = _backends.namespace(backend).anisotropic_diffusion
    return kernel(image, niter, kappa, gamma, option, coupling, spacing, ndim)


@anisotropic_diffusion.register_fake
def _(image, niter, kappa, gamma, option, coupling, spacing, ndim, backend):
    return torch.empty_like(image)


@torch.library.custom_op("texfilters::anisotropic_diffusion_backward", mutates_args=())
def anisotropic_diffusion_backward(
    grad: Tensor,
    image: Tensor,
    niter: Tensor,
    kappa: Tensor,
    gamma: Tensor,
    option: int,
    coupling: str,
    spacing: list[float],
) -> tuple[Tensor, Tensor, Tensor]:
    return _gradients.anisotropic_diffusion(grad, image, niter, kappa, gamma, option, coupling, spacing)


@anisotropic_diffusion_backward.register_fake
def _(grad, image, niter, kappa, gamma, option, coupling, spacing):
    return torch.empty_like(image), torch.empty_like(kappa), torch.empty_like(gamma)


def _keep(ctx, inputs, output):
    image, niter, kappa, gamma, ctx.option, ctx.coupling, ctx.spacing, _, _ = inputs
    ctx.save_for_backward(image, niter, kappa, gamma)


def _backward(ctx, grad):
    image, niter, kappa, gamma = ctx.saved_tensors
    d_image, d_kappa, d_gamma = anisotropic_diffusion_backward(
        grad, image, niter, kappa, gamma, ctx.option, ctx.coupling, ctx.spacing
    )
    return d_image, None, d_kappa, d_gamma, None, None, None, None, None


def _no_second_derivative(ctx, *grads):
    raise RuntimeError("anisotropic_diffusion is differentiable once; a second derivative is not available")


anisotropic_diffusion.register_autograd(_backward, setup_context=_keep)
anisotropic_diffusion_backward.register_autograd(_no_second_derivative)

"""torch.library ops: schema, implementation, fake, gradient. The only file that registers.

`backend` is resolved before the call, so that an op is one attribute look-up away from its kernel.
"""

import functools
import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from texfilters import _backends, _check, _gradients


def _op(function: Callable[..., Any]) -> Any:
    """As torch.library.custom_op, which on its first call imports torch._dynamo: a second and more in every process."""
    name = f"texfilters::{function.__name__}"
    untraced = functools.cache(lambda: torch.compiler.disable(function))

    @functools.wraps(function)
    def kernel(*arguments: Any) -> Any:
        return (untraced() if "torch._dynamo" in sys.modules else function)(*arguments)

    schema = torch.library.infer_schema(function, mutates_args=())
    torch.library.define(name, schema, tags=torch.Tag.pt2_compliant_tag)
    torch.library.impl(name, "default", kernel)
    return getattr(torch.ops.texfilters, function.__name__).default


@_op
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
    _check.diffusion_values(niter, kappa, gamma, spacing)
    kernel = _backends.namespace(backend).anisotropic_diffusion
    return kernel(image, niter, kappa, gamma, option, coupling, spacing, ndim)


@torch.library.register_fake(anisotropic_diffusion)
def _(image, niter, kappa, gamma, option, coupling, spacing, ndim, backend):
    return torch.empty_like(image)


@_op
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


@torch.library.register_fake(anisotropic_diffusion_backward)
def _(grad, image, niter, kappa, gamma, option, coupling, spacing):
    return torch.empty_like(image), torch.empty_like(kappa), torch.empty_like(gamma)


def _keep_diffusion(ctx, inputs, output):
    image, niter, kappa, gamma, ctx.option, ctx.coupling, ctx.spacing, _, _ = inputs
    ctx.save_for_backward(image, niter, kappa, gamma)


def _diffusion_backward(ctx, grad):
    image, niter, kappa, gamma = ctx.saved_tensors
    d_image, d_kappa, d_gamma = anisotropic_diffusion_backward(
        grad, image, niter, kappa, gamma, ctx.option, ctx.coupling, ctx.spacing
    )
    return d_image, None, d_kappa, d_gamma, None, None, None, None, None


torch.library.register_autograd(anisotropic_diffusion, _diffusion_backward, setup_context=_keep_diffusion)


@_op
def bilateral_filter(
    image: Tensor, d: int, sigma_color: Tensor, sigma_space: Tensor, border: str, backend: str
) -> Tensor:
    _check.bilateral_values(d, sigma_color, sigma_space)
    return _backends.namespace(backend).bilateral_filter(image, d, sigma_color, sigma_space, border)


@torch.library.register_fake(bilateral_filter)
def _(image, d, sigma_color, sigma_space, border, backend):
    return torch.empty_like(image)


@_op
def bilateral_filter_backward(
    grad: Tensor, image: Tensor, output: Tensor, d: int, sigma_color: Tensor, sigma_space: Tensor, border: str
) -> tuple[Tensor, Tensor, Tensor]:
    return _gradients.bilateral_filter(grad, image, output, d, sigma_color, sigma_space, border)


@torch.library.register_fake(bilateral_filter_backward)
def _(grad, image, output, d, sigma_color, sigma_space, border):
    return torch.empty_like(image), torch.empty_like(sigma_color), torch.empty_like(sigma_space)


def _keep_bilateral(ctx, inputs, output):
    image, ctx.d, sigma_color, sigma_space, ctx.border, _ = inputs
    ctx.save_for_backward(image, output, sigma_color, sigma_space)


def _bilateral_backward(ctx, grad):
    image, output, sigma_color, sigma_space = ctx.saved_tensors
    d_image, d_color, d_space = bilateral_filter_backward(
        grad, image, output, ctx.d, sigma_color, sigma_space, ctx.border
    )
    return d_image, None, d_color, d_space, None, None


torch.library.register_autograd(bilateral_filter, _bilateral_backward, setup_context=_keep_bilateral)


@_op
def gaussian_blur(image: Tensor, sigma: Tensor, kernel_size: int, border: str, backend: str) -> Tensor:
    _check.gaussian_values(sigma, kernel_size)
    return _backends.namespace(backend).gaussian_blur(image, sigma, kernel_size, border)


@torch.library.register_fake(gaussian_blur)
def _(image, sigma, kernel_size, border, backend):
    return torch.empty_like(image)


@_op
def gaussian_blur_backward(
    grad: Tensor, image: Tensor, sigma: Tensor, kernel_size: int, border: str
) -> tuple[Tensor, Tensor]:
    return _gradients.gaussian_blur(grad, image, sigma, kernel_size, border)


@torch.library.register_fake(gaussian_blur_backward)
def _(grad, image, sigma, kernel_size, border):
    return torch.empty_like(image), torch.empty_like(sigma)


def _keep_gaussian(ctx, inputs, output):
    image, sigma, ctx.kernel_size, ctx.border, _ = inputs
    ctx.save_for_backward(image, sigma)


def _gaussian_backward(ctx, grad):
    d_image, d_sigma = gaussian_blur_backward(grad, *ctx.saved_tensors, ctx.kernel_size, ctx.border)
    return d_image, d_sigma, None, None, None


torch.library.register_autograd(gaussian_blur, _gaussian_backward, setup_context=_keep_gaussian)


@_op
def median_blur(image: Tensor, ksize: int, backend: str) -> Tensor:
    return _backends.namespace(backend).median_blur(image, ksize)


@torch.library.register_fake(median_blur)
def _(image, ksize, backend):
    return torch.empty_like(image)


@_op
def median_blur_backward(grad: Tensor, image: Tensor, output: Tensor, ksize: int) -> Tensor:
    return _gradients.median_blur(grad, image, output, ksize)


@torch.library.register_fake(median_blur_backward)
def _(grad, image, output, ksize):
    return torch.empty_like(image)


def _keep_median(ctx, inputs, output):
    image, ctx.ksize, _ = inputs
    ctx.save_for_backward(image, output)


def _median_backward(ctx, grad):
    return median_blur_backward(grad, *ctx.saved_tensors, ctx.ksize), None, None


torch.library.register_autograd(median_blur, _median_backward, setup_context=_keep_median)


@_op
def rgb_to_gray(image: Tensor, backend: str) -> Tensor:
    return _backends.namespace(backend).rgb_to_gray(image)


@torch.library.register_fake(rgb_to_gray)
def _(image, backend):
    return torch.empty_like(image.narrow(-3, 0, 1))


def _gray_backward(ctx, grad):
    return _gradients.rgb_to_gray(grad), None


torch.library.register_autograd(rgb_to_gray, _gray_backward)


@_op
def adaptive_threshold(
    image: Tensor, block_size: int, c: Tensor, method: str, max_value: float, invert: bool, backend: str
) -> Tensor:
    _check.threshold_values(c)
    return _backends.namespace(backend).adaptive_threshold(image, block_size, c, method, max_value, invert)


@torch.library.register_fake(adaptive_threshold)
def _(image, block_size, c, method, max_value, invert, backend):
    return torch.empty_like(image)


@_op
def cartoonize(
    image: Tensor,
    d: int,
    sigma_color: Tensor,
    sigma_space: Tensor,
    passes: int,
    ksize: int,
    block_size: int,
    c: Tensor,
    backend: str,
) -> Tensor:
    _check.bilateral_values(d, sigma_color, sigma_space)
    _check.threshold_values(c)
    kernel = _backends.namespace(backend).cartoonize
    return kernel(image, d, sigma_color, sigma_space, passes, ksize, block_size, c)


@torch.library.register_fake(cartoonize)
def _(image, d, sigma_color, sigma_space, passes, ksize, block_size, c, backend):
    return torch.empty_like(image)


@_op
def cartoonize_backward(
    grad: Tensor,
    image: Tensor,
    d: int,
    sigma_color: Tensor,
    sigma_space: Tensor,
    passes: int,
    ksize: int,
    block_size: int,
    c: Tensor,
    backend: str,
) -> tuple[Tensor, Tensor, Tensor]:
    kernels = _backends.namespace(backend)
    return _gradients.cartoonize(grad, image, d, sigma_color, sigma_space, passes, ksize, block_size, c, kernels)


@torch.library.register_fake(cartoonize_backward)
def _(grad, image, d, sigma_color, sigma_space, passes, ksize, block_size, c, backend):
    return torch.empty_like(image), torch.empty_like(sigma_color), torch.empty_like(sigma_space)


def _keep_cartoon(ctx, inputs, output):
    image, ctx.d, sigma_color, sigma_space, ctx.passes, ctx.ksize, ctx.block_size, c, ctx.backend = inputs
    ctx.save_for_backward(image, sigma_color, sigma_space, c)


def _cartoon_backward(ctx, grad):
    image, sigma_color, sigma_space, c = ctx.saved_tensors
    d_image, d_color, d_space = cartoonize_backward(
        grad, image, ctx.d, sigma_color, sigma_space, ctx.passes, ctx.ksize, ctx.block_size, c, ctx.backend
    )
    return d_image, None, d_color, d_space, None, None, None, None, None


torch.library.register_autograd(cartoonize, _cartoon_backward, setup_context=_keep_cartoon)


@_op
def patch_negatives(image: Tensor, patch_size: Tensor, places: Tensor, backend: str) -> Tensor:
    return _backends.namespace(backend).patch_negatives(image, patch_size, places)


@torch.library.register_fake(patch_negatives)
def _(image, patch_size, places, backend):
    return image.new_empty(image.shape[0], patch_size.shape[1], *image.shape[1:])


def _keep_patches(ctx, inputs, output):
    image, patch_size, places, _ = inputs
    ctx.save_for_backward(image, patch_size, places)


def _patches_backward(ctx, grad):
    return patch_negatives_backward(grad, *ctx.saved_tensors), None, None, None


@_op
def patch_negatives_backward(grad: Tensor, image: Tensor, patch_size: Tensor, places: Tensor) -> Tensor:
    return _gradients.patch_negatives(grad, image, patch_size, places)


@torch.library.register_fake(patch_negatives_backward)
def _(grad, image, patch_size, places):
    return torch.empty_like(image)


torch.library.register_autograd(patch_negatives, _patches_backward, setup_context=_keep_patches)


def _once(name: str, backward: torch._ops.OpOverload) -> None:
    def second_derivative(ctx, *grads):
        raise RuntimeError(f"{name} is differentiable once; a second derivative is not available")

    torch.library.register_autograd(backward, second_derivative)


_once("anisotropic_diffusion", anisotropic_diffusion_backward)
_once("bilateral_filter", bilateral_filter_backward)
_once("gaussian_blur", gaussian_blur_backward)
_once("median_blur", median_blur_backward)
_once("cartoonize", cartoonize_backward)
_once("patch_negatives", patch_negatives_backward)

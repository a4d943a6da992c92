"""Anisotropic diffusion."""

from collections.abc import Sequence

from torch import Tensor

from texfilters import _backends, _check, _ops


def anisotropic_diffusion(
    image: Tensor,
    niter: int | Tensor = 1,
    kappa: float | Tensor = 50.0,
    gamma: float | Tensor = 0.1,
    *,
    option: int = 1,
    coupling: str = "none",
    spacing: Sequence[float] | None = None,
    ndim: int = 2,
    backend: str | None = None,
) -> Tensor:
    """Smooth an image while edges stronger than `kappa` survive.

    One step adds `gamma * div(g(d) * d)` over the nearest neighbors, where d is the difference to the neighbor. No flux
    crosses the border, so the mean is kept. Every channel is diffused for itself unless `coupling` says otherwise.

    Args:
        image: `[..., H, W]`, with `ndim=3` `[..., D, H, W]`; uint8, float16, bfloat16, float32 or float64, any strides.
        niter: number of steps, >= 0; a number, or an integer tensor `[B]` for one value an image. 0 returns a copy.
        kappa: edge threshold in the units of `image` (about 20 for 0..255, 0.08 for 0..1); a number or `[B]`. > 0.
        gamma: step size, a number or `[B]`; stable, and checked, for `gamma * sum(1 / spacing) <= 1/2`: at most 1/4 in
            2-D and 1/6 in 3-D without spacing.
        option: conductance g. 1: `exp(-(d/kappa)**2)`, favors strong edges; 2: `1 / (1 + (d/kappa)**2)`, favors wide
            regions; 3: Tukey's biweight, `0.5 * (1 - d**2 / (2 kappa**2))**2` up to |d| = kappa * sqrt(2) and 0 beyond.
        coupling: `"none"`, or `"l2"` for one conductance for all channels of an edge, from d**2 summed over the
            channels (at dimension -3; with `ndim=3` at -4).
        spacing: distance between neighbors along each of the `ndim` axes, in their order; None is 1. A flux is divided
            by it once, as in MedPy.
        ndim: 2 for images, 3 for volumes.
        backend: `"native"`, `"triton"`, `"reference"`, or None for the first that is there; see `show_config()`. The
            native kernels on CUDA compute in float32; None gives a float64 image there to the reference.

    Parameter tensors are 0-d or `[B]`; `[B]` needs an image of exactly `ndim + 2` dimensions. They live on the CPU or
    on the image's device; values on a device are not read by the host: there niter < 0 counts as 0, and a kappa or
    gamma that is <= 0 or NaN gives NaN for that image.

    Returns:
        A new tensor of the shape, dtype and device of `image`. uint8 and half types are computed in float32; uint8 is
        rounded half to even. Differentiable once, in `image`, `kappa` and `gamma`, unless the image is uint8.

    Raises:
        TypeError: for an image that is no tensor or has another dtype, or a parameter of a wrong type.
        ValueError: for a value out of its range or a parameter tensor of a wrong shape or device.
        RuntimeError: if the backend asked for cannot take the image, or none is for its device; under torch.func and
            for forward-mode and second derivatives.

    Source: Perona and Malik 1990, doi:10.1109/34.56205; option 3 Black et al. 1998, doi:10.1109/83.661192; discretized
    as MedPy 0.5 does, except that MedPy, which takes every axis as spatial, would mix the channels of a color image.
    """
    ndim = _check.choice("ndim", ndim, (2, 3))
    _check.image(image, ndim)
    _check.plain_autograd("anisotropic_diffusion", image, kappa, gamma)
    option = _check.choice("option", option, (1, 2, 3))
    coupling = _check.choice("coupling", coupling, ("none", "l2"))
    distances = _check.spacing(spacing, ndim)
    return _ops.anisotropic_diffusion(
        image,
        _check.niter(niter, image, ndim),
        _check.kappa(kappa, image, ndim),
        _check.gamma(gamma, image, distances),
        option,
        coupling,
        distances,
        ndim,
        _backends.resolve(backend, image.device.type, image.device.index, image.dtype),
    )

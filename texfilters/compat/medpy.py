"""Drop-in for `medpy.filter.smoothing.anisotropic_diffusion`: change the import line, keep the calls."""

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from texfilters import _backends, _check


def anisotropic_diffusion(
    img: ArrayLike,
    niter: int = 1,
    kappa: float = 50,
    gamma: float = 0.1,
    voxelspacing: Sequence[float] | None = None,
    option: int = 1,
) -> NDArray[np.float32]:
    """Edge-preserving diffusion of an array whose axes are all spatial, as in MedPy 0.5.

    As in MedPy, an H x W x 3 array is a volume: colors flow into each other along its last axis. For a color image
    filter each channel by itself, or use `texfilters.anisotropic_diffusion` on `[3, H, W]`.

    Args:
        img: array of 1 to 3 dimensions; computed in float32.
        niter: number of iterations, >= 0.
        kappa: edge threshold in the units of `img`, > 0.
        gamma: step size, > 0; beyond 1 / (2 * sum(1 / voxelspacing)) the scheme may diverge, which only warns.
        voxelspacing: distance between neighbors along each axis; None is 1.
        option: 1 exponential, 2 rational, 3 Tukey's biweight.

    Returns: a new float32 array of the shape of `img`.
    Raises: TypeError and ValueError for what is out of these bounds.
    Source: Perona and Malik 1990, doi:10.1109/34.56205; Black et al. 1998, doi:10.1109/83.661192.
    """
    image = torch.from_numpy(np.array(img, dtype=np.float32, order="C"))
    if not 1 <= image.ndim <= 3:
        raise ValueError(f"img must have 1 to 3 dimensions, got {image.ndim}")
    spacing = _check.spacing(voxelspacing, image.ndim, "voxelspacing")
    option = _check.choice("option", option, (1, 2, 3))
    for name, value in (("niter", niter), ("kappa", kappa), ("gamma", gamma)):
        _check.no_tensor(name, value)
    _check.positive("gamma", gamma, finite=True)
    if gamma > (limit := _check.gamma_limit(spacing)):
        warnings.warn(f"gamma above {limit:.6g} may make {image.ndim}-D diffusion diverge, got {gamma}", stacklevel=2)

    ndim = max(2, image.ndim)  # a line is an image of one row
    planes = image.reshape(1, -1) if image.ndim == 1 else image
    kernel = _backends.namespace(_backends.resolve(None, "cpu")).anisotropic_diffusion
    result = kernel(
        planes,
        _check.niter(niter, planes, ndim),
        _check.kappa(kappa, planes, ndim),
        torch.scalar_tensor(gamma, dtype=torch.float64, device="cpu"),
        option,
        "none",
        [1.0] * (ndim - len(spacing)) + spacing,
        ndim,
    )
    return result.reshape(image.shape).numpy()

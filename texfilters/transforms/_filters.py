"""Filters that leave a sample as it is for one value of a parameter: one launch for a batch, whatever is drawn."""

from typing import Any

import torch
from torch import Tensor

from texfilters import _check
from texfilters.functional import anisotropic_diffusion, bilateral_filter, gaussian_blur
from texfilters.transforms import _draw
from texfilters.transforms._base import Draw, FilterTransform, ends, in_units_of, window_and_sigmas
from texfilters.transforms._draw import Number, Whole
from texfilters.transforms._groups import in_groups


class AnisotropicDiffusion(FilterTransform):
    """`anisotropic_diffusion` with parameters that every sample draws for itself.

    Images are tensors `[..., C, H, W]`, of which every leading index is a sample, tv_tensors, videos
    `[..., T, C, H, W]` (one draw for all T frames), or PIL images (L, LA, RGB, RGBA, CMYK; alpha stays as it is). The
    result is a new image of the same type; masks, boxes, labels and whatever else a sample holds pass.

    Args:
        niter: steps; a pair is a range, both ends included.
        kappa: edge threshold in grey levels of 0..255; floating point images are taken to lie in [0, 1], and it is
            divided by 255 for them. A pair is a range.
        gamma: step size, at most 0.25. A pair is a range.
        option, coupling: as in `anisotropic_diffusion`.
        p: probability that a sample is diffused, drawn for each of them.
        generator: where numbers are drawn, on the CPU; None is torch's own. In the workers of a DataLoader it is seeded
            anew from its seed and the worker's.
        backend: as in `anisotropic_diffusion`.

    `last_draw` has niter (0 for a sample that is left as it is), kappa in grey levels and gamma.

    Raises:
        TypeError, ValueError: for a value out of its range, as `anisotropic_diffusion`, or a range whose ends are the
            wrong way round; when called, for images of one call whose numbers of samples differ.
    """

    def __init__(
        self,
        niter: Whole = 20,
        kappa: Number = 20.0,
        gamma: Number = 0.1,
        *,
        option: int = 1,
        coupling: str = "none",
        p: float = 1.0,
        generator: torch.Generator | None = None,
        backend: str | None = None,
    ) -> None:
        super().__init__(p, generator, backend)
        self.niter = _check.span("niter", niter, _check.whole)
        self.kappa = _check.span("kappa", kappa)
        self.gamma = _check.span("gamma", gamma)
        _check.diffusion_values(ends(self.niter), ends(self.kappa), ends(self.gamma), [1.0, 1.0])
        self.option = _check.choice("option", option, (1, 2, 3))
        self.coupling = _check.choice("coupling", coupling, ("none", "l2"))

    def _draw(self, n: int, generator: torch.Generator | None) -> dict[str, Tensor]:
        niter = _draw.wholes(self.niter, n, generator, dtype=torch.int32)
        return {
            "niter": niter.masked_fill_(_draw.left_out(self.p, n, generator), 0),
            "kappa": _draw.floats(self.kappa, n, generator),
            "gamma": _draw.floats(self.gamma, n, generator),
        }

    def _filtered(self, images: Tensor, draw: Draw) -> Tensor:
        return anisotropic_diffusion(
            images,
            draw["niter"],
            in_units_of(images, draw["kappa"]),
            draw["gamma"],
            option=self.option,
            coupling=self.coupling,
            backend=self.backend,
        )


class BilateralFilter(FilterTransform):
    """`bilateral_filter` with parameters that every sample draws for itself; images as in `AnisotropicDiffusion`.

    Args:
        d: diameter of the window; a pair is a range of whole numbers from 1, both ends included, and takes one launch
            for each number that was drawn.
        sigma_color: in grey levels of 0..255, divided by 255 for floating point images; a pair is a range.
        sigma_space: in pixels; a pair is a range.
        border: as in `bilateral_filter`.
        p, generator, backend: as in `AnisotropicDiffusion`.

    `last_draw` has sigma_color in grey levels (0 for a sample that is left as it is), sigma_space and, if it is a
    range, d.

    Raises:
        TypeError, ValueError: as `AnisotropicDiffusion`.
    """

    def __init__(
        self,
        d: Whole = 9,
        sigma_color: Number = 75.0,
        sigma_space: Number = 75.0,
        *,
        border: str = "reflect101",
        p: float = 1.0,
        generator: torch.Generator | None = None,
        backend: str | None = None,
    ) -> None:
        super().__init__(p, generator, backend)
        self.d, self.sigma_color, self.sigma_space = window_and_sigmas(d, sigma_color, sigma_space)
        self.border = _check.border(border)

    def _draw(self, n: int, generator: torch.Generator | None) -> dict[str, Tensor]:
        sigma_color = _draw.floats(self.sigma_color, n, generator)
        drawn = {
            "sigma_color": sigma_color.masked_fill_(_draw.left_out(self.p, n, generator), 0),
            "sigma_space": _draw.floats(self.sigma_space, n, generator),
        }
        return drawn | ({"d": _draw.wholes(self.d, n, generator)} if isinstance(self.d, tuple) else {})

    def _filtered(self, images: Tensor, draw: Draw) -> Tensor:
        sigma_color, sigma_space = in_units_of(images, draw["sigma_color"]), draw["sigma_space"]

        def apply(some: Tensor, index: Tensor | slice, d: Any) -> Tensor:
            sigmas = sigma_color[index], sigma_space[index]
            return bilateral_filter(some, d, *sigmas, border=self.border, backend=self.backend)

        if "d" not in draw:
            return apply(images, slice(None), self.d)
        touched = (sigma_color > 0) & (sigma_space > 0)
        return in_groups(images, draw["d"].where(touched, -1), apply)


class GaussianBlur(FilterTransform):
    """`gaussian_blur` with a sigma that every sample draws for itself; images as in `AnisotropicDiffusion`.

    Args:
        sigma: in pixels; a pair is a range, as in torchvision, whose windows are of a fixed size.
        kernel_size, border: as in `gaussian_blur`.
        p, generator, backend: as in `AnisotropicDiffusion`.

    `last_draw` has sigma, 0 for a sample that is left as it is.

    Raises:
        TypeError, ValueError: as `AnisotropicDiffusion`.
    """

    def __init__(
        self,
        sigma: Number = (0.1, 2.0),
        *,
        kernel_size: int | None = None,
        border: str = "reflect101",
        p: float = 1.0,
        generator: torch.Generator | None = None,
        backend: str | None = None,
    ) -> None:
        super().__init__(p, generator, backend)
        self.sigma = _check.span("sigma", sigma)
        self.kernel_size = None if kernel_size is None else _check.window("kernel_size", kernel_size)
        _check.gaussian_values(ends(self.sigma), self.kernel_size or 0)
        self.border = _check.border(border)

    def _draw(self, n: int, generator: torch.Generator | None) -> dict[str, Tensor]:
        sigma = _draw.floats(self.sigma, n, generator)
        return {"sigma": sigma.masked_fill_(_draw.left_out(self.p, n, generator), 0)}

    def _filtered(self, images: Tensor, draw: Draw) -> Tensor:
        return gaussian_blur(
            images, draw["sigma"], kernel_size=self.kernel_size, border=self.border, backend=self.backend
        )

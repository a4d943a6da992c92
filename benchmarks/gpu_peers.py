"""Who diffuses on a GPU, each as a user would call it: image in, image of the same dtype out."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

import texfilters
from gpu_cases import Case
from texfilters import _backends, reference

KAPPA, GAMMA = 20.0, 0.1
# Of the reference, in float32 planes of an image: the state, and what a step holds beside it.
_TEMPORARIES = 14


def absence(name: str, device: str) -> str | None:
    """Why a contender cannot run there; None if it can."""
    backend = name.partition(",")[0]
    return _backends._absence(backend, device) if backend in _backends.BACKENDS else None


def contender(name: str, case: Case, device: str) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """The call that is timed, and niter of each image in it: as many images of the case as fit into memory."""
    niter = case.niter()
    backend, _, all_at_20 = name.partition(", ")
    if name.startswith("torch"):
        niter, backend = niter[: _images_that_fit(case, device)], "reference"
    if name == "torch.compile":
        return _compiled(case, device), torch.full_like(niter, 20)
    if all_at_20 or not case.mixed:
        return _texfilters(case, backend, 20), torch.full_like(niter, 20)
    return _texfilters(case, backend, niter), niter


def truth(image: Tensor, niter: Tensor, case: Case) -> Tensor:
    """The definition in float64, on the image's device."""
    return _texfilters(case, "reference", niter)(image.double())


def _texfilters(case: Case, backend: str, niter: int | Tensor) -> Callable[[Tensor], Tensor]:
    options = {"option": case.option, "coupling": case.coupling, "ndim": case.ndim, "backend": backend}
    return lambda image: texfilters.anisotropic_diffusion(image, niter, KAPPA, GAMMA, **options)


def _compiled(case: Case, device: str) -> Callable[[Tensor], Tensor]:
    """One step of the reference, compiled for the shape, and looped; the rounding compiled, too."""
    torch.compiler.reset()
    step = torch.compile(reference.diffusion_step, dynamic=False, fullgraph=True)
    finish = torch.compile(reference.from_compute_dtype, dynamic=False, fullgraph=True)
    kappa, gamma = torch.tensor(KAPPA, device=device), torch.tensor(GAMMA, device=device)

    def run(image: Tensor) -> Tensor:
        u = image.float()
        for _ in range(20):
            u = step(u, kappa, gamma, case.option, case.coupling, [1.0] * case.ndim)
        return u if u.dtype == image.dtype else finish(u, image.dtype)

    return run


def _images_that_fit(case: Case, device: str) -> int:
    if device == "cpu":
        return case.shape[0]
    free = torch.cuda.mem_get_info()[0]
    return max(1, min(case.shape[0], int(0.5 * free / (4 * _TEMPORARIES * math.prod(case.shape[1:])))))

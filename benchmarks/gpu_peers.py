"""Who diffuses on a GPU, each as a user would call it: image in, image of the same dtype out."""

import math
import statistics
from collections.abc import Callable

import torch
from torch import Tensor

import texfilters
from gpu_bounds import Rates, bounds, launched_bound, work
from gpu_cases import ERROR_BOUND, ROUNDING, Case
from gpu_job import Job, Row, images_that_fit, rounded, some
from texfilters import _backends, reference

KAPPA, GAMMA = 20.0, 0.1
# Of the reference, in float32 planes of an image: the state, and what a step holds beside it.
_TEMPORARIES = 14


def described(case: Case, name: str) -> Row:
    niter = "0 for half, else 10..20" if case.mixed and not name.endswith("all at 20") else 20
    return {
        "case": case.name,
        "peer": name,
        "function": "anisotropic_diffusion",
        "shape": list(case.shape),
        "dtype": case.dtype,
        "option": case.option,
        "coupling": case.coupling,
        "niter": niter,
        "ms": None,
        "images_per_s": None,
    }


def absence(name: str, case: Case, device: str) -> str | None:
    """Why a contender cannot run there; None if it can."""
    backend = name.partition(",")[0]
    return _backends._absence(backend, device) if backend in _backends.BACKENDS else None


def job(name: str, case: Case, device: str) -> Job:
    run, niter = contender(name, case, device)
    size = torch.empty((), dtype=getattr(torch, case.dtype)).element_size()
    todo = work(
        (len(niter), *case.shape[1:]), int(niter.sum()),
        ndim=case.ndim, option=case.option, coupling=case.coupling, element_size=size,
    )  # fmt: skip

    def extra(rates: Rates) -> Row:
        return {"a_launch_an_iteration_ms": rounded(launched_bound(todo, rates))}

    return Job(
        run,
        len(niter),
        lambda image, result: errors(case, image, result, niter),
        lambda rates: bounds(todo, rates),
        extra,
    )


def contender(name: str, case: Case, device: str) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """The call that is timed, and niter of each image in it: as many images of the case as fit into memory."""
    niter = case.niter()
    backend, _, all_at_20 = name.partition(", ")
    if name.startswith("torch"):
        bytes_each = 4 * _TEMPORARIES * math.prod(case.shape[1:])
        niter, backend = niter[: images_that_fit(case.shape[0], bytes_each, device)], "reference"
    if name == "torch.compile":
        return _compiled(case, device), torch.full_like(niter, 20)
    if all_at_20 or not case.mixed:
        return _texfilters(case, backend, 20), torch.full_like(niter, 20)
    return _texfilters(case, backend, niter), niter


def errors(case: Case, image: Tensor, result: Tensor, niter: Tensor) -> Row:
    """Against the definition in float64, in grey levels, on the first, the middle and the last image of the batch."""
    differences = [
        (result[i : i + 1].double() - truth(image[i : i + 1], niter[i : i + 1], case)).abs() for i in some(len(image))
    ]
    largest = max(d.max().item() for d in differences)
    return {
        "error_max": rounded(largest),
        "error_mean": rounded(statistics.mean(d.mean().item() for d in differences)),
        "error_bound": ROUNDING[case.dtype] + ERROR_BOUND,
        "error_ok": largest <= ROUNDING[case.dtype] + ERROR_BOUND,
    }


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

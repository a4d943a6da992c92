"""Who filters on a GPU beside the diffusion, each as its users would call it on a batch that it already holds."""

import dataclasses
import importlib.util
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

import filter_peers
from gpu_bounds import filter_bounds
from gpu_filters import FilterCase
from gpu_job import Job, Row, as_it_is, images_that_fit, rounded, some
from texfilters import _backends, reference

# Of uint8, the share of values that may lie a level off; medians, gray, thresholds and patches are exact.
DIFFERING = {"bilateral_filter": 0.001, "gaussian_blur": 0.001, "cartoonize": 0.001}
ERROR_BOUND = 0.0255  # of float32 in 0..255: 1e-4 of the range
_MODULES = {"CV-CUDA": "cvcuda", "kornia": "kornia", "cupy": "cupyx"}
_TEMPORARIES = 10  # of the reference, in planes of an image in float64
_KORNIA = 6  # in windows of every pixel, in float32

Call = Callable[[Any], Any]


def described(case: FilterCase, name: str) -> Row:
    floats = name in ("kornia", "cupy")
    return {
        "case": case.name,
        "peer": name,
        "function": case.filter.function,
        "filter": case.filter.name,
        "arguments": case.filter.arguments,
        "shape": list(case.shape),
        "dtype": "float32" if floats and case.filter.function != "median_blur" else case.dtype,
        "ms": None,
        "images_per_s": None,
    }


def absence(name: str, case: FilterCase, device: str) -> str | None:
    """Why a contender cannot run there; None if it can."""
    if name in _MODULES:
        return None if importlib.util.find_spec(_MODULES[name]) else f"{name} is not installed"
    if name not in _backends.BACKENDS:
        return None
    why = _backends._absence(name, device)
    if why is None and not hasattr(_backends.namespace(name), case.filter.function):
        why = f"{name} has no {case.filter.function}"
    return why


def job(name: str, case: FilterCase, device: str) -> Job:
    images, prepare, read = case.images, as_it_is, as_it_is
    pixels = math.prod(case.shape[1:])
    if name in _backends.BACKENDS:
        run = case.filter.bound(name)
    elif name == "torch eager":
        run = case.filter.bound("reference")
        images = images_that_fit(images, 8 * _TEMPORARIES * pixels, device)
    elif name == "torch.compile":
        run = _compiled(case)
    elif name == "Python loop":
        run = _python_loop(case)
    elif name == "kornia":
        prepare, run = Tensor.float, _kornia(case)
        images = images_that_fit(images, 4 * _KORNIA * _window(case) * pixels, device)
    elif name == "CV-CUDA":
        prepare, run, read = _to_cvcuda, _cvcuda(case), _from_cvcuda
    else:
        prepare, run, read = _to_cupy(case), _cupy(case), torch.from_dlpack
    return Job(
        run, images, lambda image, result: errors(case, name, image, result),
        lambda rates: filter_bounds(case.filter, (images, *case.shape[1:]), case.dtype, rates),
        prepare=prepare, read=read, by_torch=name not in ("CV-CUDA", "cupy"),
    )  # fmt: skip


def errors(case: FilterCase, name: str, image: Tensor, result: Tensor) -> Row:
    """Against the definition in float64, in grey levels, on the first, the middle and the last image of the batch."""
    if case.filter.random:
        return _replayed(case, name, image)
    numbers = some(len(image))
    results, truths = result[numbers].double(), torch.cat([_truth(case, image[i : i + 1]) for i in numbers])
    difference = (results - truths).abs()
    found: Row = {"error_max": rounded(difference.max().item()), "error_mean": rounded(difference.mean().item())}
    if result.dtype != torch.uint8:
        return found | {
            "error_bound": ERROR_BOUND,
            "error_ok": found["error_max"] is not None and difference.max().item() <= ERROR_BOUND,
        }
    levels = (results - truths.round()).abs()
    differing, bound = (levels > 0).double().mean().item(), DIFFERING.get(case.filter.function, 0.0)
    ok = differing <= bound and levels.max().item() <= 1
    return found | {
        "differing": rounded(differing),
        "differing_bound": bound,
        "levels_off": levels.max().item(),
        "error_ok": ok,
    }


def _truth(case: FilterCase, image: Tensor) -> Tensor:
    truth = case.filter.truth(image)
    assert truth is not None
    return truth


def _replayed(case: FilterCase, name: str, image: Tensor) -> Row:
    """Patches of the same draws are those of the reference; nobody else's draws are known."""
    if name not in _backends.BACKENDS:
        return {"error_max": None, "error_ok": True}
    drawn = []
    for backend in (name, "reference"):
        generator = torch.Generator().manual_seed(0)
        seeded = dataclasses.replace(case.filter, arguments=case.filter.arguments | {"generator": generator})
        drawn.append(seeded(image[:3], backend))
    largest = (drawn[0].double() - drawn[1].double()).abs().max().item()
    return {"error_max": rounded(largest), "error_ok": largest == 0}


def _window(case: FilterCase) -> int:
    arguments = case.filter.arguments
    return (arguments.get("d") or arguments.get("ksize") or 2) ** 2


def _python_loop(case: FilterCase) -> Call:
    return lambda image: filter_peers.python_loop(filter_peers.Case(case.filter, image))()


def _kornia(case: FilterCase) -> Call:
    return lambda image: filter_peers.kornia(filter_peers.Case(case.filter, image))()


def _compiled(case: FilterCase) -> Call:
    """The reference with its window known beforehand: what depends on values is not traced."""
    torch.compiler.reset()
    filter, arguments = case.filter, case.filter.arguments
    finish = reference.from_compute_dtype
    if filter.function == "adaptive_threshold":
        size, c, method = arguments["block_size"], torch.tensor(arguments["c"]), arguments["method"]

        def run(image: Tensor) -> Tensor:
            return reference.adaptive_threshold(image, size, c, method, 255.0, False)

    elif filter.function == "gaussian_blur":
        sigma = torch.tensor(arguments["sigma"], dtype=torch.float64)
        weights = reference.gaussian_weights(sigma, reference.gaussian_radius(0, sigma)).tolist()

        def run(image: Tensor) -> Tensor:
            blurred = reference.pad(image.float(), len(weights) // 2, "reflect101")
            rows, columns = image.shape[-2:]
            blurred = sum(w * blurred[..., i : i + rows, :] for i, w in enumerate(weights))
            blurred = sum(w * blurred[..., i : i + columns] for i, w in enumerate(weights))
            return finish(blurred, image.dtype)

    else:
        radius = arguments["d"] // 2
        sigmas = torch.tensor(arguments["sigma_color"]), torch.tensor(arguments["sigma_space"])

        def run(image: Tensor) -> Tensor:
            u, reach = image.float(), torch.tensor(radius)
            padded, sums, weights = reference.pad(u, radius, "reflect101"), 0.0, 0.0
            for dy, dx in reference.disk(radius):
                neighbor = reference.shifted(padded, dy, dx, radius)
                w = reference.bilateral_weight(u, neighbor, dy, dx, reach, *sigmas)
                sums, weights = sums + w * neighbor, weights + w
            return finish(sums / weights, image.dtype)

    return torch.compile(run, dynamic=False)


def _to_cvcuda(image: Tensor) -> Any:
    """N x H x W x C, as all its filters want it."""
    import cvcuda

    return cvcuda.as_tensor(image.permute(0, 2, 3, 1).contiguous(), "NHWC")


def _from_cvcuda(result: Any) -> Tensor:
    tensor = result if isinstance(result, Tensor) else torch.as_tensor(result.cuda(), device="cuda")
    return tensor.permute(0, 3, 1, 2)


def _cvcuda(case: FilterCase) -> Call:
    import cvcuda

    function, arguments = case.filter.function, case.filter.arguments
    stream = cvcuda.as_stream(torch.cuda.current_stream())
    reflect101, binary = cvcuda.Border.REFLECT101, cvcuda.ThresholdType.BINARY
    mean, weighted = cvcuda.AdaptiveThresholdType.MEAN_C, cvcuda.AdaptiveThresholdType.GAUSSIAN_C

    def cartoon(image: Any) -> Tensor:
        color = cvcuda.bilateral_filter(image, 9, 300.0, 300.0, border=reflect101, stream=stream)
        gray = cvcuda.cvtcolor(image, cvcuda.ColorConversion.RGB2GRAY, stream=stream)
        gray = cvcuda.median_blur(gray, (7, 7), stream=stream)
        edges = cvcuda.adaptivethreshold(gray, 255.0, mean, binary, 9, 9.0, stream=stream)
        color, edges = (torch.as_tensor(x.cuda(), device="cuda") for x in (color, edges))
        return torch.where(edges > 0, color, 0)  # it has no operator for that

    if function == "cartoonize":
        return cartoon
    if function == "bilateral_filter":
        d, sigmas = arguments["d"], (arguments["sigma_color"], arguments["sigma_space"])
        return lambda image: cvcuda.bilateral_filter(image, d, *sigmas, border=reflect101, stream=stream)
    if function == "median_blur":
        return lambda image: cvcuda.median_blur(image, (arguments["ksize"],) * 2, stream=stream)
    if function == "adaptive_threshold":
        method = mean if arguments["method"] == "mean" else weighted
        size, c = arguments["block_size"], arguments["c"]
        return lambda image: cvcuda.adaptivethreshold(image, 255.0, method, binary, size, c, stream=stream)
    if function == "gaussian_blur":
        sigma = float(arguments["sigma"])
        sides = (2 * math.ceil(3 * sigma) + 1,) * 2
        return lambda image: cvcuda.gaussian(image, sides, (sigma, sigma), reflect101, stream=stream)
    return lambda image: cvcuda.cvtcolor(image, cvcuda.ColorConversion.RGB2GRAY, stream=stream)


def _to_cupy(case: FilterCase) -> Callable[[Tensor], Any]:
    import cupy

    if case.filter.function == "median_blur":
        return cupy.from_dlpack
    return lambda image: cupy.from_dlpack(image.float())


def _cupy(case: FilterCase) -> Call:
    import cupy
    from cupyx.scipy import ndimage

    arguments = case.filter.arguments

    def run(image: Any) -> Any:
        with cupy.cuda.ExternalStream(torch.cuda.current_stream().cuda_stream):
            if case.filter.function == "median_blur":
                return ndimage.median_filter(image, (1, 1, arguments["ksize"], arguments["ksize"]), mode="nearest")
            sigma = arguments["sigma"]
            return ndimage.gaussian_filter(image, (0, 0, sigma, sigma), mode="mirror", truncate=3.0)

    return run

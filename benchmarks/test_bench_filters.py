"""The time of every public function by size, dtype and backend: `make bench`.

A backend that is not there on this machine is no failure here; `make test` is where that is asked for.
"""

import pytest
import torch

import photos
from texfilters import _backends
from timed_filters import CARTOON, GRAY, PATCHES, Filter, bilateral, gaussian, median, threshold

DEVICES = [device for device in ("cpu", "cuda") if device == "cpu" or torch.cuda.is_available()]
DTYPES = [torch.uint8, torch.float32]
SIZES = (32, 96, 128, 224, 512)
LARGEST = {("cpu", "reference"): 128, ("cpu", "triton"): 32}  # the slow ones; Triton is interpreted there
IMAGES = {"cpu": 8, "cuda": 256}  # a loader worker's share, a step of pretraining

DIFFUSION = Filter("diffusion", "anisotropic_diffusion", {"niter": 20, "kappa": 20.0}, channels=3)
FILTERS = [
    DIFFUSION,
    *(bilateral(d, channels) for d in (5, 9) for channels in (1, 3)),
    *(median(ksize) for ksize in (3, 5, 7, 15)),
    *(threshold(method, 9) for method in ("mean", "gaussian")),
    GRAY,
    gaussian(2, 3),
    CARTOON,
    PATCHES,
]


CASES = [
    pytest.param(
        filter, device, backend, size, dtype,
        id=f"{filter.name}-{device}-{backend}-{size}-{str(dtype).removeprefix('torch.')}",
    )
    for filter in FILTERS
    for device in DEVICES
    for backend in _backends.available(device)
    if hasattr(_backends.namespace(backend), filter.function)
    for size in SIZES
    if filter.arguments.get("patch_size", (0, 0))[1] <= size <= LARGEST.get((device, backend), size)
    for dtype in DTYPES
]  # fmt: skip


@pytest.mark.parametrize(("filter", "device", "backend", "size", "dtype"), CASES)
def test_filter(benchmark, filter, device, backend, size, dtype):
    images = photos.batch(IMAGES[device], size)[:, : filter.channels].to(device, dtype)
    call = filter.bound(backend)

    def run():
        result = call(images)
        if device == "cuda":
            torch.cuda.synchronize()
        return result

    benchmark.group = filter.name
    benchmark.extra_info["images"] = len(images)
    result = benchmark(run)
    assert result.dtype == dtype
    assert len(result) == len(images)
    assert not torch.equal(result.expand_as(images) if result.ndim == 4 else result[:, 0], images)

"""The time of every public function by size, dtype and backend: `make bench`.

A backend that is not there on this machine is no failure here; `make test` is where that is asked for.
"""

import pytest
import torch

import photos
import texfilters
from texfilters import _backends

DEVICES = [device for device in ("cpu", "cuda") if device == "cpu" or torch.cuda.is_available()]
DTYPES = [torch.uint8, torch.float32]
SIZES = (32, 96, 128, 224, 512)
LARGEST = {("cpu", "reference"): 128, ("cpu", "triton"): 32}  # the slow ones; Triton is interpreted there
IMAGES = {"cpu": 8, "cuda": 256}  # a loader worker's share, a step of pretraining

CASES = [
    pytest.param(device, backend, size, dtype, id=f"{device}-{backend}-{size}-{str(dtype).removeprefix('torch.')}")
    for device in DEVICES
    for backend in _backends.available(device)
    for size in SIZES
    if size <= LARGEST.get((device, backend), size)
    for dtype in DTYPES
]


@pytest.mark.parametrize(("device", "backend", "size", "dtype"), CASES)
def test_anisotropic_diffusion(benchmark, device, backend, size, dtype):
    images = photos.batch(IMAGES[device], size).to(device, dtype)

    def run():
        result = texfilters.anisotropic_diffusion(images, 20, 20.0, backend=backend)
        if device == "cuda":
            torch.cuda.synchronize()
        return result

    benchmark.extra_info["images"] = len(images)
    result = benchmark(run)
    assert result.shape == images.shape
    assert not torch.equal(result, images)

import functools
import os
import random

import numpy as np
import pytest
import torch

import cuda_cases
import texfilters
from texfilters import _backends
from variants import VARIANTS

# Intel's library inside OpenCV truncates the bilateral filter of gray images with small windows, instead of rounding.
# OpenCV reads this when it is loaded.
os.environ.setdefault("OPENCV_IPP", "disabled")


def pytest_report_header(config):
    return [
        f"texfilters backends: {', '.join(_backends.available('cpu'))}; instruction sets: {', '.join(VARIANTS)}",
        f"TEXFILTERS_REQUIRE={os.environ.get('TEXFILTERS_REQUIRE', '')}",
    ]


@pytest.fixture(autouse=True)
def _same_numbers_every_time():
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _same_threads_afterwards():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(autouse=True)
def _not_deterministic_afterwards():
    """Lightning's `deterministic` stays set, under which torch fills new tensors in parallel: forked children hang."""
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(params=VARIANTS)
def variant(request, monkeypatch):
    """Every compiled variant of the CPU backend in turn: a function with the signature of the public one."""
    monkeypatch.setenv("TEXFILTERS_ISA", request.param)
    return lambda *args, **kwargs: texfilters.anisotropic_diffusion(*args, backend="native", **kwargs)


@pytest.fixture(params=[*VARIANTS, "reference"])
def backend(request, monkeypatch):
    """Every CPU backend in turn, by name; the native one once for every instruction set."""
    if request.param in VARIANTS:
        monkeypatch.setenv("TEXFILTERS_ISA", request.param)
    return "native" if request.param in VARIANTS else request.param


@pytest.fixture(params=["native", "triton"])
def diffuse(request):
    """Every backend for NVIDIA GPUs in turn: `cuda_cases.filtered` with that backend."""
    cuda_cases.needs(request.param)
    return functools.partial(cuda_cases.filtered, backend=request.param)


@pytest.fixture(params=["native", "triton"])
def gpu_backend(request):
    """Every backend for NVIDIA GPUs in turn, by name."""
    cuda_cases.needs(request.param)
    return request.param


@pytest.fixture(scope="session")
def photo():
    """A photo with texture and edges, `[3, 256, 320]` uint8."""
    data = pytest.importorskip("skimage.data", reason="needs scikit-image")
    return torch.from_numpy(data.astronaut()).movedim(-1, 0)[:, :256, 80:400].contiguous()

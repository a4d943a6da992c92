"""What the tests on an NVIDIA GPU share: images, the truth in float64, and how far a result may be from it."""

import functools
import os

import pytest
import torch

import texfilters
from texfilters import _backends

DEVICE = "cuda"
REQUIRED = [part.strip() for part in os.environ.get("TEXFILTERS_REQUIRE", "").split(",")]

MARKS = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
    pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="kernels are interpreted here"),
]

# What a result in each dtype is rounded by at most, in 128..255.
ROUNDING = {torch.float32: 0.0, torch.float16: 1 / 16, torch.bfloat16: 0.5, torch.uint8: 0.5}
DTYPES = list(ROUNDING)
# In grey levels, after 20 steps at kappa 20 and gamma 0.1. float32 on the CPU is 0.0005 from float64, on photos and on
# noise: the scheme amplifies rounding wherever a difference exceeds kappa / sqrt(2). An exponential with an error of
# 1e-4 instead of 1e-7 would be 0.03 off.
FLOAT32_ERROR = 5e-3


def needs(backend):
    """Skip, or fail where TEXFILTERS_REQUIRE says that this machine has the kernels."""
    why = _backends._absence(backend, "cuda")
    if why is not None:
        (pytest.fail if "cuda" in REQUIRED else pytest.skip)(f"no backend {backend!r}: {why}")


def tiles():
    """The names that TEXFILTERS_CUDA_TILE knows; none without the CUDA C++ kernels."""
    return torch.ops.texfilters_native.cuda_tiles() if _backends._absence("native", "cuda") is None else []


def grey_levels(*shape, dtype=torch.float32, seed=0):
    generator = torch.Generator(DEVICE).manual_seed(seed)
    return (torch.rand(shape, generator=generator, device=DEVICE) * 255).to(dtype)


def filtered(image, niter=20, kappa=20.0, gamma=0.1, *, backend, **options):
    return texfilters.anisotropic_diffusion(image, niter, kappa, gamma, backend=backend, **options)


native = functools.partial(filtered, backend="native")
reference = functools.partial(filtered, backend="reference")


def is_native(diffuse):
    return diffuse.keywords["backend"] == "native"


def some(diffuse, values, few):
    """All of them for the kernels that are there; for Triton, which compiles each for half a second, a few."""
    return values if is_native(diffuse) else few


def truth(image, *args, **options):
    return reference(image.double(), *args, **options)


def check(diffuse, image, *args, error=FLOAT32_ERROR, **options):
    """The result, after comparing it with the definition in float64."""
    result = diffuse(image, *args, **options)
    assert (result.dtype, result.shape, result.device) == (image.dtype, image.shape, image.device)
    expected = truth(image, *args, **options)
    bound = 1e-9 if image.dtype == torch.float64 else ROUNDING[image.dtype] + error
    torch.testing.assert_close(result.double(), expected, rtol=0, atol=bound)
    return result


def same_bits(a, b):
    """Also for NaN, and for zeros of another sign."""
    whole = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}[a.element_size()]
    return a.dtype == b.dtype and torch.equal(a.contiguous().view(whole), b.contiguous().view(whole))

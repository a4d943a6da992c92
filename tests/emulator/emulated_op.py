"""`torch.ops.texfilters_emulated`: the op of the CUDA kernels, its torch side included, for tensors on the CPU."""

import os
from unittest import mock

import torch
from emulated import build
from emulated_cases import ERROR, ROUNDING, differences

from texfilters import reference

torch.ops.load_library(build())
OPS = torch.ops.texfilters_emulated

TILES = OPS.cuda_tiles()
DTYPES = list(ROUNDING)
NAMES = ("niter", "kappa", "gamma")
NUMBERS = [torch.int32, torch.int64, torch.float16, torch.bfloat16, torch.float32, torch.float64]
COUPLINGS = ["none", "l2"]


def diffuse(
    image,
    niter=3,
    kappa=20.0,
    gamma=0.1,
    *,
    option=1,
    coupling="none",
    spacing=None,
    ndim=2,
    device=(),  # the parameters that the emulated device holds; the others are on the CPU
    tile="",
    capturing=False,
    shared=227,  # kB of shared memory for a block
):
    parameters = dict(zip(NAMES, tensors(niter, kappa, gamma), strict=True))
    OPS.emulate([parameters[name].data_ptr() for name in device], capturing, shared * 1024)
    with mock.patch.dict(os.environ, TEXFILTERS_CUDA_TILE=tile):
        return OPS.anisotropic_diffusion(image, *parameters.values(), option, coupling, spacing or [1.0] * ndim, ndim)


def launches(*args, **options):
    diffuse(*args, **options)
    return OPS.launches()


def truth(image, niter=3, kappa=20.0, gamma=0.1, *, option=1, coupling="none", spacing=None, ndim=2):
    parameters = tensors(niter, kappa, gamma)
    return reference.anisotropic_diffusion(image.double(), *parameters, option, coupling, spacing or [1.0] * ndim, ndim)


def check(image, *args, device=(), tile="", capturing=False, **options):
    """The result, after comparing it with the definition in float64."""
    result = diffuse(image, *args, device=device, tile=tile, capturing=capturing, **options)
    like = torch.empty_like(image)
    assert (result.dtype, result.shape, result.stride()) == (like.dtype, like.shape, like.stride())
    expected, ours = truth(image, *args, **options), result.double()
    assert torch.equal(ours.isnan(), expected.isnan())
    if image.numel():
        far = (ours - expected)[~expected.isnan()].abs()
        found = max(0.0, far.max().item() - ROUNDING[image.dtype]) if far.numel() else 0.0
        differences.append((found, f"op, {tuple(image.shape)} {image.stride()} {image.dtype} {options} {tile}"))
        assert found <= ERROR, f"{found} grey levels from the definition"
    return result


def tensors(niter, kappa, gamma):
    """As the public function makes them of numbers."""
    dtypes = (torch.int32, torch.float64, torch.float64)
    return [
        value if isinstance(value, torch.Tensor) else torch.scalar_tensor(value, dtype=dtype)
        for value, dtype in zip((niter, kappa, gamma), dtypes, strict=True)
    ]


def sample(name, kind, images, generator):
    """A parameter: the same for all or for each, of a random dtype, now and then with gaps between its values."""
    low, high, dtypes = {
        "niter": (0, 5, NUMBERS[:2]),
        "kappa": (5, 60, NUMBERS),
        "gamma": (0.02, 0.24, NUMBERS[2:]),
    }[name]
    dtype = dtypes[int(torch.randint(len(dtypes), (), generator=generator))]
    step = int(torch.randint(1, 4, (), generator=generator))
    values = torch.rand(images * step, generator=generator) * (high - low) + low
    values = values.round() if name == "niter" else values
    values = values.to(dtype)[::step]
    return values if kind == "each" else values[0]

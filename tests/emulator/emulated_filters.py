"""The filters of `torch.ops.texfilters_emulated`, their torch side included, beside their definitions in float64."""

import os

import pytest
import torch
from emulated import DEFECTS, build
from emulated_cases import noise

from texfilters import reference

torch.ops.load_library(build())
OPS = torch.ops.texfilters_emulated

DTYPES = [torch.uint8, torch.float16, torch.bfloat16, torch.float32]
# Of a result in 0..255: of sums in float32, and of the rounding to the image's dtype.
SUMS = 5e-3
ERROR = {torch.uint8: 0.5 + SUMS, torch.float16: 1 / 16 + SUMS, torch.bfloat16: 0.5 + SUMS, torch.float32: SUMS}
# A kernel that does not wait takes what nobody wrote for an address, at which a sanitizer ends the process.
unsanitized = pytest.mark.skipif(os.environ.get("TEXFILTERS_EMULATOR_SANITIZE") == "1", reason="reads beyond the image")
# Around the edges of tiles and warps, and windows larger than the image.
SIZES = [(1, 1), (1, 40), (40, 1), (2, 3), (31, 33), (32, 32), (33, 31), (65, 34)]


def run(
    name,
    image,
    *arguments,
    device=(),  # which of the arguments the emulated device holds; the others are on the CPU
    seed=0,
    defect="none",
    shared=227 * 1024,  # bytes of shared memory that a block may have
    largest_grid=2**31 - 1,
    scratch=64 << 20,  # bytes that a call may have beside its output
    capturing=False,  # a CUDA graph
):
    """A filter on the emulator; numbers among its parameters are tensors as the public function makes them."""
    held = [arguments[i].data_ptr() for i in device]
    OPS.emulate(held, capturing, shared, largest_grid, scratch, seed, DEFECTS[defect])
    return getattr(OPS, name)(image, *arguments)


def truth(name, image, *arguments):
    return getattr(reference, name)(image.double(), *arguments)


def check(name, image, *arguments, tolerance=ERROR, **emulate):
    """The result, after comparing it with the definition."""
    result = run(name, image, *arguments, **emulate)
    like = torch.empty_like(image)
    assert (result.dtype, result.shape, result.stride()) == (like.dtype, like.shape, like.stride())
    expected = truth(name, image, *arguments)
    if image.dtype == torch.uint8:
        expected = expected.nan_to_num(nan=0.0)
    torch.testing.assert_close(result.double(), expected, rtol=0, atol=tolerance[image.dtype], equal_nan=True)
    return result


def scalar(value):
    return torch.tensor(value, dtype=torch.float64)


def views(*shape, dtype=torch.float32):
    """(name, image of that shape [B, C, H, W]) with strides of many kinds."""
    b, c, h, w = shape
    yield "contiguous", noise(*shape, dtype=dtype)
    yield "channels last", noise(*shape, dtype=dtype).contiguous(memory_format=torch.channels_last)
    yield "rows are columns", noise(b, c, w, h, dtype=dtype).mT
    yield "every other pixel", noise(b, c, 2 * h, 2 * w, dtype=dtype)[..., ::2, 1::2]
    yield "images between channels", noise(c, b, h, w, dtype=dtype).transpose(0, 1)
    yield "flipped order in memory", noise(w, h, c, b, dtype=dtype).permute(3, 2, 1, 0)
    yield "one image for all", noise(1, c, h, w, dtype=dtype).expand(shape)
    yield "one column for all", noise(b, c, h, 1, dtype=dtype).expand(shape)

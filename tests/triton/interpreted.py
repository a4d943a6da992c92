"""What the tests of the interpreted filters share: small tiles, images, and the comparison with the definition."""

import dataclasses
import importlib

import pytest
import torch

import texfilters
from texfilters import reference

triton = pytest.importorskip("triton")
import triton.language as tl  # noqa: E402
from triton.runtime import interpreter  # noqa: E402

# NumPy warns of NaN where a GPU says nothing.
MARKS = pytest.mark.filterwarnings("ignore::RuntimeWarning:triton.runtime.interpreter")
images, windows, bilaterals, medians, thresholds, gaussians, cartoons = (
    importlib.import_module(f"texfilters._triton.{name}")
    for name in (
        *("images", "windows", "bilateral_filter", "median_blur", "adaptive_threshold", "gaussian_blur", "cartoonize"),
    )
)

DTYPES = [torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64]
# In grey levels, from the definition in float64: float32 sums of 255 lose some 3e-5; half types and uint8 are one unit
# off where float32 lies on the other side of a tie. The interpreter, unlike a GPU, truncates to bfloat16.
TOLERANCE = {torch.float64: 1e-9, torch.float32: 2e-4, torch.float16: 0.125, torch.bfloat16: 1.0, torch.uint8: 1}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Programs of more lanes with less to do each: an operation takes the interpreter about as long on 1024 lanes as on
    128. And no search for overflows in every sum of integers, which takes most of its time and whose findings it drops.
    """
    tiles(monkeypatch, strips=32, rows=2)
    builder = interpreter.interpreter_builder
    monkeypatch.setattr(builder, "options", dataclasses.replace(builder.options, sanitize_overflow=False))
    monkeypatch.setattr(interpreter, "_patch_lang_tensor", _patch_lang_tensor)


_patch_tensor = interpreter._patch_lang_tensor


def _patch_lang_tensor(tensor, scope):
    """The bounds of a loop, for Triton 3.6: NumPy makes no number of an array of one element any more."""
    _patch_tensor(tensor, scope)
    scope.set_attr(tensor, "__index__", lambda self: self.handle.data.item())


def tiles(monkeypatch, strips, rows):
    monkeypatch.setattr(images, "STRIPS", tl.constexpr(strips))
    for module in (windows, medians, thresholds, gaussians):
        monkeypatch.setattr(module, "ROWS", tl.constexpr(rows))


def grey_levels(*shape, dtype=torch.float32, seed=0):
    return (torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 255).to(dtype)


def check(function, image, *args, **options):
    """The result, after comparing it with the definition in float64."""
    before = image.clone()
    result = function(image, *args, backend="triton", **options)
    expected = function(image.double(), *args, backend="reference", **options)
    assert result.dtype == image.dtype
    assert result.stride() == torch.empty_like(expected.to(image.dtype)).stride() or function is texfilters.rgb_to_gray
    assert torch.equal(image, before)
    rounded = reference.from_compute_dtype(expected, image.dtype)
    torch.testing.assert_close(result.double(), rounded.double(), rtol=0, atol=TOLERANCE[image.dtype])
    if image.dtype == torch.uint8:
        assert (result != rounded).sum() <= max(1, result.numel() // 1000)
    return result


def same(function, image, *args, **options):
    """The result, which must have every value of the reference's."""
    result = function(image, *args, backend="triton", **options)
    expected = function(image, *args, backend="reference", **options)
    assert result.stride() == torch.empty_like(image).stride()
    torch.testing.assert_close(result, expected, rtol=0, atol=0, equal_nan=True)
    return result


def bilateral(image, d=5, sigma_color=60.0, sigma_space=2.0, **options):
    return check(texfilters.bilateral_filter, image, d, sigma_color, sigma_space, **options)


BORDERS = ["reflect101", "reflect", "replicate", "wrap", "constant"]
VIEWS = {
    "channels last": lambda u: u.to(memory_format=torch.channels_last),
    "transposed": lambda u: u.mT,
    "sliced": lambda u: u[:, 1:, ::2, 3:-1],
    "expanded batch": lambda u: u[:1].expand(2, -1, -1, -1),
    "expanded channel": lambda u: u[:, :1].expand(-1, 3, -1, -1),
    "expanded rows": lambda u: u[:, :, :1].expand(-1, -1, 4, -1),
    "more dimensions": lambda u: u[None].expand(2, -1, -1, -1, -1),
    "dimensions that do not merge": lambda u: torch.stack([u, u + 1], dim=1).transpose(0, 1)[..., 1:],
    "dimensions that do not merge, dense": lambda u: torch.stack([u, u + 1], dim=1).transpose(0, 1),
}

"""The per-pixel maths of the Triton kernels, interpreted, against the reference."""

import pytest
import torch

from texfilters import reference

triton = pytest.importorskip("triton")
import triton.language as tl  # noqa: E402

from texfilters._triton import pixel_math  # noqa: E402


@triton.jit
def _conductance(difference, kappa, output, OPTION: tl.constexpr, N: tl.constexpr):
    i = tl.arange(0, N)
    scaled = tl.load(difference + i) * pixel_math.difference_scale(tl.load(kappa), OPTION)
    tl.store(output + i, pixel_math.conductance(scaled * scaled, OPTION))


@triton.jit
def _from_compute_dtype(u, output, N: tl.constexpr):
    i = tl.arange(0, N)
    tl.store(output + i, pixel_math.from_compute_dtype(tl.load(u + i), output.dtype.element_ty))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("option", [1, 2, 3])
def test_conductance(option, dtype):
    difference = torch.linspace(0, 120, 256, dtype=dtype)
    kappa, output = torch.tensor([20.0], dtype=dtype), torch.empty(256, dtype=dtype)
    _conductance[(1,)](difference, kappa, output, option, 256)
    expected = reference.conductance((difference.double() / kappa.double()).square(), option)
    # float32: the exponent reaches 36 and is rounded to 2e-6; Tukey's difference cancels where g is 0.
    torch.testing.assert_close(output.double(), expected, rtol=5e-6 if dtype == torch.float32 else 1e-13, atol=1e-7)


@pytest.mark.parametrize("option", [1, 2, 3])
def test_conductance_of_nan(option):
    difference, output = torch.tensor([0.0, torch.nan, 1.0, torch.inf]), torch.empty(4)
    _conductance[(1,)](difference, torch.tensor([2.0]), output, option, 4)
    assert output.isnan().tolist() == [False, True, False, False]
    assert output[3] == 0
    _conductance[(1,)](difference, torch.tensor([-2.0]), output, option, 4)
    assert output.isnan().all()


def test_rounding_to_uint8():
    inside = [0.5, 1.5, 2.5, 2.5000002, 127.49999, 253.5, 254.5, 255.0]
    outside = [255.5, -0.5, -3.0, 1e30, -1e30, torch.inf, -torch.inf, torch.nan]
    output = torch.empty(16, dtype=torch.uint8)
    _from_compute_dtype[(1,)](torch.tensor(inside + outside), output, 16)
    assert output.tolist() == [0, 2, 2, 3, 127, 254, 254, 255, 255, 0, 0, 255, 0, 255, 0, 0]
    assert torch.equal(output, reference.from_compute_dtype(torch.tensor(inside + outside), torch.uint8))


def test_every_tie_rounds_to_even():
    u = torch.arange(256) + 0.5
    output = torch.empty(256, dtype=torch.uint8)
    _from_compute_dtype[(1,)](u, output, 256)
    assert torch.equal(output, reference.from_compute_dtype(u, torch.uint8))

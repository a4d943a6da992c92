"""The CUDA Gaussian blur, emulated, against the definition."""

import itertools
import math

import pytest
import torch
from emulated_cases import defects, noise, photo
from emulated_filters import DTYPES, OPS, SIZES, check, run, scalar, unsanitized, views

pytestmark = pytest.mark.usefixtures("filled_memory")

BORDERS = ["constant", "replicate", "reflect", "reflect101", "wrap"]
SIGMA = 0  # among the arguments


def arguments(sigma=1.5, kernel_size=0, border="reflect101"):
    return sigma if isinstance(sigma, torch.Tensor) else scalar(sigma), kernel_size, border


def gaussian(image, *parameters, border="reflect101", **options):
    return check("gaussian_blur", image, *arguments(*parameters, border=border), **options)


@pytest.mark.parametrize("size", [*SIZES, (31, 63), (33, 65)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_sizes(dtype, size):
    image = noise(2, 2, *size, dtype=dtype)
    gaussian(image)
    gaussian(image, 4.0, 3)
    gaussian(image, 1.0, 1)


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("kernel_size", [1, 3, 9, 31])
def test_borders(kernel_size, border):
    for dtype in (torch.uint8, torch.float32):
        gaussian(noise(1, 1, 5, 67, dtype=dtype), 5.0, kernel_size, border=border)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_strides(dtype):
    for _, image in views(2, 3, 9, 35, dtype=dtype):
        gaussian(image)


@pytest.mark.parametrize("shape", [(9, 35), (3, 9, 35), (2, 2, 3, 9, 35), (0, 3, 9, 35), (2, 3, 0, 5), (2, 0, 4, 5)])
def test_dimensions(shape):
    gaussian(noise(*shape))
    if len(shape) > 3:
        gaussian(noise(*shape).transpose(0, -4))


@pytest.mark.parametrize("device", [(), (SIGMA,)], ids=["cpu", "device"])
@pytest.mark.parametrize("kernel_size", [0, 7])
def test_parameters_anywhere(kernel_size, device):
    """For each image its own, or one for all; 0 changes nothing. Some windows are too large for a tile."""
    for dtype in (torch.float32, torch.uint8):
        image = noise(5, 2, 6, 37, dtype=dtype)
        each = torch.tensor([1 / 3, 1.0, 0, 12, 4])
        result = gaussian(image, each, kernel_size, device=device)
        assert torch.equal(result[2], image[2])
        gaussian(image, each.double() * 1.01, kernel_size, device=device)
        gaussian(image, torch.tensor([0, 2] * 5, dtype=torch.int32)[1::2], kernel_size, device=device)
        gaussian(image, each[1], kernel_size, device=device)


@pytest.mark.parametrize("kernel_size", [0, 5])
def test_zero_keeps_the_bits(kernel_size):
    image = noise(2, 1, 40, 70)
    image[..., ::5], image[..., ::7, :] = math.nan, -math.inf
    for dtype, shared in itertools.product(DTYPES[1:], (227 * 1024, 1000)):  # a tile, or none
        result = run("gaussian_blur", image.to(dtype), *arguments(0.0, kernel_size), shared=shared)
        assert torch.equal(result.view(torch.uint8), image.to(dtype).view(torch.uint8))


@pytest.mark.parametrize("device", [(), (SIGMA,)], ids=["cpu", "device"])
@pytest.mark.parametrize("kernel_size", [0, 5])
def test_values_out_of_range(kernel_size, device):
    for dtype in (torch.float32, torch.uint8):
        sigma = torch.tensor([-1, math.nan, 2, -math.inf])
        result = gaussian(noise(4, 1, 9, 35, dtype=dtype), sigma, kernel_size, device=device)
        assert (result[:2].isnan() if dtype.is_floating_point else result[:2] == 0).all()


@pytest.mark.parametrize("sigma", [1e-300, 1e-30, 1e-6, 1e30, 1e300, math.inf])
def test_tiny_and_huge_sigmas(sigma):
    for dtype in (torch.float32, torch.uint8):
        gaussian(noise(1, 1, 6, 9, dtype=dtype), sigma, 5)


def test_nan_and_infinity_stay_in_the_windows():
    image = noise(1, 1, 40, 90)
    image[..., 10, 12], image[..., 31, 60] = math.nan, math.inf
    result = gaussian(image, 4.0, 9)
    assert result.isnan().sum() == 81


@pytest.mark.parametrize("shared", [227, 30, 1])
@pytest.mark.parametrize("sigma", [0.5, 12.0, 50.0])
def test_windows_larger_than_shared_memory(sigma, shared):
    image = noise(2, 1, 7, 35)
    gaussian(image, sigma, shared=shared * 1024)
    gaussian(image, torch.tensor([1.0, sigma]), shared=shared * 1024, device=(SIGMA,))


def test_grids_larger_than_the_largest():
    image = noise(5, 3, 70, 35, dtype=torch.uint8)
    whole = gaussian(image)
    assert OPS.launches() == 1
    assert torch.equal(gaussian(image, largest_grid=9), whole)
    assert OPS.launches() == 5  # 15 planes of 3 tiles


def test_any_schedule_gives_the_same_bits():
    image = photo(66, 70, torch.uint8)[:, :1]
    for shared in (227 * 1024, 1024):
        results = [run("gaussian_blur", image, *arguments(), seed=seed, shared=shared) for seed in range(3)]
        assert all(torch.equal(results[0], other) for other in results)


@unsanitized
@pytest.mark.parametrize("shared", [227, 1], ids=["tiles", "direct"])
def test_a_missing_barrier_is_found(shared):
    """A test of the tests."""
    image, options = noise(1, 1, 40, 40), {"shared": shared * 1024}
    whole = run("gaussian_blur", image, *arguments(), **options)
    wrong = [run("gaussian_blur", image, *arguments(), seed=s, defect="missing barrier", **options) for s in range(4)]
    defects.append(any(not torch.equal(whole, other) for other in wrong))
    assert defects[-1]


@pytest.mark.parametrize(
    ("image", "parameters", "message"),
    [
        (torch.rand(5), (), "image must have at least 2 dimensions, got 1"),
        (torch.rand(5, 5).double(), (), "image must be uint8, float16, bfloat16 or float32"),
        (torch.rand(5, 5), (1.0, 4), r"kernel_size must be odd and lie in \[1, 65535\], got 4"),
        (torch.rand(5, 5), (1.0, -3), r"kernel_size must be odd and lie in \[1, 65535\], got -3"),
        (torch.rand(5, 5), (1.0, 5, "mirror"), "border must be constant, .*, got mirror"),
        (torch.rand(2, 5, 5), (torch.ones(2),), r"sigma must have shape \[\] or \[B\]"),
    ],
)
def test_refused(image, parameters, message):
    with pytest.raises(RuntimeError, match=message):
        run("gaussian_blur", image, *arguments(*parameters))

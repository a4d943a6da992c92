"""The CUDA bilateral filter, emulated, against the definition."""

import itertools
import math

import pytest
import torch
from emulated_cases import defects, noise, photo
from emulated_filters import DTYPES, OPS, SIZES, check, run, scalar, truth, unsanitized, views

pytestmark = pytest.mark.usefixtures("filled_memory")

BORDERS = ["constant", "replicate", "reflect", "reflect101", "wrap"]
COLOR, SPACE = 1, 2  # among the arguments


def arguments(d=5, color=60.0, space=3.0, border="reflect101"):
    color, space = (p if isinstance(p, torch.Tensor) else scalar(p) for p in (color, space))
    return d, color, space, border


def bilateral(image, *parameters, border="reflect101", **options):
    return check("bilateral_filter", image, *arguments(*parameters, border=border), **options)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_sizes(dtype, channels, size):
    image = noise(2, channels, *size, dtype=dtype)
    bilateral(image, 9)  # unrolled
    bilateral(image, 5)


@pytest.mark.parametrize("border", BORDERS)
@pytest.mark.parametrize("d", [1, 2, 3, 9, 15])
def test_borders(d, border):
    for channels, dtype in itertools.product((1, 2, 3), (torch.uint8, torch.float32)):
        bilateral(noise(1, channels, 5, 37, dtype=dtype), d, border=border)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_strides(dtype):
    for channels in (1, 3):
        for _, image in views(2, channels, 9, 35, dtype=dtype):
            bilateral(image, 9)


@pytest.mark.parametrize(
    "shape", [(9, 35), (3, 9, 35), (2, 2, 3, 9, 35), (2, 1, 2, 3, 9, 35), (0, 3, 9, 35), (2, 3, 0, 5)]
)
def test_dimensions(shape):
    bilateral(noise(*shape))
    if len(shape) > 3:
        bilateral(noise(*shape).transpose(0, -4))


def test_bytes_are_rounded_alike():
    """What the tolerance lets through is rare: values a hair from a half."""
    image = photo(200, 230, torch.uint8)
    for d, color in ((9, 75.0), (9, 300.0), (5, 20.0)):
        expected = truth("bilateral_filter", image, *arguments(d, color, 75.0)).round().to(torch.uint8)
        ours = run("bilateral_filter", image, *arguments(d, color, 75.0))
        assert (ours != expected).double().mean() < 1e-4


@pytest.mark.parametrize("device", [(), (COLOR,), (SPACE,), (COLOR, SPACE)], ids=str)
@pytest.mark.parametrize("d", [9, 0, 4])
def test_parameters_anywhere(d, device):
    """For each image its own, or one for all; 0 changes nothing. With d = 0 some windows are too large for a tile."""
    for channels, dtype in itertools.product((1, 3), (torch.float32, torch.uint8)):
        image = noise(5, channels, 6, 37, dtype=dtype)
        color = torch.tensor([20.0, 60, 0, 300, 60])
        space = torch.tensor([0.4, 3, 2, 12, 0], dtype=torch.float64)
        result = bilateral(image, d, color, space, device=device)
        assert torch.equal(result[2], image[2])
        assert torch.equal(result[4], image[4])
        bilateral(image, d, color[1], space, device=device)
        bilateral(image, d, torch.tensor([0, 40] * 5, dtype=torch.int64)[1::2], scalar(2.0), device=device)


@pytest.mark.parametrize("d", [9, 7, 0])
def test_zero_keeps_the_bits(d):
    image = noise(1, 3, 40, 33)
    image[..., ::5], image[..., ::7, :] = math.nan, -math.inf
    for dtype in DTYPES[1:]:
        for color, space in ((0.0, 3.0), (60.0, 0.0), (0.0, math.nan)):
            for shared in (227 * 1024, 1000):  # a tile, or none
                result = run("bilateral_filter", image.to(dtype), *arguments(d, color, space), shared=shared)
                assert torch.equal(result.view(torch.uint8), image.to(dtype).view(torch.uint8))


@pytest.mark.parametrize("device", [(), (COLOR, SPACE)], ids=str)
@pytest.mark.parametrize("d", [9, 0])
def test_values_out_of_range(d, device):
    color, space = torch.tensor([-1, math.nan, 60, 60, 60]), torch.tensor([3, 3, -2, math.nan, 3])
    for dtype in (torch.float32, torch.uint8):
        result = bilateral(noise(5, 3, 9, 35, dtype=dtype), d, color, space, device=device)
        assert (result[:4].isnan() if dtype.is_floating_point else result[:4] == 0).all()


@pytest.mark.parametrize("sigma", [1e-300, 1e-30, 1e-6, 1e30, 1e300, math.inf])
def test_tiny_and_huge_sigmas(sigma):
    for channels, dtype in itertools.product((1, 3, 4), (torch.float32, torch.uint8)):
        image = noise(1, channels, 6, 9, dtype=dtype)
        image[..., 3:5] = 7
        bilateral(image, 9, sigma, 3.0)
        bilateral(image, 9, 60.0, sigma)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_nan_and_infinity_stay_in_the_windows(channels):
    image = noise(1, channels, 30, 40)
    image[..., 0, 10, 12], image[..., -1, 20, 30] = math.nan, math.inf
    result = bilateral(image, 9)
    assert not result[..., :6, :].isnan().any()
    assert result[..., 10, 12].isnan().all()


@pytest.mark.parametrize("shared", [227, 40, 1])
@pytest.mark.parametrize("d", [0, 9, 61])
def test_windows_larger_than_shared_memory(d, shared):
    for channels in (1, 3):
        image = noise(2, channels, 7, 35)
        bilateral(image, d, 60.0, 20.0, shared=shared * 1024)
        bilateral(image, d, 60.0, torch.tensor([2.0, 20.0]), shared=shared * 1024, device=(SPACE,))


def test_grids_larger_than_the_largest():
    image = noise(5, 3, 70, 35, dtype=torch.uint8)
    whole = bilateral(image, 9)
    assert OPS.launches() == 1
    assert torch.equal(bilateral(image, 9, largest_grid=9), whole)
    assert OPS.launches() == 3  # 4 tiles an image


@pytest.mark.parametrize("channels", [1, 3])
def test_any_schedule_gives_the_same_bits(channels):
    image = photo(66, 40, torch.uint8)[:, :channels]
    for d in (9, 5):
        results = [run("bilateral_filter", image, *arguments(d), seed=seed) for seed in range(4)]
        assert all(torch.equal(results[0], other) for other in results)


@unsanitized
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("d", [9, 5])
def test_a_missing_barrier_is_found(d, channels):
    """A test of the tests."""
    image = noise(1, channels, 40, 40)
    whole = run("bilateral_filter", image, *arguments(d))
    wrong = [run("bilateral_filter", image, *arguments(d), seed=s, defect="missing barrier") for s in range(4)]
    defects.append(any(not torch.equal(whole, other) for other in wrong))
    assert defects[-1]


@pytest.mark.parametrize(
    ("image", "parameters", "message"),
    [
        (torch.rand(5), (), "image must have at least 2 dimensions, got 1"),
        (torch.rand(5, 5).double(), (), "image must be uint8, float16, bfloat16 or float32"),
        (torch.rand(5, 5), (5, 60.0, 3.0, "mirror"), "border must be constant, .*, got mirror"),
        (torch.rand(2, 5, 5), (5, torch.ones(2)), r"sigma_color must have shape \[\] or \[B\]"),
        (torch.rand(2, 3, 5, 5), (5, 60.0, torch.ones(3)), r"sigma_space must have shape \[\] or \[B\]"),
        (torch.rand(2, 3, 5, 5), (5, 60.0, torch.ones(2).bool()), "sigma_space must be int32, int64 or floating point"),
    ],
)
def test_refused(image, parameters, message):
    with pytest.raises(RuntimeError, match=message):
        run("bilateral_filter", image, *arguments(*parameters))

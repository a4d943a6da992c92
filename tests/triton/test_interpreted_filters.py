"""The other windowed filters in Triton, interpreted, against the reference and against OpenCV."""

import itertools
import math
import sys

import pytest
import torch

import texfilters
from texfilters import reference

triton = pytest.importorskip("triton")
import triton.language as tl  # noqa: E402
from interpreted import (  # noqa: E402, F401
    DTYPES,
    MARKS,
    TOLERANCE,
    bilaterals,
    cartoons,
    check,
    grey_levels,
    images,
    medians,
    quick,
    same,
    thresholds,
    windows,
)

from texfilters import _triton  # noqa: E402

pytestmark = MARKS


@pytest.fixture(params=["3", "held", "counted"])
def ksize(request, monkeypatch):
    """A window for each way to find its median."""
    if request.param == "counted":
        monkeypatch.setattr(medians, "HELD", 0)
    return 3 if request.param == "3" else 5


@pytest.mark.parametrize("dtype", DTYPES)
def test_median(dtype, ksize):
    for shape in ((17, 21), (2, 3), (1, 1)) if dtype == torch.uint8 else ((9, 21),):
        same(texfilters.median_blur, grey_levels(*shape, dtype=dtype) - (0 if dtype == torch.uint8 else 100), ksize)


@pytest.mark.parametrize(("ksize", "shape"), [(7, (9, 12)), (7, (2, 5)), (9, (3, 7))])
def test_large_medians(ksize, shape):
    same(texfilters.median_blur, grey_levels(*shape, dtype=torch.uint8), ksize)


def test_median_of_3_sorts_every_window():
    """What sorts all windows of zeros and ones sorts all windows (the zero-one principle)."""
    all_windows = torch.tensor(list(itertools.product((0, 1), repeat=9)), dtype=torch.uint8).reshape(512, 3, 3)
    image = all_windows.permute(1, 0, 2).reshape(3, 16, 96).transpose(0, 1)
    for dtype in (torch.uint8, torch.float32):
        result = texfilters.median_blur(image.to(dtype), 3, backend="triton")
        assert torch.equal(result[:, 1, 1::3].flatten(), (all_windows.sum((1, 2)) >= 5).to(dtype))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_median_of_special_values(ksize, dtype):
    image = grey_levels(11, 13, dtype=dtype) - 128
    image[::2, ::3] = math.inf
    image[1::2, ::3] = -math.inf
    image[3, 4], image[3, 5] = 0.0, -0.0
    same(texfilters.median_blur, image, ksize)
    image[8, 10] = math.nan
    image[0, 0] = -math.nan
    result = same(texfilters.median_blur, image, ksize)
    assert not result.isnan().all()


def test_median_of_equal_and_extreme_values(ksize):
    sets = ([0], [255], [0, 255], [127, 128])
    image = torch.cat([torch.tensor(v, dtype=torch.uint8)[torch.randint(len(v), (8, 32))] for v in sets])
    same(texfilters.median_blur, image, ksize)
    # Denormal numbers count, too.
    image = torch.arange(108, dtype=torch.int32)[torch.randperm(108)].view(torch.float32).reshape(9, 12)
    assert torch.equal(
        texfilters.median_blur(image, ksize, backend="triton").view(torch.int32),
        texfilters.median_blur(image.view(torch.int32).double(), ksize, backend="reference").int(),
    )


@pytest.mark.parametrize("method", ["mean", "gaussian"])
@pytest.mark.parametrize("invert", [False, True])
def test_threshold_of_uint8_is_exact(method, invert):
    noise = grey_levels(12, 16, dtype=torch.uint8)
    image = torch.cat([noise, noise // 100 + 100], -1)  # beside it what rounding decides
    for block_size, c in ((3, 0.0), (5, 1.5), (7, -0.5), (9, 2.3), (11, 1.0)):
        same(texfilters.adaptive_threshold, image, block_size, c, method=method, invert=invert)
    for c in (1e30, -1e30, 255.0, -255.0, 1.0000000001):
        image = torch.tensor([[0, 255], [255, 0]], dtype=torch.uint8)
        same(texfilters.adaptive_threshold, image, 3, c, method=method, invert=invert)


@pytest.mark.parametrize("method", ["mean", "gaussian"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_threshold_dtypes(dtype, method):
    image = grey_levels(9, 13, dtype=dtype)
    for invert in (False, True):
        same(texfilters.adaptive_threshold, image, 5, 2.5, method=method, invert=invert, max_value=200.0)
    if method == "mean":  # of equal values it is that value, in every order of summation alike
        same(texfilters.adaptive_threshold, image[:1, :1].expand(6, 7), 5, 0.0)


@pytest.mark.parametrize("invert", [False, True])
def test_threshold_sums(monkeypatch, invert):
    """32 bits hold what the widest window sums up to, and 64 give the same."""
    assert (2 * (255 + 256) + 1) * thresholds.WIDEST_32_BITS**2 < 2**31
    image = grey_levels(5, 6, dtype=torch.uint8)
    narrow = same(texfilters.adaptive_threshold, image, 9, 3.0, invert=invert)
    monkeypatch.setattr(thresholds, "WIDEST_32_BITS", 7)
    assert thresholds._sum_type(torch.uint8, 9, "mean") == tl.int64
    assert torch.equal(narrow, same(texfilters.adaptive_threshold, image, 9, 3.0, invert=invert))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_threshold_parameters_of_each_image(dtype):
    image = grey_levels(3, 2, 7, 9, dtype=dtype)
    c = torch.tensor([2.5, -3.0, 40.0], dtype=torch.float64)
    result = same(texfilters.adaptive_threshold, image, 5, c)
    for i in range(3):
        assert torch.equal(result[i], texfilters.adaptive_threshold(image[i], 5, c[i], backend="triton"))
    for invert, method in itertools.product((False, True), ("mean", "gaussian")):
        unknown = torch.tensor([torch.nan, 2.5, torch.nan])
        result = _triton.adaptive_threshold(image, 5, unknown, method, 1.0, invert)
        assert torch.equal(result, reference.adaptive_threshold(image, 5, unknown, method, 1.0, invert))
        assert result[::2].eq(0).all()


@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.parametrize("method", ["mean", "gaussian"])
def test_threshold_of_nan(method, invert):
    image = grey_levels(12, 20)
    image[5, 7], image[0, 19] = math.nan, math.inf
    same(texfilters.adaptive_threshold, image, 5, 2.5, method=method, invert=invert)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gaussian(dtype):
    check(texfilters.gaussian_blur, grey_levels(1, 17, 33, dtype=dtype), 1.3)
    sigma = torch.tensor([0.0, 0.4, 2.0], dtype=torch.float64)
    image = grey_levels(3, 1, 6, 9, dtype=dtype)
    result = check(texfilters.gaussian_blur, image, sigma)
    assert torch.equal(result[0], image[0])
    check(texfilters.gaussian_blur, image, sigma, kernel_size=5)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gray(dtype):
    image = grey_levels(2, 3, 9, 33, dtype=dtype)
    if dtype in (torch.uint8, torch.float32, torch.float64):
        result = texfilters.rgb_to_gray(image, backend="triton")
        assert torch.equal(result, texfilters.rgb_to_gray(image, backend="reference"))
    else:
        check(texfilters.rgb_to_gray, image)


@pytest.mark.parametrize("passes", [0, 1, 2, 3])
@pytest.mark.parametrize("pixels", [2**24, 200])
def test_cartoon_is_made_of_the_others(monkeypatch, pixels, passes):
    monkeypatch.setattr(cartoons, "PIXELS", pixels)  # groups of three images, and of two and one
    image = grey_levels(3, 3, 8, 12, dtype=torch.uint8).to(memory_format=torch.channels_last)
    sigma_color, c = torch.tensor([50.0, 300.0, 0.0]), torch.tensor([0.0, 5.0, -3.0])
    options = {"sigma_color": sigma_color, "sigma_space": 2.0, "ksize": 3, "block_size": 5, "c": c}
    result = texfilters.cartoonize(image, d=3, passes=passes, **options, backend="triton")
    color = image
    for _ in range(passes):
        color = texfilters.bilateral_filter(color, 3, sigma_color, 2.0, backend="triton")
    gray = texfilters.median_blur(texfilters.rgb_to_gray(image, backend="triton"), 3, backend="triton")
    mask = texfilters.adaptive_threshold(gray, 5, c, backend="triton") != 0
    assert torch.equal(result, torch.where(mask, color, 0))
    assert 0 < mask.sum() < mask.numel()
    assert result.stride() == image.stride()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float32, torch.float64])
def test_cartoon(dtype):
    image = grey_levels(1, 3, 9, 12, dtype=dtype)
    result = texfilters.cartoonize(image, d=3, c=2.5, sigma_color=300.0, ksize=5, backend="triton")
    expected = texfilters.cartoonize(image, d=3, c=2.5, sigma_color=300.0, ksize=5, backend="reference")
    torch.testing.assert_close(result, expected, rtol=0, atol=TOLERANCE[dtype])
    assert 0 < result.eq(0).sum() < result.numel()
    check(texfilters.cartoonize, image[0, ..., :1, :1], d=3, ksize=1, c=2.5, sigma_color=300.0)


def test_patch_negatives():
    image = grey_levels(2, 3, 9, 12, dtype=torch.uint8)
    results = []
    for backend in ("triton", "reference"):
        generator = torch.Generator().manual_seed(1)
        results.append(texfilters.patch_negatives(image, (2, 4), 2, generator=generator, backend=backend))
    assert torch.equal(*results)


@pytest.mark.parametrize("shape", [(0, 3, 5, 5), (2, 3, 0, 5), (2, 3, 5, 0), (3, 0, 0)])
def test_empty(shape):
    image = torch.empty(shape)
    for result in (
        texfilters.bilateral_filter(image, 0, 1.0, torch.ones(shape[:1]) if len(shape) == 4 else 1.0, backend="triton"),
        texfilters.median_blur(image, 3, backend="triton"),
        texfilters.median_blur(image, 9, backend="triton"),
        texfilters.adaptive_threshold(image, 3, 1.0, backend="triton"),
        texfilters.gaussian_blur(image, 1.0, backend="triton"),
        texfilters.cartoonize(image, backend="triton"),
    ):
        assert result.shape == shape
    assert texfilters.rgb_to_gray(image, backend="triton").shape == (*shape[:-3], 1, *shape[-2:])


def test_opcheck():
    image = grey_levels(2, 1, 2, 2).to(memory_format=torch.channels_last).requires_grad_()
    sigmas = torch.tensor([50.0, 60.0]), torch.tensor(2.0)
    torch.library.opcheck(torch.ops.texfilters.bilateral_filter.default, (image, 3, *sigmas, "wrap", "triton"))


def test_against_opencv():
    cv2 = pytest.importorskip("cv2")
    random = grey_levels(3, 10, 32, dtype=torch.uint8)
    gradient = (torch.arange(10)[:, None] * 7 + torch.arange(32) * torch.tensor([2, 4, 5])[:, None, None]).byte()
    saturated = (grey_levels(3, 10, 32, seed=1) > 127).byte() * 255
    image = torch.cat([random, gradient, saturated], -2)
    array = image.movedim(0, -1).contiguous().numpy()
    gray = cv2.cvtColor(array, cv2.COLOR_RGB2GRAY)

    def near(result, expected):
        expected = torch.from_numpy(expected).movedim(-1, 0) if expected.ndim == 3 else torch.from_numpy(expected)[None]
        torch.testing.assert_close(result, expected, rtol=0, atol=1)
        assert (result != expected).sum() <= 2

    def equal(result, expected):
        assert torch.equal(result, torch.from_numpy(expected)[None])

    smooth = texfilters.rgb_to_gray(image, backend="triton")
    equal(smooth, gray)
    for d, border in ((5, "reflect101"), (9, "wrap")):
        flag = {"reflect101": cv2.BORDER_REFLECT_101, "wrap": cv2.BORDER_WRAP}[border]
        near(
            texfilters.bilateral_filter(image, d, 75.0, 3.0, border=border, backend="triton"),
            cv2.bilateralFilter(array, d, 75.0, 3.0, borderType=flag),
        )
    near(texfilters.bilateral_filter(smooth, 7, 30.0, 3.0, backend="triton"), cv2.bilateralFilter(gray, 7, 30.0, 3.0))
    for ksize in (3, 5, 7):
        equal(texfilters.median_blur(smooth, ksize, backend="triton"), cv2.medianBlur(gray, ksize))
    for (method, flag), (invert, kind), (block, c) in itertools.product(
        (("mean", cv2.ADAPTIVE_THRESH_MEAN_C), ("gaussian", cv2.ADAPTIVE_THRESH_GAUSSIAN_C)),
        ((False, cv2.THRESH_BINARY), (True, cv2.THRESH_BINARY_INV)),
        ((3, 1.5), (9, -2.0), (13, 2.3)),
    ):
        equal(
            texfilters.adaptive_threshold(smooth, block, c, method=method, invert=invert, backend="triton"),
            cv2.adaptiveThreshold(gray, 255, flag, kind, block, c),
        )
    edges = cv2.adaptiveThreshold(cv2.medianBlur(gray, 5), 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY, 9, 9.0)
    color = cv2.bilateralFilter(array, 5, 300.0, 300.0)
    near(
        texfilters.cartoonize(image, d=5, ksize=5, backend="triton"),
        cv2.bitwise_and(color, color, mask=edges),
    )


HUGE = 2**32 + 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="relies on memory that is not there until it is touched")
@pytest.mark.parametrize(
    "strides",
    [(2**31 + 9, 64, 8, 1), (64, 2**30 + 9, 8, 1), (512, 64, 2**30 + 9, 1), (512, 64, 8, 2**30 + 9)],
    ids=["images", "channels", "rows", "columns"],
)
def test_offsets_past_31_bits(strides):
    """Reads from and writes to a few pixels that are spread over 4 GiB, most of which is never touched."""
    image = grey_levels(2, 3, 3, 3, dtype=torch.uint8)
    launches = {
        "bilateral_filter": (bilaterals.average, (3, torch.tensor(60.0), torch.tensor(1.0), "reflect101")),
        "median_blur": (medians.median, (3,)),
        "adaptive_threshold": (thresholds.threshold, (3, torch.tensor(2.0), "mean", 255.0, False)),
    }
    for name, (launch, arguments) in launches.items():
        expected = getattr(reference, name)(image, *arguments)
        for far in ("source", "target"):
            spread = torch.empty(HUGE, dtype=torch.uint8).as_strided(image.shape, strides)
            spread.copy_(image)
            source, target = (spread, torch.empty_like(image)) if far == "source" else (image, spread)
            launch(source, target, *arguments)
            torch.testing.assert_close(target, expected, rtol=0, atol=1 if name == "bilateral_filter" else 0)

"""The Triton kernels of the windowed filters, interpreted, against the reference and against OpenCV."""

import dataclasses
import importlib
import itertools
import math
import sys

import pytest
import torch

import texfilters
from texfilters import reference

triton = pytest.importorskip("triton")
import triton.language as tl  # noqa: E402
from triton.runtime import interpreter  # noqa: E402

from texfilters import _triton  # noqa: E402

# NumPy warns of NaN where a GPU says nothing.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning:triton.runtime.interpreter")
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
def _quick(monkeypatch):
    """Programs of more lanes with less to do each: an operation takes the interpreter about as long on 1024 lanes as on
    128. And no search for overflows in every sum of integers, which takes most of its time and whose findings it drops.
    """
    _tiles(monkeypatch, strips=32, rows=2)
    builder = interpreter.interpreter_builder
    monkeypatch.setattr(builder, "options", dataclasses.replace(builder.options, sanitize_overflow=False))
    monkeypatch.setattr(interpreter, "_patch_lang_tensor", _patch_lang_tensor)


_patch_tensor = interpreter._patch_lang_tensor


def _patch_lang_tensor(tensor, scope):
    """The bounds of a loop, for Triton 3.6: NumPy makes no number of an array of one element any more."""
    _patch_tensor(tensor, scope)
    scope.set_attr(tensor, "__index__", lambda self: self.handle.data.item())


def _tiles(monkeypatch, strips, rows):
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


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (31, 33), (32, 32), (33, 40)])
def test_bilateral_sizes(shape):
    bilateral(grey_levels(1, *shape), 3)


def test_programs_as_on_a_gpu(monkeypatch):
    _tiles(monkeypatch, strips=images.LANES // images.COLUMNS.value, rows=8)
    image = grey_levels(9, 33, dtype=torch.uint8)
    bilateral(image, 3)
    for ksize in (3, 5):
        same(texfilters.median_blur, image, ksize)
    same(texfilters.adaptive_threshold, image[:, :31], 3, 2.0)
    check(texfilters.gaussian_blur, image[:, :31], 0.5)


@pytest.mark.parametrize("border", BORDERS)
def test_borders(border):
    for shape, d in (((3, 9, 12), 7), ((1, 4, 5), 7), ((1, 2, 1), 9), ((1, 1, 7), 5)):
        bilateral(grey_levels(*shape), d, border=border)
    for shape, size in (((9, 12), 3), ((9, 12), 9), ((2, 5), 9), ((1, 2), 7)):
        check(texfilters.gaussian_blur, grey_levels(*shape), 1.7, kernel_size=size, border=border)


@pytest.mark.parametrize("border", BORDERS)
def test_border_index(border):
    """Every position that a kernel may meet: as far as one likes, without FAR less than a whole image away."""
    for size, far in itertools.product((1, 2, 3, 8), (True, False)):
        reach = 3 * size if far else size - 1
        position = torch.arange(64, dtype=torch.int32).clamp(max=size + 2 * reach - 1) - reach
        index = torch.empty_like(position)
        _border_index[(1,)](position, index, size, border, far)
        expected = reference._border.border_index(position, size, border)
        assert torch.equal(index.where(expected >= 0, -1), expected), (size, far)  # "constant": any outside


@triton.jit
def _border_index(position, index, size, BORDER: tl.constexpr, FAR: tl.constexpr):
    i = tl.arange(0, 64)
    tl.store(index + i, images.border_index(tl.load(position + i), size, BORDER, FAR))


@pytest.mark.parametrize("d", [1, 2, 4, 9, 11])
def test_round_windows(d):
    bilateral(grey_levels(1, 13, 14), d, sigma_space=30.0)


@pytest.mark.parametrize("d", [0, -3])
@pytest.mark.parametrize("sigma_space", [0.1, 1.0, 1.7, torch.tensor([0.5, 3.0])])
def test_radius_of_sigma_space(d, sigma_space):
    bilateral(grey_levels(2, 1, 9, 11), d, 60.0, sigma_space)


@pytest.mark.parametrize("radius", [0, 1, 2, 3, 5, 12, 100, 5792, 32766, 32767])
def test_half_width(radius):
    """The widths of the rows of a disk, all of a small one, the hardest of a large one."""
    dy = torch.arange(radius + 1)
    exact = (radius**2 - dy**2).double().sqrt()
    dy = dy[(exact - exact.round()).abs().argsort()[torch.arange(64).clamp(max=radius)]].int()
    width = torch.empty_like(dy)
    _half_width[(1,)](dy, width, radius)
    assert width.tolist() == [math.isqrt(radius**2 - row**2) for row in dy.tolist()]


@triton.jit
def _half_width(dy, width, radius):
    i = tl.arange(0, 64)
    tl.store(width + i, bilaterals.half_width(radius, tl.load(dy + i)))


@pytest.mark.parametrize("channels", [None, 1, 2, 3, 4, 5, 9])
def test_channels_share_weights(channels):
    image = grey_levels(9, 12) if channels is None else grey_levels(channels, 9, 12)
    bilateral(image, sigma_color=60.0 * (channels or 1))


@pytest.mark.parametrize("dtype", DTYPES)
def test_bilateral_dtypes(dtype):
    bilateral(grey_levels(3, 24, 32, dtype=dtype), 5, 90.0)
    bilateral(grey_levels(24, 32, dtype=dtype), 5, 30.0)


@pytest.mark.parametrize("view", VIEWS)
def test_strides(view):
    image = VIEWS[view](grey_levels(2, 3, 4, 7))
    bilateral(image, 3)
    same(texfilters.median_blur, image, 3)
    same(texfilters.adaptive_threshold, image, 3, 2.0)
    check(texfilters.gaussian_blur, image, 0.4)
    if view != "sliced":
        result = check(texfilters.rgb_to_gray, image[..., :3, :, :] if image.shape[-3] == 3 else image.mT)
        assert result.stride() == torch.empty_like(image.narrow(-3, 0, 1)).stride()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_bilateral_parameters_of_each_image(dtype):
    image = grey_levels(4, 3, 7, 9, dtype=dtype)
    sigma_color = torch.tensor([60.0, 0.0, 20.0, 90.0])
    sigma_space = torch.tensor([1.0, 2.0, 0.0, 3.0], dtype=torch.float64)
    for d in (5, 0):
        result = bilateral(image, d, sigma_color, sigma_space)
        assert torch.equal(result[1:3], image[1:3])
        for i in (0, 3):
            alone = (image[i : i + 1], d, sigma_color[i].item(), sigma_space[i].item())
            assert torch.equal(result[i : i + 1], texfilters.bilateral_filter(*alone, backend="triton"))


def test_sigma_0_copies_every_bit():
    # A quiet NaN with a payload and a signaling one: neither survives arithmetic.
    image = torch.tensor([0x7FC12345, 0x7F812345, 0x80000000, 1], dtype=torch.int64).to(torch.int32).view(torch.float32)
    image = image.reshape(1, 2, 2)
    for result in (
        texfilters.bilateral_filter(image, 3, 0.0, 1.0, backend="triton"),
        texfilters.bilateral_filter(image, 3, 1.0, 0.0, backend="triton"),
        texfilters.gaussian_blur(image, 0.0, backend="triton"),
        texfilters.median_blur(image, 1, backend="triton"),
    ):
        assert torch.equal(result.view(torch.int32), image.view(torch.int32))
        assert result.data_ptr() != image.data_ptr()


@pytest.mark.parametrize("bad", [-math.inf, math.nan])
def test_sigma_out_of_range_on_a_device(bad):
    """Past the checks of CPU values, as if the parameters were on a device, where the host cannot read them."""
    image, good = grey_levels(3, 1, 5, 6), torch.tensor(2.0)
    sigmas = torch.tensor([2.0, bad, 0.0])
    for color, space in ((sigmas, good), (good, sigmas), (sigmas, sigmas)):
        for d in (3, 0) if color is good else (3,):
            result = _triton.bilateral_filter(image, d, color, space, "reflect101")
            assert torch.equal(result[:1], _triton.bilateral_filter(image[:1], d, good, good, "reflect101"))
            assert result[1].isnan().all()
            assert torch.equal(result[2], image[2])
            assert _triton.bilateral_filter(image.byte(), d, color, space, "wrap")[1].eq(0).all()
    for kernel_size in (3, 0):
        result = _triton.gaussian_blur(image, sigmas, kernel_size, "reflect101")
        assert result[0].isfinite().all()
        assert result[1].isnan().all()
        assert torch.equal(result[2], image[2])


@pytest.mark.parametrize("sigma", [1e-40, 1e-30, 1e30, math.inf])
def test_extreme_sigmas(sigma):
    image = grey_levels(1, 5, 6)
    bilateral(image, 3, sigma, 2.0)
    bilateral(image, 3, 60.0, sigma)
    if sigma < 1:  # the window grows with sigma
        check(texfilters.gaussian_blur, image, sigma)
    check(texfilters.gaussian_blur, image, sigma, kernel_size=5)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_nan_is_contained(value):
    image = grey_levels(2, 3, 9, 12)
    image[0, 1, 4, 5] = value
    for border in ("reflect101", "constant"):
        result = texfilters.bilateral_filter(image, 5, 60.0, 2.0, border=border, backend="triton")
        expected = texfilters.bilateral_filter(image, 5, 60.0, 2.0, border=border, backend="reference")
        torch.testing.assert_close(result, expected, rtol=0, atol=TOLERANCE[torch.float32], equal_nan=True)
        blurred = texfilters.gaussian_blur(image, 0.6, border=border, backend="triton")
        expected = texfilters.gaussian_blur(image, 0.6, border=border, backend="reference")
        torch.testing.assert_close(blurred, expected, rtol=0, atol=TOLERANCE[torch.float32], equal_nan=True)
    # A window that grows with each image's sigma ends at its own.
    result = texfilters.bilateral_filter(image, 0, 60.0, torch.tensor([0.5, 2.0]), backend="triton")
    assert result[0, :, 4, 6].isnan().all() or value == math.inf
    assert result[0, :, 4, 7].isfinite().all()


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
    windows = torch.tensor(list(itertools.product((0, 1), repeat=9)), dtype=torch.uint8).reshape(512, 3, 3)
    image = windows.permute(1, 0, 2).reshape(3, 16, 96).transpose(0, 1)
    for dtype in (torch.uint8, torch.float32):
        result = texfilters.median_blur(image.to(dtype), 3, backend="triton")
        assert torch.equal(result[:, 1, 1::3].flatten(), (windows.sum((1, 2)) >= 5).to(dtype))


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

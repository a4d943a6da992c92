"""The bilateral filter in Triton, interpreted: windows, borders, channels, parameters."""

import itertools
import math

import pytest
import torch

import texfilters
from texfilters import reference

triton = pytest.importorskip("triton")
import triton.language as tl  # noqa: E402
from interpreted import (  # noqa: E402, F401
    BORDERS,
    DTYPES,
    MARKS,
    TOLERANCE,
    VIEWS,
    bilateral,
    bilaterals,
    check,
    grey_levels,
    images,
    quick,
    same,
    tiles,
)

from texfilters import _triton  # noqa: E402

pytestmark = MARKS


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (31, 33), (32, 32), (33, 40)])
def test_bilateral_sizes(shape):
    bilateral(grey_levels(1, *shape), 3)


def test_programs_as_on_a_gpu(monkeypatch):
    tiles(monkeypatch, strips=images.LANES // images.COLUMNS.value, rows=8)
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

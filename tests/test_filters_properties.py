"""What the filters are, whatever the numbers: properties that hypothesis tries to break."""

import itertools
import math

import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from filter_cases import Case, check, draw
from texfilters import (
    adaptive_threshold,
    bilateral_filter,
    cartoonize,
    gaussian_blur,
    median_blur,
    reference,
    rgb_to_gray,
)

SETTINGS = settings(max_examples=40, deadline=None)
seeds = st.integers(0, 2**31 - 1)
sides = st.integers(1, 40)
dtypes = st.sampled_from([torch.uint8, torch.float16, torch.float32, torch.float64])
borders = st.sampled_from(["constant", "replicate", "reflect", "reflect101", "wrap"])
odd = st.integers(0, 12).map(lambda r: 2 * r + 1)
blocks = st.integers(1, 12).map(lambda r: 2 * r + 1)
methods = st.sampled_from(["mean", "gaussian"])
grey = st.floats(0, 300)


@SETTINGS
@given(seeds, sides, sides, dtypes, borders, st.integers(-2, 11), grey, st.floats(0, 4), st.integers(1, 4))
def test_bilateral_is_its_definition(seed, height, width, dtype, border, d, sigma_color, sigma_space, channels):
    # Below 1e-3 squares of distances leave float32's range, in which a weight is 0 either way, or not quite.
    assume(sigma_color == 0 or sigma_color > 1e-3)
    assume(sigma_space == 0 or sigma_space > 1e-3)
    arguments = {"d": d, "sigma_color": sigma_color, "sigma_space": sigma_space, "border": border}
    check(Case("bilateral_filter", arguments, 1e-3), draw((channels, height, width), dtype, seed=seed), None)


@SETTINGS
@given(seeds, sides, sides, dtypes, borders, st.floats(0, 9), st.none() | odd)
def test_gaussian_is_its_definition(seed, height, width, dtype, border, sigma, kernel_size):
    arguments = {"sigma": sigma, "kernel_size": kernel_size, "border": border}
    check(Case("gaussian_blur", arguments, 5e-4), draw((2, height, width), dtype, seed=seed), None)


@SETTINGS
@given(seeds, sides, sides, dtypes, odd)
def test_median_is_its_definition(seed, height, width, dtype, ksize):
    check(Case("median_blur", {"ksize": ksize}, 0.0), draw((2, height, width), dtype, seed=seed), None)


@SETTINGS
@given(seeds, sides, sides, dtypes, blocks, st.floats(-300, 300), methods, st.booleans())
def test_threshold_is_its_definition(seed, height, width, dtype, block_size, c, method, invert):
    arguments = {"block_size": block_size, "c": c, "method": method, "invert": invert}
    image = draw((2, height, width), dtype, seed=seed)
    check(Case("adaptive_threshold", arguments, 5e-3), image, None, c=c / 10)


@SETTINGS
@given(seeds, st.integers(1, 30), st.integers(1, 30), dtypes, st.integers(0, 7), odd, blocks, st.floats(-30, 30))
def test_cartoon_values_come_from_the_two_inputs(seed, height, width, dtype, d, ksize, block_size, c):
    """Each is the bilateral filter's, to the bit, or 0, by the lines of the gray image."""
    image = draw((3, height, width), dtype, seed=seed)
    result = cartoonize(image, d=d, sigma_color=60.0, sigma_space=2.0, ksize=ksize, block_size=block_size, c=c)
    color = bilateral_filter(image, d, 60.0, 2.0)
    lines = adaptive_threshold(median_blur(rgb_to_gray(image), ksize), block_size, c) == 0
    assert torch.equal(result, color.masked_fill(lines, 0))


@SETTINGS
@given(seeds, sides, sides, odd)
def test_median_commutes_with_monotone_maps_and_flips(seed, height, width, ksize):
    image = draw((2, height, width), torch.uint8, seed=seed)
    median = median_blur(image, ksize)
    table = torch.randint(0, 256, (256,), generator=torch.Generator().manual_seed(seed)).sort().values.to(torch.uint8)
    assert torch.equal(median_blur(table[image.long()], ksize), table[median.long()])
    assert torch.equal(median_blur(255 - image, ksize), 255 - median)
    for turn in (lambda u: u.flip(-1), lambda u: u.flip(-2), lambda u: u.mT, lambda u: u.rot90(1, (-2, -1))):
        assert torch.equal(median_blur(turn(image), ksize), turn(median))
    assert torch.equal(median_blur(image.float(), ksize), median.float())


@SETTINGS
@given(st.integers(0, 255), sides, sides, dtypes, odd, blocks, st.floats(0, 9), methods)
def test_a_constant_image(value, height, width, dtype, ksize, block_size, sigma, method):
    image = torch.full((3, height, width), value, dtype=dtype)
    assert torch.equal(median_blur(image, ksize), image)
    for border in ("replicate", "reflect", "reflect101", "wrap"):
        for result in (gaussian_blur(image, sigma, border=border), bilateral_filter(image, 7, 9.0, 3.0, border=border)):
            assert (result.double() - value).abs().max() <= value * torch.finfo(torch.float32).eps * 8
    for c in (-1, -0.5, 0.5, 1):
        for invert in (False, True):
            result = adaptive_threshold(image, block_size, c, method=method, invert=invert)
            rounded = c if dtype.is_floating_point else math.floor(c) if invert else math.ceil(c)
            lit = rounded <= 0 if invert else rounded > 0
            assert torch.equal(result != 0, torch.full(image.shape, lit))


@SETTINGS
@given(seeds, sides, sides, blocks, methods, st.lists(st.floats(-260, 260), min_size=2, max_size=5))
def test_threshold_is_monotone_and_inverted_is_the_complement(seed, height, width, block_size, method, cs):
    image = draw((height, width), seed=seed)
    lit = [adaptive_threshold(image, block_size, c, method=method) != 0 for c in sorted(cs)]
    for fewer, more in itertools.pairwise(lit):
        assert not (fewer & ~more).any()
    for c in cs:
        for whole in (False, True):
            u, k = (image.to(torch.uint8), round(c)) if whole else (image, c)
            plain, inverted = (adaptive_threshold(u, block_size, k, method=method, invert=i) for i in (False, True))
            assert torch.equal(plain, (255 if whole else 1) - inverted)


@SETTINGS
@given(seeds, sides, sides, borders, st.integers(1, 13), st.floats(0.3, 6))
def test_bilateral_without_color_is_a_gaussian_over_the_same_disk(seed, height, width, border, d, sigma):
    """By a convolution in torch, since the window is round."""
    image = draw((2, height, width), torch.float64, seed=seed)
    radius = max(1, d // 2)
    i = torch.arange(-radius, radius + 1, dtype=torch.float64)
    squared = i[:, None] ** 2 + i**2
    weights = torch.where(squared <= radius**2, torch.exp(-squared / (2 * sigma**2)), 0)
    padded = reference.pad(image, radius, border)[:, None]
    expected = torch.nn.functional.conv2d(padded, (weights / weights.sum())[None, None])[:, 0]
    assert (bilateral_filter(image, d, 1e12, sigma, border=border) - expected).abs().max() < 1e-9
    assert (bilateral_filter(image.float(), d, 1e12, sigma, border=border) - expected).abs().max() < 1e-3


@SETTINGS
@given(seeds, sides, sides, borders, st.integers(-1, 9), st.floats(1, 300), st.floats(0.3, 4))
def test_bilateral_is_blind_to_the_order_of_channels_and_to_flips(seed, height, width, border, d, color, space):
    image = draw((3, height, width), torch.float64, seed=seed)
    result = bilateral_filter(image, d, color, space, border=border)
    for turn in (lambda u: u.flip(-1), lambda u: u.flip(-2), lambda u: u.flip(0), lambda u: u.mT):
        turned = bilateral_filter(turn(image), d, color, space, border=border)
        assert (turned - turn(result)).abs().max() < 1e-9
    if border != "constant":
        shifted = bilateral_filter(image + 1000, d, color, space, border=border) - 1000
        assert (shifted - result).abs().max() < 1e-8
        assert (result.amin((1, 2)) >= image.amin((1, 2)) - 1e-9).all()
        assert (result.amax((1, 2)) <= image.amax((1, 2)) + 1e-9).all()


@SETTINGS
@given(st.floats(0.2, 6), st.none() | odd)
def test_the_gaussians_weights(sigma, kernel_size):
    """A single bright pixel shows them: separable, with the sum 1, in the ratios of exp(-i^2 / (2 sigma^2))."""
    image = torch.zeros(61, 61, dtype=torch.float64)
    image[30, 30] = 1
    result = gaussian_blur(image, sigma, kernel_size=kernel_size, border="constant")
    assert abs(result.sum() - 1) < 1e-12
    row, column = result.sum(0), result.sum(1)
    assert (result - column[:, None] * row).abs().max() < 1e-15
    radius = torch.tensor(3 * sigma, dtype=torch.float64).ceil().int() if kernel_size is None else kernel_size // 2
    i = torch.arange(-30, 31)
    assert torch.equal(row != 0, (i.abs() <= radius) & (torch.exp(-0.5 * (i.double() / sigma) ** 2) / row.max() > 0))
    assert (row - row[30] * torch.exp(-0.5 * (i.double() / sigma) ** 2) * (i.abs() <= radius)).abs().max() < 1e-15


@SETTINGS
@given(seeds, sides, sides, st.floats(-50, 50))
def test_gray_is_between_the_channels_and_keeps_gray(seed, height, width, offset):
    image = draw((3, height, width), torch.uint8, seed=seed)
    gray = rgb_to_gray(image)
    assert (gray >= image.amin(0)).all()
    assert (gray <= image.amax(0)).all()
    assert torch.equal(rgb_to_gray(image[:1].expand(3, -1, -1)), image[:1])
    exact = image.double()
    assert (rgb_to_gray(exact + offset) - rgb_to_gray(exact) - offset).abs().max() < 1e-9
    assert (rgb_to_gray(exact) - gray).abs().max() <= 0.5 + 5e-3  # OpenCV's weights are whole numbers of 2^-15

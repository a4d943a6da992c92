"""The CUDA median filter, emulated: the definition's values exactly."""

import pytest
import torch
from emulated_filters import DTYPES, OPS, SIZES, noise, run, views

from texfilters import reference

pytestmark = pytest.mark.usefixtures("filled_memory")

NETWORKS = [3, 5, 7]
KSIZES = [1, *NETWORKS, 9]
FLOATS = [dtype for dtype in DTYPES if dtype.is_floating_point]


def check(image, ksize, **emulate):
    result, expected = run("median_blur", image, ksize, **emulate), reference.median_blur(image, ksize)
    like = torch.empty_like(image)
    assert (result.dtype, result.shape, result.stride()) == (like.dtype, like.shape, like.stride())
    torch.testing.assert_close(result, expected, rtol=0, atol=0, equal_nan=True)
    return result


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("ksize", KSIZES)
def test_every_window(ksize, dtype):
    check(noise(2, 1, 37, 45, dtype=dtype), ksize)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("size", [*SIZES, (63, 64), (64, 63), (65, 65), (1, 4), (4, 1), (31, 36), (33, 28)])
def test_sizes(size, dtype):
    for ksize in NETWORKS:
        check(noise(1, 1, *size, dtype=dtype), ksize)


@pytest.mark.parametrize("ksize", [41, 255])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.bfloat16])
def test_windows_larger_than_the_image(dtype, ksize):
    for size in [(1, 1), (2, 7), (9, 5)]:
        check(noise(1, 1, *size, dtype=dtype), ksize)


def test_the_largest_window():
    """Of 65535 x 65535, nearly all of it beyond the border: the corners decide."""
    image = torch.tensor([[10, 1, 20], [7, 3, 8], [30, 2, 40]], dtype=torch.uint8)
    for u in (image, image.float()):
        # The two upper corners and what lies between the corners make up just over a half for every pixel.
        assert (run("median_blur", u, 65535) == 20).all()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16])
def test_strides(dtype):
    for _, image in views(2, 3, 20, 36, dtype=dtype):
        check(image, 3)
    for _, image in views(2, 1, 9, 8, dtype=dtype):
        check(image, 9)


@pytest.mark.parametrize("front", [(), (3,), (2, 1, 3), (2, 3, 1, 2)])
def test_dimensions(front):
    check(noise(*front, 9, 12, dtype=torch.uint8), 5)


@pytest.mark.parametrize("offset", [0, 1, 2])
@pytest.mark.parametrize("width", [32, 33, 36])
def test_words_and_bytes(width, offset):
    """Rows that do and do not begin at whole words, of the input and of both."""
    memory = noise(40 * 48, dtype=torch.uint8)
    for stride in [width, 40, 41]:
        check(memory.as_strided((1, 1, 35, width), (1, 1, stride, 1), offset), 3)


@pytest.mark.parametrize("ksize", KSIZES)
@pytest.mark.parametrize("values", [(0, 255), (128, 128), (254, 255), (0, 1)])
def test_few_values(values, ksize):
    image = torch.where(noise(1, 1, 33, 20) < 128, *values).to(torch.uint8)
    check(image, ksize)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("ksize", KSIZES)
def test_nan_and_inf(ksize, dtype):
    image = noise(1, 1, 36, 40) - 128
    kind = noise(1, 1, 36, 40, seed=1)
    image[kind < 60] = torch.inf
    image[kind > 200] = -torch.inf
    image[..., 12:24, :12], image[..., 12:24, 12:24] = torch.inf, -torch.inf
    image[..., 5, 5] = image[..., 20, 30] = image[..., 35, 39] = torch.nan
    image[..., 30, 3] = -image[..., 5, 5]  # of the other sign
    result = check(image.to(dtype), ksize)
    assert 0 < result.isnan().sum() < result.numel()
    assert {torch.inf, -torch.inf} <= set(result.flatten().tolist())


def test_subnormal_and_signed_numbers():
    image = (noise(1, 1, 20, 33) - 128) * 1e-43
    for ksize in KSIZES:
        check(image, ksize)


@pytest.mark.parametrize("seed", range(3))
def test_any_schedule(seed):
    for dtype, ksize in [(torch.uint8, 5), (torch.float32, 7)]:
        check(noise(1, 1, 66, 35, dtype=dtype), ksize, seed=seed)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_a_missing_barrier_is_found(dtype):
    image = noise(1, 1, 64, 64, dtype=dtype)
    expected = reference.median_blur(image, 5)
    wrong = [
        not torch.equal(run("median_blur", image, 5, seed=s, defect="missing barrier"), expected) for s in range(4)
    ]
    assert any(wrong)


def test_small_grids():
    image = noise(3, 2, 65, 40, dtype=torch.uint8)
    for ksize in (3, 9):
        check(image, ksize, largest_grid=15)
        assert OPS.launches() > 1


def test_empty_images_and_bad_arguments():
    for shape in [(0, 3, 4, 4), (2, 0, 4, 4), (2, 3, 0, 4), (2, 3, 4, 0)]:
        assert run("median_blur", torch.empty(shape), 3).shape == shape
    for ksize in (-1, 0, 2, 65537):
        with pytest.raises(RuntimeError, match="ksize must be odd"):
            run("median_blur", noise(1, 1, 4, 4), ksize)
    with pytest.raises(RuntimeError, match="2 dimensions"):
        run("median_blur", noise(4), 3)
    with pytest.raises(RuntimeError, match="uint8"):
        run("median_blur", noise(4, 4).double(), 3)

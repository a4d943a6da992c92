"""The CUDA rgb_to_gray, emulated: the definition's values exactly, since both add in the same order."""

import pytest
import torch
from emulated_filters import DTYPES, OPS, noise, run, views

from texfilters import reference

pytestmark = pytest.mark.usefixtures("filled_memory")

# Pixels of a block, and of a vector of each dtype.
SIZES = [(1, 1), (1, 7), (5, 3), (33, 31), (64, 64), (64, 65), (1, 4096), (4097, 1)]


def check(image, **emulate):
    result, expected = run("rgb_to_gray", image, **emulate), reference.rgb_to_gray(image)
    assert result.stride() == torch.empty_like(image.narrow(-3, 0, 1)).stride()
    torch.testing.assert_close(result, expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_sizes(size, dtype):
    check(noise(2, 3, *size, dtype=dtype))


def test_every_sum_of_bytes():
    levels = torch.arange(0, 256, 5, dtype=torch.uint8)
    check(torch.cartesian_prod(levels, levels, levels).T.reshape(3, 52, -1))


@pytest.mark.parametrize("dtype", DTYPES)
def test_strides(dtype):
    for _, image in views(2, 3, 18, 40, dtype=dtype):
        check(image)


@pytest.mark.parametrize("front", [(), (3,), (2, 1), (2, 3, 2)])
def test_dimensions(front):
    check(noise(*front, 3, 9, 12))
    check(noise(*front, 9, 12, 3, dtype=torch.uint8).movedim(-1, -3))


@pytest.mark.parametrize("offset", range(4))
@pytest.mark.parametrize("dtype", DTYPES)
def test_alignment(dtype, offset):
    memory = noise(3 * 40 * 48 + 4, dtype=dtype)
    for plane in (40 * 48, 40 * 48 - 3):
        check(memory.as_strided((3, 40, 48), (plane, 48, 1), offset))


def test_special_numbers():
    image = noise(1, 3, 8, 8)
    image[0, 0, 1], image[0, 1, 3], image[0, 2, 5] = torch.nan, torch.inf, -torch.inf
    for dtype in DTYPES[1:]:
        check(image.to(dtype))


def test_small_grids():
    check(noise(3, 3, 64, 130), largest_grid=4)
    assert OPS.launches() > 1


def test_empty_images_and_bad_arguments():
    for shape in [(0, 3, 4, 4), (2, 3, 0, 4), (3, 4, 0)]:
        assert run("rgb_to_gray", noise(*shape)).shape == (*shape[:-3], 1, *shape[-2:])
    for shape in [(4, 4), (1, 4, 4), (2, 4, 4, 4)]:
        with pytest.raises(RuntimeError, match="3 channels"):
            run("rgb_to_gray", noise(*shape))
    with pytest.raises(RuntimeError, match="uint8"):
        run("rgb_to_gray", noise(3, 4, 4).double())

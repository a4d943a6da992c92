"""Patch negatives: squares of the image itself, places drawn fairly, and drawn again from the same generator."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import texfilters
from filter_cases import DTYPES, PATCHES, check, draw
from texfilters import patch_negatives


def numbered(batch, height, width):
    """Every pixel of every image has a value of its own, in two channels."""
    value = torch.arange(batch * height * width, dtype=torch.float64).reshape(batch, 1, height, width)
    return torch.cat([value, -value], 1)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 3), st.integers(1, 30), st.integers(1, 30), st.data())
def test_every_cell_is_a_square_of_the_same_image(batch, height, width, data):
    side = data.draw(st.integers(1, min(height, width)))
    image = numbered(batch, height, width)
    result = patch_negatives(image, side, 3)
    assert result.shape == (batch, 3, 2, height, width)
    assert torch.equal(result[:, :, 0], -result[:, :, 1])
    for b in range(batch):
        for negative in result[b, :, 0]:
            source = negative.long() - b * height * width
            assert ((source >= 0) & (source < height * width)).all()
            y, x = source // width, source % width
            for top in range(0, height, side):
                for left in range(0, width, side):
                    cell = (slice(top, top + side), slice(left, left + side))
                    y0, x0 = y[cell][0, 0], x[cell][0, 0]
                    assert y0 <= height - side
                    assert x0 <= width - side
                    rows, columns = (torch.arange(n) for n in y[cell].shape)
                    assert torch.equal(y[cell], (y0 + rows)[:, None].expand_as(y[cell]))
                    assert torch.equal(x[cell], (x0 + columns).expand_as(x[cell]))


@pytest.mark.parametrize("case", PATCHES, ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_backend_gives_the_same_pixels(backend, case, dtype):
    for shape in ((3, 3, 40, 51), (1, 1, 9, 9), (3, 17, 40), (2, 5, 33, 64), (1, 3, 9, 131)):
        check(case, draw(shape, dtype), backend)


def test_bits_are_copied(backend):
    """Not numbers: NaN with its payload and the zero with its sign."""
    bits = torch.randint(-(2**31), 2**31 - 1, (1, 1, 16, 16), dtype=torch.int32)
    draws = [
        patch_negatives(bits.view(torch.float32), 4, 3, generator=torch.Generator(), backend=name).view(torch.int32)
        for name in (backend, "reference")
    ]
    assert torch.equal(*draws)
    assert torch.isin(draws[0], bits).all()


def sizes_of(negative):
    """The side of the squares: how far a row goes on in steps of 1, at its shortest."""
    steps = (negative[0, 1:] - negative[0, :-1]) != 1
    return int(steps.nonzero()[0]) + 1 if steps.any() else len(negative[0])


def test_both_ends_of_the_range_are_drawn_and_all_between():
    result = patch_negatives(numbered(1, 60, 60), (3, 6), 300)[0, :, 0]
    sizes = [sizes_of(negative) for negative in result]
    counts = {size: sizes.count(size) for size in set(sizes)}
    # A chance of 1/60 per border between squares that two neighbors happen to go on; then twice the size is seen.
    assert {3, 4, 5, 6} <= set(counts)
    assert all(counts[size] >= 50 for size in (3, 4, 5, 6))
    assert min(counts) == 3


def test_the_default_range_goes_with_the_image():
    """16..72 pixels of 224."""
    for side, least, most in ((224, 16, 72), (448, 32, 144), (56, 4, 18), (3, 1, 1), (1, 1, 1)):
        assert texfilters._check.patch_range(None, torch.empty(1, 3, side, side + 5)) == (least, most)
    result = patch_negatives(numbered(1, 56, 70), None, 100)[0, :, 0]
    assert {4, 18} <= {sizes_of(negative) for negative in result}


def test_every_place_is_drawn_equally_often_the_last_included():
    image = numbered(1, 7, 9)
    corner = patch_negatives(image, 4, 20_000)[0, :, 0, 0, 0].long()
    counts = torch.bincount(corner, minlength=63).reshape(7, 9)
    assert (counts[:4, :6] > 0).all()
    assert counts[:4, :6].sum() == 20_000
    expected = 20_000 / 24
    assert (counts[:4, :6] - expected).abs().max() < 5 * expected**0.5  # 5 standard deviations


def test_cells_images_and_results_are_drawn_apart():
    result = patch_negatives(numbered(1, 40, 40).expand(4, -1, -1, -1), 4, 3)[:, :, 0].reshape(12, -1)
    assert len({tuple(row.tolist()) for row in result}) == 12
    places = result[0].reshape(10, 4, 10, 4)[:, 0, :, 0]
    assert len(places.unique()) > 80  # of 100 cells with 1369 places each


def test_a_generator_in_the_same_state_draws_the_same_again():
    image = draw((2, 3, 40, 40))
    generator = torch.Generator().manual_seed(5)
    state = generator.get_state()
    first = patch_negatives(image, (2, 20), 4, generator=generator)
    second = patch_negatives(image, (2, 20), 4, generator=generator)
    assert not torch.equal(first, second)
    assert torch.equal(patch_negatives(image, (2, 20), 4, generator=generator.set_state(state)), first)
    torch.manual_seed(9)
    default = patch_negatives(image, (2, 20), 4)
    torch.manual_seed(9)
    assert torch.equal(patch_negatives(image, (2, 20), 4), default)
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    patch_negatives(image, 4, generator=generator)
    assert torch.equal(torch.rand(1), expected)  # with a generator of one's own, torch's is left alone


def test_one_image_without_a_batch():
    image = draw((3, 20, 30))
    alone = patch_negatives(image, 6, 2, generator=torch.Generator())
    assert torch.equal(alone, patch_negatives(image[None], 6, 2, generator=torch.Generator())[0])
    whole = patch_negatives(image[:, :20, :20], 20, 2)
    assert torch.equal(whole, image[:, :20, :20].expand(2, -1, -1, -1))  # one square as large as the image


@pytest.mark.parametrize("shape", [(0, 3, 8, 9), (2, 0, 8, 9)])
def test_empty_batches(backend, shape):
    for dtype in DTYPES:
        result = patch_negatives(draw(shape, dtype), 3, 2, backend=backend)
        assert (result.shape, result.dtype) == ((shape[0], 2, *shape[1:]), dtype)

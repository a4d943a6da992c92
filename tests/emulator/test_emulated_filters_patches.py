"""The CUDA patch negatives, emulated: the definition's pixels exactly."""

import pytest
import torch
from emulated_filters import DTYPES, OPS, noise, run, views

from texfilters import reference

pytestmark = pytest.mark.usefixtures("filled_memory")


def draw(image, n, least, most, seed=0, dtype=torch.int32):
    """As the public function draws."""
    generator = torch.Generator().manual_seed(seed)
    images, _, height, width = image.shape
    size = torch.randint(least, most + 1, (images, n), generator=generator, dtype=dtype)
    cells = -(-height // least) * -(-width // least)
    drawn = torch.randint(2**31 - 1, (images, n, cells, 2), generator=generator, dtype=dtype)
    room = torch.tensor([height, width], dtype=dtype) - size[..., None] + 1
    return size, drawn % room[..., None, :]


def with_gaps(places):
    wide = torch.zeros(*places.shape, 2, dtype=places.dtype)
    wide[..., 1] = places
    return wide[..., 1]


def check(image, patch_size, places, **emulate):
    result = run("patch_negatives", image, patch_size, places, **emulate)
    assert result.is_contiguous()
    assert torch.equal(result, reference.patch_negatives(image, patch_size, places))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (31, 33), (32, 32), (33, 30), (65, 68)])
def test_sizes(size, dtype):
    image = noise(2, 3, *size, dtype=dtype)
    for least, most in ((1, 1), (1, min(size)), (min(size), min(size))):
        check(image, *draw(image, 2, least, most))


@pytest.mark.parametrize("patch_size", range(1, 12))
def test_every_offset_of_a_patch(patch_size):
    image = noise(1, 1, 20, 40, dtype=torch.uint8)
    check(image, *draw(image, 3, patch_size, patch_size, seed=patch_size))


@pytest.mark.parametrize("device", [(), (0,), (1,), (0, 1)])
@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_drawn_on_either_device(dtype, device):
    """Few numbers go with the launch, many are copied."""
    image = noise(3, 2, 30, 36, dtype=torch.float16)
    for least in (1, 9):
        size, places = draw(image, 2, least, 12, dtype=dtype)
        check(image, size, places, device=device)
        check(image, size.mT.contiguous().mT, with_gaps(places), device=device)


def test_a_graph_holds_the_numbers():
    """However many: its replays must not read memory of the CPU, which may be somebody else's by then."""
    image = noise(3, 2, 30, 36)
    size, places = draw(image, 2, 1, 12)
    words = size.numel() + places.numel()
    check(image, size, with_gaps(places), capturing=True)
    assert OPS.launches() == 1 + -(-words // 1000)
    check(image, size, places)
    assert OPS.launches() == 2


def test_strides():
    for _, image in views(2, 3, 20, 36, dtype=torch.uint8):
        check(image, *draw(image, 2, 3, 15))


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_numbers_out_of_range_stay_within_the_image(dtype):
    image = noise(1, 1, 9, 10, dtype=torch.uint8) + 1
    limits = torch.iinfo(dtype)
    for size in (limits.min, -1, 0, 1, 4, 10, 11, limits.max):
        for corner in (limits.min, -1, 0, 5, 9, 10, limits.max):
            for cells in (1, 3, 90):
                places = torch.full((1, 1, cells, 2), corner, dtype=dtype)
                patch_size = torch.tensor([[size]], dtype=dtype)
                result = run("patch_negatives", image, patch_size, places, device=(0, 1))
                assert set(result.flatten().tolist()) <= set(image.flatten().tolist())


def test_small_grids():
    image = noise(3, 2, 40, 33)
    check(image, *draw(image, 3, 5, 20), largest_grid=5)
    assert OPS.launches() > 1


def test_empty_images_and_bad_arguments():
    whole = torch.ones(2, 3, dtype=torch.int32)
    places = torch.zeros(2, 3, 16, 2, dtype=torch.int32)
    for shape in [(2, 0, 4, 4), (2, 3, 0, 4), (2, 3, 4, 0)]:
        assert run("patch_negatives", noise(*shape), whole, places).shape == (2, 3, *shape[1:])
    assert run("patch_negatives", noise(0, 3, 4, 4), whole[:0], places[:0]).shape == (0, 3, 3, 4, 4)
    image = noise(2, 3, 4, 4)
    for bad, arguments in {
        "4 dimensions": (image[0], whole, places),
        "patch_size must have shape": (image, whole[:1], places),
        "places must have shape": (image, whole, places[:, :2]),
        "places must have a place": (image, whole, places[:, :, :0]),
        "patch_size must be int32": (image, whole.float(), places),
        "places must be int32": (image, whole, places.short()),
        "uint8": (image.double(), whole, places),
    }.items():
        with pytest.raises(RuntimeError, match=bad):
            run("patch_negatives", *arguments)

"""Every tile of the native kernels on an NVIDIA GPU, forced one by one through TEXFILTERS_CUDA_TILE."""

import itertools

import pytest
import torch

from cuda_cases import DTYPES, MARKS, check, grey_levels, native, needs, tiles

pytestmark = MARKS

TILES = tiles()
# The tiles that can be cut with a halo: "step" is the kernel that is launched once an iteration.
SIZED = [name for name in TILES if name != "step"]
OPTIONS = pytest.mark.parametrize("option", [1, 2, 3])


@pytest.fixture(autouse=True)
def _native():
    needs("native")


def sides(tile):
    """Of "224x112", or of "3x64x32", which is for three coupled channels."""
    height, width = map(int, tile.split("x")[-2:])
    return height, width


def couplings(tile):
    """What a tile is made for."""
    return {"step": ["none", "l2"]}.get(tile, ["l2" if tile.count("x") == 2 else "none"])


def test_there_are_tiles_of_every_kind():
    assert "step" in TILES
    assert any(couplings(tile) == ["l2"] for tile in SIZED)
    assert sum(couplings(tile) == ["none"] for tile in SIZED) > 3


@pytest.mark.parametrize("dtype", DTYPES)
@OPTIONS
@pytest.mark.parametrize("tile", TILES)
def test_sizes_around_the_tile(tile, option, dtype, monkeypatch):
    """As large, a pixel smaller, a pixel larger (overlapped tiles), much smaller, a single row and column."""
    monkeypatch.setenv("TEXFILTERS_CUDA_TILE", tile)
    a, b = sides(tile) if tile != "step" else (64, 96)
    sizes = {(a, b), (b, a), (a - 1, b - 1), (a + 1, b), (a, b + 1), (5, 7), (1, 3 * b), (3 * a, 1), (31, 33)}
    for size, coupling in itertools.product(sorted(sizes), couplings(tile)):
        check(native, grey_levels(2, 3, *size, dtype=dtype), 7, option=option, coupling=coupling)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@OPTIONS
@pytest.mark.parametrize("tile", SIZED)
def test_larger_images(tile, option, dtype, monkeypatch):
    """Overlapped tiles: 7 iterations by 1, 3 and so on at a time, with the halo that they take."""
    a, b = sides(tile)
    (coupling,) = couplings(tile)
    image = grey_levels(2, 3, 2 * a + 3, b + b // 2 + 1, dtype=dtype)
    for k in (1, 3, min(a, b) // 4):
        monkeypatch.setenv("TEXFILTERS_CUDA_TILE", f"{tile}/{k}")
        check(native, image, 7, option=option, coupling=coupling)
        check(native, image, torch.tensor([0, 5]), torch.tensor([20.0, 30.0]), option=option, coupling=coupling)


@pytest.mark.parametrize("tile", SIZED)
def test_strides_in_every_tile(tile, monkeypatch):
    (coupling,) = couplings(tile)
    a, b = sides(tile)
    for name, size in ((tile, (a, b)), (f"{tile}/4", (a + 5, b + 9))):
        monkeypatch.setenv("TEXFILTERS_CUDA_TILE", name)
        image = grey_levels(2, 3, *size, dtype=torch.uint8)
        for view in (
            image.to(memory_format=torch.channels_last),
            image.mT,
            image[..., 1:, 1:],
            image.flip(-1)[:, :, ::2],
        ):
            check(native, view, 5, coupling=coupling)


@pytest.mark.parametrize("tile", TILES)
def test_many_planes_in_every_tile(tile, monkeypatch):
    """Each block takes several planes or few, of images with numbers of iterations of their own."""
    monkeypatch.setenv("TEXFILTERS_CUDA_TILE", tile)
    niter = torch.arange(300) % 5
    for coupling in couplings(tile):
        check(native, grey_levels(300, 3, 20, 30), niter, coupling=coupling)


@pytest.mark.parametrize("tile", TILES)
def test_same_bits_every_time_in_every_tile(tile, monkeypatch):
    """A missing barrier would show as a result that depends on the schedule."""
    a, b = sides(tile) if tile != "step" else (64, 96)
    for name, size in ((tile, (a, b)), *([(f"{tile}/4", (2 * a, 2 * b))] if tile != "step" else [])):
        monkeypatch.setenv("TEXFILTERS_CUDA_TILE", name)
        image = grey_levels(16, 3, *size)
        for coupling in couplings(tile):
            first = native(image, coupling=coupling)
            assert all(torch.equal(first, native(image, coupling=coupling)) for _ in range(20))

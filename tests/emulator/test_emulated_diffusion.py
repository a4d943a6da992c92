"""The CUDA diffusion kernels, emulated, against the definition."""

import pytest
import torch
from emulated import ELEMENTS, barriers, diffuse, planned, tile_shared, tiles
from emulated_cases import check, defects, difference, every_tile, noise, photo, truth

TILES = tiles()
SINGLE = [name for name, (channels, _, _) in TILES.items() if channels == 1]
DTYPES = list(ELEMENTS)


@pytest.mark.parametrize(
    ("name", "option", "dtype", "image", "coupling"),
    [pytest.param(*case, id=f"{case[0]} option {case[1]} {case[2]}") for case in every_tile()],
)
def test_every_tile(name, option, dtype, image, coupling):
    check(image, 6, option=option, coupling=coupling, emulate={"tile": name})


@pytest.mark.parametrize("name", TILES)
def test_exactly_a_tile(name):
    channels, height, width = TILES[name]
    check(photo(height, width)[:, :channels], 20, coupling="l2" if channels > 1 else "none", emulate={"tile": name})


@pytest.mark.parametrize("steps", [1, 3, 7, 20])
@pytest.mark.parametrize("name", ["64x64", "128x128", "3x64x64"])
def test_larger_than_a_tile(name, steps):
    channels, height, width = TILES[name]
    emulate = {"tile": name, "steps": steps}
    image = photo(2 * height + 1, width + 1, torch.uint8)[:, :channels]
    check(image, 20, coupling="l2" if channels > 1 else "none", emulate=emulate)


@pytest.mark.parametrize("over", [(1, 0), (0, 1), (1, 1)])
@pytest.mark.parametrize("name", TILES)
def test_just_larger_than_a_tile(name, over):
    channels, height, width = TILES[name]
    image = photo(height + over[0], width + over[1])[:, :channels]
    check(image, 5, coupling="l2" if channels > 1 else "none", emulate={"tile": name, "steps": 2})


@pytest.mark.parametrize("tile", [None, "32x32", "224x224", "step"])
@pytest.mark.parametrize("shape", [(1, 2), (7, 1), (1, 300), (300, 1), (33, 31), (32, 65), (2, 2), (3, 97)])
def test_odd_sizes(shape, tile):
    check(noise(2, 1, *shape), emulate={"tile": tile})


@pytest.mark.parametrize("tile", [None, "step"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("option", [1, 2, 3])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_coupled_channels(channels, option, dtype, tile):
    image = noise(2, channels, 37, 41, dtype=dtype)
    check(image, 5, option=option, coupling="l2", emulate={"tile": tile})


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("coupling", ["none", "l2"])
@pytest.mark.parametrize("option", [1, 2, 3])
def test_volumes(option, coupling, dtype):
    image = noise(2, 2, 5, 35, 34, dtype=dtype)
    check(image, 4, 30.0, 0.05, option=option, coupling=coupling, spacing=[3.0, 1.0, 0.7])


@pytest.mark.parametrize("shape", [(1, 9, 40), (64, 3, 3), (2, 1, 1), (17, 33, 70)])
def test_volume_sizes(shape):
    check(noise(1, 1, *shape), 5, gamma=1 / 6)


@pytest.mark.parametrize("tile", ["32x32", "64x64", "step"])
@pytest.mark.parametrize("option", [1, 2, 3])
def test_spacing(option, tile):
    emulate = {"tile": tile, "steps": 4}
    check(noise(1, 2, 31, 64), 6, option=option, spacing=[2.0, 0.8], emulate=emulate)


VIEWS = {
    "channels last": lambda u: u.to(memory_format=torch.channels_last),
    "transposed": lambda u: u.mT,
    "sliced": lambda u: u[:, 1:, ::2, 3:-1],
    "expanded": lambda u: u[:1].expand(4, -1, -1, -1),
    "one row for all": lambda u: u[:, :, :1].expand(-1, -1, 33, -1),
}


@pytest.mark.parametrize("tile", [None, "step", "32x32"])
@pytest.mark.parametrize("coupling", ["none", "l2"])
@pytest.mark.parametrize("view", VIEWS)
def test_strides(view, coupling, tile):
    if coupling == "l2" and tile == "32x32":
        tile = "3x32x32"
    image = VIEWS[view](noise(3, 4 if view == "sliced" else 3, 33, 70, dtype=torch.uint8))
    check(image, 4, coupling=coupling, emulate={"tile": tile})


@pytest.mark.parametrize("tile", ["32x32", "64x64", "step"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_parameters_of_each_image(dtype, tile):
    image = noise(5, 2, 45, 70, dtype=dtype)
    niter = torch.tensor([2, 0, 7, 1, 20])
    kappa, gamma = torch.tensor([5.0, 20.0, 10.0, 50.0, 8.0]), torch.tensor([0.25, 0.1, 0.15, 0.2, 0.1])
    emulate = {"tile": tile, "steps": 4}
    results = [
        diffuse(image, niter, kappa, gamma, order=order, **emulate)
        for order in (None, torch.argsort(niter, descending=True))
    ]
    assert torch.equal(*results)
    check(image, niter, kappa, gamma, emulate=emulate)
    for i, n in enumerate(niter.tolist()):
        alone = diffuse(image[i : i + 1], n, kappa[i], gamma[i], **emulate)
        assert torch.equal(results[0][i : i + 1], alone)


@pytest.mark.parametrize("tile", ["32x32", "3x32x32", "64x64", "step"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_no_iterations_keep_the_bits(dtype, tile):
    bits = torch.arange(2 * 3 * 50 * 60) * 40503 % 65536
    if dtype == torch.float32:
        image = (bits * 65537 % 2**31).to(torch.int32).view(dtype)
    else:
        image = bits.to(torch.uint8) if dtype == torch.uint8 else (bits - 32768).to(torch.int16).view(dtype)
    image = image.reshape(2, 3, 50, 60)
    result = diffuse(image, [0, -1], float("nan"), coupling="l2" if tile == "3x32x32" else "none", tile=tile)
    integers = {1: torch.uint8, 2: torch.int16, 4: torch.int32}[image.element_size()]
    assert torch.equal(result.view(integers), image.view(integers))


@pytest.mark.parametrize("tile", ["64x64", "step"])
@pytest.mark.parametrize("option", [1, 2, 3])
def test_values_out_of_range(option, tile):
    image = noise(5, 1, 9, 40)
    kappa, gamma = torch.tensor([0.0, -1.0, torch.nan, 20.0, 20.0]), torch.tensor([0.1, 0.1, 0.1, torch.nan, 0.1])
    result = diffuse(image, 2, kappa, gamma, option=option, tile=tile)
    assert result[:4].isnan().all()
    assert torch.equal(result[4:], diffuse(image[4:], 2, option=option, tile=tile))
    assert (diffuse(image.to(torch.uint8), 2, kappa, gamma, option=option, tile=tile)[:4] == 0).all()


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("tile", ["64x64", "32x32", "step", "3x64x64", "coupled step"])
@pytest.mark.parametrize("option", [1, 2, 3])
def test_nan_and_infinity_spread_as_defined(option, tile, value):
    coupling = "l2" if tile in ("3x64x64", "coupled step") else "none"
    image = noise(2, 3, 40, 63)
    image[0, 1, 0, 0] = image[0, 1, 20, 31] = image[0, 2, 39, 62] = value
    emulate = {"tile": tile.removeprefix("coupled "), "steps": 3}
    check(image, 6, option=option, coupling=coupling, emulate=emulate)


@pytest.mark.parametrize("tile", ["64x64", "step"])
@pytest.mark.parametrize("option", [1, 2, 3])
@pytest.mark.parametrize("kappa", [1e-25, 1e-6, 1e6, 1e25, torch.inf])
def test_extreme_kappas(kappa, option, tile):
    check(noise(1, 1, 33, 34), 5, kappa, option=option, emulate={"tile": tile})


def test_mean_is_kept():
    image = photo(200, 200)
    for option in (1, 2, 3):
        result = diffuse(image, 50, 20.0, 0.25, option=option, tile="224x224")
        assert (result.double().mean((2, 3)) - image.double().mean((2, 3))).abs().max() < 5e-5


def test_grids_larger_than_a_launch():
    image = noise(3, 2, 40, 50)
    for tile in ("32x32", "step"):
        whole, parts = (diffuse(image, 3, tile=tile, steps=2, largest_grid=n) for n in (2**31 - 1, 7))
        assert torch.equal(whole, parts)


@pytest.mark.parametrize("name", TILES)
def test_same_bits_for_every_schedule(name):
    channels, height, width = TILES[name]
    image = photo(height, width)[:, :channels]
    first, *others = (
        diffuse(image, 3, coupling="l2" if channels > 1 else "none", tile=name, seed=seed) for seed in range(4)
    )
    assert all(torch.equal(first, other) for other in others)


@pytest.mark.parametrize("name", TILES)
def test_one_barrier_an_iteration(name):
    channels, height, width = TILES[name]
    diffuse(photo(height, width)[:, :channels], 9, coupling="l2" if channels > 1 else "none", tile=name)
    assert barriers() == 9 + 2  # one more after reading and one before writing


@pytest.mark.parametrize("defect", ["missing barrier", "wrong neighbor"])
@pytest.mark.parametrize("name", TILES)
def test_defects_are_found(name, defect):
    """Tests of the tests: on a device with a defect the kernel must come out wrong."""
    channels, height, width = TILES[name]
    image = photo(height, width)[:, :channels]
    emulate = [{"tile": name, "seed": seed, "defect": defect} for seed in range(4)]
    coupling = "l2" if channels > 1 else "none"
    defects.append(max(difference(image, 6, coupling=coupling, emulate=e) for e in emulate) > 1)
    assert defects[-1]


SIZES = {
    (32, 32): "32x32",
    (64, 64): "64x64",
    (96, 96): "96x96",
    (128, 128): "128x128",
    (160, 160): "160x160",
    (192, 192): "192x192",
    (224, 224): "224x224",
}


@pytest.mark.parametrize("size", SIZES)
def test_batches_of_usual_sizes_take_their_tile(size):
    name, steps, across, down, *_ = planned(noise(1, 1, 1, 1).expand(256, 3, *size))
    assert (name, steps, across, down) == (SIZES[size], 20, 1, 1)


def test_plans():
    assert planned(noise(1, 1, 1, 1).expand(256, 3, 64, 64), coupling="l2")[:4] == ("3x64x64", 20, 1, 1)
    assert planned(noise(1, 1, 1, 1).expand(2, 1, 256, 256, 256))[0] == "step"
    assert planned(noise(1, 1, 1, 1).expand(8, 4, 64, 64), coupling="l2")[0] == "step"
    _, steps, across, down, _, _ = planned(noise(1, 1, 2048, 2048))
    assert across * down > 1
    assert steps > 1
    # A small batch is spread over the device.
    _, _, across, down, _, _ = planned(noise(1, 3, 224, 224))
    assert across * down > 4
    assert planned(noise(1, 1, 112, 224).mT.expand(256, 3, 224, 112))[4]  # columns are contiguous


@pytest.mark.parametrize(("shared", "size"), [(227, 256), (163, 256), (99, 224), (64, 160)])
def test_smaller_gpus_find_tiles_that_fit(shared, size):
    """In kB a block: sm_90 and later data center GPUs, sm_80, sm_86 to sm_120, sm_75."""
    assert max(width for name, (_, _, width) in tiles().items() if tile_shared()[name] <= shared * 1024) >= size
    for side in (32, 96, 128, 224, 512):
        image = noise(1, 1, 1, 1).expand(256, 3, side, side)
        for coupling in ("none", "l2"):
            name, *_ = planned(image, coupling=coupling, shared=shared)
            assert name != "step"
            assert tile_shared()[name] <= shared * 1024


def test_truth_is_another_implementation():
    """The comparison itself: an error of one grey level anywhere is seen."""
    image = photo(20, 30)
    result = diffuse(image, 2)
    assert not torch.equal(result.double(), truth(image, 2))
    assert difference(image, 2) < 1e-3 < (result.double() - truth(image + (image == image.max()), 2)).abs().max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("tile", ["32x32", "96x96", "3x32x32", "step"])
@pytest.mark.parametrize("option", [1, 2, 3])
@pytest.mark.parametrize("kappa", [0.08, 20.0])
def test_fill_values_stay_and_are_walls(kappa, option, tile, dtype):
    """Pixels where nothing was measured hold a number near the largest there is."""
    image = noise(2, 3, 40, 50) / 255
    image[:, :, :9, :7] = torch.finfo(dtype).min
    image[:, :, 20, 30] = 1e38
    image = image.to(dtype)
    emulate = {"tile": tile, "steps": 3}
    coupling = "l2" if tile == "3x32x32" else "none"
    result = diffuse(image, 5, kappa, option=option, coupling=coupling, **emulate)
    large = image.abs() > 1
    assert torch.equal(result[large], image[large])
    expected = truth(image, 5, kappa, option=option, coupling=coupling)
    tolerance = 1e-5 if dtype == torch.float32 else 2**-8
    torch.testing.assert_close(result[~large].double(), expected[~large], rtol=0, atol=tolerance)


def test_walls_of_different_heights_stay_apart():
    """Their edge must not let the other channels flow."""
    image = torch.tensor([[-3.4028235e38, -3.3e38], [10.0, 20.0], [30.0, 30.0]]).reshape(1, 3, 1, 2)
    result = diffuse(image, 1, 20.0, coupling="l2", tile="3x32x32")
    assert torch.equal(result[:, 0], image[:, 0])
    torch.testing.assert_close(result, image)

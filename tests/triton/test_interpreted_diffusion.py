"""The Triton kernel of anisotropic diffusion, interpreted, against the reference."""

import importlib
import sys

import pytest
import torch

import texfilters

pytest.importorskip("triton")
from texfilters import _triton

# NumPy warns of NaN where a GPU says nothing.
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning:triton.runtime.interpreter")
module = importlib.import_module("texfilters._triton.anisotropic_diffusion")

# Both sides compute in float32 but add the fluxes in another order, which moves a value of 255 by units of 3e-5; the
# scheme amplifies that from step to step. What is seen after five steps is below 2e-4. float64 leaves 1e-13.
TOLERANCE = {
    torch.float64: 1e-9,
    torch.float32: 1e-3,
    torch.float16: 0.125,  # one unit of 128..255, where float32 values fall on both sides of a tie
    torch.bfloat16: 1.0,  # one unit of 128..255: the interpreter, unlike a GPU, truncates to bfloat16
    torch.uint8: 1,  # float32 values on both sides of a tie
}


def grey_levels(*shape, dtype=torch.float32, seed=0):
    return (torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 255).to(dtype)


def check(image, niter=3, kappa=20.0, gamma=0.1, **options):
    before = image.clone()
    result = texfilters.anisotropic_diffusion(image, niter, kappa, gamma, backend="triton", **options)
    expected = texfilters.anisotropic_diffusion(image, niter, kappa, gamma, backend="reference", **options)
    assert result.dtype == image.dtype
    assert result.shape == image.shape
    assert result.stride() == torch.empty_like(image).stride()
    assert torch.equal(image, before)
    torch.testing.assert_close(result.double(), expected.double(), rtol=0, atol=TOLERANCE[image.dtype])
    return result


@pytest.mark.parametrize("width", [1, 2, 31, 32, 33, 130])
@pytest.mark.parametrize("height", [1, 2, 9])
def test_sizes_of_planes(height, width):
    check(grey_levels(height, width))


@pytest.mark.parametrize("height", [7, 8, 31, 32, 33, 65])
def test_heights_of_planes(height):
    check(grey_levels(height, 5))


@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (1, 1, 2), (1, 5, 6), (5, 1, 6), (5, 6, 1), (3, 9, 33), (4, 8, 7), (5, 3, 2)]
)
def test_sizes_of_volumes(shape):
    check(grey_levels(*shape), ndim=3)


@pytest.fixture(params=module.TILES, ids=lambda tile: f"{tile[0]}x{tile[1]}")
def tile(request, monkeypatch):
    """Small images take small tiles; here each tile takes its turn."""
    monkeypatch.setattr(module, "TILES", [request.param])
    module._tiling.cache_clear()
    yield
    module._tiling.cache_clear()


def test_every_tile(tile):
    check(grey_levels(33, 130), niter=1)
    check(grey_levels(66, 3), niter=2)
    check(grey_levels(2, 33, 5), niter=1, ndim=3)
    check(grey_levels(2, 33, 3), niter=1, coupling="l2")


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("coupling", ["none", "l2"])
@pytest.mark.parametrize("option", [1, 2, 3])
def test_options(option, coupling, ndim):
    image = grey_levels(3, 7, 9) if ndim == 2 else grey_levels(2, 3, 5, 7)
    spacing = [0.7, 2.0] if ndim == 2 else [3.0, 1.0, 0.7]
    check(image, gamma=0.15, option=option, coupling=coupling, ndim=ndim, spacing=spacing)


@pytest.mark.parametrize("coupling", ["none", "l2"])
@pytest.mark.parametrize("ndim", [2, 3])
def test_image_without_channels(ndim, coupling):
    check(grey_levels(*[3, 5, 7][-ndim:]), ndim=ndim, coupling=coupling)


VIEWS = {
    "channels last": lambda u: u.to(memory_format=torch.channels_last),
    "transposed": lambda u: u.mT,
    "sliced": lambda u: u[:, 1:, ::2, 3:-1],
    "expanded batch": lambda u: u[:1].expand(2, -1, -1, -1),
    "expanded channel": lambda u: u[:, :1].expand(-1, 3, -1, -1),
    "expanded rows": lambda u: u[:, :, :1].expand(-1, -1, 5, -1),
    "batch and channels swapped": lambda u: u.transpose(0, 1),
    "more dimensions": lambda u: u[None].expand(2, -1, -1, -1, -1),
    "dimensions that do not merge": lambda u: torch.stack([u, u + 1], dim=1).transpose(0, 1)[..., 1:],
    "dimensions that do not merge, dense": lambda u: torch.stack([u, u + 1], dim=1).transpose(0, 1),
}


@pytest.mark.parametrize("view", VIEWS)
def test_strides(view):
    check(VIEWS[view](grey_levels(2, 3, 5, 9)), niter=2)


@pytest.mark.parametrize("view", ["channels last", "sliced", "expanded channel", "dimensions that do not merge"])
def test_strides_of_coupled_channels(view):
    check(VIEWS[view](grey_levels(2, 3, 5, 9)), niter=2, coupling="l2")


def test_channels_last_volume():
    check(grey_levels(1, 2, 3, 4, 5).to(memory_format=torch.channels_last_3d), ndim=3, niter=2)


@pytest.mark.parametrize("niter", [1, 2, 3])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_dtypes(dtype, niter):
    result = check(grey_levels(2, 9, 33, dtype=dtype), niter)
    if dtype == torch.uint8:
        expected = texfilters.anisotropic_diffusion(
            grey_levels(2, 9, 33, dtype=dtype), niter, 20.0, backend="reference"
        )
        assert (result != expected).float().mean() < 0.01  # ties are rare


@pytest.mark.parametrize(("dtype", "coupling"), [(torch.uint8, "none"), (torch.float32, "l2"), (torch.float64, "none")])
def test_parameters_of_each_image(dtype, coupling):
    image = grey_levels(5, 2, 7, 9, dtype=dtype)
    niter = torch.tensor([2, 0, 3, 1, 0], dtype=torch.int32)
    kappa = torch.tensor([5.0, 20.0, 10.0, 50.0, 8.0])
    gamma = torch.tensor([0.25, 0.1, 0.15, 0.2, 0.1], dtype=torch.float64)
    result = check(image, niter, kappa, gamma, coupling=coupling)
    for i, n in enumerate(niter.tolist()):
        alone = texfilters.anisotropic_diffusion(
            image[i : i + 1], n, kappa[i].item(), gamma[i].item(), coupling=coupling, backend="triton"
        )
        assert torch.equal(result[i : i + 1], alone)


def test_numbers_and_tensors_mixed():
    image = grey_levels(2, 1, 5, 7)
    check(image, torch.tensor([1, 2]), 20.0, torch.tensor(0.2, dtype=torch.float16))
    check(image, 2, torch.tensor([10.0, 20.0], dtype=torch.bfloat16), 0.1)


@pytest.mark.parametrize("niter", [0, [0, 0], [0, 1]])
def test_no_iterations_copy_every_bit(niter):
    # A quiet NaN with a payload and a signaling one: neither survives arithmetic.
    image = torch.tensor([0x7FC12345, 0x7F812345, 0x80000000, 1], dtype=torch.int64).to(torch.int32).view(torch.float32)
    image = image.reshape(1, 1, 2, 2).repeat(2, 1, 1, 1)
    result = texfilters.anisotropic_diffusion(image, torch.tensor(niter), backend="triton")
    assert torch.equal(result[0].view(torch.int32), image[0].view(torch.int32))
    assert result.data_ptr() != image.data_ptr()


@pytest.mark.parametrize("shape", [(0, 3, 5, 5), (2, 0, 5, 5), (2, 3, 0, 5), (2, 3, 5, 0), (0, 0)])
def test_empty(monkeypatch, shape):
    monkeypatch.setattr(module, "diffusion_kernel", None)  # a launch would fail
    niter = torch.ones(shape[0], dtype=torch.int32) if len(shape) == 4 else 1
    assert texfilters.anisotropic_diffusion(torch.empty(shape), niter, backend="triton").shape == shape


@pytest.mark.parametrize(("niter", "states"), [(0, 0), (1, 0), (2, 1), (3, 2), (5, 2)])
def test_no_state_that_is_not_needed(monkeypatch, niter, states):
    shapes = []
    new_empty = torch.Tensor.new_empty
    monkeypatch.setattr(torch.Tensor, "new_empty", lambda u, *a, **k: shapes.append(a[0]) or new_empty(u, *a, **k))
    texfilters.anisotropic_diffusion(grey_levels(2, 3), niter, backend="triton")
    assert [tuple(s) for s in shapes if s != 0] == [(1, 1, 1, 2, 3)] * states


@pytest.mark.parametrize("value", [torch.nan, -torch.inf])
@pytest.mark.parametrize(("option", "coupling"), [(1, "none"), (2, "none"), (3, "none"), (1, "l2")])
def test_nan_and_infinity_are_contained(value, option, coupling):
    image = grey_levels(2, 2, 8, 11)
    clean = check(image, niter=2, option=option, coupling=coupling)
    for y, x in ((4, 5), (0, 0), (7, 10)):
        image[0, 1, y, x] = value
    result = texfilters.anisotropic_diffusion(image, 2, 20.0, option=option, coupling=coupling, backend="triton")
    expected = texfilters.anisotropic_diffusion(image, 2, 20.0, option=option, coupling=coupling, backend="reference")
    torch.testing.assert_close(result, expected, rtol=0, atol=TOLERANCE[torch.float32], equal_nan=True)
    assert torch.equal(result[1], clean[1])
    rows, columns = torch.meshgrid(torch.arange(8), torch.arange(11), indexing="ij")
    far = torch.stack([(rows - y).abs() + (columns - x).abs() for y, x in ((4, 5), (0, 0), (7, 10))]).amin(0) > 2
    assert torch.equal(result[0][:, far], clean[0][:, far])


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_single_pixel(value):
    result = texfilters.anisotropic_diffusion(torch.tensor([[value]]), 3, backend="triton")
    torch.testing.assert_close(result, torch.tensor([[value]]), equal_nan=True)


def direct(image, niter, kappa, gamma=0.1, coupling="none"):
    """Past the checks of CPU values: as if the parameters were on a device, where the host cannot read them."""
    parameters = torch.tensor(niter, dtype=torch.int32), torch.tensor(kappa), torch.tensor(gamma)
    return _triton.anisotropic_diffusion(image, *parameters, 1, coupling, [1.0, 1.0], 2)


@pytest.mark.parametrize(
    ("kappa", "coupling"),
    [(0.0, "none"), (-20.0, "none"), (-torch.inf, "none"), (torch.nan, "none"), (torch.nan, "l2")],
)
def test_kappa_out_of_range_on_a_device(kappa, coupling):
    image = grey_levels(3, 2, 5, 6)
    result = direct(image, [1, 1, 0], [20.0, kappa, kappa], coupling=coupling)
    assert torch.equal(result[0], direct(image, 1, 20.0, coupling=coupling)[0])
    assert result[1].isnan().all()
    assert torch.equal(result[2], image[2])
    assert direct(image.byte(), 1, kappa).eq(0).all()


@pytest.mark.parametrize("gamma", [0.0, -0.1, -torch.inf, torch.nan])
@pytest.mark.parametrize("coupling", ["none", "l2"])
def test_gamma_out_of_range_on_a_device(gamma, coupling):
    image = grey_levels(3, 2, 5, 6)
    result = direct(image, [1, 1, 0], 20.0, [0.1, gamma, gamma], coupling=coupling)
    assert torch.equal(result[0], direct(image, 1, 20.0, coupling=coupling)[0])
    assert result[1].isnan().all()
    assert torch.equal(result[2], image[2])


def test_negative_niter_on_a_device():
    image = grey_levels(2, 1, 5, 6)
    for negative in (-3, -(2**31)):
        assert torch.equal(direct(image, [negative, 2], 20.0)[0], image[0])
    assert torch.equal(direct(image, [-3, -1], 20.0), image)
    assert torch.equal(direct(image, -1, 20.0), image)


@pytest.mark.parametrize("kappa", [1e-30, 1e30, torch.inf])
def test_extreme_kappa(kappa):
    image = grey_levels(5, 6)
    result = texfilters.anisotropic_diffusion(image, 1, kappa, backend="triton")
    expected = texfilters.anisotropic_diffusion(image.double(), 1, kappa, backend="reference")
    torch.testing.assert_close(result.double(), expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("coupling", ["none", "l2"])
def test_mean_is_kept(coupling):
    image = grey_levels(1, 2, 17, 33)
    result = texfilters.anisotropic_diffusion(image, 5, 20.0, 0.25, coupling=coupling, backend="triton")
    # Rounding of the values to float32, 8e-6 each and of either sign, is all that may change the mean.
    assert abs(result.double().mean() - image.double().mean()) < 2e-6


def test_same_bits_every_time():
    image = grey_levels(2, 9, 33)
    first = texfilters.anisotropic_diffusion(image, 3, 20.0, backend="triton")
    assert torch.equal(first, texfilters.anisotropic_diffusion(image, 3, 20.0, backend="triton"))


def test_opcheck():
    image = grey_levels(2, 2, 3, 4).to(memory_format=torch.channels_last).requires_grad_()
    parameters = (torch.tensor([1, 2], dtype=torch.int32), torch.tensor(20.0), torch.tensor([0.1, 0.2]))
    arguments = (image, *parameters, 3, "l2", [1.0, 2.0], 2, "triton")
    torch.library.opcheck(torch.ops.texfilters.anisotropic_diffusion.default, arguments)


HUGE = 2**32 + 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="relies on memory that is not there until it is touched")
@pytest.mark.parametrize("coupling", ["none", "l2"])
@pytest.mark.parametrize(
    "strides",
    [(2**31 + 9, 64, 8, 1), (64, 2**31 + 9, 8, 1), (512, 64, 2**30 + 9, 1), (512, 64, 8, 2**30 + 9)],
    ids=["images", "channels", "rows", "columns"],
)
def test_offsets_past_31_bits(strides, coupling):
    """Reads from and writes to a few pixels that are spread over 4 GiB, most of which is never touched."""
    image = grey_levels(2, 2, 3, 3, dtype=torch.uint8)
    expected = texfilters.anisotropic_diffusion(image, 2, 20.0, coupling=coupling, backend="reference")

    spread = torch.empty(HUGE, dtype=torch.uint8).as_strided(image.shape, strides)
    spread.copy_(image)
    result = texfilters.anisotropic_diffusion(spread, 2, 20.0, coupling=coupling, backend="triton")
    torch.testing.assert_close(result, expected, rtol=0, atol=1)

    spread = torch.empty(HUGE, dtype=torch.uint8).as_strided(image.shape, strides)
    parameters = torch.tensor([2, 0], dtype=torch.int32), torch.tensor(20.0), torch.tensor(0.1)
    module._iterate(image.unsqueeze(2), spread.unsqueeze(2), 2, *parameters, 1, coupling == "l2", [1.0, 1.0])
    torch.testing.assert_close(spread[0], expected[0], rtol=0, atol=1)
    assert torch.equal(spread[1], image[1])


@pytest.mark.parametrize(
    ("shape", "columns"),
    [((1, 224, 224), 128), ((1, 32, 32), 32), ((1, 64, 64), 64), ((1, 96, 32), 32), ((1, 2048, 2048), 128)],
)
def test_tiles_fit_the_plane(shape, columns):
    strips, rows, chosen, tiles = module._tiling(768, *shape, False)
    assert chosen == columns
    assert tiles * strips * rows * columns <= 1.2 * shape[1] * shape[2]  # lanes are not wasted


def test_little_work_is_spread_over_more_programs():
    assert module._tiling(3, 1, 224, 224, False)[3] > module._tiling(768, 1, 224, 224, False)[3]

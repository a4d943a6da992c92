"""The compiled kernels against the reference: one table of cases, every instruction set."""

import itertools
import os

import pytest
import torch

import memory
from texfilters import anisotropic_diffusion

# Largest difference in grey levels after 5 steps on 0..255. float32: rounding, amplified by steep conductances;
# half types and uint8: one unit in the last place, where the float32 results fall on different sides of a tie.
TOLERANCE = {
    torch.float64: 1e-9,
    torch.float32: 1e-3,
    torch.float16: 0.126,
    torch.bfloat16: 1.01,
    torch.uint8: 1,
}
# Around the lanes of every instruction set (4, 8 and 16 float32), and the degenerate ones.
SHAPES = [
    (1, 1), (1, 2), (2, 1), (1, 40), (40, 1), (3, 3), (7, 4), (5, 5), (4, 7), (4, 8), (4, 9), (6, 15), (6, 16), (6, 17),
    (2, 31), (2, 32), (2, 33), (2, 3, 9, 47), (2, 3, 9, 48), (3, 2, 9, 49), (2, 1, 2, 3, 5, 6),
    (0, 5), (5, 0), (0, 3, 4, 4),
]  # fmt: skip
VOLUMES = [(1, 1, 1), (2, 1, 1), (1, 2, 1), (1, 1, 17), (3, 4, 5), (2, 5, 16), (4, 3, 33), (2, 3, 3, 4, 5), (0, 3, 3)]


def draw(shape, dtype=torch.float32):
    return (torch.rand(shape) * 255).to(dtype)


def assert_close(result, expected):
    assert result.dtype == expected.dtype
    assert result.shape == expected.shape
    assert result.stride() == expected.stride()
    difference = (result.double() - expected.double()).abs()
    assert difference.numel() == 0 or difference.max() <= TOLERANCE[result.dtype]


def check(variant, image, **kwargs):
    before = image.clone()
    arguments = {"niter": 5, "kappa": 60.0, "gamma": 0.15} | kwargs
    assert_close(variant(image, **arguments), anisotropic_diffusion(image, **arguments, backend="reference"))
    assert torch.equal(image, before)


@pytest.mark.parametrize("option", [1, 2, 3])
@pytest.mark.parametrize("coupling", ["none", "l2"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_shapes(variant, shape, coupling, option):
    check(variant, draw(shape), option=option, coupling=coupling)


@pytest.mark.parametrize("option", [1, 2, 3])
@pytest.mark.parametrize("coupling", ["none", "l2"])
@pytest.mark.parametrize("shape", VOLUMES, ids=str)
def test_volumes(variant, shape, coupling, option):
    check(variant, draw(shape), option=option, coupling=coupling, ndim=3)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize(("shape", "ndim"), [((2, 3, 21, 37), 2), ((2, 2, 5, 6, 19), 3)])
def test_dtypes(variant, shape, ndim, dtype):
    for option, coupling in itertools.product((1, 2, 3), ("none", "l2")):
        check(variant, draw(shape, dtype), option=option, coupling=coupling, ndim=ndim)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_strides(variant, dtype):
    image = draw((2, 3, 20, 34), dtype)
    views = {
        "channels_last": image.contiguous(memory_format=torch.channels_last),
        "transposed": image.mT,
        "slice": image[:, :, 3:17:2, 1::3],
        "offset": image[1:, 1:, 1:, 1:],
        "expanded batch": image[:1].expand(4, -1, -1, -1),
        "expanded channels": image[:, :1].expand(-1, 3, -1, -1),
        "expanded row": image[:, :, :1].expand(-1, -1, 9, -1),
        "permuted": image.permute(1, 0, 3, 2),
        "HWC photo": image[0].permute(1, 2, 0).contiguous().permute(2, 0, 1),
    }
    for view in views.values():
        check(variant, view)
        check(variant, view, coupling="l2")


@pytest.mark.parametrize("spacing", [(1.0, 2.0), (0.7, 1.0), (3, 5)])
def test_spacing(variant, spacing):
    for option in (1, 2, 3):
        check(variant, draw((2, 9, 21)), spacing=spacing, option=option, gamma=0.1)


def test_spacing_of_volumes_is_in_the_order_of_the_axes(variant):
    for coupling in ("none", "l2"):
        check(variant, draw((2, 4, 5, 18)), spacing=(3.0, 1.0, 2.0), ndim=3, coupling=coupling)


@pytest.mark.parametrize("coupling", ["none", "l2"])
def test_every_image_has_its_own_parameters(variant, coupling):
    image = draw((4, 3, 13, 29))
    niter, kappa = torch.tensor([4, 0, 7, 1]), torch.tensor([20.0, 30.0, 80.0, 1000.0])
    gamma = torch.tensor([0.25, 0.1, 0.2, 0.05], dtype=torch.float64)
    together = variant(image, niter, kappa, gamma, coupling=coupling)
    for i in range(4):
        alone = variant(image[i], int(niter[i]), float(kappa[i]), float(gamma[i]), coupling=coupling)
        assert torch.equal(together[i], alone)
    check(variant, image, niter=niter, kappa=kappa, gamma=gamma, coupling=coupling)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_parameter_tensors_of_any_type_and_stride(variant, dtype):
    image = draw((3, 2, 5, 7))
    niter = torch.arange(6, dtype=dtype)[::2]
    for real in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        kappa = torch.tensor([8.0], dtype=real).expand(3)
        expected = torch.stack([variant(image[i], int(niter[i]), 8.0) for i in range(3)])
        assert torch.equal(variant(image, niter, kappa), expected)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_zero_steps_copy_the_bits(variant, dtype):
    image = draw((2, 3, 6, 21), dtype)
    if dtype.is_floating_point:
        image[0, 0, 0, :4] = torch.tensor([torch.nan, torch.inf, -0.0, 1e-40]).to(dtype)
    for ndim in (2, 3):
        result = variant(image, 0, ndim=ndim)
        assert result.data_ptr() != image.data_ptr()
        assert torch.equal(result.view(torch.uint8), image.view(torch.uint8))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("option", [1, 2, 3])
@pytest.mark.parametrize("coupling", ["none", "l2"])
def test_a_bad_pixel_spreads_by_one_pixel_a_step(variant, bad, option, coupling):
    image = draw((2, 3, 15, 40))
    clean = variant(image, 3, option=option, coupling=coupling)
    image[0, 1, 7, 20] = bad
    result = variant(image, 3, option=option, coupling=coupling)
    y, x = torch.meshgrid(torch.arange(15), torch.arange(40), indexing="ij")
    reached = ((y - 7).abs() + (x - 20).abs() <= 3).expand(3, 15, 40).clone()
    if coupling == "none":
        reached[0], reached[2] = False, False
    assert torch.equal(result[1], clean[1])
    assert torch.equal(result[0][~reached], clean[0][~reached])
    expected = anisotropic_diffusion(image, 3, option=option, coupling=coupling, backend="reference")
    assert torch.equal(result.isfinite(), expected.isfinite())
    assert not result[0, 1, 7, 20].isfinite()


@pytest.mark.parametrize("kappa", [1e-30, 1e-10, 0.3, 1e4, 1e30, float("inf")])
@pytest.mark.parametrize("option", [1, 2, 3])
def test_extreme_thresholds(variant, kappa, option):
    """Where d / kappa is so large or small that a conductance or its constants leave float32's range."""
    image = draw((2, 9, 37))
    image[0, :, 10:20] = 77.0
    result = variant(image, 5, kappa, option=option)
    expected = anisotropic_diffusion(image.double(), 5, kappa, option=option, backend="reference")
    assert (result - expected).abs().max() < 1e-3


def test_constants_at_both_ends_at_once(variant):
    for option in (1, 2, 3):
        image = draw((9, 37))
        assert torch.allclose(variant(image, 2, 1e-30, 0.01, option=option), image)


@pytest.mark.parametrize("fill", [1e12, 1e18, 1e20, -3.4e38])
@pytest.mark.parametrize("coupling", ["none", "l2"])
def test_fill_values_stay_apart(variant, fill, coupling):
    """Beside a pixel of any size the weight is 0, not merely small. Option 2 has no such bound, here as in MedPy."""
    image = draw((3, 9, 37))
    image[1, 4, 20] = fill
    for option in (1, 3):
        check(variant, image, option=option, coupling=coupling)


@pytest.mark.parametrize("gamma", [1e-38, 1e-20, 1e-7, 0.25])
@pytest.mark.parametrize("option", [1, 2, 3])
def test_extreme_steps(variant, gamma, option):
    image = draw((2, 9, 37))
    result = variant(image, 5, 20.0, gamma, option=option)
    expected = anisotropic_diffusion(image.double(), 5, 20.0, gamma, option=option, backend="reference")
    assert (result - expected).abs().max() < 1e-3


def test_uint8_rounds_half_to_even_and_saturates(variant):
    # Two pixels and an infinite kappa: both move by gamma times their difference.
    image = torch.tensor([[0, 2], [10, 14], [3, 5], [255, 253]], dtype=torch.uint8).reshape(4, 1, 1, 2)
    result = variant(image, 1, float("inf"), 0.25).reshape(4, 2)
    assert result.tolist() == [[0, 2], [11, 13], [4, 4], [254, 254]]  # .5 1.5 | 11 13 | 3.5 4.5 | 254.5 253.5


def test_values_beyond_255(variant):
    image = torch.rand(3, 9, 20) * 6e4 - 3e4
    expected = anisotropic_diffusion(image.double(), 5, 5000.0, backend="reference")
    assert (variant(image, 5, 5000.0) - expected).abs().max() < 0.05  # 12 units in the last place of 30,000


def test_unit_range(variant):
    image = torch.rand(2, 3, 40, 40)
    result = variant(image, 20, 0.08)
    assert (result - anisotropic_diffusion(image.double(), 20, 0.08, backend="reference")).abs().max() < 1e-5


@pytest.mark.skipif("libasan" in os.environ.get("LD_PRELOAD", ""), reason="the sanitizer takes memory of its own")
@pytest.mark.parametrize(
    ("shape", "ndim", "float32_images"),
    [
        ((24, 1024, 1024), 2, 2 / 24),  # a plane for each of two threads
        ((96, 512, 512), 3, 1.1),  # the volume in two bands with their halos, and a slice of fluxes for each
        ((24 * 1024 * 1024, 1), 2, 2.1),  # rows of one pixel: taken as one row, whose fluxes are as long as itself
    ],
    ids=str,
)
def test_memory_is_the_output_and_one_plane_a_thread(shape, ndim, float32_images):
    (added,) = memory.run(f"""
torch.set_num_threads(2)
image = torch.ones({shape}, dtype=torch.uint8)
anisotropic_diffusion(torch.ones(2, 300, 300), 2)
before = peak()
anisotropic_diffusion(image, 2, 20.0, 0.1, ndim={ndim})
print(peak() - before)
""")
    assert 24 <= added <= 24 * (1 + 4 * float32_images) + 8  # MiB: the output, and 8 for what the allocator keeps


@pytest.mark.slow
def test_two_to_the_31_pixels():
    """Offsets past 31 bits, on the last plane of a batch that is one image seen often."""
    plane = draw((1, 1, 2048, 2048), torch.uint8)
    count = 2**31 // plane.numel() + 1
    niter = torch.zeros(count, dtype=torch.int32)
    niter[-1] = 3
    result = anisotropic_diffusion(plane.expand(count, -1, -1, -1), niter, 20.0)
    assert torch.equal(result[-1:], anisotropic_diffusion(plane, 3, 20.0))
    assert torch.equal(result[-2:-1], plane)

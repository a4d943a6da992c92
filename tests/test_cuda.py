"""What the backends compute on an NVIDIA GPU, against the definition in float64 on the same GPU."""

import itertools
from functools import partial

import pytest
import torch

from cuda_cases import (
    DEVICE,
    DTYPES,
    MARKS,
    check,
    filtered,
    grey_levels,
    native,
    needs,
    reference,
    same_bits,
    some,
    truth,
)
from texfilters.reference import from_compute_dtype

pytestmark = MARKS

COUPLINGS = pytest.mark.parametrize("coupling", ["none", "l2"])
OPTIONS = pytest.mark.parametrize("option", [1, 2, 3])


@COUPLINGS
@OPTIONS
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype(diffuse, dtype, option, coupling):
    result = check(diffuse, grey_levels(2, 3, 224, 224, dtype=dtype), option=option, coupling=coupling)
    assert result.is_contiguous()


@COUPLINGS
@OPTIONS
def test_float64(option, coupling):
    """By default whatever takes it; the native kernels compute in float32 only."""
    needs("triton")
    image = grey_levels(2, 3, 65, 66, dtype=torch.float64)
    for backend in (None, "triton", "reference"):
        check(partial(filtered, backend=backend), image, option=option, coupling=coupling)


def test_the_native_kernels_refuse_float64_by_name():
    needs("native")
    with pytest.raises(RuntimeError, match="float64"):
        native(grey_levels(8, 9, dtype=torch.float64))


@COUPLINGS
@OPTIONS
def test_a_photo_after_twenty_steps(diffuse, photo, option, coupling):
    """The bound that is promised is 0.02 grey levels; float32 on the CPU keeps to a fortieth of it."""
    image = photo.to(DEVICE, torch.float32)
    for size in ((224, 224), (96, 96), (256, 320)):
        crop = image[None, :, : size[0], : size[1]]
        check(diffuse, crop, 20, 20.0, 0.1, option=option, coupling=coupling)


@pytest.mark.parametrize(
    "shape", [(1, 1), (1, 2), (7, 1), (33, 65), (31, 129), (1, 1000), (1000, 1), (1000, 3), (3, 1000), (3000, 300)]
)
def test_odd_sizes(diffuse, shape):
    for dtype in some(diffuse, DTYPES, [torch.float32]):
        check(diffuse, grey_levels(*shape, dtype=dtype))


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 7])
def test_coupled_channels(diffuse, channels):
    for option in some(diffuse, [1, 2, 3], [1 + channels % 3]):
        for size in ((33, 65), (300, 301)):
            check(diffuse, grey_levels(2, channels, *size), option=option, coupling="l2")
        check(diffuse, grey_levels(2, channels, 5, 17, 40), 7, gamma=0.15, option=option, coupling="l2", ndim=3)


@COUPLINGS
@pytest.mark.parametrize("shape", [(2, 2, 5, 33, 17), (1, 1, 64, 128, 100), (1, 3, 1, 9, 40), (4, 4, 1)])
def test_volumes(diffuse, shape, coupling):
    for dtype in some(diffuse, DTYPES, [torch.float32, torch.uint8]):
        check(diffuse, grey_levels(*shape, dtype=dtype), coupling=coupling, ndim=3, spacing=[3.0, 1.0, 0.7])


@COUPLINGS
def test_spacing_of_an_image(diffuse, coupling):
    for spacing, gamma in (([3.0, 1.0], 0.3), ([0.5, 2.0], 0.2), ([1.0, 0.1], 0.04)):
        # At the limit of stability, where noise amplifies rounding most.
        check(diffuse, grey_levels(2, 3, 65, 66), 20, 20.0, gamma, error=2e-2, coupling=coupling, spacing=spacing)


VIEWS = {
    "channels last": lambda u: u.to(memory_format=torch.channels_last),
    "transposed": lambda u: u.mT,
    "sliced": lambda u: u[:, 1:, ::2, 3:-1],
    "expanded images": lambda u: u[:1].expand(4, -1, -1, -1),
    "expanded rows": lambda u: u[:, :, :1].expand(-1, -1, 33, -1),
    "expanded columns": lambda u: u[..., :1].expand(-1, -1, -1, 33),
    "five dimensions": lambda u: u[None].transpose(0, 1).expand(-1, 2, -1, -1, -1),
    "misaligned": lambda u: u.new_empty(u.numel() + 1)[1:].view(u.shape).copy_(u),
    "misaligned rows": lambda u: u[..., 1:],
}


@COUPLINGS
@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_strides(diffuse, view, coupling):
    for dtype, width in itertools.product(some(diffuse, DTYPES, [torch.uint8]), (130, 300)):
        image = view(grey_levels(3, 3, 65, width, dtype=dtype))
        before = image.clone()
        assert check(diffuse, image, 7, coupling=coupling).stride() == torch.empty_like(image).stride()
        assert torch.equal(image, before)


@pytest.mark.parametrize(
    "shape", [(0, 3, 5, 6), (4, 0, 5, 6), (4, 3, 0, 6), (4, 3, 5, 0), (0, 0), (4, 3, 1, 1), (1, 1)]
)
def test_empty_and_single_pixel_images(diffuse, shape):
    for coupling, dtype in itertools.product(("none", "l2"), DTYPES):
        image = grey_levels(*shape, dtype=dtype)
        assert torch.equal(diffuse(image, 3, coupling=coupling), image)
    empty = torch.ones(0)
    assert diffuse(grey_levels(0, 3, 5, 6), empty.int(), empty, empty).shape == (0, 3, 5, 6)


def test_no_iterations_keep_every_bit(diffuse):
    image = grey_levels(3, 2, 33, 300)
    image[0, 0, 0, :4] = torch.tensor([torch.nan, torch.inf, -torch.inf, -0.0])
    for dtype in DTYPES:
        some = image.nan_to_num(0, 9, 9).to(dtype) if dtype == torch.uint8 else image.to(dtype)
        assert same_bits(diffuse(some, 0), some)
        for niter in (torch.tensor([0, 3, 0]), torch.tensor([0, 3, 0], device=DEVICE)):
            result = diffuse(some, niter)
            assert same_bits(result[[0, 2]], some[[0, 2]])
            assert not same_bits(result[1], some[1])


@OPTIONS
def test_conductance_is_accurate(diffuse, option):
    """The fast exponential and reciprocal, by what flows into pixels of 0 over edges of 0 to 6 kappa."""
    image = torch.stack([torch.zeros(20001), torch.linspace(0, 6, 20001)]).to(DEVICE)
    result = diffuse(image, 1, 1.0, 0.25, option=option)[0]
    expected = truth(image, 1, 1.0, 0.25, option=option)[0]
    # The exponent reaches 52; kappa, the scaled pixel and their square each add 1e-7 of it. Tukey's difference cancels
    # where it nears 0.
    torch.testing.assert_close(result.double(), expected, rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize("where", list(itertools.product(["cpu", DEVICE], repeat=3)), ids="-".join)
def test_parameters_of_each_image(diffuse, where):
    """On the CPU, on the device, mixed; for planes that fit a tile and for those that do not."""
    niter = torch.tensor([2, 0, 7, 1, 20], dtype=torch.int32, device=where[0])
    kappa = torch.tensor([5.0, 20.0, 10.0, 50.0, 8.0], device=where[1])
    gamma = torch.tensor([0.25, 0.1, 0.15, 0.2, 0.1], device=where[2])
    for size, coupling in (((65, 66), "none"), ((65, 66), "l2"), ((500, 700), "none")):
        image = grey_levels(5, 3, *size)
        result = check(diffuse, image, niter, kappa, gamma, coupling=coupling)
        assert torch.equal(result[1], image[1])
        for i, n in enumerate(niter.tolist()):
            alone = diffuse(image, n, kappa[i].item(), gamma[i].item(), coupling=coupling)
            torch.testing.assert_close(result[i], alone[i], rtol=0, atol=1e-3)
    volumes = grey_levels(5, 1, 4, 9, 33)
    check(diffuse, volumes, niter, kappa, gamma.clamp(max=1 / 6), ndim=3)
    check(diffuse, volumes, niter.long(), kappa.half(), 0.1, ndim=3)


def test_the_order_of_the_images_does_not_matter(diffuse):
    image = grey_levels(9, 3, 64, 65)
    niter = torch.tensor([3, 0, 20, 20, 1, 7, 0, 12, 5])
    kappa, gamma = torch.linspace(5, 50, 9), torch.linspace(0.05, 0.25, 9)
    order = torch.randperm(9)
    result = diffuse(image, niter, kappa, gamma)
    assert torch.equal(diffuse(image[order.to(DEVICE)], niter[order], kappa[order], gamma[order]), result[order])


@COUPLINGS
def test_values_out_of_range_on_the_device(diffuse, coupling):
    bad = torch.tensor([0.0, -1.0, torch.nan, 20.0], device=DEVICE)
    image = grey_levels(4, 3, 9, 40)
    result = diffuse(image, 2, bad, coupling=coupling)
    assert result[:3].isnan().all()
    assert torch.equal(result[3], diffuse(image, 2, coupling=coupling)[3])
    whole = image.to(torch.uint8)
    result = diffuse(whole, 2, bad, coupling=coupling)
    assert not result[:3].any()
    assert torch.equal(result[3], diffuse(whole, 2, coupling=coupling)[3])
    niter = torch.tensor([-1, 0, 1, -(2**31)], dtype=torch.int32, device=DEVICE)
    assert torch.equal(diffuse(image, niter, coupling=coupling)[[0, 1, 3]], image[[0, 1, 3]])
    assert torch.equal(diffuse(image, 0 * niter, bad, coupling=coupling), image)  # no step, no NaN


def test_gamma_out_of_range_on_the_device(diffuse):
    image = grey_levels(4, 3, 9, 40)
    gamma = torch.tensor([0.0, -0.1, torch.nan, 0.1], device=DEVICE)
    for option, coupling in itertools.product(some(diffuse, [1, 2, 3], [1]), ("none", "l2")):
        result = diffuse(image, 2, gamma=gamma, option=option, coupling=coupling)
        assert result[:3].isnan().all()
        assert torch.equal(result[3], diffuse(image, 2, gamma=gamma[3], option=option, coupling=coupling)[3])
    assert not diffuse(image.to(torch.uint8), 2, gamma=gamma)[:3].any()


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@COUPLINGS
@OPTIONS
def test_nan_and_infinity_are_contained(diffuse, option, coupling, value):
    for size in ((40, 41), (300, 500)):
        image = grey_levels(2, 3, *size)
        image[0, 1, 0, 0] = image[0, 1, 20, 20] = value
        result = diffuse(image, 3, option=option, coupling=coupling)
        expected = reference(image, 3, option=option, coupling=coupling)
        torch.testing.assert_close(result, expected, rtol=0, atol=1e-3, equal_nan=True)
        clean = image.nan_to_num(nan=0, posinf=0, neginf=0)
        assert same_bits(result[1], diffuse(clean, 3, option=option, coupling=coupling)[1])


@OPTIONS
def test_mean_is_kept(diffuse, option):
    image = grey_levels(8, 3, 224, 224)
    result = diffuse(image, 50, 20.0, 0.25, option=option)
    assert (result.double().mean((1, 2, 3)) - image.double().mean((1, 2, 3))).abs().max() < 5e-5


def test_rounding_agrees_with_the_reference(diffuse):
    """Every value halfway between two grey levels, through one step that changes nothing."""
    halves = (torch.arange(256, device=DEVICE) + 0.5).reshape(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    for dtype in (torch.float16, torch.bfloat16):
        image = halves.to(dtype)
        assert torch.equal(diffuse(image, 1), from_compute_dtype(image.float(), dtype))
    levels = halves.to(torch.uint8)
    assert torch.equal(diffuse(levels, 3), levels)


def test_uint8_differs_from_the_rounded_truth_at_ties_only(diffuse):
    image = grey_levels(2, 3, 224, 224, dtype=torch.uint8)
    assert (diffuse(image) != from_compute_dtype(truth(image), torch.uint8)).double().mean() < 2e-4


def test_gradients(diffuse):
    """The step back is the reference's, from states that are its own, too."""
    results = []
    for function in (diffuse, reference):
        image = grey_levels(2, 3, 33, 34).requires_grad_()
        kappa = torch.tensor([20.0, 30.0], requires_grad=True)
        function(image, torch.tensor([5, 2]), kappa).square().mean().backward()
        results.append((image.grad, kappa.grad))
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("device", ["cpu", DEVICE])
def test_gradients_with_parameters_on_either_device(device):
    """The parameters of a batch are drawn on the CPU, as a rule, and learned where they are."""
    niter = torch.tensor([3, 0, 5])
    results = []
    for where, parameters in ((DEVICE, device), ("cpu", "cpu")):
        image = (torch.arange(3 * 2 * 8 * 9).reshape(3, 2, 8, 9) * 37 % 256).to(where, torch.float64).requires_grad_()
        kappa = torch.tensor([20.0, 30.0, 40.0], device=parameters, requires_grad=True)
        gamma = torch.tensor(0.1, device=parameters, requires_grad=True)
        reference(image, niter.to(parameters), kappa, gamma).square().mean().backward()
        results.append([g.double().cpu() for g in (image.grad, kappa.grad, gamma.grad)])
    torch.testing.assert_close(*results)

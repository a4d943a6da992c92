"""Where the parameters of a call may be and what they may be, on the emulated op, against the definition."""

import itertools
import math

import pytest
import torch
from emulated_cases import noise
from emulated_op import DTYPES, NAMES, NUMBERS, check, diffuse, launches, sample

pytestmark = pytest.mark.usefixtures("filled_memory")

KINDS = list(itertools.product(["all", "each"], ["cpu", "device"]))


@pytest.mark.parametrize("tile", ["", "32x32/2", "step"])
@pytest.mark.parametrize("of_niter", KINDS, ids="niter {0[0]} {0[1]}".format)
def test_parameters_anywhere(of_niter, tile):
    generator = torch.Generator().manual_seed(0)
    for number, kinds in enumerate(itertools.product([of_niter], KINDS, KINDS)):
        image = noise(4, 2, 17, 35, dtype=DTYPES[number % 4], seed=number)
        parameters = [sample(name, kind, 4, generator) for name, (kind, _) in zip(NAMES, kinds, strict=True)]
        device = [name for name, (_, place) in zip(NAMES, kinds, strict=True) if place == "device"]
        check(image, *parameters, device=device, tile=tile)


@pytest.mark.parametrize("device", [[], NAMES], ids=["cpu", "device"])
@pytest.mark.parametrize("dtype", NUMBERS, ids=str)
@pytest.mark.parametrize("ndim", [2, 3])
def test_dtypes_and_strides_of_parameters(ndim, dtype, device):
    image = noise(3, 1, *[5] * (ndim - 2), 9, 11)
    kappa = torch.tensor([3, 90, 20, 90, 50, 90], dtype=dtype)
    gamma = torch.tensor([0.05, 9, 0.1, 9, 0.15, 9], dtype=dtype if dtype.is_floating_point else torch.float32)
    niter = torch.tensor([4, 90, 0, 90, 2, 90], dtype=torch.int32 if dtype == torch.int32 else torch.int64)
    options = {"ndim": ndim, "device": device}
    check(image, *(p[::2] for p in (niter, kappa, gamma)), **options)
    check(image, *(p[4:5].expand(3) for p in (niter, kappa, gamma)), **options)
    check(image, *(p[4] for p in (niter, kappa, gamma)), **options)
    check(image[:1], *(p[4:5] for p in (niter, kappa, gamma)), **options)


@pytest.mark.parametrize("option", [1, 2, 3])
@pytest.mark.parametrize("kappa", [1e-300, 1e-30, 1e30, 1e300, math.inf])
@pytest.mark.parametrize("gamma", [1e-300, 1e-30, 0.2])
def test_tiny_and_huge_values(gamma, kappa, option):
    image = noise(2, 1, 9, 11)
    image[:, :, 3:5] = 7  # no difference at all
    for device in ([], ["kappa", "gamma"]):
        check(image, 3, kappa, gamma, option=option, device=device)
        each = [torch.tensor([value, 0.1], dtype=torch.float64) for value in (kappa, gamma)]
        check(image, 3, *each, option=option, device=device)


def test_values_out_of_range_on_a_device():
    image = noise(6, 1, 9, 11)
    kappa, gamma = torch.tensor([0.0, -1, math.nan, 20, 20, 20]), torch.tensor([0.1, 0.1, 0.1, math.nan, 0, 0.1])
    for tile in ("", "step"):
        result = check(image, 2, kappa, gamma, device=["kappa", "gamma"], tile=tile)
        assert result[:5].isnan().all()


@pytest.mark.parametrize("tile", ["", "32x32/2", "step"])
@pytest.mark.parametrize("device", [[], ["niter"]], ids=["cpu", "device"])
def test_no_iterations_keep_the_bits(device, tile):
    image = noise(3, 2, 40, 33)
    image[:, :, ::5] = math.nan
    image[:, :, ::7] = -math.inf
    for dtype in DTYPES[:3]:
        for niter in (torch.tensor(0), torch.zeros(3, dtype=torch.int32), torch.tensor([0, -1, -(2**40)])):
            result = diffuse(image.to(dtype), niter, device=device, tile=tile)
            assert torch.equal(result.view(torch.uint8), image.to(dtype).view(torch.uint8))


def test_more_iterations_than_anybody_waits_for():
    """They are cut at what the kernels can count."""
    image, niter = noise(2, 1, 1, 1), torch.tensor([2**40, 2**62])
    for value in (niter, niter[0], torch.tensor(math.inf), torch.tensor(math.nan), torch.tensor(-math.inf)):
        for tile in ("", "32x32", "step"):
            assert torch.equal(diffuse(image, value, tile=tile), image)
    assert torch.equal(diffuse(image, niter, device=["niter"]), image)


def test_parameters_of_many_images():
    """The table goes up in parts, behind which nothing is lost or mixed up."""
    generator = torch.Generator().manual_seed(0)
    images = 1100
    image, niter = noise(images, 1, 2, 3), torch.randint(1, 5, (images,), generator=generator)
    kappa, gamma = torch.rand(images, generator=generator) * 90 + 1, torch.rand(images, generator=generator) / 4 + 1e-3
    check(image, niter, kappa, gamma)
    check(image, niter, kappa, gamma, device=["kappa"])
    few = launches(image, 4)
    assert launches(image, niter, kappa, gamma) == few + 5  # with the order, 4400 numbers in parts of 1000
    assert launches(image, niter) == launches(image, 4, kappa, gamma) == few + 3
    assert launches(image, 4, kappa, gamma, device=["kappa"]) == few + 2
    assert launches(image[:1000], 4, kappa[:1000]) == few + 1


def test_parameters_on_the_device_need_no_table():
    image, each = noise(4, 1, 9, 11), torch.tensor([2, 3, 1, 2])
    few = launches(image, each[0], device=["niter"])
    assert launches(image, each, each * 9.0, each / 20, device=NAMES) == few
    assert launches(image, each, each * 9.0, each / 20, device=["niter", "gamma"]) == few + 1


WAITS = "niter must be on the CPU while a CUDA graph is captured"


@pytest.mark.parametrize("niter", [torch.tensor(3), torch.tensor([2, 4, 3])], ids=["all", "each"])
def test_captured(niter):
    """Only where the host must know the number of launches, it waits for niter."""
    images, volumes = noise(3, 1, 40, 35), noise(3, 1, 5, 6, 7)
    for tile in ("", "64x64", "32x32", "step"):
        check(images, niter, capturing=True, tile=tile)
    check(volumes, niter, capturing=True, ndim=3)
    for tile in ("64x64", "96x96/2"):
        check(images, niter, device=NAMES[:1], capturing=True, tile=tile)
    for image, options in (
        (images, {"tile": "32x32"}),
        (images, {"tile": "step"}),
        (volumes, {"ndim": 3}),
        (images.expand(-1, 4, -1, -1), {"coupling": "l2"}),  # for so many channels there is no tile
    ):
        with pytest.raises(RuntimeError, match=WAITS):
            diffuse(image, niter, device=["niter"], capturing=True, **options)


def test_values_out_of_range_in_a_table():
    """The public function refuses them; past it they must not become small ones that are in range."""
    image = noise(4, 1, 9, 11)
    kappa, gamma = torch.tensor([0.0, -1, 20, 20]), torch.tensor([0.1, 0.1, -0.1, 0.1])
    assert check(image, 2, kappa, gamma)[:3].isnan().all()


@pytest.mark.parametrize("device", [[], NAMES], ids=["cpu", "device"])
@pytest.mark.parametrize("name", NAMES)
def test_parameters_that_are_refused(name, device):
    def refused(value, message, image=None, **options):
        with pytest.raises(RuntimeError, match=f"{name} {message}"):
            diffuse(torch.rand(4, 3, 5, 6) if image is None else image, **{name: value}, device=device, **options)

    values = torch.ones(16, dtype=torch.int32)
    for wrong in (values[:3], values[:1], values[:0], values[:5], values.view(4, 4)):
        refused(wrong, r"must have shape \[\] or \[B\]")
    refused(values[:4], r"must have shape \[\] or \[B\]", torch.rand(4, 5, 6))
    refused(values[:4], r"must have shape \[\] or \[B\]", torch.rand(4, 3, 5, 6), ndim=3)
    refused(values[:4], r"must have shape \[\] or \[B\]", torch.rand(4, 3, 2, 5, 6))
    for dtype in (torch.uint8, torch.int16, torch.bool, torch.complex64):
        for wrong in (values[:4].to(dtype), values[0].to(dtype)):
            refused(wrong, "must be int32, int64 or floating point")


def test_niter_of_floating_point_is_not_read_from_a_device():
    for dtype in (torch.float16, torch.float64):
        with pytest.raises(RuntimeError, match="niter on a device must be int32 or int64"):
            diffuse(noise(2, 3, 40, 35), torch.ones(2, dtype=dtype), device=["niter"], tile="step")

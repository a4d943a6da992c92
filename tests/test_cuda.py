"""The Triton backend on an NVIDIA GPU, against the reference on the same GPU."""

import gc
import os

import pytest
import torch

import texfilters
from texfilters import reference

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU"),
    pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="kernels are interpreted here"),
]

# In grey levels, after 20 steps at gamma 0.1. Both sides compute in float32 and add the fluxes in another order, which
# the scheme amplifies wherever a difference exceeds kappa / sqrt(2); the others are rounded from float32, which
# near a tie falls on either side: one unit, in 128..255 where it is largest.
TOLERANCE = {
    torch.float64: 1e-9,
    torch.float32: 1e-2,
    torch.float16: 0.125,
    torch.bfloat16: 1.0,
    torch.uint8: 1,
}


def grey_levels(*shape, dtype=torch.float32):
    generator = torch.Generator("cuda").manual_seed(0)
    return (torch.rand(shape, generator=generator, device="cuda") * 255).to(dtype)


def diffuse(image, niter=20, kappa=20.0, gamma=0.1, backend="triton", **options):
    return texfilters.anisotropic_diffusion(image, niter, kappa, gamma, backend=backend, **options)


def check(image, *args, **options):
    result = diffuse(image, *args, **options)
    expected = diffuse(image, *args, backend="reference", **options)
    torch.testing.assert_close(result.double(), expected.double(), rtol=0, atol=TOLERANCE[image.dtype])
    return result


@pytest.mark.parametrize("coupling", ["none", "l2"])
@pytest.mark.parametrize("option", [1, 2, 3])
@pytest.mark.parametrize("dtype", TOLERANCE)
def test_every_dtype(dtype, option, coupling):
    image = grey_levels(2, 3, 224, 224, dtype=dtype)
    result = check(image, option=option, coupling=coupling)
    if dtype == torch.uint8:
        expected = diffuse(image, option=option, coupling=coupling, backend="reference")
        assert (result != expected).float().mean() < 1e-3  # ties are rare


@pytest.mark.parametrize("shape", [(1, 2), (7, 1), (33, 65), (31, 129), (1000, 3), (3, 1000), (3000, 300)])
def test_odd_sizes(shape):
    check(grey_levels(*shape))


@pytest.mark.parametrize("coupling", ["none", "l2"])
@pytest.mark.parametrize("shape", [(2, 2, 5, 33, 17), (1, 1, 64, 128, 100), (1, 3, 1, 9, 40)])
def test_volumes(shape, coupling):
    check(grey_levels(*shape), coupling=coupling, ndim=3, spacing=[3.0, 1.0, 0.7])


@pytest.mark.parametrize("coupling", ["none", "l2"])
@pytest.mark.parametrize(
    "view",
    [
        lambda u: u.to(memory_format=torch.channels_last),
        lambda u: u.mT,
        lambda u: u[:, 1:, ::2, 3:-1],
        lambda u: u[:1].expand(4, -1, -1, -1),
        lambda u: u[:, :, :1].expand(-1, -1, 33, -1),
        lambda u: u[None].transpose(0, 1).expand(-1, 2, -1, -1, -1),
    ],
)
def test_strides(view, coupling):
    image = view(grey_levels(3, 3, 65, 130))
    assert check(image, coupling=coupling).stride() == torch.empty_like(image).stride()


@pytest.mark.parametrize("option", [1, 2, 3])
def test_conductance_is_accurate(option):
    """The fast exponential and reciprocal square root, by what flows into pixels of 0 over edges of 0 to 6 kappa."""
    image = torch.stack([torch.zeros(20001), torch.linspace(0, 6, 20001)]).cuda()
    result = diffuse(image, 1, 1.0, 0.25, option=option)[0]
    expected = diffuse(image.double(), 1, 1.0, 0.25, option=option, backend="reference")[0]
    # The exponent reaches 52 and is rounded to 4e-6; Tukey's difference cancels where it nears 0.
    torch.testing.assert_close(result.double(), expected, rtol=6e-6, atol=1e-7)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_parameters_of_each_image(device):
    image = grey_levels(5, 3, 65, 66, dtype=torch.uint8)
    niter = torch.tensor([2, 0, 7, 1, 20], dtype=torch.int32, device=device)
    kappa = torch.tensor([5.0, 20.0, 10.0, 50.0, 8.0], device=device)
    gamma = torch.tensor([0.25, 0.1, 0.15, 0.2, 0.1], device=device)
    result = check(image, niter, kappa, gamma)
    assert torch.equal(result[1], image[1])
    for i, n in enumerate(niter.tolist()):
        assert torch.equal(result[i], diffuse(image[i], n, kappa[i].item(), gamma[i].item()))


def test_values_out_of_range_on_the_device():
    image = grey_levels(4, 1, 9, 9)
    kappa = torch.tensor([0.0, -1.0, torch.nan, 20.0], device="cuda")
    result = diffuse(image, 2, kappa)
    assert result[:3].isnan().all()
    assert torch.equal(result[3], diffuse(image[3], 2))
    niter = torch.tensor([-1, 0, 1, -(2**31)], dtype=torch.int32, device="cuda")
    assert torch.equal(diffuse(image, niter)[[0, 1, 3]], image[[0, 1, 3]])


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("coupling", ["none", "l2"])
@pytest.mark.parametrize("option", [1, 2, 3])
def test_nan_and_infinity_are_contained(option, coupling, value):
    image = grey_levels(2, 3, 40, 41)
    image[0, 1, 0, 0] = image[0, 1, 20, 20] = value
    result = diffuse(image, 3, option=option, coupling=coupling)
    expected = diffuse(image, 3, option=option, coupling=coupling, backend="reference")
    torch.testing.assert_close(result, expected, rtol=0, atol=1e-3, equal_nan=True)


def test_same_bits_every_time():
    image = grey_levels(8, 3, 224, 224)
    first = diffuse(image)
    assert all(torch.equal(first, diffuse(image)) for _ in range(20))


@pytest.mark.parametrize("option", [1, 2, 3])
def test_mean_is_kept(option):
    image = grey_levels(8, 3, 224, 224)
    result = diffuse(image, 50, 20.0, 0.25, option=option)
    assert (result.double().mean((1, 2, 3)) - image.double().mean((1, 2, 3))).abs().max() < 5e-5


def test_does_not_wait_for_the_device():
    image = grey_levels(4, 3, 64, 64)
    arguments = torch.tensor([1, 2, 3, 4]), torch.full((4,), 20.0), torch.full((4,), 0.1)
    for parameters in ((4, 20.0, 0.1), arguments, (arguments[0], arguments[1].cuda(), arguments[2].cuda())):
        diffuse(image, *parameters)  # compiles
        torch.cuda.set_sync_debug_mode("error")
        try:
            diffuse(image, *parameters)
        finally:
            torch.cuda.set_sync_debug_mode("default")


def test_streams():
    image = grey_levels(16, 3, 224, 224)
    niter = torch.arange(16)
    expected = diffuse(image, niter)
    streams = [torch.cuda.Stream() for _ in range(4)]
    torch.cuda.synchronize()
    results = []
    for i in range(12):
        with torch.cuda.stream(streams[i % 4]):
            torch.cuda._sleep(1_000_000)  # the copy of niter has not happened when it is overwritten below
            ours = niter.clone()
            results.append(diffuse(image, ours))
            ours.fill_(0)
    torch.cuda.synchronize()
    assert all(torch.equal(result, expected) for result in results)


@pytest.mark.parametrize("niter", [4, [4, 0, 2]], ids=["number", "one an image"])
def test_graph(niter):
    image = grey_levels(3, 3, 65, 66, dtype=torch.uint8)
    niter = torch.tensor(niter)
    kappa = torch.tensor([10.0, 20.0, 30.0]) if niter.ndim else 20.0
    diffuse(image, niter, kappa)  # compiles
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = diffuse(image, niter, kappa)
    expected_niter, expected_kappa = niter.clone(), kappa.clone() if niter.ndim else kappa
    niter.fill_(7)
    del niter, kappa
    gc.collect()
    for seed in range(3):
        # What the graph reads must not have gone back to the allocators.
        junk = [torch.full((n,), 99, pin_memory=True) for n in (1, 2, 3, 4, 8)]
        junk += [torch.full((n,), 99, device="cuda") for n in (1, 2, 3, 4, 8)]
        image.copy_(grey_levels(3, 3, 65, 66).add(seed * 17).remainder(256))
        graph.replay()
        assert torch.equal(result, diffuse(image, expected_niter, expected_kappa))
        del junk


def test_graph_refuses_niter_on_the_device():
    image = grey_levels(1, 1, 8, 8)
    niter = torch.tensor([1], device="cuda")
    diffuse(image, niter)
    with pytest.raises(RuntimeError, match="niter must be on the CPU"), torch.cuda.graph(torch.cuda.CUDAGraph()):
        diffuse(image, niter)


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_gradients_with_parameters_on_either_device(device):
    """The parameters of a batch are drawn on the CPU, as a rule, and learned where they are."""
    niter = torch.tensor([3, 0, 5])
    results = []
    for where, parameters in (("cuda", device), ("cpu", "cpu")):
        image = (torch.arange(3 * 2 * 8 * 9).reshape(3, 2, 8, 9) * 37 % 256).to(where, torch.float64).requires_grad_()
        kappa = torch.tensor([20.0, 30.0, 40.0], device=parameters, requires_grad=True)
        gamma = torch.tensor(0.1, device=parameters, requires_grad=True)
        diffuse(image, niter.to(parameters), kappa, gamma, backend="reference").square().mean().backward()
        results.append([g.double().cpu() for g in (image.grad, kappa.grad, gamma.grad)])
    torch.testing.assert_close(*results)


def test_compile():
    image = grey_levels(2, 3, 33, 34).to(memory_format=torch.channels_last)
    compiled = torch.compile(lambda u: diffuse(u / 2, 3) + 1, fullgraph=True)
    assert torch.allclose(compiled(image), diffuse(image / 2, 3) + 1)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_second_device():
    image = grey_levels(2, 3, 33, 34)
    assert torch.equal(diffuse(image.to("cuda:1")).cpu(), diffuse(image).cpu())


@pytest.mark.parametrize("shape", [(3, 1, 27000, 27000), (1, 1, 46400, 46400)], ids=["batch", "plane"])
def test_more_than_two_to_the_31_pixels(shape):
    pixels = torch.Size(shape).numel()
    assert pixels > 2**31
    if torch.cuda.mem_get_info()[0] < 8 * pixels:
        pytest.skip(f"needs {8 * pixels / 2**30:.0f} GiB of GPU memory")
    image = torch.randint(0, 256, shape, dtype=torch.uint8, device="cuda")
    result = diffuse(image, 2)
    for corner in (image[-1:, :, -66:, -66:], image[:1, :, -66:, :66]):
        crop = diffuse(corner, 2, backend="reference")
        ours = result.as_strided(corner.shape, corner.stride(), corner.storage_offset())
        # Two pixels from where the crop ends the values are those of the whole image.
        inner = (..., slice(2, None), slice(2, -2))
        torch.testing.assert_close(ours[inner], crop[inner], rtol=0, atol=1)


def test_no_more_memory_than_stated():
    image = grey_levels(4, 3, 256, 256, dtype=torch.uint8)
    for niter, states in ((1, 0), (2, 1), (9, 2)):
        diffuse(image, niter)
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        diffuse(image, niter)
        used = torch.cuda.max_memory_allocated() - before
        # The allocator may hand out up to 1 MiB more than it is asked for; a state takes 3.
        assert used <= image.numel() * (1 + 4 * states) + (1 + states) * 2**20


def test_rounding_agrees_with_the_reference():
    """Every value halfway between two grey levels, through one step that changes nothing."""
    halves = (torch.arange(256, device="cuda") + 0.5).reshape(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    for dtype in (torch.float16, torch.bfloat16):
        image = halves.to(dtype)
        assert torch.equal(diffuse(image, 1), reference.from_compute_dtype(image.float(), dtype))

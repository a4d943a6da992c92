"""How the backends behave when called on an NVIDIA GPU: streams, graphs, tracing, memory, devices, huge tensors."""

import gc

import pytest
import torch

import texfilters
from cuda_cases import (
    DEVICE,
    MARKS,
    ROUNDING,
    check,
    filtered,
    grey_levels,
    is_native,
    native,
    needs,
    reference,
    same_bits,
)

pytestmark = MARKS


def test_the_default_is_the_first_that_is_there(diffuse):
    image = grey_levels(2, 3, 33, 34)
    if texfilters._backends.resolve(None, "cuda") == diffuse.keywords["backend"]:
        assert torch.equal(texfilters.anisotropic_diffusion(image, 20, 20.0, 0.1), diffuse(image))


@pytest.mark.parametrize("niter", [20, "one an image"])
@pytest.mark.parametrize("coupling", ["none", "l2"])
def test_same_bits_every_time(diffuse, coupling, niter):
    if niter != 20:
        niter = torch.tensor([20, 3, 0, 7, 20, 12, 1, 5])
    for image in (grey_levels(8, 3, 224, 224), grey_levels(8, 3, 500, 700)):
        first = diffuse(image, niter, coupling=coupling)
        assert all(torch.equal(first, diffuse(image, niter, coupling=coupling)) for _ in range(20))


def test_does_not_wait_for_the_device(diffuse):
    niter, kappa, gamma = torch.tensor([1, 2, 3, 4]), torch.full((4,), 20.0), torch.full((4,), 0.1)
    for image in (grey_levels(4, 3, 32, 32), grey_levels(4, 3, 600, 600)):
        several = [(4, 20.0, 0.1), (niter, kappa, gamma), (niter, kappa.to(DEVICE), gamma.to(DEVICE))]
        if is_native(diffuse) and image.shape[-1] == 32:  # the kernel reads niter, and nobody else has to
            several.append((niter.to(DEVICE), kappa, gamma.to(DEVICE)))
        for parameters in several:
            diffuse(image, *parameters)  # compiles, and fills the allocators
            torch.cuda.synchronize()
            torch.cuda.set_sync_debug_mode("error")  # knows of torch's own calls only
            try:
                torch.cuda._sleep(200_000_000)  # a tenth of a second
                diffuse(image, *parameters)
                returned_at_once = not torch.cuda.current_stream().query()
            finally:
                torch.cuda.set_sync_debug_mode("default")
            assert returned_at_once


def test_streams(diffuse):
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


@pytest.mark.parametrize("shape", [(3, 3, 65, 66), (3, 3, 400, 500)], ids=["small", "large"])
@pytest.mark.parametrize("niter", [4, [4, 0, 2]], ids=["number", "one an image"])
def test_graph(diffuse, niter, shape):
    image = grey_levels(*shape, dtype=torch.uint8)
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
        junk += [torch.full((n,), 99, device=DEVICE) for n in (1, 2, 3, 4, 8)]
        image.copy_(grey_levels(*shape, seed=seed))
        graph.replay()
        assert torch.equal(result, diffuse(image, expected_niter, expected_kappa))
        del junk


def test_graph_and_niter_on_the_device(diffuse):
    """Read by the kernel where an image fits a tile; else its largest value has to be waited for."""
    niter = torch.tensor([1, 3], device=DEVICE)
    refused = [(grey_levels(2, 1, 900, 900), 2), (grey_levels(2, 1, 3, 8, 8), 3)]
    fits = (grey_levels(2, 1, 8, 8), 2)
    if not is_native(diffuse):
        refused.append(fits)
    for image, ndim in refused:
        diffuse(image, niter, ndim=ndim)
        refusal = pytest.raises(RuntimeError, match="niter must be on the CPU while a CUDA graph is captured")
        with refusal, torch.cuda.graph(torch.cuda.CUDAGraph()):
            diffuse(image, niter, ndim=ndim)
        check(diffuse, image, niter, ndim=ndim)  # nothing is left behind
    if is_native(diffuse):
        image = fits[0]
        diffuse(image, niter)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            result = diffuse(image, niter)
        for values in ([1, 3], [0, 20]):
            niter.copy_(torch.tensor(values))
            graph.replay()
            assert torch.equal(result, diffuse(image, torch.tensor(values)))


def test_compile(diffuse):
    torch.compiler.reset()
    image = grey_levels(2, 3, 33, 34).to(memory_format=torch.channels_last)
    compiled = torch.compile(lambda u, n: diffuse(u / 2, n) + 1, fullgraph=True)
    for niter in (torch.tensor([3, 4]), torch.tensor([3, 4], device=DEVICE)):
        assert torch.allclose(compiled(image, niter), diffuse(image / 2, niter) + 1)


def test_autocast_changes_nothing(diffuse):
    image = grey_levels(2, 3, 33, 34)
    for dtype in (torch.float16, torch.bfloat16):
        with torch.autocast("cuda", dtype):
            result = diffuse(image)
        assert same_bits(result, diffuse(image))


def used_memory(call):
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    return torch.cuda.max_memory_allocated() - before


def test_triton_uses_no_more_memory_than_stated():
    needs("triton")
    image = grey_levels(4, 3, 256, 256, dtype=torch.uint8)
    for niter, states in ((1, 0), (2, 1), (9, 2)):
        filtered(image, niter, backend="triton")
        # The allocator may hand out up to 1 MiB more than it is asked for; a state takes 3.
        stated = image.numel() * (1 + 4 * states) + (1 + states) * 2**20
        assert used_memory(lambda n=niter: filtered(image, n, backend="triton")) <= stated


@pytest.mark.parametrize(
    ("shape", "ndim", "states"),
    [((64, 3, 64, 64), 2, 0), ((256, 3, 224, 224), 2, 0), ((4, 3, 900, 1000), 2, 2), ((2, 1, 96, 128, 128), 3, 2)],
)
def test_native_uses_no_more_memory_than_stated(shape, ndim, states):
    """The result alone where an image fits a tile, else up to two copies in float32; and small tables."""
    needs("native")
    for dtype in (torch.uint8, torch.float32):
        image = grey_levels(*shape, dtype=dtype)
        for niter, copies in ((0, 0), (20, states), (torch.arange(len(image)) % 21, states)):
            native(image, niter, ndim=ndim)
            stated = image.numel() * (image.element_size() + 4 * copies) + (1 + copies) * 2**20
            assert used_memory(lambda n=niter, u=image: native(u, n, ndim=ndim)) <= stated


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_second_device_while_the_first_is_current(diffuse):
    for shape in ((2, 3, 33, 34), (2, 3, 500, 600)):
        image = grey_levels(*shape)
        result = diffuse(image.to("cuda:1"), torch.tensor([3, 20]))
        assert result.device == torch.device("cuda:1")
        assert torch.cuda.current_device() == 0
        assert torch.equal(result.cpu(), diffuse(image, torch.tensor([3, 20])).cpu())


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
@pytest.mark.parametrize("name", ["niter", "kappa", "gamma"])
def test_parameters_on_another_gpu_are_refused(diffuse, name):
    value = torch.ones(2, device="cuda:1", dtype=torch.int32 if name == "niter" else torch.float32)
    with pytest.raises(ValueError, match=f"{name} must be on the CPU or on the image's device cuda:0, got cuda:1"):
        diffuse(grey_levels(2, 3, 33, 34), **{name: value})


@pytest.mark.parametrize("name", ["niter", "kappa", "gamma"])
def test_parameters_on_another_device_are_refused(diffuse, name):
    value = torch.ones(2, dtype=torch.int32 if name == "niter" else torch.float32)
    image = grey_levels(2, 3, 33, 34)
    with pytest.raises(ValueError, match=f"{name} must be on the CPU or on the image's device cuda:0, got meta"):
        diffuse(image, **{name: value.to("meta")})
    with pytest.raises(ValueError, match=f"{name} must be on the CPU or on the image's device cpu, got cuda:0"):
        reference(image.cpu(), **{name: value.to(DEVICE)})


def test_the_native_op_refuses_what_would_break_memory():
    """Called past the public function: no meaning is checked there, but nothing may be read out of bounds."""
    needs("native")
    op = torch.ops.texfilters_native.anisotropic_diffusion
    one, image = torch.tensor(1.0), grey_levels(4, 3, 5, 6)
    good = [image, torch.tensor(1), one, one / 10, 1, "none", [1.0, 1.0], 2]
    op(*good)
    for position, bad in [
        (0, torch.rand(5, device=DEVICE)), (0, image.long()), (0, image.double()),
        (1, torch.ones(3, dtype=torch.int32)), (1, torch.ones(3, dtype=torch.int32, device=DEVICE)),
        (2, torch.ones(5)), (2, torch.ones(4, dtype=torch.complex64)), (3, torch.ones(0)), (6, [1.0]), (7, 4), (7, 0),
    ]:  # fmt: skip
        arguments = [*good]
        arguments[position] = bad
        with pytest.raises(RuntimeError):
            op(*arguments)
    torch.cuda.synchronize()  # no launch has failed either


def test_more_planes_than_a_grid_dimension_holds(diffuse):
    for shape, options in (
        ((70_000, 1, 5, 6), {}),
        ((70_000, 3, 2, 3), {"coupling": "l2"}),
        ((70_000, 1, 2, 3, 4), {"ndim": 3}),
        ((2, 70_000, 3, 2), {}),
    ):
        image = grey_levels(*shape)
        check(diffuse, image, 3, **options)
        check(diffuse, image, torch.arange(len(image)) % 4, **options)


def room_for(gigabytes):
    torch.cuda.empty_cache()
    if torch.cuda.mem_get_info()[0] < gigabytes * 1e9:
        pytest.skip(f"needs {gigabytes} GB of GPU memory")


def test_more_than_two_to_the_31_planes():
    needs("native")
    room_for(12)
    image = torch.empty(2, 2**30 + 9, 2, 1, dtype=torch.uint8, device=DEVICE).random_(256)
    niter = torch.tensor([1, 2])
    result = native(image, niter)
    for part in (slice(0, 5), slice(2**29, 2**29 + 5), slice(-5, None)):
        expected = reference(image[:, part].double(), niter)
        torch.testing.assert_close(result[:, part].double(), expected, rtol=0, atol=ROUNDING[torch.uint8] + 1e-3)


@pytest.mark.parametrize(
    "shape",
    [(3, 1, 27000, 27000), (1, 1, 46400, 46400), (43000, 1, 224, 224), (1, 1, 1300, 1300, 1300)],
    ids=["batch", "plane", "many planes", "volume"],
)
def test_more_than_two_to_the_31_pixels(diffuse, shape):
    pixels, ndim = torch.Size(shape).numel(), len(shape) - 2
    assert pixels > 2**31
    room_for(16)
    image = torch.empty(shape, dtype=torch.uint8, device=DEVICE).random_(256)
    result = diffuse(image, 2, ndim=ndim)
    # Corners, compared where they are more than two pixels from where they were cut.
    for end in (slice(-66, None), slice(0, 66)):
        inner = slice(2, None) if end.start else slice(None, -2)
        cut = (slice(-1, None) if end.start else slice(0, 1), slice(None), *[end] * ndim)
        expected = reference(image[cut].double(), 2, ndim=ndim)[(..., *[inner] * ndim)]
        ours = result[cut][(..., *[inner] * ndim)].double()
        torch.testing.assert_close(ours, expected, rtol=0, atol=ROUNDING[torch.uint8] + 1e-3)

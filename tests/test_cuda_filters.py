"""The table of filters on an NVIDIA GPU, and how they behave there."""

import functools
import itertools

import pytest
import torch

import texfilters
from cuda_cases import DEVICE, MARKS, needs, same_bits
from filter_cases import CASES, DTYPES, PATCHES, check, draw

pytestmark = MARKS

ALL = [*CASES, *PATCHES]
every_case = pytest.mark.parametrize("case", ALL, ids=str)
# Around warps, vectors and tiles.
SIZES = [
    (1, 1),
    (1, 2),
    (2, 1),
    (1, 300),
    (300, 1),
    (3, 3),
    (31, 33),
    (32, 64),
    (33, 31),
    (64, 129),
    (65, 127),
    (130, 5),
]
EMPTY = [(0, 3, 5, 6), (2, 3, 0, 6), (2, 3, 5, 0), (2, 0, 5, 6)]
VIEWS = {
    "channels last": lambda u: u.to(memory_format=torch.channels_last),
    "transposed": lambda u: u.mT,
    "sliced": lambda u: u[:, :, ::2, 3:-1],
    "expanded images": lambda u: u[:1].expand(4, -1, -1, -1),
    "expanded channels": lambda u: u[:, :1].expand(-1, 3, -1, -1),
    "expanded rows": lambda u: u[:, :, :1].expand(-1, -1, 33, -1),
    "expanded columns": lambda u: u[..., :1].expand(-1, -1, -1, 33),
    "misaligned": lambda u: u.new_empty(u.numel() + 1)[1:].view(u.shape).copy_(u),
    "misaligned rows": lambda u: u[..., 1:],
}
image_of = functools.partial(draw, device=DEVICE)


def dtypes(backend):
    return [dtype for dtype in DTYPES if backend != "native" or dtype != torch.float64]


@every_case
def test_every_dtype(gpu_backend, case):
    for dtype in dtypes(gpu_backend):
        check(case, image_of((2, 3, 65, 130), dtype), gpu_backend)


@every_case
def test_sizes(gpu_backend, case):
    for size, dtype in itertools.product(SIZES, (torch.uint8, torch.float32)):
        if case.function != "patch_negatives" or min(size) >= 9:
            check(case, image_of((3, *size), dtype), gpu_backend)


@every_case
def test_leading_dimensions_and_empty_images(gpu_backend, case):
    if case.function == "patch_negatives":
        check(case, image_of((0, 3, 20, 21)), gpu_backend)
        return
    for leading in ((2, 2), (1, 2, 1), (0,)):
        check(case, image_of((*leading, 3, 17, 40)), gpu_backend)
    for shape in EMPTY:
        if shape[1] == 3 or not case.needs_color:
            check(case, image_of(shape, torch.uint8), gpu_backend)


@every_case
def test_strides(gpu_backend, case):
    for view, dtype in itertools.product(VIEWS.values(), (torch.uint8, torch.float32)):
        check(case, view(image_of((3, 3, 34, 70), dtype)), gpu_backend)


@pytest.mark.parametrize("name", ["bilateral_filter", "gaussian_blur", "median_blur", "adaptive_threshold"])
def test_a_photo(gpu_backend, photo, name):
    for case in (case for case in CASES if case.function == name):
        for dtype in (torch.uint8, torch.float16, torch.float32):
            check(case, photo.to(DEVICE, dtype), gpu_backend)


def test_the_native_kernels_refuse_float64_by_name():
    needs("native")
    for case in ALL:
        image = image_of((1, 3, 20, 20), torch.float64)
        with pytest.raises(RuntimeError, match="float64"):
            case(image, "native")
        check(case, image, None)


# Function, shared arguments, arguments of each of four images, one of them an identity.
OF_EACH_IMAGE = [
    (texfilters.bilateral_filter, {"d": 5},
     {"sigma_color": [60.0, 0.0, 5.0, 300.0], "sigma_space": [2.0, 1.0, 9.0, 0.5]}),
    (texfilters.bilateral_filter, {"d": 0, "sigma_color": 50.0}, {"sigma_space": [0.1, 2.6, 0.0, 1.4]}),
    (texfilters.gaussian_blur, {}, {"sigma": [0.7, 0.0, 4.2, 1.0]}),
    (texfilters.gaussian_blur, {"kernel_size": 7}, {"sigma": [0.7, 0.0, 4.2, 1e9]}),
    (texfilters.adaptive_threshold, {"block_size": 5}, {"c": [9.0, -2.5, 0.3, 100.0]}),
    (texfilters.adaptive_threshold, {"block_size": 9, "method": "gaussian"}, {"c": [9.0, -2.5, 0.3, 100.0]}),
    (texfilters.cartoonize, {"d": 5},
     {"sigma_color": [60.0, 0.0, 5.0, 300.0], "sigma_space": [2.0, 1.0, 3.0, 0.5], "c": [9.0, -2.5, 0.3, 100.0]}),
]  # fmt: skip
of_each_image = pytest.mark.parametrize(("function", "shared", "each"), OF_EACH_IMAGE)


@of_each_image
def test_parameters_of_each_image_on_either_device(gpu_backend, function, shared, each):
    for dtype in (torch.uint8, torch.float32):
        image = image_of((4, 3, 40, 70), dtype)
        call = functools.partial(function, backend=gpu_backend, **shared)
        alone = [call(image[i], **{name: values[i] for name, values in each.items()}) for i in range(4)]
        for devices in itertools.product(["cpu", DEVICE], repeat=len(each)):
            for kind in (torch.float32, torch.float64):
                given = {
                    name: torch.tensor(values, dtype=kind, device=device)
                    for device, (name, values) in zip(devices, each.items(), strict=True)
                }
                together = call(image, **given)
                for i in range(4):
                    difference = (together[i].double() - alone[i].double()).abs()
                    # A number is rounded to float32 on one side only.
                    assert difference.max() <= (1 if dtype == torch.uint8 else 1e-2)


@pytest.mark.parametrize("bad", [-1.0, torch.nan, -torch.inf])
def test_values_out_of_range_on_the_device(gpu_backend, bad):
    values = torch.tensor([1.5, bad, 0.7], device=DEVICE)
    good = torch.tensor([1.5, 1.5, 0.7], device=DEVICE)
    for function, shared, name in (
        (texfilters.bilateral_filter, {"d": 5, "sigma_space": 2.0}, "sigma_color"),
        (texfilters.bilateral_filter, {"d": 5, "sigma_color": 50.0}, "sigma_space"),
        (texfilters.bilateral_filter, {"d": 0, "sigma_color": 50.0}, "sigma_space"),
        (texfilters.gaussian_blur, {}, "sigma"),
        (texfilters.gaussian_blur, {"kernel_size": 5}, "sigma"),
    ):
        for dtype in (torch.float32, torch.uint8):
            image = image_of((3, 3, 20, 40), dtype)
            call = functools.partial(function, backend=gpu_backend, **shared)
            result = call(image, **{name: values})
            assert (result[1] == 0).all() if dtype == torch.uint8 else result[1].isnan().all()
            assert torch.equal(result[::2], call(image, **{name: good})[::2])
    image = image_of((3, 3, 20, 40))
    c = torch.tensor([1.5, torch.nan, 0.7], device=DEVICE)
    for invert in (False, True):
        result = texfilters.adaptive_threshold(image, 5, c, invert=invert, backend=gpu_backend)
        assert not result[1].any()


@every_case
def test_same_bits_every_time(gpu_backend, case):
    for dtype in (torch.uint8, torch.float32):
        image = image_of((8, 3, 100, 101), dtype)
        first = case(image, gpu_backend)
        assert all(same_bits(first, case(image, gpu_backend)) for _ in range(10))


@of_each_image
def test_does_not_wait_for_the_device(gpu_backend, function, shared, each):
    """Where windows are as wide as sigma on the device says, kernels find it out for themselves."""
    image = image_of((4, 3, 40, 70))
    given = {name: torch.tensor(values, device=DEVICE) for name, values in each.items()}
    call = functools.partial(function, image, **given, **shared, backend=gpu_backend)
    call()  # compiles, and fills the allocators
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")  # knows of torch's own calls only
    try:
        torch.cuda._sleep(200_000_000)  # a tenth of a second
        call()
        assert not torch.cuda.current_stream().query()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_drawing_on_the_device_does_not_wait_for_it(gpu_backend):
    image, generator = image_of((4, 3, 40, 70)), torch.Generator(DEVICE)
    call = functools.partial(texfilters.patch_negatives, image, (3, 20), 2, generator=generator, backend=gpu_backend)
    call()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        call()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_streams(gpu_backend):
    for function, shared, each in OF_EACH_IMAGE:
        image = image_of((4, 3, 64, 65))
        given = {name: torch.tensor(values) for name, values in each.items()}
        expected = function(image, **given, **shared, backend=gpu_backend)
        streams = [torch.cuda.Stream() for _ in range(3)]
        torch.cuda.synchronize()
        results = []
        for i in range(9):
            with torch.cuda.stream(streams[i % 3]):
                torch.cuda._sleep(1_000_000)  # parameters may not have been copied when they are overwritten below
                ours = {name: value.clone() for name, value in given.items()}
                results.append(function(image, **ours, **shared, backend=gpu_backend))
                for value in ours.values():
                    value.fill_(0)
        torch.cuda.synchronize()
        assert all(torch.equal(result, expected) for result in results)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_graph(gpu_backend, case):
    image = image_of((2, 3, 40, 70), torch.uint8)
    case(image, gpu_backend)  # compiles
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = case(image, gpu_backend)
    for seed in range(3):
        # What the graph reads must not have gone back to the allocators.
        junk = [torch.full((n,), 99, device=device) for n in (1, 2, 4, 64, 1024) for device in ("cpu", DEVICE)]
        image.copy_(image_of(image.shape, torch.uint8, seed=seed))
        graph.replay()
        assert torch.equal(result, case(image, gpu_backend))
        del junk


@pytest.mark.parametrize("case", CASES, ids=str)
def test_compile(gpu_backend, case):
    torch.compiler.reset()
    image = image_of((2, 3, 33, 34)).to(memory_format=torch.channels_last)
    compiled = torch.compile(lambda u: case(u / 2, gpu_backend) + 1, fullgraph=True)
    assert torch.allclose(compiled(image), case(image / 2, gpu_backend) + 1, atol=1e-3)


@every_case
def test_memory_is_the_result(gpu_backend, case):
    """And a constant: tables, and what the allocator rounds up."""
    if gpu_backend == "triton" and case.function == "patch_negatives":
        pytest.skip("torch's own gather serves there")
    image = image_of((16, 3, 256, 256), torch.uint8)
    result = case(image, gpu_backend)
    size = result.numel()
    stages = size if case.arguments.get("passes", 1) > 1 else 0
    lines = 3 * 16 * 256 * 256 if case.function == "cartoonize" else 0  # gray, its median, where lines are
    del result
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    kept = case(image, gpu_backend)
    draws = 2**23 if case.function == "patch_negatives" else 0  # two int32 for every patch of one pixel
    assert kept.is_cuda
    assert torch.cuda.max_memory_allocated() - before <= size + stages + lines + draws + 2**21


def test_patches_are_drawn_on_either_device(gpu_backend):
    image = image_of((3, 3, 60, 61))
    for device in ("cpu", DEVICE):
        drawn = [
            texfilters.patch_negatives(
                image, (3, 20), 4, generator=torch.Generator(device).manual_seed(3), backend=backend
            )
            for backend in (gpu_backend, "reference")
        ]
        assert torch.equal(*drawn)
    on_cpu = texfilters.patch_negatives(image.cpu(), (3, 20), 4, generator=torch.Generator().manual_seed(3))
    on_gpu = texfilters.patch_negatives(image, (3, 20), 4, generator=torch.Generator().manual_seed(3))
    assert torch.equal(on_cpu, on_gpu.cpu())
    with pytest.raises(ValueError, match="generator must be on the CPU or on the image's device cpu, got cuda"):
        texfilters.patch_negatives(image.cpu(), 4, generator=torch.Generator(DEVICE))


def test_gradients(gpu_backend):
    """The way back is the reference's, from a result that is nearly its own."""
    color, space = torch.tensor([20.0, 30.0]), torch.tensor([1.0, 2.0], device=DEVICE)
    for call in (
        lambda u, c, s, b: texfilters.bilateral_filter(u, 5, c, s, backend=b),
        lambda u, c, s, b: texfilters.gaussian_blur(u, s, backend=b) + 0 * c.sum().to(u.device),
        lambda u, c, s, b: texfilters.cartoonize(u, d=5, sigma_color=c, sigma_space=s, c=300.0, backend=b),
    ):
        results = []
        for backend in (gpu_backend, "reference"):
            inputs = [v.clone().requires_grad_() for v in (image_of((2, 3, 33, 34)), color, space)]
            results.append(torch.autograd.grad(call(*inputs, backend).square().mean(), inputs))
        for a, b in zip(*results, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4 * b.abs().max().item())
    for case in ALL:
        if case.function in ("median_blur", "rgb_to_gray", "patch_negatives"):
            gradients = []
            for backend in (gpu_backend, "reference"):
                image = image_of((2, 3, 33, 34)).requires_grad_()
                gradients += torch.autograd.grad(case(image, backend).square().sum(), image)
            torch.testing.assert_close(*gradients)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
@every_case
def test_second_device_while_the_first_is_current(gpu_backend, case):
    image = image_of((2, 3, 33, 64))
    result = case(image.to("cuda:1"), gpu_backend)
    assert result.device == torch.device("cuda:1")
    assert torch.cuda.current_device() == 0
    assert torch.equal(result.cpu(), case(image, gpu_backend).cpu())


@of_each_image
def test_parameters_on_another_device_are_refused(gpu_backend, function, shared, each):
    for name in each:
        given = {n: torch.tensor(values) for n, values in each.items()}
        given[name] = given[name].to("meta")
        with pytest.raises(ValueError, match=f"{name} must be on the CPU or on the image's device cuda:0, got meta"):
            function(image_of((4, 3, 20, 20)), **given, **shared, backend=gpu_backend)


@every_case
def test_more_planes_than_a_grid_dimension_holds(gpu_backend, case):
    if case.function == "patch_negatives":
        check(case, image_of((70_000, 1, 9, 9), torch.uint8), gpu_backend)
        return
    channels = 3 if case.needs_color else 1
    check(case, image_of((70_000, channels, 3, 4), torch.uint8), gpu_backend)


@pytest.mark.parametrize("name", ["bilateral_filter", "gaussian_blur", "median_blur", "adaptive_threshold"])
def test_more_than_two_to_the_31_pixels(gpu_backend, name):
    torch.cuda.empty_cache()
    if torch.cuda.mem_get_info()[0] < 16e9:
        pytest.skip("needs 16 GB of GPU memory")
    case = next(case for case in CASES if case.function == name and case.arguments.get("ksize", 3) == 3)
    image = torch.empty(3, 1, 27000, 27000, dtype=torch.uint8, device=DEVICE).random_(256)
    assert image.numel() > 2**31
    result = case(image, gpu_backend)
    corner = image[-1:, :, -99:, -99:]
    expected = case(corner, gpu_backend)  # which the first tests compare with the definition
    assert torch.equal(result[-1:, :, -66:, -66:], expected[..., -66:, -66:])

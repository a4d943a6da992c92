"""Transforms of batches on an NVIDIA GPU: the numbers of the CPU, the function's bits, and no waiting."""

import pytest
import torch

from cuda_cases import DEVICE, MARKS, needs
from transform_cases import BUILDERS, Launches, batch, by_functions, transforms, tv_tensors

pytestmark = MARKS
EVERY = {**BUILDERS, "patches": lambda **o: transforms.PatchNegatives((2, 6), **o)}


@pytest.fixture(autouse=True)
def _kernels():
    needs("native")


@pytest.mark.parametrize("name", BUILDERS)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float32], ids=str)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_a_batch_is_every_sample_by_its_function(name, dtype, layout):
    transform = BUILDERS[name](p=0.7)
    images = batch(17, 3, 30, 33, dtype=dtype).to(DEVICE, memory_format=layout)
    with Launches() as launches:
        result = transform(images)
    assert result.device == images.device
    assert torch.equal(result, by_functions(transform, images, transform.last_draw))
    assert torch.equal(transform.replay(images), result)
    if name == "mixture":
        assert max(launches.calls.values()) <= 4  # one for each size of the median


@pytest.mark.parametrize("name", EVERY)
def test_nothing_waits_for_the_device(name):
    transform, images = EVERY[name](), batch(16, 3, 32, 32).to(DEVICE)
    transform(images)
    torch.cuda.set_sync_debug_mode("error")
    try:
        result = transform(images)
        video = transform(tv_tensors.Video(images.view(4, 4, 3, 32, 32)))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert result.is_cuda
    assert type(video) is tv_tensors.Video


@pytest.mark.parametrize("name", EVERY)
def test_the_draw_is_that_of_the_cpu(name):
    images = batch(8, 3, 16, 16)
    draws = []
    for where in ("cpu", DEVICE):
        transform = EVERY[name](generator=torch.Generator().manual_seed(4))
        transform(images.to(where))
        draws.append(transform.last_draw)
    for key, numbers in draws[0].items():
        assert numbers.device.type == draws[1][key].device.type == "cpu"
        assert torch.equal(numbers, draws[1][key])


def test_gradients():
    transform = BUILDERS["mixture"]()
    images = batch(12, 3, 16, 16, dtype=torch.float32).to(DEVICE).requires_grad_()
    (gradient,) = torch.autograd.grad(transform(images).square().sum(), images)
    one_by_one = by_functions(transform, images, transform.last_draw)
    assert torch.allclose(gradient, torch.autograd.grad(one_by_one.square().sum(), images)[0], rtol=1e-5, atol=1e-6)


def test_a_generator_of_the_device_is_refused():
    for build in EVERY.values():
        with pytest.raises(ValueError, match="generator must be on the CPU, where transforms draw, got cuda"):
            build(generator=torch.Generator(DEVICE))


def test_side_streams():
    transform = transforms.RandomTextureSuppression(generator=torch.Generator().manual_seed(0))
    images = batch(32, 3, 64, 64).to(DEVICE)
    torch.cuda.synchronize()
    with torch.cuda.stream(torch.cuda.Stream()):
        results = [transform(images) for _ in range(4)]
        last = transform.replay(images)
    torch.cuda.synchronize()
    assert torch.equal(results[-1], last)
    assert torch.equal(results[-1], by_functions(transform, images, transform.last_draw))


def test_the_papers_mixture_is_near_its_definition():
    transform, images = transforms.RandomTextureSuppression(), batch(16, 3, 48, 48)
    result = transform(images.to(DEVICE)).cpu()
    truth = transform.replay(images)
    assert (result.int() - truth.int()).abs().max() <= 1

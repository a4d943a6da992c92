"""Every filter as torch calls it: threads, memory, opcheck, tracing, compilation, autocast."""

import os

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.library import opcheck

import memory
import texfilters
from cuda_cases import same_bits
from filter_cases import CASES, PATCHES, draw
from texfilters import _ops
from variants import VARIANTS

every_case = pytest.mark.parametrize("case", [*CASES, *PATCHES], ids=str)
# One call of every filter, with parameters of both shapes.
CALLS = {
    "bilateral_filter": lambda u, **k: texfilters.bilateral_filter(u, 5, torch.tensor([60.0, 9.0]), 2.0, **k),
    "gaussian_blur": lambda u, **k: texfilters.gaussian_blur(u, torch.tensor([1.0, 2.0]), **k),
    "median_blur": lambda u, **k: texfilters.median_blur(u, 5, **k),
    "rgb_to_gray": lambda u, **k: texfilters.rgb_to_gray(u, **k),
    "adaptive_threshold": lambda u, **k: texfilters.adaptive_threshold(u, 5, torch.tensor([2.0, 4.5]), **k),
    "cartoonize": lambda u, **k: texfilters.cartoonize(u, d=5, sigma_color=60.0, c=torch.tensor([9.0, 3.0]), **k),
    "patch_negatives": lambda u, **k: texfilters.patch_negatives(u, 5, 2, **k),
}
every_call = pytest.mark.parametrize("name", CALLS)


@pytest.mark.parametrize("backend", VARIANTS, indirect=True)  # torch's own operations promise no such thing
@every_case
def test_bits_do_not_depend_on_threads_or_runs(backend, case):
    """Fewer planes than threads, more, and one image that is cut into bands of rows."""
    for shape in ((1, 3, 150, 40), (5, 3, 33, 48), (2, 3, 64, 64)):
        for dtype in (torch.uint8, torch.float32):
            image = draw(shape, dtype)
            torch.set_num_threads(1)
            alone = case(image, backend)
            for threads in (1, 2, 3, 4, 5):
                torch.set_num_threads(threads)
                assert same_bits(case(image, backend), alone)


@pytest.mark.skipif("libasan" in os.environ.get("LD_PRELOAD", ""), reason="the sanitizer takes memory of its own")
def test_memory_is_the_output_and_a_constant():
    """24 images of 1 MiB a channel: the workspace is that of the images at work, one for each of two threads."""
    calls = {
        "bilateral_filter(image, 5, 60.0, 2.0)": (3, 0),
        "gaussian_blur(image, 2.0)": (3, 0),
        "median_blur(image, 3)": (3, 0),
        "median_blur(image, 7)": (3, 0),
        "median_blur(image, 15)": (3, 0),
        "rgb_to_gray(image)": (1, 0),
        "adaptive_threshold(image, 9, 2.0)": (3, 0),
        "adaptive_threshold(image, 9, 2.0, method='gaussian')": (3, 0),
        "cartoonize(image)": (3, 12),
        "cartoonize(image, passes=3)": (3, 12),
        "patch_negatives(image, 300, 2)": (6, 0),
    }
    added = memory.run(f"""
from texfilters import *
torch.set_num_threads(2)
small, image = torch.ones(1, 3, 64, 64, dtype=torch.uint8), torch.ones(24, 3, 1024, 1024, dtype=torch.uint8)
for call in {list(calls)}:
    eval(call.replace("image", "small").replace("300", "30"))
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak begins anew
    before = peak()
    eval(call)
    print(peak() - before)
""")
    for (call, (channels, workspace)), megabytes in zip(calls.items(), added, strict=True):
        assert 24 * channels - 1 <= megabytes <= 24 * channels + workspace + 8, call


# Raw arguments of the ops, after the image and without the backend.
OPS = {
    "bilateral_filter": (5, torch.tensor([60.0, 9.0]), torch.tensor(2.0), "reflect"),
    "gaussian_blur": (torch.tensor([1.0, 2.0]), 0, "wrap"),
    "median_blur": (3,),
    "rgb_to_gray": (),
    "adaptive_threshold": (5, torch.tensor([2.0, 4.5]), "gaussian", 255.0, True),
    "cartoonize": (3, torch.tensor([60.0, 9.0]), torch.tensor(2.0), 2, 3, 5, torch.tensor(2.0)),
    "patch_negatives": (torch.tensor([[2, 3], [3, 2]]), torch.zeros(2, 2, 9, 2, dtype=torch.int32)),
}


@pytest.mark.parametrize("name", OPS)
def test_opcheck(backend, name):
    needs_grad = name != "adaptive_threshold"
    for image in (
        draw((2, 3, 5, 6)).requires_grad_(needs_grad),
        draw((2, 3, 5, 6)).contiguous(memory_format=torch.channels_last).requires_grad_(needs_grad),
        draw((2, 3, 5, 6), torch.uint8),
        draw((2, 3, 6, 5)).mT,
    ):
        arguments = [a.clone() if isinstance(a, torch.Tensor) else a for a in OPS[name]]
        for a in arguments:
            if needs_grad and isinstance(a, torch.Tensor) and a.is_floating_point() and name != "cartoonize":
                a.requires_grad_()
        opcheck(getattr(_ops, name), (image, *arguments, backend))


@pytest.mark.parametrize("name", [name for name in OPS if name not in ("rgb_to_gray", "adaptive_threshold")])
def test_opcheck_of_the_gradient(name):
    image = draw((2, 3, 5, 6))
    output = getattr(_ops, name)(image, *OPS[name], "reference")
    backward = getattr(_ops, f"{name}_backward")
    for grad in (torch.rand_like(output), torch.rand_like(output).mT.contiguous().mT):
        kept = (image, output) if name in ("bilateral_filter", "median_blur") else (image,)
        opcheck(backward, (grad, *kept, *OPS[name], *(["reference"] if name == "cartoonize" else [])))


@every_call
def test_compiled_without_a_break(backend, name):
    """Twice with a size of its own, then with any size."""
    torch.compiler.reset()  # the limit of traces is one for all these tests

    def work(u):
        return CALLS[name](u / 2, backend=backend) + 1

    # Compiled code draws other numbers than torch does, unless it is told not to.
    compiled = torch.compile(work, fullgraph=True, options={"fallback_random": True})
    for size in ((9, 12), (9, 12), (16, 7)):
        image = draw((2, 3, *size))
        torch.manual_seed(7)
        expected = work(image)
        torch.manual_seed(7)
        assert torch.allclose(compiled(image), expected, atol=1e-4)


@pytest.mark.parametrize(
    "filtered",
    [
        lambda u, number: texfilters.bilateral_filter(u, 3, number, number),
        lambda u, number: texfilters.gaussian_blur(u, number),
        lambda u, number: texfilters.adaptive_threshold(u, 3, number),
        lambda u, number: texfilters.cartoonize(u, d=3, sigma_color=number, sigma_space=number, c=number),
    ],
    ids=["bilateral_filter", "gaussian_blur", "adaptive_threshold", "cartoonize"],
)
def test_compiled_with_numbers_that_change(filtered):
    """From the second one on it is a symbol of the graph."""
    torch.compiler.reset()
    compiled = torch.compile(filtered, fullgraph=True, backend="aot_eager")
    image = draw((3, 9, 12))
    for number in (0.1, 0.7, 1.5):
        assert torch.equal(compiled(image, number), filtered(image, number))


@every_call
def test_meta_and_fake_tensors(name):
    for layout in (torch.contiguous_format, torch.channels_last):
        for dtype in (torch.float32, torch.uint8):
            image = draw((2, 3, 9, 12), dtype).contiguous(memory_format=layout)
            real, traced = (CALLS[name](u, backend="reference") for u in (image, image.to("meta")))
            assert (traced.shape, traced.stride(), traced.dtype) == (real.shape, real.stride(), real.dtype)
            with FakeTensorMode() as mode:
                fake = CALLS[name](mode.from_tensor(image), backend="reference")
            assert (fake.shape, fake.stride(), fake.dtype) == (real.shape, real.stride(), real.dtype)


@every_call
def test_autocast_changes_nothing(backend, name):
    image = draw((2, 3, 9, 12))
    torch.manual_seed(7)
    expected = CALLS[name](image, backend=backend)
    torch.manual_seed(7)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert same_bits(CALLS[name](image, backend=backend), expected)


@every_call
def test_exported_with_a_batch_of_any_size(name):
    class Filter(torch.nn.Module):
        def forward(self, image, parameter):
            return {
                "bilateral_filter": lambda: texfilters.bilateral_filter(image, 5, parameter, 2.0),
                "gaussian_blur": lambda: texfilters.gaussian_blur(image, parameter, kernel_size=5),
                "adaptive_threshold": lambda: texfilters.adaptive_threshold(image, 5, parameter),
                "cartoonize": lambda: texfilters.cartoonize(image, sigma_color=parameter, c=parameter),
                "median_blur": lambda: texfilters.median_blur(image, 3) + parameter.sum(),
                "rgb_to_gray": lambda: texfilters.rgb_to_gray(image) + parameter.sum(),
                "patch_negatives": lambda: texfilters.patch_negatives(image, 5, 2) + parameter.sum(),
            }[name]()

    def arguments(batch):
        return draw((batch, 3, 8, 9)), torch.rand(batch) + 0.1

    batch = torch.export.Dim("batch", min=2)
    shapes = {"image": {0: batch}, "parameter": {0: batch}}
    program = torch.export.export(Filter(), arguments(4), dynamic_shapes=shapes)
    given = arguments(7)
    torch.manual_seed(3)
    expected = Filter()(*given)
    torch.manual_seed(3)
    assert torch.equal(program.module()(*given), expected)


@pytest.mark.parametrize("backend", ["native", "reference"])
@pytest.mark.parametrize("name", ["anisotropic_diffusion", *CALLS])
def test_numbers_stay_on_the_cpu_whatever_the_default_device_is(name, backend):
    """On the device "meta" they would be lost."""
    calls = {
        "anisotropic_diffusion": lambda u, **k: texfilters.anisotropic_diffusion(u, 5, 20.0, **k),
        "bilateral_filter": lambda u, **k: texfilters.bilateral_filter(u, 5, 60.0, 2.0, **k),
        "gaussian_blur": lambda u, **k: texfilters.gaussian_blur(u, 1.5, **k),
        "adaptive_threshold": lambda u, **k: texfilters.adaptive_threshold(u, 5, 2.0, **k),
        "cartoonize": lambda u, **k: texfilters.cartoonize(u, **k),
    }
    options = {} if name == "rgb_to_gray" else {"backend": backend}
    results = []
    for default in ("cpu", "meta"):
        image = draw((2, 3, 20, 24), torch.float32).requires_grad_()
        torch.manual_seed(0)
        with torch.device(default):
            result = (CALLS | calls)[name](image, **options)
            if result.requires_grad:
                result.square().sum().backward()
        results.append((result, image.grad))
    (one, its_gradient), (other, another_gradient) = results
    assert torch.equal(one, other)
    assert (its_gradient is another_gradient is None) or torch.equal(its_gradient, another_gradient)

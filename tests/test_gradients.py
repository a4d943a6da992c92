"""The op as torch sees it: opcheck, gradcheck, torch.compile, and what gradients cost."""

import pytest
import torch
from torch.autograd import forward_ad
from torch.library import opcheck

import memory
from texfilters import _backends, anisotropic_diffusion
from texfilters._ops import anisotropic_diffusion as op
from texfilters._ops import anisotropic_diffusion_backward as backward_op

BACKENDS = [name for name in ("native", "reference") if name in _backends.available("cpu")]


def cases():
    for option in (1, 2, 3):
        for coupling in ("none", "l2"):
            yield {"option": option, "coupling": coupling}
    yield {"spacing": (1.0, 2.0)}
    yield {"ndim": 3, "spacing": (1.0, 2.0, 1.5), "coupling": "l2"}


def image_for(case, **kwargs):
    return torch.rand((2, 2, 3, 4, 5)[: case.get("ndim", 2) + 2], dtype=torch.float64, **kwargs)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", [*cases()], ids=str)
def test_gradcheck(case, backend):
    image = image_for(case, requires_grad=True)
    kappa = torch.tensor([0.7, 1.2], dtype=torch.float64, requires_grad=True)
    gamma = torch.tensor(0.11, dtype=torch.float64, requires_grad=True)
    for niter in (0, 1, 5, torch.tensor([2, 5])):
        assert torch.autograd.gradcheck(
            lambda *inputs, n=niter: anisotropic_diffusion(inputs[0], n, *inputs[1:], backend=backend, **case),
            (image, kappa, gamma),
        )


@pytest.mark.parametrize("case", [*cases()], ids=str)
def test_the_gradient_is_that_of_the_reference_under_autograd(case):
    from texfilters import reference

    image = image_for(case, requires_grad=True)
    kappa = torch.tensor(0.8, dtype=torch.float64, requires_grad=True)
    weight = torch.rand_like(image)
    ndim = case.get("ndim", 2)
    u = image
    for _ in range(10):
        u = reference.diffusion_step(
            u, kappa, torch.tensor(0.1, dtype=torch.float64), case.get("option", 1), case.get("coupling", "none"),
            list(case.get("spacing") or [1.0] * ndim),
        )  # fmt: skip
    expected = torch.autograd.grad((u * weight).sum(), (image, kappa))
    result = torch.autograd.grad((anisotropic_diffusion(image, 10, kappa, **case) * weight).sum(), (image, kappa))
    for a, b in zip(result, expected, strict=True):
        assert torch.allclose(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_gradients_in_the_images_dtype(dtype):
    image = (torch.rand(2, 3, 8, 9) * 255).to(dtype).requires_grad_()
    anisotropic_diffusion(image, 3, 20.0).float().square().sum().backward()
    exact = image.detach().double().requires_grad_()
    anisotropic_diffusion(exact, 3, 20.0).square().sum().backward()
    assert image.grad.dtype == dtype
    assert (image.grad - exact.grad).abs().max() / exact.grad.abs().max() < 4 * torch.finfo(dtype).eps


def test_kappa_is_learned_in_its_own_dtype_and_shape():
    image = torch.rand(3, 1, 8, 8) * 255
    for kappa in (torch.tensor(20.0, requires_grad=True), torch.tensor([10.0, 20.0, 30.0], requires_grad=True)):
        anisotropic_diffusion(image, 4, kappa).std().backward()
        assert kappa.grad.shape == kappa.shape
        assert kappa.grad.dtype == torch.float32
        assert (kappa.grad < 0).all()  # a higher threshold smooths more


def test_images_with_zero_steps_pass_their_gradient_on():
    image = torch.rand(2, 1, 5, 5, requires_grad=True)
    weight = torch.rand_like(image)
    (anisotropic_diffusion(image, torch.tensor([0, 3]), 0.3) * weight).sum().backward()
    assert torch.equal(image.grad[0], weight[0])
    assert not torch.equal(image.grad[1], weight[1])


def test_a_uint8_image_has_no_gradient():
    kappa = torch.tensor(20.0, requires_grad=True)
    result = anisotropic_diffusion(torch.zeros(3, 4, 4, dtype=torch.uint8), 2, kappa)
    assert not result.requires_grad


def test_a_second_derivative_is_refused():
    image = torch.rand(1, 5, 5, requires_grad=True)
    (gradient,) = torch.autograd.grad(anisotropic_diffusion(image, 2, 0.3).square().sum(), image, create_graph=True)
    with pytest.raises(RuntimeError, match="anisotropic_diffusion is differentiable once"):
        gradient.sum().backward()


@pytest.mark.parametrize("transform", ["grad", "vjp", "jvp", "vmap", "jacrev", "hessian"])
def test_torch_func_is_refused(transform):
    image = torch.rand(2, 5, 5)

    def work(u):
        return anisotropic_diffusion(u, 2, 0.3).sum()

    calls = {"vjp": lambda: torch.func.vjp(work, image), "jvp": lambda: torch.func.jvp(work, (image,), (image,))}
    call = calls.get(transform, lambda: getattr(torch.func, transform)(work)(image))
    with pytest.raises(RuntimeError, match=r"anisotropic_diffusion does not run under torch\.func transforms"):
        call()


def test_forward_mode_is_refused_only_where_it_is_asked_for():
    image = torch.rand(2, 5, 5)
    with forward_ad.dual_level():
        anisotropic_diffusion(image, 2, 0.3)
        with pytest.raises(RuntimeError, match="anisotropic_diffusion has no forward-mode derivative"):
            anisotropic_diffusion(forward_ad.make_dual(image, image), 2, 0.3)


def test_memory_grows_with_the_square_root_of_niter():
    """100 steps of a 1 MiB image: autograd through the steps keeps several images for each, over 500 MiB."""
    (added,) = memory.run("""
image = (torch.rand(512, 512) * 255).requires_grad_()
anisotropic_diffusion(image, 2, 20.0).sum().backward()
before = peak()
anisotropic_diffusion(image, 100, 20.0).sum().backward()
print(peak() - before)
""")
    assert added < 60  # 10 checkpoints, 10 states of a segment, and what a step itself takes


@pytest.mark.parametrize("backend", BACKENDS)
def test_opcheck(backend):
    kappa, gamma = torch.tensor([0.5, 0.7], requires_grad=True), torch.tensor(0.1, requires_grad=True)
    for image in (
        torch.rand(2, 3, 5, 6, requires_grad=True),
        torch.rand(2, 3, 5, 6).contiguous(memory_format=torch.channels_last),
        torch.zeros(2, 3, 5, 6, dtype=torch.uint8),
        torch.rand(2, 3, 6, 5).mT,
        torch.rand(2, 0, 6, 5),
    ):
        for coupling in ("none", "l2"):
            opcheck(
                op, (image, torch.tensor([2, 0], dtype=torch.int32), kappa, gamma, 1, coupling, [1.0, 1.0], 2, backend)
            )


def test_opcheck_of_the_gradient():
    niter, kappa, gamma = torch.tensor([2, 0]), torch.tensor([0.5, 0.7]), torch.tensor(0.1)
    image = torch.rand(2, 3, 5, 6)
    for grad in (torch.rand(2, 3, 5, 6), torch.rand(2, 3, 5, 6).contiguous(memory_format=torch.channels_last)):
        for coupling in ("none", "l2"):
            opcheck(backward_op, (grad, image, niter, kappa, gamma, 1, coupling, [1.0, 1.0]))
    opcheck(backward_op, (image, image, niter[0], kappa[0], gamma, 1, "none", [1.0, 1.0]))


def test_the_gradient_has_the_strides_of_the_image():
    """Compiled, the strides that the fake promised are relied on; the incoming gradient has others here."""
    model = torch.nn.Conv2d(3, 8, 1).to(memory_format=torch.channels_last)
    image = torch.rand(2, 3, 10, 10).contiguous(memory_format=torch.channels_last)

    def work(u):
        return anisotropic_diffusion(model(u), 3, 0.3).flatten(1).square().sum()

    gradients = []
    for f in (work, torch.compile(work, fullgraph=True)):
        model.zero_grad()
        f(image).backward()
        gradients.append(model.weight.grad.clone())
    assert torch.allclose(*gradients, rtol=1e-4)


def test_gradients_under_dispatch_modes_and_hooks():
    from torch.utils.flop_counter import FlopCounterMode

    image = torch.rand(2, 5, 5, requires_grad=True)
    anisotropic_diffusion(image, 3, 0.3).square().sum().backward()
    expected, image.grad = image.grad, None
    with FlopCounterMode(display=False), torch.autograd.graph.save_on_cpu():
        anisotropic_diffusion(image, 3, 0.3).square().sum().backward()
    assert torch.equal(image.grad, expected)


def test_an_image_without_steps_does_not_reach_the_others_gradients():
    image = torch.rand(2, 1, 4, 4)
    image[0, 0, 1, 1] = torch.nan
    image.requires_grad_()
    kappa = torch.tensor(0.3, requires_grad=True)
    weight = torch.rand_like(image)
    (anisotropic_diffusion(image, torch.tensor([0, 2]), kappa) * weight).nan_to_num().sum().backward()
    assert kappa.grad.isfinite()
    assert image.grad[1].isfinite().all()
    alone = image.detach()[1:].requires_grad_()
    (anisotropic_diffusion(alone, 2, kappa.detach()) * weight[1:]).sum().backward()
    assert torch.equal(alone.grad[0], image.grad[1])


@pytest.mark.parametrize("kappa", [1e-30, 1e30, float("inf")])
@pytest.mark.parametrize("option", [1, 2, 3])
def test_gradients_at_extreme_thresholds(option, kappa):
    image = (torch.rand(1, 4, 5) * 255).requires_grad_()
    kappa = torch.tensor(kappa, requires_grad=True)
    anisotropic_diffusion(image, 3, kappa, option=option).square().sum().backward()
    assert image.grad.isfinite().all()
    assert kappa.grad.isfinite()


@pytest.mark.parametrize("shape", [(0, 3, 4, 4), (2, 0, 4, 4), (2, 3, 0, 4), (2, 3, 1, 1)])
def test_gradients_of_empty_images(shape):
    image = torch.rand(shape, requires_grad=True)
    kappa = torch.ones(shape[0], requires_grad=True)
    for coupling in ("none", "l2"):
        anisotropic_diffusion(image, torch.ones(shape[0]).int(), kappa, coupling=coupling).sum().backward()
        anisotropic_diffusion(image, 2, 0.5, coupling=coupling).sum().backward()
    assert image.grad.shape == shape


def test_exported_with_a_batch_of_any_size():
    class Filter(torch.nn.Module):
        def forward(self, image, niter, kappa):
            return anisotropic_diffusion(image, niter, kappa)

    def arguments(batch):
        return torch.rand(batch, 3, 8, 9), torch.arange(batch), torch.rand(batch) + 0.1

    batch = torch.export.Dim("batch", min=2)
    program = torch.export.export(
        Filter(), arguments(4), dynamic_shapes={"image": {0: batch}, "niter": {0: batch}, "kappa": {0: batch}}
    )
    given = arguments(7)
    assert torch.equal(program.module()(*given), anisotropic_diffusion(*given))


@pytest.mark.parametrize("backend", BACKENDS)
def test_compiled_without_a_break(backend):
    def work(image, niter, kappa):
        return anisotropic_diffusion(image * 2, niter, kappa, backend=backend).relu().mean((2, 3))

    compiled = torch.compile(work, fullgraph=True)
    image = torch.rand(2, 3, 8, 9, requires_grad=True)
    kappa = torch.tensor([0.5, 0.7], requires_grad=True)
    for niter in (torch.tensor([3, 1]), torch.tensor([2, 4]), 3):
        results = [f(image, niter, kappa) for f in (work, compiled)]
        assert torch.allclose(*results, atol=1e-6)
        gradients = [torch.autograd.grad(r.sum(), (image, kappa)) for r in results]
        for a, b in zip(*gradients, strict=True):
            assert torch.allclose(a, b, atol=1e-5)


def test_compiled_with_python_numbers():
    compiled = torch.compile(lambda u: anisotropic_diffusion(u, 3, 20.0, 0.2, option=2, coupling="l2"), fullgraph=True)
    image = torch.randint(0, 256, (3, 9, 10), dtype=torch.uint8)
    assert torch.equal(compiled(image), anisotropic_diffusion(image, 3, 20.0, 0.2, option=2, coupling="l2"))


def test_compiled_with_changing_python_numbers():
    compiled = torch.compile(lambda u, n, k, g: anisotropic_diffusion(u, n, k, g), fullgraph=True)
    image = torch.rand(3, 9, 10) * 255
    for numbers in ((3, 20.0, 0.1), (4, 21.5, 0.1), (5, 7.0, 0.2), (0, 7.0, 0.25)):
        assert torch.equal(compiled(image, *numbers), anisotropic_diffusion(image, *numbers))


def test_values_are_checked_in_compiled_code_too():
    compiled = torch.compile(lambda u, k: anisotropic_diffusion(u, 3, k), fullgraph=True)
    with pytest.raises(ValueError, match="kappa must be > 0, got -1"):
        compiled(torch.rand(3, 5, 5), torch.tensor(-1.0))


def test_meta_tensors_have_a_shape():
    image = torch.empty(2, 3, 4, 5, device="meta").contiguous(memory_format=torch.channels_last)
    result = anisotropic_diffusion(image, 3, backend="reference")
    assert result.shape == image.shape
    assert result.stride() == image.stride()


def test_under_autocast_nothing_changes():
    image = torch.rand(3, 9, 9)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = anisotropic_diffusion(image, 3, 0.3)
    assert result.dtype == torch.float32
    assert torch.equal(result, anisotropic_diffusion(image, 3, 0.3))


def test_gradients_of_a_step_that_the_host_may_not_read():
    """As on a device, past the checks: gamma out of range yields NaN for that image alone."""
    image, niter, gamma = torch.rand(3, 1, 4, 5), torch.tensor(2), torch.tensor([0.1, 0.0, -0.1])
    gradients = backward_op(torch.ones_like(image), image, niter, torch.tensor(0.3), gamma, 1, "none", [1.0, 1.0])
    for of_images in (gradients[0], gradients[2]):
        assert of_images[0].isfinite().all()
        assert of_images[1:].isnan().all()

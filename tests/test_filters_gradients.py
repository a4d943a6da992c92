"""The gradients of every filter that has one."""

import functools

import pytest
import torch
from torch.autograd import forward_ad

import memory
import texfilters
from filter_cases import draw
from texfilters import _backends, reference

BACKENDS = [name for name in ("native", "reference") if name in _backends.available("cpu")]
BORDERS = ["constant", "replicate", "reflect", "reflect101", "wrap"]

every_backend = pytest.mark.parametrize("backend", BACKENDS)
# Every differentiable filter, of an image of 0..1.
CALLS = {
    "bilateral_filter": lambda u, **k: texfilters.bilateral_filter(u, 5, 0.7, 1.5, **k),
    "gaussian_blur": lambda u, **k: texfilters.gaussian_blur(u, 1.1, **k),
    "median_blur": lambda u, **k: texfilters.median_blur(u, 3, **k),
    "rgb_to_gray": lambda u, **k: texfilters.rgb_to_gray(u, **k),
    "cartoonize": lambda u, **k: texfilters.cartoonize(u, d=3, sigma_color=0.7, ksize=3, c=0.1, passes=2, **k),
    "patch_negatives": lambda u, **k: texfilters.patch_negatives(u, 3, 2, generator=torch.Generator(), **k),
}
every_call = pytest.mark.parametrize("name", CALLS)


def double(values, **kwargs):
    return torch.tensor(values, dtype=torch.float64, requires_grad=True, **kwargs)


def image_of(*shape):
    return torch.rand(shape, dtype=torch.float64, requires_grad=True)


def gradcheck(function, *inputs, fast=False):
    """Every entry of the Jacobian; `fast` takes random combinations of them."""
    assert torch.autograd.gradcheck(function, inputs, fast_mode=fast)


@every_backend
@pytest.mark.parametrize("border", BORDERS)
def test_bilateral(backend, border):
    filtered = functools.partial(texfilters.bilateral_filter, border=border, backend=backend)
    for d, sigma_color, sigma_space in (
        (5, double(0.6), double(1.7)),
        (3, double([0.6, 2.0]), double(0.9)),
        (0, double(0.8), double([0.9, 1.7])),  # windows of other sizes in one batch
        (9, double([1e3, 0.3]), double([1e3, 2.0])),  # larger than the image
    ):
        inputs = image_of(2, 2, 4, 5), sigma_color, sigma_space
        gradcheck(lambda u, c, s, d=d: filtered(u, d, c, s), *inputs, fast=d != 3)
    gradcheck(lambda u, c, s: filtered(u, 3, c, s), image_of(4, 5), double(0.5), double(1.2), fast=True)
    gradcheck(lambda u, c, s: filtered(u, 3, c, s), image_of(2, 1, 3, 1, 5), double(0.5), double(1.2), fast=True)


@every_backend
@pytest.mark.parametrize("border", BORDERS)
def test_gaussian(backend, border):
    blurred = functools.partial(texfilters.gaussian_blur, border=border, backend=backend)
    for kernel_size, sigma in (
        (None, double(0.8)),
        (5, double([0.4, 3.0])),
        (None, double([0.5, 1.2])),
        (1, double(2.0)),
    ):
        fast = border != "reflect101"
        gradcheck(lambda u, s, k=kernel_size: blurred(u, s, kernel_size=k), image_of(2, 2, 4, 5), sigma, fast=fast)
    gradcheck(lambda u, s: blurred(u, s), image_of(1, 3), double(0.6))


@every_backend
@pytest.mark.parametrize("ksize", [1, 3, 5, 9])
def test_median(backend, ksize):
    gradcheck(lambda u: texfilters.median_blur(u, ksize, backend=backend), image_of(2, 2, 6, 5))


@every_backend
def test_gray_and_patches(backend):
    gradcheck(lambda u: texfilters.rgb_to_gray(u, backend=backend), image_of(2, 3, 3, 4))
    for shape in ((2, 2, 5, 7), (1, 4, 5)):
        gradcheck(
            lambda u: texfilters.patch_negatives(u, (1, 4), 2, generator=torch.Generator(), backend=backend),
            image_of(*shape),
        )


@every_backend
@pytest.mark.parametrize("passes", [0, 1, 2])
def test_cartoon(backend, passes):
    """Lines are constant: where a small change moves none, the difference quotient agrees."""
    cartoon = functools.partial(texfilters.cartoonize, d=3, passes=passes, ksize=3, block_size=3, backend=backend)
    image = image_of(2, 3, 5, 6)
    drawn = cartoon(image.detach(), c=0.05) != 0
    assert drawn.any()
    assert not drawn.all()
    color, space = double([0.7, 2.0]), double(1.3)
    inputs = (image, color, space) if passes else (image,)
    gradcheck(lambda u, c=color, s=space: cartoon(u, sigma_color=c, sigma_space=s, c=0.05), *inputs, fast=passes > 1)


@every_backend
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_sigmas_close_to_zero_pass_the_gradient_of_the_image_on_and_have_none(backend, dtype):
    """Their powers and inverses are 0 and infinite; what is 0 times that is 0."""
    image = torch.rand(1, 3, 5, 6, dtype=dtype, requires_grad=True)
    for tiny in (1e-30, 1e-120, 1e-300):
        color, space, sigma = double(1.0), double(1.0), double(tiny)
        for result, parameters in (
            (texfilters.bilateral_filter(image, 3, sigma, space, backend=backend), (sigma, space)),
            (texfilters.bilateral_filter(image, 3, color, sigma, backend=backend), (color, sigma)),
            (texfilters.gaussian_blur(image, sigma, kernel_size=5, backend=backend), (sigma,)),
        ):
            d_image, *others = torch.autograd.grad(result.sum(), (image, *parameters))
            assert torch.equal(d_image, torch.ones_like(image))
            assert all(other == 0 for other in others)


@every_backend
def test_images_with_sigma_zero_pass_their_gradient_on(backend):
    image = image_of(3, 1, 5, 5)
    weight = torch.rand_like(image)
    color, space, sigma = double([0.0, 0.5, 0.5]), double([1.0, 0.0, 1.0]), double([0.0, 0.0, 1.0])
    for result, parameters in (
        (texfilters.bilateral_filter(image, 5, color, space, backend=backend), (color, space)),
        (texfilters.bilateral_filter(image, 0, color, space, backend=backend), (color, space)),
        (texfilters.gaussian_blur(image, sigma, backend=backend), (sigma,)),
    ):
        d_image, *others = torch.autograd.grad((result * weight).sum(), (image, *parameters))
        assert torch.equal(d_image[:2], weight[:2])
        assert not torch.equal(d_image[2], weight[2])
        for other in others:
            assert torch.equal(other[:2], torch.zeros(2))
            assert other[2] != 0


@every_backend
def test_the_medians_gradient_at_ties_goes_to_the_first_of_the_window(backend):
    image = torch.tensor([[2.0, 1, 2, 0], [2, 2, 1, 1], [0, 1, 2, 2], [2, 0, 1, 2]], requires_grad=True)
    result = texfilters.median_blur(image, 3, backend=backend)
    (gradient,) = torch.autograd.grad(result[2, 1], image)
    # The window [2 2 1; 0 1 2; 2 0 1] has the median 1, which it holds first in its upper right corner.
    assert result[2, 1] == 1
    assert gradient.nonzero().tolist() == [[1, 2]]
    (gradient,) = torch.autograd.grad(texfilters.median_blur(image, 3, backend=backend)[0, 0], image)
    assert gradient.nonzero().tolist() == [[0, 0]]  # beyond the border the corner itself comes first
    flat = torch.ones(1, 4, 5, requires_grad=True)
    texfilters.median_blur(flat, 5, backend=backend).sum().backward()
    assert flat.grad.sum() == 20
    signed = torch.tensor([[0.0, -0.0, 0.0]], requires_grad=True)
    texfilters.median_blur(signed, 3, backend=backend).sum().backward()
    assert signed.grad.sum() == 3  # zeros of both signs are one value


@every_backend
def test_the_medians_gradient_of_nan_goes_to_the_first_nan(backend):
    image = torch.rand(5, 6)
    image[2, 2] = image[2, 4] = torch.nan
    image.requires_grad_()
    result = texfilters.median_blur(image, 3, backend=backend)
    (gradient,) = torch.autograd.grad(result[2, 3], image, retain_graph=True)
    assert gradient.nonzero().tolist() == [[2, 2]]
    (gradient,) = torch.autograd.grad(result[0, 0], image)
    assert gradient.isfinite().all()
    assert gradient.sum() == 1


@every_call
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_gradients_in_the_images_dtype(name, dtype):
    """Computed in float32, and rounded once; but a cartoon rounds between its passes."""
    image = torch.rand(2, 3, 12, 13).to(dtype)
    weight = torch.rand_like(CALLS[name](image).double())
    gradients = []
    for u in (image, image.double()):
        u = u.clone().requires_grad_()
        (CALLS[name](u).double() * weight).sum().backward()
        gradients.append(u.grad)
    result, exact = gradients
    assert result.dtype == dtype
    error = (result.double() - exact).abs()
    if name == "cartoonize":  # a line may fall elsewhere where the gray image is rounded
        error = error.flatten().sort().values[: error.numel() * 9 // 10]
    assert error.max() <= 4 * torch.finfo(dtype).eps * exact.abs().max()


@every_call
def test_no_gradient_for_uint8_and_none_without_need(name):
    assert not CALLS[name](draw((1, 3, 9, 9), torch.uint8)).requires_grad
    assert not CALLS[name](draw((1, 3, 9, 9))).requires_grad
    sigma = torch.tensor(0.5, requires_grad=True)
    assert not texfilters.bilateral_filter(draw((1, 3, 9, 9), torch.uint8), 3, sigma, sigma).requires_grad


def test_no_gradient_of_a_threshold():
    image, c = torch.rand(2, 3, 9, 9, requires_grad=True), torch.rand(2, requires_grad=True)
    assert not texfilters.adaptive_threshold(image, 3, c).requires_grad
    cartoon = texfilters.cartoonize(image.detach(), c=c)
    assert not cartoon.requires_grad


@every_call
def test_a_second_derivative_is_refused(name):
    if name == "rgb_to_gray":
        return  # it is linear: the second derivative is 0, and torch knows
    image = torch.rand(1, 3, 8, 8, requires_grad=True)
    (gradient,) = torch.autograd.grad(CALLS[name](image).square().sum(), image, create_graph=True)
    with pytest.raises(RuntimeError, match=f"{name} is differentiable once; a second derivative is not available"):
        gradient.sum().backward()


@every_call
@pytest.mark.parametrize("transform", ["grad", "jvp", "vmap", "jacrev"])
def test_torch_func_is_refused(name, transform):
    image = torch.rand(2, 3, 8, 8)

    def work(u):
        return CALLS[name](u).sum()

    calls = {"jvp": lambda: torch.func.jvp(work, (image,), (image,))}
    with pytest.raises(RuntimeError, match=rf"{name} does not run under torch\.func transforms"):
        calls.get(transform, lambda: getattr(torch.func, transform)(work)(image))()


@every_call
def test_forward_mode_is_refused_only_where_it_is_asked_for(name):
    image = torch.rand(1, 3, 8, 8)
    with forward_ad.dual_level():
        CALLS[name](image)
        with pytest.raises(RuntimeError, match=f"{name} has no forward-mode derivative"):
            CALLS[name](forward_ad.make_dual(image, image))


def test_sigmas_are_learned_in_their_own_dtype_and_shape():
    image = torch.rand(3, 3, 8, 8)
    for shape in ((), (3,)):
        for dtype in (torch.float32, torch.float16, torch.float64):
            color, space, sigma = (torch.full(shape, 0.5, dtype=dtype, requires_grad=True) for _ in range(3))
            texfilters.bilateral_filter(image, 5, color, space).std().backward()
            texfilters.gaussian_blur(image, sigma).std().backward()
            for parameter in (color, space, sigma):
                assert (parameter.grad.shape, parameter.grad.dtype) == (shape, dtype)
                assert (parameter.grad < 0).all()  # a wider window smooths more


@every_call
def test_the_gradient_has_the_strides_of_the_image(name):
    """Whatever those of the incoming gradient are; compiled code relies on it."""
    for view in (lambda u: u.contiguous(memory_format=torch.channels_last), lambda u: u.mT, lambda u: u):
        image = view(torch.rand(2, 3, 9, 8)).requires_grad_()
        result = CALLS[name](image)
        grad = torch.rand_like(result).mT.contiguous().mT
        (gradient,) = torch.autograd.grad(result, image, grad)
        if name != "rgb_to_gray":  # a plain product of torch's
            assert gradient.stride() == torch.empty_like(image).stride()
        plain = image.detach().contiguous().requires_grad_()
        (expected,) = torch.autograd.grad(CALLS[name](plain), plain, grad.contiguous())
        assert torch.allclose(gradient, expected, atol=1e-6)


@every_call
def test_gradients_of_compiled_code(name):
    torch.compiler.reset()  # the limit of traces is one for all these tests
    function = CALLS[name]
    if name == "patch_negatives":  # the tracer takes no generator
        function = functools.partial(texfilters.patch_negatives, patch_size=3, n=2)
    model = torch.nn.Conv2d(3, 3, 1).to(memory_format=torch.channels_last)

    def work(u):
        return function(model(u).sigmoid()).square().sum()

    image = torch.rand(2, 3, 8, 9).contiguous(memory_format=torch.channels_last)
    gradients = []
    for f in (work, torch.compile(work, fullgraph=True, options={"fallback_random": True})):
        model.zero_grad()
        torch.manual_seed(3)
        f(image).backward()
        gradients.append(model.weight.grad.clone())
    assert torch.allclose(*gradients, rtol=1e-4, atol=1e-4)


@every_call
def test_gradients_of_empty_images(name):
    shapes = [(0, 3, 8, 8)] if name == "patch_negatives" else [(0, 3, 8, 8), (2, 3, 0, 8), (2, 3, 8, 0)]
    for shape in shapes:
        image = torch.rand(shape, requires_grad=True)
        CALLS[name](image).sum().backward()
        assert image.grad.shape == shape


def test_nan_of_one_image_does_not_reach_the_others():
    image = torch.rand(2, 3, 9, 9)
    image[0, 1, 4, 4] = torch.nan
    image.requires_grad_()
    color, space = torch.full((2,), 0.5, requires_grad=True), torch.full((2,), 1.5, requires_grad=True)
    for result in (
        texfilters.bilateral_filter(image, 5, color, space),
        texfilters.cartoonize(image, d=5, sigma_color=color, sigma_space=space),
    ):
        d_image, *others = torch.autograd.grad(result.square().sum(), (image, color, space))
        assert d_image[1].isfinite().all()
        for other in others:
            assert other[1].isfinite()


def test_gradients_of_sigmas_that_the_host_may_not_read():
    """As on a device, past the checks: out of range yields NaN for that image alone."""
    image, good = torch.rand(3, 1, 4, 5), torch.tensor(0.7)
    bad = torch.tensor([0.7, -1.0, torch.nan])
    for color, space in ((bad, good), (good, bad)):
        output = reference.bilateral_filter(image, 3, color, space, "wrap")
        gradients = texfilters._ops.bilateral_filter_backward(
            torch.ones_like(image), image, output, 3, color, space, "wrap"
        )
        assert gradients[0][0].isfinite().all()
        assert gradients[0][1:].isnan().all()
    gradients = texfilters._ops.gaussian_blur_backward(torch.ones_like(image), image, bad, 0, "wrap")
    for gradient in gradients:
        assert gradient[0].isfinite().all()
        assert gradient[1:].isnan().all()


def test_memory_of_a_gradient_is_a_few_images():
    """Of 4 MiB; autograd through the definition would keep several for each of the 13 neighbors."""
    (added,) = memory.run("""
import texfilters
image = torch.rand(1, 1024, 1024).requires_grad_()
texfilters.bilateral_filter(torch.rand(1, 20, 20).requires_grad_(), 5, 0.5, 3.0).sum().backward()
before = peak()
texfilters.bilateral_filter(image, 5, 0.5, 3.0).sum().backward()
print(peak() - before)
""")
    assert added / 4 < 32  # in float32 a neighbor takes at least 4 of them, its distance, its weight, two products

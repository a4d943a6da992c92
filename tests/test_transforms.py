"""A transform is its function with the numbers that it drew: bit for bit, on whatever torchvision calls an image."""

import copy
import pickle
import subprocess
import sys

import numpy as np
import pytest
import torch

from transform_cases import BUILDERS, Launches, batch, by_functions, transforms, tv_tensors

every_transform = pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)
IDENTITY = ["diffusion", "bilateral", "gaussian", "gaussian of one window"]


@every_transform
@pytest.mark.parametrize("p", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float32, torch.float64], ids=str)
def test_a_batch_is_every_sample_by_its_function(build, p, dtype):
    transform, images = build(p=p), batch(11, 3, 14, 17, dtype=dtype)
    before = images.clone()
    result = transform(images)
    assert torch.equal(result, by_functions(transform, images, transform.last_draw))
    assert torch.equal(images, before)
    assert result.data_ptr() != images.data_ptr()
    changed = (result != images).flatten(1).any(1).sum()
    assert changed == 0 if p == 0 else changed >= 2


@every_transform
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=str)
@pytest.mark.parametrize("layout", ["channels last", "sliced", "expanded"])
def test_strides(build, dtype, layout):
    images = batch(7, 3, 12, 26, dtype=dtype)
    images = {
        "channels last": lambda: images.to(memory_format=torch.channels_last),
        "sliced": lambda: images[::2, :, 1:, ::2],
        "expanded": lambda: images[:1].expand(5, -1, -1, -1),
    }[layout]()
    transform = build(p=0.7)
    result = transform(images)
    assert torch.equal(result, by_functions(transform, images, transform.last_draw))
    if layout == "channels last":
        assert result.is_contiguous(memory_format=torch.channels_last)


@every_transform
def test_every_leading_index_is_a_sample(build):
    transform, images = build(p=0.8), batch(2, 3, 2, 3, 9, 10)
    result = transform(images)
    assert result.shape == images.shape
    assert torch.equal(result.flatten(0, 2), by_functions(transform, images.flatten(0, 2), transform.last_draw))
    one = transform(images[0, 0, 0])
    assert one.shape == (3, 9, 10)
    assert torch.equal(one[None], by_functions(transform, images[0, 0, :1], transform.last_draw))


@every_transform
def test_gray_images(build):
    transform, images = build(), batch(6, 1, 13, 12)
    if "cartoon" not in str(transform).lower():
        assert torch.equal(transform(images), by_functions(transform, images, transform.last_draw))
    plain = transform(images[0, 0])
    assert plain.shape == (13, 12)
    assert torch.equal(plain, transform.replay(images[:1])[0, 0])


def test_a_gray_cartoon_is_that_of_equal_colors():
    transform, images = transforms.Cartoonize(), batch(3, 1, 20, 20)
    result = transform(images)
    assert torch.equal(result.expand(-1, 3, -1, -1), transform(images.expand(-1, 3, -1, -1)))
    assert result.is_contiguous()
    assert (result == 0).any()
    assert (result > 0).any()


@every_transform
def test_empty_batches(build):
    transform = build()
    for shape in ((0, 3, 5, 6), (2, 0, 3, 5, 6), (2, 3, 0, 6)):
        assert transform(torch.empty(shape)).shape == shape


@pytest.mark.parametrize("name", IDENTITY)
@pytest.mark.parametrize("p", [0.0, 0.5])
def test_a_batch_is_one_launch_with_an_identity(name, p):
    images = batch(16, 3, 8, 8)
    with Launches() as launches:
        BUILDERS[name](p=p)(images)
    assert list(launches.calls.values()) == [1]


@pytest.mark.parametrize("build", [transforms.MedianBlur, transforms.Cartoonize])
def test_only_the_samples_that_are_filtered_are_computed(build):
    transform, images = build(p=0.5), batch(16, 3, 12, 12)
    with Launches() as launches:
        result = transform(images)
    touched = (result != images).flatten(1).any(1)
    assert 0 < touched.sum() < 16
    (count,) = launches.images.values()
    assert count == touched.sum()
    assert list(launches.calls.values()) == [1]
    with Launches() as launches:
        build(p=0)(images)
    assert not launches.calls


def test_a_range_of_windows_is_one_launch_for_each_that_was_drawn():
    transform, images = transforms.MedianBlur((3, 9)), batch(32, 3, 8, 8)
    with Launches() as launches:
        transform(images)
    assert sorted(set(transform.last_draw["ksize"].tolist())) == [3, 5, 7, 9]
    assert launches.calls == {"median_blur": 4}
    assert launches.images == {"median_blur": 32}


@every_transform
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_gradients_flow(build, dtype):
    transform, images = build(p=0.7), batch(8, 3, 9, 9, dtype=dtype).requires_grad_()
    result = transform(images)
    weights = torch.rand_like(result)
    (gradient,) = torch.autograd.grad((result * weights).sum(), images)
    one_by_one = by_functions(transform, images, transform.last_draw)
    assert torch.equal(gradient, torch.autograd.grad((one_by_one * weights).sum(), images)[0])
    assert gradient.count_nonzero() > gradient.numel() / 2


class TestReplay:
    @every_transform
    def test_bits_are_the_same(self, build):
        transform, images = build(p=0.8), batch(9, 3, 10, 11)
        first = transform(images)
        draw = transform.last_draw
        assert torch.equal(transform.replay(images), first)
        assert transform.last_draw is draw
        assert not torch.equal(transform(images), first)
        assert torch.equal(transform.replay(images, draw=draw), first)
        restored = pickle.loads(pickle.dumps(draw))
        assert torch.equal(build().replay(images, draw=restored), first)

    def test_other_images_and_what_comes_with_them(self):
        transform = transforms.RandomTextureSuppression()
        views = batch(6, 3, 8, 8), batch(6, 3, 12, 9, dtype=torch.float32)
        transform(views[0])
        label = torch.arange(6)
        result = transform.replay({"image": views[1], "label": label, "name": "a"})
        assert torch.equal(result["image"], by_functions(transform, views[1], transform.last_draw))
        assert result["label"] is label
        assert result["name"] == "a"
        image, same = transform.replay(views[1], label)
        assert torch.equal(image, result["image"])
        assert same is label

    def test_a_draw_of_ones_own(self):
        images = batch(3, 3, 9, 9)
        draw = {"sigma_color": torch.tensor([9.0, 0, 50]), "sigma_space": torch.tensor([2.0, 2, 3])}
        draw = {name: numbers.double() for name, numbers in draw.items()} | {"d": torch.tensor([3, 5, 7])}
        for transform in (transforms.BilateralFilter(9), transforms.BilateralFilter((1, 9))):
            assert torch.equal(transform.replay(images, draw=draw), by_functions(transform, images, draw))
            assert transform.last_draw is None

    def test_errors(self):
        transform = transforms.MedianBlur()
        with pytest.raises(
            RuntimeError, match="nothing has been drawn that could be replayed: call the transform first"
        ):
            transform.replay(batch(1, 3, 4, 4))
        transform(batch(4, 3, 4, 4))
        with pytest.raises(ValueError, match="draw must be of 5 samples, as the images, got 4 of ksize"):
            transform.replay(batch(5, 3, 4, 4))
        label = object()
        assert transform.replay(label) is label


def test_several_images_share_the_draw():
    transform = transforms.AnisotropicDiffusion((0, 9), (5, 50), p=0.7)
    first, second = tv_tensors.Image(batch(5, 3, 9, 9)), tv_tensors.Image(batch(5, 1, 7, 12, dtype=torch.float32))
    results = transform(first, second)
    for image, result in zip((first, second), results, strict=True):
        assert torch.equal(result, by_functions(transform, image.as_subclass(torch.Tensor), transform.last_draw))
    with pytest.raises(ValueError, match="images of one call share a draw: their samples must be as many, got 5, 4"):
        transform(first, second[:4].clone().as_subclass(tv_tensors.Image))


@every_transform
def test_copies_draw_the_same_from_then_on(build):
    images = batch(8, 3, 6, 7)
    transform = build(generator=torch.Generator().manual_seed(3))
    transform(images)
    copies = [copy.deepcopy(transform), pickle.loads(pickle.dumps(transform))]
    result = transform(images)
    for other in copies:
        assert str(other) == str(transform)
        assert torch.equal(other(images), result)


def test_repr_shows_ranges_and_p():
    assert str(transforms.AnisotropicDiffusion(niter=(10, 20), p=0.5)) == (
        "AnisotropicDiffusion(niter=(10, 20), kappa=20.0, gamma=0.1, option=1, coupling='none', p=0.5)"
    )
    assert str(transforms.GaussianBlur(backend="reference")) == (
        "GaussianBlur(sigma=(0.1, 2.0), border='reflect101', p=1.0, backend='reference')"
    )
    assert str(transforms.RandomTextureSuppression()) == (
        "RandomTextureSuppression(\n"
        "  0.5: AnisotropicDiffusion(niter=(10, 20), kappa=20.0, gamma=0.1, option=1, coupling='none', p=1.0)\n"
        "  0.25: GaussianBlur(sigma=(0.1, 2.0), border='reflect101', p=1.0)\n"
        "  0.25: None\n"
        ")"
    )
    assert str(transforms.PatchNegatives((16, 72), n=2)) == "PatchNegatives(patch_size=(16, 72), n=2)"
    for build in BUILDERS.values():
        if (transform := build(p=0.5)).__class__ is not transforms.RandomTextureSuppression:
            assert str(eval(str(transform), vars(transforms))) == str(transform)


def test_ranges_may_be_any_pair_of_numbers():
    transform = transforms.AnisotropicDiffusion([np.int64(1), 2.0], np.array([1, 2.5]), np.float32(0.125))
    assert str(transform).startswith("AnisotropicDiffusion(niter=(1, 2), kappa=(1.0, 2.5), gamma=0.125, ")
    assert transforms.RandomTextureSuppression(weights=(1, 2, 3)).weights == (1.0, 2.0, 3.0)


def test_classes_of_ones_own():
    class Weak(transforms.GaussianBlur):
        def __init__(self, **options):
            super().__init__((0, 0.5), **options)

    assert str(Weak(p=0.5)) == "Weak()"
    images = batch(4, 3, 8, 8)
    transform = transforms.RandomTextureSuppression([Weak(), None])
    assert torch.equal(transform(images), by_functions(transform, images, transform.last_draw))


def test_without_torchvision_the_error_names_the_extra():
    code = (
        "import sys; sys.modules['torchvision'] = None\n"
        "import texfilters\n"
        "assert not [m for m in sys.modules if m.startswith('torchvision') and sys.modules[m]]\n"
        "from texfilters import transforms"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        "ImportError: texfilters.transforms needs torchvision: pip install 'texfilters[transforms]'"
    )


def test_a_draw_of_another_transform_is_refused():
    diffusion, blur = transforms.AnisotropicDiffusion(niter=2), transforms.GaussianBlur()
    images = batch(4, 3, 8, 8)
    diffusion(images)
    with pytest.raises(ValueError, match="draw must hold sigma, got niter, kappa, gamma"):
        blur.replay(images, draw=diffusion.last_draw)
    with pytest.raises(ValueError, match="draw must hold sigma, got nothing"):
        blur.replay(images, draw={})

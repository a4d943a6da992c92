"""What is drawn: both ends of ranges, fair shares, from torch's own generator or from the one that is given."""

import pytest
import torch

from transform_cases import BUILDERS, batch, transforms, tv_tensors

N = 40_000


def drawn(transform, n=N):
    transform.make_params([torch.empty(n, 3, 1, 1)])
    return transform.last_draw


def chi_square(observed, expected):
    """Below 4 times its degrees of freedom + 12 for a fair draw, far beyond one in a million."""
    observed = observed.double()
    statistic = ((observed - expected) ** 2 / expected).sum().item()
    assert statistic < 4 * (len(observed) - 1) + 12, observed


def evenly(values, expected):
    """Whole numbers, all of them, equally often."""
    found, counts = values.unique(return_counts=True)
    assert found.tolist() == list(expected)
    chi_square(counts, torch.full((len(counts),), len(values) / len(counts), dtype=torch.float64))


def uniform(values, least, most):
    assert values.dtype == torch.float64
    assert least <= values.min() < least + 0.001 * (most - least)
    assert most - 0.001 * (most - least) < values.max() <= most
    counts = torch.histc(values, 20, least, most)
    chi_square(counts, torch.full((20,), len(values) / 20, dtype=torch.float64))


def test_whole_numbers_reach_both_ends_equally_often():
    evenly(drawn(transforms.AnisotropicDiffusion(niter=(10, 20)))["niter"], range(10, 21))
    evenly(drawn(transforms.BilateralFilter(d=(3, 6)))["d"], (3, 4, 5, 6))
    evenly(drawn(transforms.MedianBlur((3, 9)))["ksize"], (3, 5, 7, 9))
    cartoon = drawn(transforms.Cartoonize(d=(2, 4), passes=(0, 2), ksize=(5, 7), block_size=(3, 7)))
    for name, numbers in {"d": (2, 3, 4), "passes": (0, 1, 2), "ksize": (5, 7), "block_size": (3, 5, 7)}.items():
        evenly(cartoon[name], numbers)


def test_other_numbers_are_uniform():
    diffusion = drawn(transforms.AnisotropicDiffusion(kappa=(5, 50), gamma=(0.01, 0.25)))
    uniform(diffusion["kappa"], 5, 50)
    uniform(diffusion["gamma"], 0.01, 0.25)
    assert abs(torch.corrcoef(torch.stack([diffusion["kappa"], diffusion["gamma"]]))[0, 1]) < 0.03
    uniform(drawn(transforms.GaussianBlur())["sigma"], 0.1, 2.0)
    bilateral = drawn(transforms.BilateralFilter(sigma_color=(10, 75), sigma_space=(1, 3)))
    uniform(bilateral["sigma_color"], 10, 75)
    uniform(bilateral["sigma_space"], 1, 3)
    cartoon = drawn(transforms.Cartoonize(sigma_color=(100, 300), sigma_space=(2, 9), c=(-3, 9)))
    for name, ends in {"sigma_color": (100, 300), "sigma_space": (2, 9), "c": (-3, 9)}.items():
        uniform(cartoon[name], *ends)


def test_a_range_of_one_number_is_that_number():
    draw = drawn(transforms.AnisotropicDiffusion((7, 7), (20, 20), (0.1, 0.1)), 100)
    assert draw["niter"].tolist() == [7] * 100
    assert draw["kappa"].tolist() == [20.0] * 100
    assert draw["gamma"].tolist() == [0.1] * 100
    assert drawn(transforms.MedianBlur((3, 3)), 10)["ksize"].tolist() == [3] * 10


@pytest.mark.parametrize("p", [0.25, 0.9])
def test_p_is_the_share_that_is_filtered(p):
    touched = [
        drawn(transforms.AnisotropicDiffusion(p=p))["niter"] == 20,
        drawn(transforms.BilateralFilter(p=p))["sigma_color"] == 75,
        drawn(transforms.GaussianBlur(p=p))["sigma"] != 0,
        drawn(transforms.MedianBlur(p=p))["ksize"] == 5,
        drawn(transforms.Cartoonize(p=p))["applied"],
    ]
    for chosen in touched:
        count = chosen.sum().double()
        chi_square(torch.stack([count, N - count]), torch.tensor([p * N, (1 - p) * N], dtype=torch.float64))


def test_p_of_0_and_1_leaves_no_exception():
    assert drawn(transforms.GaussianBlur(2, p=1))["sigma"].eq(2).all()
    assert drawn(transforms.GaussianBlur(2, p=0))["sigma"].eq(0).all()


def test_the_papers_mixture():
    transform = transforms.RandomTextureSuppression()
    draw = drawn(transform)
    chi_square(draw["filter"].bincount(), N * torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64))
    evenly(draw["0.niter"][draw["filter"] == 0], range(10, 21))
    uniform(draw["1.sigma"], 0.1, 2)
    diffusion, blur, nothing = transform.filters
    assert (diffusion.kappa, diffusion.gamma, diffusion.option) == (20, 0.1, 1)
    assert isinstance(blur, transforms.GaussianBlur)
    assert nothing is None


def test_weights_need_not_sum_to_1_and_one_of_0_is_never_drawn():
    filters = [transforms.MedianBlur(), None, transforms.GaussianBlur(), transforms.MedianBlur(3), None]
    weights = torch.tensor([0.0, 30, 0, 10, 0])
    counts = drawn(transforms.RandomTextureSuppression(filters, weights.numpy()))["filter"].bincount(minlength=5)
    assert counts[weights == 0].sum() == 0
    chi_square(counts[weights > 0], N * torch.tensor([0.75, 0.25], dtype=torch.float64))
    even = drawn(transforms.RandomTextureSuppression(filters))["filter"]
    evenly(even, range(5))


@pytest.mark.parametrize("build", [*BUILDERS.values(), lambda **o: transforms.PatchNegatives((2, 4), **o)])
def test_seeds(build):
    images = batch(16, 3, 6, 6)
    torch.manual_seed(5)
    first, second = build()(images), build()(images)
    torch.manual_seed(5)
    assert torch.equal(build()(images), first)
    assert not torch.equal(first, second)
    state = torch.get_rng_state()
    own = build(generator=torch.Generator().manual_seed(5))
    assert torch.equal(own(images), first)  # the same numbers, and none of torch's own
    assert torch.equal(own(images), second)
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(build(generator=torch.Generator().manual_seed(6))(images), first)


def test_no_images_draw_no_numbers():
    transform = transforms.RandomTextureSuppression()
    state = torch.get_rng_state()
    sample = {"label": 3, "box": tv_tensors.BoundingBoxes([[0, 0, 2, 2]], format="XYXY", canvas_size=(4, 4))}
    assert transform(sample) == sample
    assert torch.equal(torch.get_rng_state(), state)


def test_attributes_that_are_set_afterwards_count():
    transform = transforms.AnisotropicDiffusion(p=0.5)
    transform.niter, transform.p = (3, 4), 1.0
    evenly(drawn(transform)["niter"], (3, 4))


def test_draws_stay_on_the_cpu_without_a_gradient():
    for build in BUILDERS.values():
        for numbers in drawn(build(), 4).values():
            assert numbers.device.type == "cpu"
            assert numbers.shape == (4,)
            assert not numbers.requires_grad


@pytest.mark.parametrize("own", [False, True], ids=["torch's own", "its own"])
@pytest.mark.parametrize("name", [*BUILDERS, "patches"])
def test_numbers_are_drawn_on_the_cpu_whatever_the_default_device_is(name, own):
    build = BUILDERS.get(name) or (lambda **o: transforms.PatchNegatives((2, 6), **o))
    images, results = batch(6, 3, 8, 8), []
    for default in ("cpu", "meta"):
        torch.manual_seed(1)
        with torch.device(default):
            transform = build(generator=torch.Generator("cpu").manual_seed(1) if own else None)
            results.append(transform(images))
            assert torch.equal(transform.replay(images), results[-1])
    assert torch.equal(*results)

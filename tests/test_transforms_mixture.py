"""A mixture: each sample by one filter of several, every filter in one launch, the rest untouched."""

import copy

import pytest
import torch

from transform_cases import BUILDERS, Launches, batch, by_functions, mixture, transforms

Diffusion, Gaussian, Median = transforms.AnisotropicDiffusion, transforms.GaussianBlur, transforms.MedianBlur
Mixture = transforms.RandomTextureSuppression


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=str)
def test_the_papers_mixture_is_two_launches_at_most(dtype):
    transform, images = Mixture(), batch(64, 3, 12, 12, dtype=dtype)
    with Launches() as launches:
        result = transform(images)
    counts = transform.last_draw["filter"].bincount()
    assert launches.calls == {"anisotropic_diffusion": 1, "gaussian_blur": 1}
    assert launches.images == {"anisotropic_diffusion": counts[0], "gaussian_blur": counts[1]}
    assert torch.equal(result, by_functions(transform, images, transform.last_draw))
    assert torch.equal(result[transform.last_draw["filter"] == 2], images[transform.last_draw["filter"] == 2])


def test_a_sample_costs_one_launch_or_none():
    transform, image = Mixture(), batch(3, 8, 8)
    seen = set()
    for _ in range(30):
        with Launches() as launches:
            result = transform(image)
        (number,) = transform.last_draw["filter"].tolist()
        assert sum(launches.calls.values()) == (number != 2)
        assert result is not image
        assert number != 2 or torch.equal(result, image)
        seen.add(number)
    assert seen == {0, 1, 2}


def test_a_filter_that_all_samples_draw_gathers_nothing():
    transform, images = Mixture([Gaussian(2), None], [1, 0]), batch(4, 3, 8, 8)
    copies = torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU])
    with copies:
        result = transform(images)
    assert "aten::cat" not in {event.key for event in copies.key_averages()}
    assert torch.equal(result, by_functions(transform, images, transform.last_draw))


def test_the_same_filter_twice_and_none_at_all():
    blur = Gaussian(2)
    transform, images = Mixture([blur, blur], [1, 1]), batch(9, 3, 8, 8)
    with Launches() as launches:
        result = transform(images)
    assert launches.calls == {"gaussian_blur": 2}
    assert torch.equal(result, blur(images))
    with Launches() as launches:
        result = Mixture([None])(images)
    assert not launches.calls
    assert torch.equal(result, images)


def test_mixtures_in_mixtures():
    inner = Mixture([Gaussian((0.5, 2)), mixture(), None], [2, 2, 1])
    transform, images = Mixture([inner, Median(3), None], [4, 1, 1]), batch(60, 3, 9, 9)
    result = transform(images)
    draw = transform.last_draw
    assert torch.equal(result, by_functions(transform, images, draw))
    assert torch.equal(transform.replay(images), result)
    assert draw["0.1.filter"].unique().tolist() == [0, 1, 2, 3, 4]
    assert str(transform).count("RandomTextureSuppression") == 3


def test_members_draw_from_the_mixtures_generator_and_keep_no_draw():
    member = Diffusion((1, 9), (5, 50), p=0.5)
    first = Mixture([member, None], generator=torch.Generator().manual_seed(1))
    second = copy.deepcopy(first)
    images = batch(20, 3, 6, 6)
    torch.manual_seed(0)
    one = first(images)
    torch.manual_seed(1)
    assert torch.equal(second(images), one)
    assert member.last_draw is None


def test_a_member_with_a_probability():
    transform, images = Mixture([Gaussian(2, p=0.5), Median(3)]), batch(100, 3, 8, 8)
    with Launches() as launches:
        result = transform(images)
    blurred = transform.last_draw["filter"] == 0
    assert launches.images["gaussian_blur"] == blurred.sum()
    same = (result == images).flatten(1).all(1)
    assert 10 < (blurred & same).sum() < 40


def test_channels_last_stays():
    images = batch(10, 3, 8, 9).to(memory_format=torch.channels_last)
    for build in (mixture, Mixture, BUILDERS["median"]):
        assert build()(images).is_contiguous(memory_format=torch.channels_last)

"""Corruptions, high frequencies, confidence and similarity on an NVIDIA GPU: the CPU's results, without waiting."""

import pytest
import torch
from torch import nn

from cuda_cases import DEVICE, MARKS
from texfilters.evaluate import _corrupt_blur, _corrupt_noise, _corrupt_weather
from texfilters.evaluate._similarity import similarity, similarity_histograms
from texfilters.evaluate.confidence import answers, network_answers
from texfilters.evaluate.corruptions import CORRUPTIONS, corrupt, corruption_errors
from texfilters.evaluate.high_frequencies import MASKS, accuracy_by_radius, low_pass

pytestmark = MARKS

DRAWN = {"gaussian_noise", "shot_noise", "impulse_noise", "glass_blur", "motion_blur"}
DRAWN |= {"snow", "frost", "fog", "elastic_transform"}


@pytest.fixture
def images(photo):
    return torch.stack([photo[:, :96, 60:156], photo[:, 120:216, 100:196]])


def seeded():
    return torch.Generator(DEVICE).manual_seed(5)


@pytest.mark.parametrize("name", [name for name in CORRUPTIONS if name not in DRAWN])
@pytest.mark.parametrize("severity", [1, 5])
def test_what_draws_nothing_is_as_on_the_cpu(images, name, severity):
    got = corrupt((images.float() / 255).to(DEVICE), name, severity)
    expected = corrupt(images.float() / 255, name, severity)
    difference = (got.cpu() - expected).abs()
    # A coefficient of JPEG, or a mean in pixelate, may be rounded to the next step.
    assert difference.mean() < (5e-3 if name == "jpeg_compression" else 1e-4)
    if name not in ("jpeg_compression", "pixelate"):
        assert difference.max() < 5e-6


def test_what_is_drawn_once_gives_the_same_on_both(images):
    x = images.float() / 255
    moves = torch.rand(2, 3, 2) * 8
    dy, dx = torch.randint(-3, 3, (2, 2, 96, 96))
    for function, arguments, tolerance in (
        (_corrupt_blur.shuffled, (dy, dx, 3), 0),
        (_corrupt_blur.moved, (12, 8.0, torch.tensor([-37.0, 121.0])), 1e-6),
        (_corrupt_blur._affine, (moves,), 1e-3),
    ):
        given = [a.to(DEVICE) if isinstance(a, torch.Tensor) else a for a in arguments]
        got = function(x.to(DEVICE), *given)
        torch.testing.assert_close(got.cpu(), function(x, *arguments), rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_a_seed_gives_the_same_again_under_autocast_too(images, name):
    images = images.to(DEVICE)
    first = corrupt(images, name, 3, generator=seeded())
    assert first.device == images.device
    assert first.dtype == torch.uint8
    assert torch.equal(corrupt(images, name, 3, generator=seeded()), first)
    with torch.autocast(DEVICE, torch.float16):
        assert torch.equal(corrupt(images, name, 3, generator=seeded()), first)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_the_host_does_not_wait(images, name):
    images, generator = images.to(DEVICE), seeded()
    corrupt(images, name, 2, generator=generator)  # copies constants to the device
    torch.cuda.set_sync_debug_mode("error")
    try:
        corrupt(images, name, 2, generator=generator)
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_frost_takes_pictures_from_the_host(images):
    white = [torch.ones(3, 96, 120), torch.ones(3, 200, 96)]
    got = corrupt((images.float() / 255).to(DEVICE), "frost", 3, frost=white)
    torch.testing.assert_close(got.cpu(), (0.7 * images.float() / 255 + 0.7).clamp(max=1), rtol=0, atol=1e-6)


def test_drawn_frost_and_noise_have_their_moments():
    drawn = _corrupt_weather.drawn_frost(torch.zeros(4, 3, 224, 224, device=DEVICE), seeded())
    assert 255 * drawn.mean().item() == pytest.approx(163, abs=5)
    flat = torch.full((1, 3, 200, 200), 0.4, device=DEVICE)
    assert _corrupt_noise.shot_noise(flat, 12, seeded()).var().item() == pytest.approx(0.4 / 12, rel=0.03)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float32])
def test_low_pass_is_the_cpus(images, mask, dtype):
    given = images if dtype == torch.uint8 else (images.float() / 255).to(dtype)
    got, expected = low_pass(given.to(DEVICE), 9, mask=mask), low_pass(given, 9, mask=mask)
    assert got.dtype == dtype
    tolerance = {torch.uint8: 1, torch.float16: 1e-3, torch.float32: 5e-6}[dtype]
    torch.testing.assert_close(got.cpu().float(), expected.float(), rtol=0, atol=tolerance)


def test_measurements_are_the_cpus(images):
    network = nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(48, 5))
    batches = [(images, torch.tensor([1, 2])), (images.flip(3)[:1], torch.tensor([0]))]

    def transform(batch):
        return batch[0].float() / 255

    names = ["contrast", "zoom_blur"]
    on_cpu = (
        accuracy_by_radius(network, batches, [0, 4, 20], transform=transform),
        corruption_errors(network, batches, corruptions=names, transform=transform),
    )
    probabilities = answers(network(transform(batches[0])).softmax(1), batches[0][1])
    network.to(DEVICE)
    assert on_cpu == (
        accuracy_by_radius(network, batches, [0, 4, 20], transform=transform),
        corruption_errors(network, batches, corruptions=names, transform=transform),
    )
    got = network_answers(network, batches, transform=transform)
    assert got.top.device.type == "cpu"
    torch.testing.assert_close(got.entropy[:2], probabilities.entropy, rtol=0, atol=1e-5)
    result = similarity_histograms(network, batches, lambda batch: batch[0].float() / 255)
    assert (result.positive.total, result.other.total, result.negative.total) == (3, 2, 3)
    x = torch.randn(50, 16)
    expected, got = (
        similarity(x, x + 1, x.flip(0), bins=8),
        similarity(*(t.to(DEVICE) for t in (x, x + 1, x.flip(0))), bins=8),
    )
    assert got.other.total == expected.other.total
    assert got.negative.mean == pytest.approx(expected.negative.mean, abs=1e-6)

"""Gold loss correction from beginning to end, on drawn images."""

import functools
import itertools
import math

import numpy as np
import pytest
import torch

import cuda_cases
from texfilters.evaluate._resident import ResidentImages, Standardized, fit, logits_of
from texfilters.evaluate.gold_loss_correction import glc
from texfilters.evaluate.label_corruption import corrupted_labels, glc_loss, gold_images
from texfilters.evaluate.resnet9 import ResNet9
from texfilters.transforms import AnisotropicDiffusion

CPU = torch.device("cpu")


def drawn(count, seed=0, side=16):
    """Four classes, by the direction of a wave, in any phase and color, under noise; uint8 and labels."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 4
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    along = torch.stack([x, y, (x + y) * 0.7, x * 0])[labels] * 1.3
    phase = 2 * math.pi * torch.rand(count, 1, 1, generator=generator)
    waves = (along + phase).sin()[:, None] * (20 + 40 * torch.rand(count, 3, 1, 1, generator=generator))
    noise = 15 * torch.randn(count, 3, side, side, generator=generator)
    return (128 + waves + noise).clamp(0, 255).to(torch.uint8), labels


small = functools.partial(ResNet9, width=4)
run = functools.partial(glc, corruption="flip", probability=0.6, gold=0.1, network=small, batch_size=32)


@pytest.fixture(scope="module")
def found():
    return run(*drawn(800), *drawn(200, seed=1), epochs=5)


class TestGLC:
    def test_it_beats_plain_training_where_most_labels_are_wrong(self, found):
        assert found.silver_error > 0.6
        assert found.error < 0.2

    def test_the_estimate_is_that_of_the_corruption(self, found):
        assert found.estimate_error < 0.2
        assert found.estimate.argmax(1).equal(found.matrix.argmax(1))
        assert found.estimate_error == pytest.approx(
            np.abs(found.estimate.numpy() - found.matrix.numpy()).sum(1).mean() / 2
        )
        np.testing.assert_allclose(found.estimate.sum(1), 1, rtol=1e-12)

    def test_the_model_takes_images_and_gives_the_answers(self, found):
        images, labels = drawn(200, seed=1)
        with torch.no_grad():
            answers = found.model(images).argmax(1)
        assert answers.equal(found.test.answers)
        assert found.error == pytest.approx((answers != labels).double().mean().item())

    def test_a_run_repeats_and_leaves_the_generators(self):
        data = *drawn(160), *drawn(40, seed=1)
        state = torch.get_rng_state()
        suppressed = AnisotropicDiffusion((10, 20), p=0.5)
        once, again = (run(*data, epochs=1, seed=3, suppressed=suppressed) for _ in range(2))
        assert torch.get_rng_state().equal(state)
        assert once.estimate.equal(again.estimate)
        for first, second in zip(once.model.parameters(), again.model.parameters(), strict=True):
            assert first.equal(second)
        assert not run(*data, epochs=1, seed=4, suppressed=suppressed).estimate.equal(once.estimate)

    @pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
    def test_the_caller_may_be_without_gradients(self, mode):
        data = *drawn(80), *drawn(20, seed=1)
        expected = run(*data, epochs=1, gold=0.2)
        with mode():
            found = run(*data, epochs=1, gold=0.2)
        assert found.estimate.equal(expected.estimate)
        assert not any(parameter.is_inference() for parameter in found.model.parameters())


class TestPhases:
    """What each phase is given, seen by a stand-in for `fit`."""

    @pytest.fixture
    def phases(self, monkeypatch):
        seen = []

        def watched(network, images, places, loss, **recipe):
            weights = torch.cat([parameter.detach().flatten() for parameter in network.parameters()])
            logits = torch.linspace(-2, 2, 4 * len(places)).view(-1, 4)
            seen.append((weights.clone(), images.whole(places), places, loss(logits, places), recipe))
            fit(network, images, places, loss, **recipe)

        monkeypatch.setattr("texfilters.evaluate.gold_loss_correction.fit", watched)
        return seen

    @pytest.mark.parametrize("doubled", [False, True])
    def test_of_a_run(self, phases, doubled):
        images, labels = drawn(200, side=8)
        found = run(images, labels, *drawn(40), epochs=2, seed=5, suppressed=(lambda x: 255 - x) if doubled else None)
        trusted = gold_images(labels, 0.1, seed=5)
        given = torch.where(trusted, labels, corrupted_labels(labels, found.matrix, seed=5))
        of = torch.arange(200)
        if doubled:
            images, trusted, given = torch.cat([images, 255 - images]), trusted.repeat(2), given.repeat(2)
            of = torch.arange(400)
        (begun, shown, places, silver_loss, first), (again, shown_2, places_2, loss, second) = phases
        assert again.equal(begun)
        assert places.equal(of[~trusted])
        assert places_2.equal(of)
        assert shown.equal(images[places])
        assert shown_2.equal(images)
        logits = torch.linspace(-2, 2, 4 * len(places)).view(-1, 4)
        assert silver_loss.equal(torch.nn.functional.cross_entropy(logits, given[places]))
        logits = torch.linspace(-2, 2, 4 * len(of)).view(-1, 4)
        assert loss.equal(glc_loss(logits, given, trusted, found.estimate))
        # As many steps with the copies as without: half the epochs.
        assert first["steps"] == math.ceil(2 * 180 / 32)
        assert second["steps"] == math.ceil(2 * 200 / 32)
        assert found.silver.answers.shape == found.test.answers.shape == (40,)


class TestFit:
    def test_crops_and_flips_are_those_of_a_bordered_image(self):
        images = torch.randint(1, 256, (6, 3, 10, 12)).to(torch.uint8)
        places = torch.tensor([5, 0, 0, 3])
        shifts = torch.tensor([[0, 0], [8, 3], [4, 4], [2, 8]])
        flips = torch.tensor([False, True, True, False])
        found = ResidentImages(images, CPU).cropped(places, shifts, flips)
        bordered = np.pad(images.numpy(), ((0, 0), (0, 0), (4, 4), (4, 4)))
        for i, (place, (top, left)) in enumerate(zip(places.tolist(), shifts.tolist(), strict=True)):
            expected = bordered[place, :, top : top + 10, left : left + 12]
            np.testing.assert_array_equal(found[i].numpy(), expected[:, :, ::-1] if flips[i] else expected)
        assert found.is_contiguous(memory_format=torch.channels_last)
        assert ResidentImages(images, CPU).whole(places).equal(images[places])

    def test_steps_rates_and_order(self):
        images = ResidentImages(torch.zeros(50, 1, 4, 4, dtype=torch.uint8), CPU)
        network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2))
        network.forward = lambda x: network[1](x.flatten(1).float())
        bias = network[1].bias.detach().double().numpy().copy()
        seen = []

        def loss(logits, places):
            seen.append(places.tolist())
            return logits[:, 0].mean()

        places = torch.arange(10, 34)
        fit(network, images, places, loss, steps=9, batch_size=8, lr=0.5, weight_decay=0.0)
        for epoch in range(3):
            assert sorted(itertools.chain(*seen[3 * epoch : 3 * epoch + 3])) == places.tolist()
        assert seen[:3] != seen[3:6]
        momentum = 0.0
        for step in range(9):  # the gradient in the first bias is 1 throughout
            momentum = 0.9 * momentum + 1
            bias[0] -= 0.25 * (1 + math.cos(math.pi * step / 9)) * (1 + 0.9 * momentum)
        np.testing.assert_allclose(network[1].bias.detach().numpy(), bias, rtol=1e-5)

    def test_a_loss_that_is_not_finite(self):
        data = *drawn(160), *drawn(40, seed=1)
        with pytest.raises(ValueError, match=r"the loss must stay finite, got nan: lr 1e\+30 is too high"):
            run(*data, epochs=1, lr=1e30)

    def test_images_are_standardized_by_channel(self):
        images = torch.randint(256, (2500, 2, 3, 3), dtype=torch.uint8)
        images[:, 1] //= 3
        found = Standardized(torch.nn.Identity(), images)(images)
        x = images.double().numpy()
        expected = (x - x.mean((0, 2, 3), keepdims=True)) / x.std((0, 2, 3), keepdims=True)
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)
        flat = torch.full((4, 1, 2, 2), 7, dtype=torch.uint8)
        assert (Standardized(torch.nn.Identity(), flat)(flat) == 0).all()

    def test_answers_are_given_in_evaluation_mode(self):
        images, _ = drawn(8)
        network = Standardized(small(4), images)
        found = logits_of(network, ResidentImages(images, CPU), torch.arange(8))
        assert network.training
        with torch.no_grad():
            np.testing.assert_allclose(found.numpy(), network.eval()(images).numpy(), atol=1e-5)


class TestBadInput:
    @pytest.mark.parametrize(
        ("wrong", "error", "message"),
        [
            ({"corruption": "swap"}, ValueError, "corruption must be one of 'uniform', 'flip', got 'swap'"),
            ({"probability": -0.1}, ValueError, r"probability must lie in \[0, 1\], got -0\.1"),
            ({"gold": 0.001}, ValueError, "at least 4 gold images"),
            ({"epochs": 0}, ValueError, "epochs must be at least 1, got 0"),
            ({"suppressed": lambda x: x.float()}, ValueError, "suppressed must return uint8 images"),
        ],
    )
    def test_options(self, wrong, error, message):
        with pytest.raises(error, match=message):
            run(*drawn(80), *drawn(20), **wrong)

    def test_images_and_labels(self):
        images, labels = drawn(80)
        with pytest.raises(TypeError, match=r"test_images must be uint8, got float32"):
            run(images, labels, images / 255, labels)
        with pytest.raises(ValueError, match=r"images must have shape \[N, C, H, W\].*\(80, 16, 16\)"):
            run(images[:, 0], labels, images, labels)
        with pytest.raises(ValueError, match=r"test_images must have as many channels as images, 3, got 1"):
            run(images, labels, images[:, :1], labels)
        with pytest.raises(ValueError, match=r"suppressed must return uint8 images of shape .*, got NoneType"):
            run(images, labels, images, labels, suppressed=lambda x: None)
        with pytest.raises(ValueError, match="labels must be as many as the images, 80, got 70"):
            run(images, labels[:70], images, labels)
        with pytest.raises(ValueError, match=r"test_labels must lie in \[0, 4\), got 4"):
            run(images, labels, images, labels + 1)
        with pytest.raises(ValueError, match=r"every class below 7, but have none of \[1, 3, 5\]"):
            run(images, labels * 2, images, labels)


class TestOnGPU:
    pytestmark = cuda_cases.MARKS

    def test_it_corrects_and_repeats(self):
        data = *drawn(800), *drawn(200, seed=1)
        once, again = (run(*data, epochs=5, device="cuda", suppressed=AnisotropicDiffusion(5)) for _ in range(2))
        assert once.silver_error > 0.6
        assert once.error < 0.2
        assert once.estimate.equal(again.estimate)
        for first, second in zip(once.model.parameters(), again.model.parameters(), strict=True):
            assert first.is_cuda
            assert first.equal(second)

    def test_labels_and_first_weights_are_those_of_the_cpu(self, monkeypatch):
        seen = []
        monkeypatch.setattr(
            "texfilters.evaluate.gold_loss_correction.fit",
            lambda network, images, places, loss, **_: seen.append(
                [*(parameter.detach().cpu() for parameter in network.parameters()), places.cpu()]
            ),
        )
        for device in ("cpu", "cuda"):
            run(*drawn(80), *drawn(20), epochs=1, device=device)
        for on_cpu, on_gpu in zip(seen[:2], seen[2:], strict=True):
            assert all(a.equal(b) for a, b in zip(on_cpu, on_gpu, strict=True))

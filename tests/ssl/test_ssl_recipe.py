"""Recipes: LARS and the learning rates against computations of their own."""

import math

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("lightning", reason="needs lightning")

from texfilters.ssl import Recipe
from texfilters.ssl._lars import LARS


def rates(recipe, epochs, steps=1):
    """What an optimizer would use in every step of a run; `rate` is a factor of lr."""
    layer = nn.Linear(1, 1)
    configured = recipe.configured(layer, epochs, steps)
    optimizer, scheduler = configured["optimizer"], configured["lr_scheduler"]
    assert scheduler["interval"] == ("step" if recipe.every_step else "epoch")
    seen = []
    for _ in range(epochs * (steps if recipe.every_step else 1)):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler["scheduler"].step()
    return seen


class TestRates:
    def test_cosine_falls_with_every_epoch_as_in_moco(self):
        expected = [0.03 * 0.5 * (1 + math.cos(math.pi * epoch / 10)) for epoch in range(10)]
        assert rates(Recipe(lr=0.03), 10) == pytest.approx(expected)

    def test_cosine_after_a_warmup_of_steps_as_in_byol(self):
        epochs, steps, warmup = 6, 5, 2
        expected = []
        for step in range(epochs * steps):
            if step < warmup * steps:
                expected.append(3.2 * step / (warmup * steps))
            else:
                done = (step - warmup * steps) / ((epochs - warmup) * steps)
                expected.append(3.2 * 0.5 * (1 + math.cos(math.pi * done)))
        recipe = Recipe("lars", lr=3.2, warmup=warmup, every_step=True)
        assert rates(recipe, epochs, steps) == pytest.approx(expected)

    def test_warmup_by_epochs_starts_above_0(self):
        recipe = Recipe(lr=1.0, warmup=4, schedule="constant")
        assert rates(recipe, 6) == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])

    def test_steps(self):
        recipe = Recipe(lr=0.1, schedule="steps", milestones=(2, 3), factor=0.2)
        assert rates(recipe, 5) == pytest.approx([0.1, 0.1, 0.02, 0.004, 0.004])

    def test_exponential(self):
        assert rates(Recipe(lr=1.0, schedule="exponential", factor=0.5), 4) == pytest.approx([1, 0.5, 0.25, 0.125])

    def test_constant(self):
        assert rates(Recipe(lr=2.0, schedule="constant"), 3) == [2, 2, 2]

    def test_a_cosine_does_not_rise_again_past_its_end(self):
        assert Recipe().rate(12, 10) == 0


class TestOptimizers:
    def test_they_get_their_settings(self):
        layer = nn.Linear(2, 2)

        def made(**settings):
            return Recipe(lr=0.5, weight_decay=0.01, **settings).configured(layer, 1)["optimizer"]

        sgd = made(momentum=0.8, nesterov=True)
        assert isinstance(sgd, torch.optim.SGD)
        assert {"lr": 0.5, "momentum": 0.8, "nesterov": True, "weight_decay": 0.01}.items() <= sgd.defaults.items()
        rmsprop = made(optimizer="rmsprop", momentum=0.5)
        assert isinstance(rmsprop, torch.optim.RMSprop)
        assert {"lr": 0.5, "momentum": 0.5, "weight_decay": 0.01}.items() <= rmsprop.defaults.items()
        adam = made(optimizer="adam", momentum=0.5)
        assert isinstance(adam, torch.optim.Adam)
        assert {"lr": 0.5, "betas": (0.5, 0.999), "weight_decay": 0.01}.items() <= adam.defaults.items()

    def test_lars_leaves_biases_and_norms_alone(self):
        network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
        adapted, plain = Recipe("lars", weight_decay=0.1).configured(network, 1)["optimizer"].param_groups
        assert {id(p) for p in adapted["params"]} == {id(network[0].weight), id(network[3].weight)}
        assert (adapted["adapted"], adapted["weight_decay"]) == (True, 0.1)
        vectors = (network[0].bias, network[1].weight, network[1].bias, network[3].bias)
        assert {id(p) for p in plain["params"]} == {id(p) for p in vectors}
        assert (plain["adapted"], plain["weight_decay"]) == (False, 0.0)

    def test_parts_with_rates_of_their_own(self):
        network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 1))
        network[2].bias.requires_grad_(False)
        recipe = Recipe("lars", lr=0.5, weight_decay=0.1, schedule="exponential", factor=0.1)
        configured = recipe.configured(network, 2, factors={"2": 0.2, "1": 0.4})
        optimizer, scheduler = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
        first, norm, last = network
        expected = [  # parameters, rate, weight decay
            ([first.weight], 0.5, 0.1),
            ([first.bias], 0.5, 0.0),
            ([norm.weight, norm.bias], 0.2, 0.0),
            ([last.weight], 0.1, 0.1),
        ]
        for decay in (1, 0.1):
            for group, (parameters, lr, weight_decay) in zip(optimizer.param_groups, expected, strict=True):
                assert [id(p) for p in group["params"]] == [id(p) for p in parameters]
                assert group["lr"] == pytest.approx(lr * decay)
                assert (group["weight_decay"], group["adapted"]) == (weight_decay, weight_decay > 0)
            optimizer.step()
            scheduler.step()

    def test_frozen_parameters_stay_out(self):
        network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).requires_grad_(False))
        groups = Recipe().configured(network, 1)["optimizer"].param_groups
        assert [id(p) for p in groups[0]["params"]] == [id(p) for p in network[0].parameters()]


class TestLars:
    @pytest.mark.parametrize("weight_decay", [0.0, 0.05])
    def test_steps_are_the_formulas(self, weight_decay):
        generator = np.random.default_rng(0)
        weights = [generator.normal(size=shape) for shape in ((4, 3), (5,), (2, 3, 2, 2))] + [np.zeros((3, 2))]
        params = [nn.Parameter(torch.tensor(w)) for w in weights]
        optimizer = LARS(
            [{"params": [params[0], params[2], params[3]]}, {"params": [params[1]], "adapted": False}],
            lr=0.7,
            momentum=0.8,
            weight_decay=weight_decay,
            eta=0.02,
        )
        velocities = [np.zeros_like(w) for w in weights]
        for step in range(4):
            for i, (w, p) in enumerate(zip(weights, params, strict=True)):
                g = generator.normal(size=w.shape) * (0 if step == 1 and i == 2 else 1)  # a gradient of 0, too
                p.grad = torch.tensor(g)
                w_norm, g_norm = np.sqrt((w**2).sum()), np.sqrt((g**2).sum())
                trust = 1.0
                if i != 1 and w_norm > 0 and g_norm > 0:
                    trust = 0.02 * w_norm / (g_norm + weight_decay * w_norm)
                velocities[i] = 0.8 * velocities[i] + 0.7 * trust * (g + weight_decay * w)
                weights[i] = w - velocities[i]
            optimizer.step()
            for w, p in zip(weights, params, strict=True):
                np.testing.assert_allclose(p.detach().numpy(), w, rtol=1e-12, atol=1e-14)

    def test_gradients_stay_and_parameters_without_one_too(self):
        used, unused = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2, 2))
        used.grad = torch.full((2, 2), 3.0)
        LARS([used, unused], lr=1.0, weight_decay=0.1).step()
        assert torch.equal(used.grad, torch.full((2, 2), 3.0))
        assert torch.equal(unused, torch.ones(2, 2))
        assert not torch.equal(used, torch.ones(2, 2))

    def test_it_goes_on_from_its_state(self):
        def trained(steps, state=None, weights=None):
            p = nn.Parameter(torch.ones(3, 2) if weights is None else weights.clone())
            optimizer = LARS([p], lr=0.3, weight_decay=0.1)
            if state is not None:
                optimizer.load_state_dict(state)
            for step in steps:
                p.grad = torch.arange(6.0).reshape(3, 2) + step
                optimizer.step()
            return p.detach(), optimizer.state_dict()

        whole, _ = trained(range(6))
        half, state = trained(range(3))
        assert torch.equal(trained(range(3, 6), state, half)[0], whole)

    def test_velocities_are_made_once(self, monkeypatch):
        p = nn.Parameter(torch.ones(2, 2))
        p.grad = torch.ones(2, 2)
        optimizer = LARS([p], lr=0.1)
        optimizer.step()
        monkeypatch.setattr(torch, "zeros_like", lambda _: pytest.fail("a step made zeros"))
        optimizer.step()

    @pytest.mark.cuda
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
    def test_a_gpu_gives_the_same_and_waits_for_nothing(self):
        generator = torch.Generator().manual_seed(0)
        start, *gradients = (torch.randn(4, 3, generator=generator) for _ in range(4))
        ends = []
        for device in ("cpu", "cuda"):
            p = nn.Parameter(start.to(device))
            optimizer = LARS([p], lr=0.3, weight_decay=0.1)
            sent = [gradient.to(device) for gradient in gradients]
            try:
                torch.cuda.set_sync_debug_mode("error")
                for gradient in sent:
                    p.grad = gradient
                    optimizer.step()
            finally:
                torch.cuda.set_sync_debug_mode("default")
            ends.append(p.detach().cpu())
        torch.testing.assert_close(*ends)

    def test_a_closure(self):
        p = nn.Parameter(torch.ones(2, 2))

        def closure():
            loss = (p**2).sum()
            loss.backward()
            return loss

        assert LARS([p], lr=1.0).step(closure) == 4
        assert not torch.equal(p, torch.ones(2, 2))


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"optimizer": "adamw"}, ValueError, "optimizer must be one of 'sgd', 'rmsprop', 'adam', 'lars', got 'adamw'"),
        ({"schedule": "linear"}, ValueError, "schedule must be one of 'constant', .*, got 'linear'"),
        ({"lr": 0.0}, ValueError, "lr must be positive and finite, got 0"),
        ({"lr": math.inf}, ValueError, "lr must be positive and finite, got inf"),
        ({"lr": math.nan}, ValueError, "lr must be positive and finite, got nan"),
        ({"lr": "1"}, TypeError, "lr must be a number"),
        ({"momentum": 1.0}, ValueError, r"momentum must lie in \[0, 1\), got 1"),
        ({"momentum": -0.1}, ValueError, r"momentum must lie in \[0, 1\), got -0.1"),
        ({"weight_decay": -1e-4}, ValueError, "weight_decay must be finite and >= 0, got -0.0001"),
        ({"weight_decay": math.nan}, ValueError, "weight_decay must be finite and >= 0, got nan"),
        ({"factor": 0}, ValueError, "factor must be positive and finite, got 0"),
        ({"warmup": -1}, ValueError, "warmup must be finite and >= 0, got -1"),
        ({"milestones": (3, 2)}, ValueError, r"milestones must grow from one to the next, got \[3, 2\]"),
        ({"milestones": (2, 2)}, ValueError, r"milestones must grow from one to the next, got \[2, 2\]"),
        ({"milestones": (1.5,)}, ValueError, "milestones must be a whole number, got 1.5"),
        ({"schedule": "steps"}, ValueError, "milestones must hold an epoch"),
        ({"nesterov": True, "momentum": 0.0}, ValueError, "nesterov needs SGD with momentum, got 'sgd' and 0.0"),
        ({"nesterov": True, "optimizer": "lars"}, ValueError, "nesterov needs SGD"),
        ({"nesterov": 1}, TypeError, "nesterov must be a bool, got int"),
        ({"every_step": None}, TypeError, "every_step must be a bool, got NoneType"),
    ],
)
def test_bad_settings(settings, error, message):
    with pytest.raises(error, match=message):
        Recipe(**settings)


@pytest.mark.parametrize(
    ("epochs", "message"),
    [(-1, "max_epochs must be at least 1, got -1"), (3, "warmup must be at most max_epochs 3, got 5")],
)
def test_runs_that_do_not_fit(epochs, message):
    with pytest.raises(ValueError, match=message):
        Recipe(warmup=5).configured(nn.Linear(1, 1), epochs)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"lr": -1.0}, "lr must be finite and >= 0, got -1"),
        ({"momentum": 1.0}, r"momentum must lie in \[0, 1\), got 1"),
        ({"weight_decay": -1}, "weight_decay must be finite and >= 0, got -1"),
        ({"eta": 0.0}, "eta must be positive and finite, got 0"),
    ],
)
def test_bad_settings_of_lars(settings, message):
    with pytest.raises(ValueError, match=message):
        LARS([nn.Parameter(torch.ones(1))], **{"lr": 1.0, **settings})

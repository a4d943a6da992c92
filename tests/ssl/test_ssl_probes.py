"""Linear probes and fine-tuning against computations of their own."""

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from probe_cases import Net, blobs, copy_of, images
from texfilters import evaluate
from texfilters.evaluate import ProbeRecipe, features, finetune, knn, linear_probe
from texfilters.evaluate import linear_probe_on_images as probe_images


class TestLinearProbe:
    def test_steps_are_those_of_momentum_sgd_by_hand(self):
        x, y = blobs(30, spread=2.0)
        recipe = ProbeRecipe(
            lr=0.5, epochs=5, milestones=(2, 4), factor=0.1, batch_size=30, momentum=0.9, weight_decay=0.01
        )
        probe = linear_probe(x, y, x, y, recipe, seed=3)

        torch.manual_seed(3)
        nn.Linear(12, 4)  # its own weights are drawn, then replaced
        w, b = (torch.randn(4, 12) * 0.01).double().numpy(), np.zeros(4)
        features_, onehot = x.double().numpy(), np.eye(4)[y.numpy()]
        vw, vb = np.zeros_like(w), np.zeros_like(b)
        for lr, epoch in zip((0.5, 0.5, 0.05, 0.05, 0.005), probe.curve, strict=True):
            logits = features_ @ w.T + b
            p = np.exp(logits - logits.max(1, keepdims=True))
            p /= p.sum(1, keepdims=True)
            loss = -np.log((p * onehot).sum(1)).mean()
            assert epoch.lr == pytest.approx(lr)
            assert epoch.train_loss == pytest.approx(loss, rel=1e-5)
            assert epoch.train_accuracy == pytest.approx((logits.argmax(1) == y.numpy()).mean())
            vw = 0.9 * vw + (p - onehot).T @ features_ / 30 + 0.01 * w
            vb = 0.9 * vb + (p - onehot).mean(0) + 0.01 * b
            w, b = w - lr * vw, b - lr * vb
            assert epoch.test_accuracy == pytest.approx(((features_ @ w.T + b).argmax(1) == y.numpy()).mean())
        np.testing.assert_allclose(probe.model.weight.numpy(), w, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(probe.model.bias.numpy(), b, rtol=1e-4, atol=1e-5)

    def test_the_optimum_is_that_of_scikit_learn(self):
        x, y = blobs(200, classes=3, dim=3, spread=2.0)
        probe = linear_probe(x, y, x, y, ProbeRecipe(lr=0.5, epochs=600, milestones=(), batch_size=200))
        other = LogisticRegression(C=np.inf, tol=1e-10, max_iter=1000).fit(x.numpy(), y.numpy())
        expected = other.predict_proba(x.double().numpy())
        np.testing.assert_allclose(probe.model(x).softmax(1).numpy(), expected, atol=1e-3)

    def test_separable_classes_are_separated(self):
        x, y = blobs(300, spread=0.2)
        tested, labels = blobs(100, spread=0.2, seed=1)
        probe = linear_probe(x, y, tested, labels, evaluate.NONSEMANTIC)
        assert probe.test.accuracy == 1
        assert probe.test.confusion.diagonal().sum() == 100
        assert len(probe.curve) == 60
        assert torch.equal(probe.model(tested).argmax(1), probe.test.answers)

    def test_recipes_are_the_papers(self):
        moco = [evaluate.MOCO.rate(epoch) for epoch in (0, 59, 60, 79, 80, 99)]
        assert moco == pytest.approx([30, 30, 3, 3, 0.3, 0.3])
        nonsemantic = [evaluate.NONSEMANTIC.rate(epoch) for epoch in (0, 29, 30, 40, 50, 59)]
        assert nonsemantic == pytest.approx([10, 10, 1, 0.1, 0.01, 0.01])
        assert (evaluate.MOCO.epochs, evaluate.MOCO.batch_size) == (100, 256)
        assert (evaluate.NONSEMANTIC.epochs, evaluate.NONSEMANTIC.batch_size) == (60, 128)
        assert {(r.momentum, r.weight_decay) for r in (evaluate.MOCO, evaluate.NONSEMANTIC)} == {(0.9, 0.0)}

    def test_standardized_features_make_units_and_constants_harmless(self):
        x, y = blobs(200)
        odd = torch.cat((x * torch.logspace(-6, 6, 12), torch.full((200, 1), 7.0)), 1) + 5
        recipe = ProbeRecipe(lr=0.1, epochs=30, milestones=(20,), batch_size=64)
        plain = linear_probe(x, y, x, y, recipe, standardize=True)
        probe = linear_probe(odd.double(), y, odd.double(), y, recipe, standardize=True)
        assert probe.test.accuracy == pytest.approx(plain.test.accuracy, abs=0.03)
        # What is handed out takes features as they came.
        assert torch.equal(plain.model(x).argmax(1), plain.test.answers)
        torch.testing.assert_close(
            plain.model(x), plain.model((x - x.mean(0)) / x.std(0, correction=0) * x.std(0, correction=0) + x.mean(0))
        )

    def test_a_feature_that_only_rounding_varies_is_a_constant(self):
        x, y = torch.full((200, 1), 0.1), torch.arange(200) % 4
        x[::2] = x[::2].nextafter(torch.ones(()))
        recipe = ProbeRecipe(lr=0.1, epochs=3, milestones=(), batch_size=64)
        probe = linear_probe(x, y, x, y, recipe, standardize=True)
        torch.testing.assert_close(probe.model(x + 0.001), probe.model(x), rtol=0, atol=1e-3)

    def test_a_seed_gives_one_result_and_leaves_other_draws_alone(self):
        x, y = blobs(64)
        recipe = ProbeRecipe(lr=1.0, epochs=2, milestones=(), batch_size=10)
        torch.manual_seed(5)
        before = torch.get_rng_state()
        first, second, other = (linear_probe(x, y, x, y, recipe, seed=seed) for seed in (0, 0, 1))
        assert torch.equal(torch.get_rng_state(), before)
        assert torch.equal(first.model.weight, second.model.weight)
        assert not torch.equal(first.model.weight, other.model.weight)

    def test_features_with_gradients_are_left_alone(self):
        x, y = blobs(64)
        recipe = ProbeRecipe(lr=1.0, epochs=3, milestones=(), batch_size=16)
        network = nn.Linear(12, 12)
        probe = linear_probe(network(x), y, network(x), y, recipe)
        assert network.weight.grad is None
        with torch.no_grad():
            rows = network(x)
        assert torch.equal(probe.model.weight, linear_probe(rows, y, rows, y, recipe).model.weight)

    def test_it_trains_where_gradients_are_off(self):
        x, y = blobs(64, spread=0.2)
        with torch.no_grad():
            probe = linear_probe(x, y, x, y, ProbeRecipe(lr=1.0, epochs=20, milestones=()))
        assert probe.test.accuracy == 1

    def test_it_trains_in_inference_mode_and_on_its_tensors(self):
        # Lightning validates in it.
        x, y = blobs(64, spread=0.2)
        recipe = ProbeRecipe(lr=1.0, epochs=3, milestones=())
        expected = linear_probe(x, y, x, y, recipe)
        network, seen = Net(), [(torch.rand(8, 3, 8, 8), torch.arange(8) % 2)]
        with torch.inference_mode():
            rows, labels = x.clone(), y.clone()
            inside = linear_probe(rows, labels, rows, labels, recipe, standardize=True)
            probe_images(network, seen, seen, recipe, classes=2)
            finetune(network, seen, seen, recipe, classes=2)
        outside = linear_probe(rows, labels, rows, labels, recipe)
        assert torch.equal(outside.model.weight, expected.model.weight)
        assert inside.test.accuracy > 0.9
        assert not inside.model.weight.is_inference()

    def test_a_default_device_changes_nothing(self):
        x, y = blobs(30)
        network, batches = Net(), [images(16)]
        recipe = ProbeRecipe(lr=0.5, epochs=2, milestones=(), batch_size=7)

        def curves():
            yield linear_probe(x, y, x, y, recipe).curve
            yield probe_images(network, batches, batches, recipe, classes=2).curve
            yield finetune(network, batches, batches, recipe, classes=2).curve

        expected = list(curves())
        with torch.device("meta"):
            assert list(curves()) == expected

    @pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
    def test_a_default_dtype_changes_nothing(self, dtype):
        x, y = blobs(30)
        network, batches = Net(), [images(16)]
        recipe = ProbeRecipe(lr=0.5, epochs=2, milestones=(), batch_size=7)

        def results():
            yield linear_probe(x, y, x, y, recipe).curve
            yield probe_images(network, batches, batches, recipe, classes=2).curve
            yield finetune(network, batches, batches, recipe, classes=2).curve
            yield knn(x, y, x, k=5).tolist()

        expected = list(results())
        torch.set_default_dtype(dtype)
        try:
            found = list(results())
        finally:
            torch.set_default_dtype(torch.float32)
        assert found == expected

    @pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
    def test_networks_of_other_dtypes_are_finetuned(self, dtype):
        pictures, labels = images(32)
        batches = [(pictures.to(dtype), labels)]
        probe = finetune(Net().to(dtype), batches, batches, ProbeRecipe(lr=0.01, epochs=1, milestones=()), classes=2)
        assert {parameter.dtype for parameter in probe.model.parameters()} == {dtype}


class TestFeatures:
    def test_batches_are_joined_and_the_network_stays_as_it_was(self):
        network = Net().train()
        network.frozen.eval()
        modes, weights = [m.training for m in network.modules()], copy_of(network)
        pictures, labels = images(10)
        rows, found = features(network, DataLoader(TensorDataset(pictures, labels), batch_size=4))
        assert [m.training for m in network.modules()] == modes
        assert all(torch.equal(weights[name], tensor) for name, tensor in network.state_dict().items())
        with torch.no_grad():
            torch.testing.assert_close(rows, network.eval()(pictures))
        assert torch.equal(found, labels)
        assert not rows.requires_grad

    def test_modes_come_back_after_an_error(self):
        network = Net().train()
        with pytest.raises(RuntimeError):
            features(network, [(torch.zeros(2, 5, 8, 8), torch.zeros(2))])
        assert network.body.training

    def test_a_transform_gets_the_whole_batch_and_any_function_is_a_network(self):
        batches = [(torch.full((2, 3, 4, 4), 255, dtype=torch.uint8), torch.tensor([0, 1]), torch.tensor([2.0, 3.0]))]
        rows, labels = features(
            lambda x: x.flatten(1), batches, transform=lambda batch: batch[0] / 255 * batch[2].view(2, 1, 1, 1)
        )
        assert rows.dtype == torch.float32
        assert rows[:, 0].tolist() == [2, 3]
        assert labels.dtype == torch.int64

    @pytest.mark.parametrize(
        ("network", "batches", "message"),
        [
            (
                lambda x: x,
                [(torch.zeros(2, 3, 4, 4), torch.zeros(2))],
                r"\[B, D\] for 2 images, got shape \(2, 3, 4, 4\)",
            ),
            (lambda x: x[:1], [(torch.zeros(2, 3), torch.zeros(2))], r"for 2 images, got shape \(1, 3\)"),
            (lambda x: (x, x), [(torch.zeros(2, 3), torch.zeros(2))], r"features \[B, D\] for 2 images, got tuple"),
            (lambda x: x, [], "at least one image, got none"),
            (lambda x: x / x, [(torch.tensor([[0.0], [1.0], [0.0]]), torch.zeros(3))], "for 2 of the 3 images"),
            (lambda x: x, [(torch.eye(2), torch.tensor([0.2, 1.7]))], "labels must be 2 integers, .* got float32"),
            (lambda x: x, [(torch.eye(2), torch.tensor([[0], [1]]))], r"labels must be 2 integers, .* \[2, 1\]"),
        ],
    )
    def test_errors(self, network, batches, message):
        with pytest.raises(ValueError, match=message):
            features(network, batches)


class TestProbesThatSeeImages:
    def test_without_augmentation_it_is_the_probe_on_features(self):
        network = Net().eval()
        pictures, labels = images(40)
        recipe = ProbeRecipe(lr=5.0, epochs=6, milestones=(3,), batch_size=40)
        rows, _ = features(network, [(pictures, labels)])
        expected = linear_probe(rows, labels, rows, labels, recipe, seed=2)
        probe = probe_images(network, [(pictures, labels)], [(pictures, labels)], recipe, classes=2, seed=2)
        torch.testing.assert_close(probe.model.weight, expected.model.weight, rtol=1e-4, atol=1e-5)
        assert [e.lr for e in probe.curve] == [e.lr for e in expected.curve]
        assert probe.curve[-1].train_loss == pytest.approx(expected.curve[-1].train_loss, rel=1e-4)

    def test_the_network_is_frozen_and_draws_come_from_the_seed(self):
        network = Net().train()
        weights = copy_of(network)
        loader = DataLoader(TensorDataset(*images(32)), batch_size=8, shuffle=True)
        modes = []

        def noisy(batch):
            modes.append(network.body.training)
            return batch[0] + torch.randn_like(batch[0])

        recipe = ProbeRecipe(lr=1.0, epochs=2, milestones=())
        before = torch.get_rng_state()
        first, second = (
            probe_images(network, loader, loader, recipe, transform=noisy, classes=2, seed=4) for _ in range(2)
        )
        assert torch.equal(torch.get_rng_state(), before)
        assert torch.equal(first.model.weight, second.model.weight)
        assert modes == [False] * 16
        assert network.body.training
        assert all(torch.equal(weights[name], tensor) for name, tensor in network.state_dict().items())
        assert all(p.grad is None for p in network.parameters())

    def test_epochs_are_announced(self):
        epochs = []

        class Batches(list):
            def set_epoch(self, epoch):
                epochs.append(epoch)

        batches = Batches([images(4)])
        probe_images(Net(), batches, [images(4)], ProbeRecipe(lr=1.0, epochs=3, milestones=()), classes=2)
        assert epochs == [0, 1, 2]

    def test_finetuning_learns_in_a_copy(self):
        network = Net()
        with torch.no_grad():  # blind to the stripes' direction as it is
            network.body[0].weight.add_(network.body[0].weight.mT.clone())
        weights = copy_of(network)
        train = [images(16, seed=i) for i in range(4)]
        recipe = ProbeRecipe(lr=0.1, epochs=12, milestones=(8,))
        frozen = probe_images(network, train, [images(64, seed=9)], recipe, classes=2)
        probe = finetune(network, [*train, images(1)], [images(64, seed=9)], recipe, classes=2)
        assert probe.test.accuracy > 0.9 > 0.7 > frozen.test.accuracy
        assert all(torch.equal(weights[name], tensor) for name, tensor in network.state_dict().items())
        with torch.no_grad():
            assert torch.equal(probe.model(images(64, seed=9)[0]).argmax(1), probe.test.answers)
        assert probe.model[0].body[1].num_batches_tracked == 4 * 12  # the batch of one is left out
        again = finetune(network, [*train, images(1)], [images(64, seed=9)], recipe, classes=2)
        assert again.curve == probe.curve


class TestBadInput:
    x, y = blobs(20)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"train_features": torch.zeros(0, 12)}, r"train_features must have shape \[N, C\] .*, got \(0, 12\)"),
            ({"train_features": torch.zeros(20, 3, 4)}, "train_features must have shape"),
            ({"test_features": torch.zeros(20, 13)}, "as many features, got 12 and 13"),
            (
                {"test_features": torch.full((20, 12), math.nan)},
                "test_features must be finite, got NaN .* 20 of the 20",
            ),
            ({"train_features": torch.full((20, 12), math.inf)}, "train_features must be finite"),
            ({"train_labels": torch.zeros(20)}, "train_labels must be 20 integers, one an image, got float32"),
            ({"train_labels": torch.zeros(19, dtype=torch.int64)}, "train_labels must be 20 integers"),
            ({"train_labels": torch.full((20,), -1)}, r"train_labels must lie in \[0, 0\), got -1"),
            ({"classes": 3}, r"train_labels must lie in \[0, 3\), got 3"),
            ({"classes": 0}, "classes must be at least 1, got 0"),
        ],
    )
    def test_of_both(self, change, message):
        given = {"train_features": self.x, "train_labels": self.y, "test_features": self.x} | change
        with pytest.raises(ValueError, match=message):
            knn(**given, k=5)
        with pytest.raises(ValueError, match=message):
            linear_probe(**given, test_labels=self.y)

    def test_of_the_linear_probe(self):
        with pytest.raises(ValueError, match=r"each class of test_labels, but have none of \[7\]"):
            linear_probe(self.x, self.y, self.x, torch.where(self.y == 1, 7, self.y))
        with pytest.raises(
            ValueError, match=r"loss must stay finite, got (nan|inf) in epoch \d+: lr 1e\+38 is too high"
        ):
            linear_probe(self.x, self.y, self.x, self.y, ProbeRecipe(lr=1e38, batch_size=4))
        with pytest.raises(ValueError, match="lr must be positive and finite, got -1"):
            ProbeRecipe(lr=-1.0)
        with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
            linear_probe(self.x, self.y, self.x, self.y, seed=-1)

    def test_of_probes_that_see_images(self):
        batches = [images(16)]
        for probe in (probe_images, finetune):
            with pytest.raises(TypeError, match=r"train_batches must .* every epoch, got generator"):
                probe(Net(), (batch for batch in batches), batches, classes=2)
            with pytest.raises(ValueError, match="at least one image, got none"):
                probe(Net(), batches, [], classes=2)
            unseen = [(images(16)[0], torch.arange(16) % 3)]
            with pytest.raises(ValueError, match=r"each class of test_labels, but have none of \[2\]"):
                probe(Net(), batches, unseen, ProbeRecipe(lr=0.1, epochs=1), classes=3)
        singles = [(batches[0][0][i : i + 1], batches[0][1][i : i + 1]) for i in range(4)]
        with pytest.raises(ValueError, match="train_batches must hold batches of at least two images, got none"):
            finetune(Net(), singles, batches, classes=2)
        with pytest.raises(TypeError, match=r"test_batches must .* every epoch, got map"):
            finetune(Net(), batches, map(tuple, batches), classes=2)
        with pytest.raises(ValueError, match="network must have a parameter that requires a gradient, got none"):
            finetune(Net().requires_grad_(False), batches, batches, classes=2)
        with pytest.raises(ValueError, match="training batches must hold at least one image"):
            probe_images(Net(), [], [images(4)], classes=2)
        with pytest.raises(ValueError, match=r"labels of train_batches must lie in \[0, 1\), got 1"):
            finetune(Net(), [images(16)], [images(4)], classes=1)

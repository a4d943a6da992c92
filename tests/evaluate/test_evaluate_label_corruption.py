"""Corrupted labels, gold images, the estimate and the loss, against NumPy's draws and formulas."""

import numpy as np
import pytest
import torch

from texfilters.evaluate import label_corruption as lc

# The class that each class's images are flipped to by the authors' code, with its seed of 1: after
# np.random.seed(1), for each class i in turn, np.random.choice of the others in order.
FLIPS_OF_10 = [6, 9, 6, 0, 0, 1, 8, 6, 2, 4]


def softmax(logits):
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


class TestMatrices:
    def test_uniform(self):
        expected = 0.6 * np.full((4, 4), 1 / 4) + 0.4 * np.eye(4)
        np.testing.assert_allclose(lc.uniform_corruption(4, 0.6).numpy(), expected, rtol=1e-15)
        assert lc.corruption_matrix("uniform", 4, 0.6).equal(lc.uniform_corruption(4, 0.6))

    def test_flip_is_the_authors(self):
        expected = np.eye(10) * 0.4
        expected[np.arange(10), FLIPS_OF_10] = 0.6
        np.testing.assert_allclose(lc.flip_corruption(10, 0.6).numpy(), expected, rtol=1e-15)
        assert lc.corruption_matrix("flip", 10, 0.6).equal(lc.flip_corruption(10, 0.6))

    @pytest.mark.parametrize("seed", range(5))
    def test_flip_goes_to_one_other_class(self, seed):
        given = lc.flip_corruption(7, 0.25, seed=seed).numpy()
        assert (np.diag(given) == 0.75).all()
        assert (np.sort(given, axis=1)[:, :-1] == [0, 0, 0, 0, 0, 0.25]).all()

    @pytest.mark.parametrize("corruption", ["uniform", "flip"])
    def test_without_corruption_labels_stay(self, corruption):
        assert lc.corruption_matrix(corruption, 5, 0).equal(torch.eye(5, dtype=torch.float64))

    def test_bad_input(self):
        with pytest.raises(ValueError, match=r"probability must lie in \[0, 1\], got 1\.2"):
            lc.uniform_corruption(10, 1.2)
        with pytest.raises(ValueError, match="classes must be at least 2, got 1"):
            lc.flip_corruption(1, 0.2)
        with pytest.raises(ValueError, match="corruption must be one of 'uniform', 'flip', got 'swap'"):
            lc.corruption_matrix("swap", 10, 0.2)


class TestLabels:
    @pytest.mark.parametrize("corruption", ["uniform", "flip"])
    def test_draws_are_those_of_the_authors_loop(self, corruption):
        labels = torch.randint(10, (3000,))
        given = lc.corruption_matrix(corruption, 10, 0.6)
        np.random.seed(4)
        expected = [np.random.choice(10, p=given.numpy()[label]) for label in labels.tolist()]
        assert lc.corrupted_labels(labels, given, seed=4).tolist() == expected

    def test_shares_are_those_of_the_matrix(self):
        labels = torch.arange(4).repeat(20_000)
        given = torch.tensor([[0.7, 0.3, 0, 0], [0.1, 0.2, 0.3, 0.4], [0, 0, 1, 0], [0.25] * 4])
        drawn = lc.corrupted_labels(labels, given)
        shares = torch.bincount(labels * 4 + drawn, minlength=16).view(4, 4) / 20_000
        assert drawn.dtype == torch.int64
        assert (shares[given == 0] == 0).all()
        assert (shares - given).abs().max() < 4 * np.sqrt(0.25 / 20_000)

    def test_seeds_differ_and_repeat(self):
        labels, given = torch.arange(10).repeat(50), lc.uniform_corruption(10, 0.8)
        assert lc.corrupted_labels(labels, given, seed=1).equal(lc.corrupted_labels(labels, given, seed=1))
        assert not lc.corrupted_labels(labels, given, seed=1).equal(lc.corrupted_labels(labels, given, seed=2))

    def test_bad_input(self):
        labels = torch.arange(4)
        with pytest.raises(ValueError, match="corruption must have rows >= 0 that sum to 1"):
            lc.corrupted_labels(labels, torch.full((4, 4), 0.3))
        for bad in (torch.nan, torch.inf):
            with pytest.raises(ValueError, match="corruption must have rows >= 0 that sum to 1"):
                lc.corrupted_labels(labels, torch.eye(4) * bad)
        with pytest.raises(ValueError, match=r"labels must lie in \[0, 3\), got 3"):
            lc.corrupted_labels(labels, torch.eye(3))
        with pytest.raises(ValueError, match=r"corruption must have shape \[K, K\], got \(3, 4\)"):
            lc.corrupted_labels(labels, torch.ones(3, 4))


class TestGold:
    def test_the_share_and_every_class(self):
        labels = torch.arange(10).repeat_interleave(60)  # in order: the first twentieth is of one class
        for seed in range(20):
            gold = lc.gold_images(labels, 0.05, seed=seed)
            assert gold.dtype == torch.bool
            assert gold.sum() == 30
            assert labels[gold].unique().tolist() == list(range(10))

    def test_it_is_the_first_order_with_all_classes(self):
        labels = torch.arange(4).repeat(5)
        draws = np.random.RandomState(3)
        tries = 0
        while True:
            tries += 1
            places = draws.permutation(20)[:4]
            if len(set(labels[places].tolist())) == 4:
                break
        assert tries > 1, "another seed, for the sake of the test"
        assert lc.gold_images(labels, 0.2, seed=3).nonzero()[:, 0].tolist() == sorted(places.tolist())

    def test_a_share_is_rounded(self):
        assert lc.gold_images(torch.arange(2).repeat(50), 0.29).sum() == 29  # int(0.29 * 100) is 28

    def test_bad_input(self):
        labels = torch.arange(10).repeat(10)
        with pytest.raises(ValueError, match=r"at least 10 gold images.*got 0\.05, which makes 5 of 100 gold"):
            lc.gold_images(labels, 0.05)
        for fraction in (0, 1):
            with pytest.raises(ValueError, match=f"fraction must lie between 0 and 1, got {fraction}"):
                lc.gold_images(labels, fraction)
        with pytest.raises(ValueError, match="leave a silver one"):
            lc.gold_images(labels, 0.999)
        rare = torch.cat([torch.zeros(10_000, dtype=torch.int64), torch.arange(8)])
        with pytest.raises(ValueError, match=r"\[1, 2, 3\] are too rare"):
            lc.gold_images(rare, 1e-3)


class TestEstimate:
    def test_is_the_mean_softmax_of_each_class(self):
        logits, labels = torch.randn(50, 4) * 5, torch.arange(50) % 4
        s = softmax(logits.double().numpy())
        expected = [s[labels.numpy() == i].mean(0) for i in range(4)]
        found = lc.estimated_corruption(logits, labels)
        assert found.dtype == torch.float64
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)

    def test_a_network_that_knows_the_corruption(self):
        truth = lc.flip_corruption(6, 0.7)
        labels = torch.arange(6).repeat(3)
        logits = truth.clamp(min=1e-30).log()[labels]
        np.testing.assert_allclose(lc.estimated_corruption(logits, labels).numpy(), truth.numpy(), atol=1e-12)

    def test_bad_input(self):
        logits, labels = torch.randn(6, 4), torch.tensor([0, 1, 1, 3, 0, 0])
        with pytest.raises(ValueError, match=r"a gold image of each of the 4 classes, but have none of \[2\]"):
            lc.estimated_corruption(logits, labels)
        logits[2, 1] = torch.nan
        with pytest.raises(ValueError, match="logits must be finite, got NaN or infinity for 1 of the 6 images"):
            lc.estimated_corruption(logits, labels)


class TestLoss:
    @pytest.fixture
    def batch(self):
        torch.manual_seed(5)
        logits = torch.randn(12, 5, dtype=torch.float64, requires_grad=True)
        corruption = torch.rand(5, 5, dtype=torch.float64).softmax(1)
        return logits, torch.randint(5, (12,)), torch.arange(12) % 3 == 0, corruption

    def test_is_the_formula(self, batch):
        logits, labels, gold, corruption = batch
        s, y, c = softmax(logits.detach().numpy()), labels.numpy(), corruption.numpy()
        expected = sum(-np.log(s[i, y[i]]) if gold[i] else -np.log(c.T[y[i]] @ s[i]) for i in range(12)) / 12
        assert lc.glc_loss(*batch).item() == pytest.approx(expected, rel=1e-13)

    def test_gradient(self, batch):
        assert torch.autograd.gradcheck(lambda logits: lc.glc_loss(logits, *batch[1:]), batch[0])

    def test_without_corruption_it_is_the_cross_entropy(self, batch):
        logits, labels, gold, _ = batch
        expected = torch.nn.functional.cross_entropy(logits, labels)
        for trusted in (gold, torch.zeros_like(gold), torch.ones_like(gold)):
            assert lc.glc_loss(logits, labels, trusted, torch.eye(5)).item() == pytest.approx(expected.item())

    def test_its_minimum_over_silver_labels_is_the_right_class(self):
        corruption = lc.flip_corruption(5, 0.6)
        labels = lc.corrupted_labels(torch.full((20_000,), 2), corruption)
        silver = torch.zeros(20_000, dtype=torch.bool)
        costs = [
            lc.glc_loss(torch.eye(5)[answer].mul(9).expand(20_000, 5), labels, silver, corruption).item()
            for answer in range(5)
        ]
        assert int(np.argmin(costs)) == 2
        assert labels.bincount().argmax() != 2, "plain cross-entropy would prefer another class"

    def test_sure_answers_stay_finite(self):
        logits = torch.tensor([[1000.0, 0, -1000]] * 3, requires_grad=True)
        labels, gold = torch.tensor([2, 2, 1]), torch.tensor([False, True, False])
        corruption = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 1, 0]])  # nothing is labelled 2
        loss = lc.glc_loss(logits, labels, gold, corruption)
        # The first: -log of the smallest normal number; the others: what their logits differ by.
        expected = (-np.log(np.finfo(np.float32).tiny) + 2000 + min(1000, -np.log(np.finfo(np.float32).tiny))) / 3
        assert loss.item() == pytest.approx(expected, rel=1e-6)
        loss.backward()
        assert logits.grad.isfinite().all()

    def test_half_precision_and_autocast_change_nothing(self, batch):
        logits, labels, gold, corruption = batch
        half = logits.detach().bfloat16()
        expected = lc.glc_loss(half.float(), labels, gold, corruption)
        assert expected.dtype == torch.float32
        with torch.autocast("cpu", torch.bfloat16):
            assert lc.glc_loss(half, labels, gold, corruption).equal(expected)

    def test_bad_input(self, batch):
        logits, labels, gold, corruption = batch
        with pytest.raises(ValueError, match=r"logits must have shape \[B, 4\] with B of at least 1, got \(12, 5\)"):
            lc.glc_loss(logits, labels, gold, corruption[:4, :4])
        with pytest.raises(ValueError, match="12 integers and bools, one an image"):
            lc.glc_loss(logits, labels, gold.long(), corruption)
        with pytest.raises(ValueError, match=r"12 integers and bools, one an image, got torch\.float64"):
            lc.glc_loss(logits, labels.double(), gold, corruption)
        with pytest.raises(ValueError, match=r"logits must have shape \[B, 5\] with B of at least 1, got \(0, 5\)"):
            lc.glc_loss(logits[:0], labels[:0], gold[:0], corruption)

    def test_labels_of_any_integer_type(self, batch):
        logits, labels, gold, corruption = batch
        expected = lc.glc_loss(logits, labels, gold, corruption)
        for dtype in (torch.uint8, torch.int16, torch.int32):
            assert lc.glc_loss(logits, labels.to(dtype), gold, corruption).equal(expected)


class TestArea:
    def test_is_numpys(self):
        p, errors = [0.1, 0.2, 0.6, 1.0], [0.05, 0.1, 0.3, 0.9]
        assert lc.area_under_error_curve(p, errors) == pytest.approx(np.trapezoid(errors, p), rel=1e-12)

    def test_a_constant(self):
        p = [k / 10 for k in range(1, 11)]
        assert lc.area_under_error_curve(p, [0.5] * 10) == pytest.approx(0.45)

    def test_bad_input(self):
        with pytest.raises(ValueError, match="probabilities must rise"):
            lc.area_under_error_curve([0.2, 0.2], [0.1, 0.1])
        with pytest.raises(ValueError, match="as many, at least 2, got 1 and 1"):
            lc.area_under_error_curve([0.2], [0.1])
        with pytest.raises(ValueError, match=r"errors must lie in \[0, 1\], got nan"):
            lc.area_under_error_curve([0.2, 0.6], [0.1, float("nan")])

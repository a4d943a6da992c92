"""Nearest neighbors and the answers of classifiers against plain loops and scikit-learn."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, top_k_accuracy_score
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from probe_cases import blobs
from texfilters.evaluate import classification, knn, probes


def votes_by_hand(train, labels, tested, k, temperature, classes):
    """One image after the other, in float64; of equal cosines the first."""
    result = np.zeros((len(tested), classes))
    unit = train / np.linalg.norm(train, axis=1, keepdims=True)
    for i, row in enumerate(tested):
        cosines = unit @ (row / np.linalg.norm(row))
        for j in np.argsort(-cosines, kind="stable")[:k]:
            result[i, labels[j]] += math.exp(cosines[j] / temperature)
    return result / result.sum(1, keepdims=True)


class TestNearestNeighbors:
    @pytest.mark.parametrize("k", [1, 7, 60, 61])
    @pytest.mark.parametrize("temperature", [0.07, 1.0])
    def test_votes_are_those_of_a_plain_loop(self, k, temperature):
        train, labels = blobs(61)
        tested, _ = blobs(23, seed=1)
        expected = votes_by_hand(train.double().numpy(), labels.numpy(), tested.double().numpy(), k, temperature, 4)
        votes = knn(train, labels, tested, k=k, temperature=temperature)
        np.testing.assert_allclose(votes.numpy(), expected, atol=3e-6)  # float32 cosines over a temperature of 0.07

    def test_scikit_learn_agrees(self):
        train, labels = blobs(80)
        tested, _ = blobs(31, seed=1)
        other = KNeighborsClassifier(
            n_neighbors=9, metric="cosine", algorithm="brute", weights=lambda d: np.exp((1 - d) / 0.07)
        )
        other.fit(train.double().numpy(), labels.numpy())
        expected = other.predict_proba(tested.double().numpy())
        np.testing.assert_allclose(knn(train, labels, tested, k=9).numpy(), expected, atol=3e-6)

    def test_a_temperature_that_would_overflow_leaves_the_nearest_alone(self):
        train, labels = blobs(50)
        votes = knn(train, labels, train, k=20, temperature=1e-5)
        assert torch.equal(votes, nn.functional.one_hot(labels, 4).float())

    def test_parts_do_not_change_the_votes(self, monkeypatch):
        train, labels = blobs(40)
        tested, _ = blobs(33, seed=1)
        whole = knn(train, labels, tested, k=5)
        for rows in (1, 4, 32):
            monkeypatch.setattr(probes, "_CELLS", 40 * rows)
            # Another number of rows may be multiplied in another order.
            torch.testing.assert_close(knn(train, labels, tested, k=5), whole, rtol=0, atol=1e-5)

    def test_memory_is_bounded_by_the_parts(self, monkeypatch):
        rows = []
        greatest = probes._greatest
        monkeypatch.setattr(probes, "_greatest", lambda cosines, k: rows.append(len(cosines)) or greatest(cosines, k))
        monkeypatch.setattr(probes, "_CELLS", 100)
        train, labels = blobs(30)
        knn(train, labels, train, k=3)
        assert rows == [3] * 10

    def test_of_equal_cosines_the_first_is_nearer(self):
        # Every training image twice and more; an axis of its own each, so that products are exact.
        train = torch.eye(4).repeat(6, 1)
        labels = torch.arange(24)
        votes = knn(train, labels, torch.eye(4), k=2)
        for i in range(4):
            assert votes[i].nonzero()[:, 0].tolist() == [i, i + 4]
        far = knn(train, labels, -torch.eye(4), k=3)  # all the others have a cosine of 0
        assert far[0].nonzero()[:, 0].tolist() == [1, 2, 3]
        assert far[1].nonzero()[:, 0].tolist() == [0, 2, 3]

    def test_order_of_the_training_images_is_nothing(self):
        train, labels = blobs(200)
        tested, _ = blobs(20, seed=1)
        order = torch.randperm(200)
        other = knn(train[order], labels[order], tested, k=31)
        torch.testing.assert_close(other, knn(train, labels, tested, k=31), rtol=0, atol=1e-5)

    def test_a_feature_of_zeros_is_far_from_nothing_and_no_nan(self):
        train, labels = blobs(10)
        assert knn(train, labels, torch.zeros(1, 12), k=10).sum().item() == pytest.approx(1)

    @pytest.mark.parametrize("scale", [1e-36, 1e-30, 1e-13, 1e15, 1e30, 1e37])
    def test_only_directions_count(self, scale):
        # Squares of these do not fit into float32.
        train, labels = blobs(40)
        tested, _ = blobs(9, seed=1)
        expected = knn(train, labels, tested, k=5)
        votes = knn(train * scale, labels, tested / 8 * scale, k=5)
        np.testing.assert_allclose(votes.numpy(), expected.numpy(), atol=1e-5)

    def test_float64_beyond_float32(self):
        train, labels = blobs(40)
        votes = knn(train.double() * 1e300, labels, train.double() * 1e-300, k=5)
        np.testing.assert_allclose(votes.numpy(), knn(train, labels, train, k=5).numpy(), atol=1e-5)

    def test_half_precision_features_and_autocast_are_computed_in_float32(self):
        train, labels = blobs(50)
        train = train.bfloat16()
        expected = knn(train.float(), labels, train.float(), k=9)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(knn(train, labels, train, k=9), expected)

    def test_classes_without_an_example_get_no_vote(self):
        train, labels = blobs(20)
        assert torch.equal(knn(train, labels, train, k=3, classes=6)[:, 4:], torch.zeros(20, 2))

    def test_bad_input(self):
        train, labels = blobs(20)
        with pytest.raises(ValueError, match=r"k must lie in \[1, 20\], got 200"):
            knn(train, labels, train)
        with pytest.raises(ValueError, match="temperature must be positive and finite, got 0"):
            knn(train, labels, train, k=5, temperature=0)
        with pytest.raises(TypeError, match="train_features must be floating point, got uint8"):
            knn(train.byte(), labels, train, k=5)


class TestClassification:
    def test_scikit_learn_agrees(self):
        scores, labels = torch.randn(300, 9), torch.randint(9, (300,))
        result = classification(scores, labels)
        expected = confusion_matrix(labels, scores.argmax(1), labels=range(9))
        assert np.array_equal(result.confusion.numpy(), expected)
        assert result.accuracy == pytest.approx(np.trace(expected) / 300)
        assert result.top5 == pytest.approx(top_k_accuracy_score(labels, scores, k=5))
        np.testing.assert_allclose(result.by_class.numpy(), np.diag(expected) / expected.sum(1))
        assert torch.equal(result.answers, scores.argmax(1))

    def test_a_class_without_images_has_no_accuracy(self):
        result = classification(torch.eye(3)[[0, 1, 2, 2]], torch.tensor([0, 0, 1, 0]))
        assert result.by_class[:2].tolist() == [pytest.approx(1 / 3), 0]
        assert result.by_class[2].isnan()
        assert result.balanced_accuracy == pytest.approx(1 / 6)

    @pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
    def test_labels_of_any_integers(self, dtype):
        scores, labels = torch.randn(50, 120), torch.randint(120, (50,))
        expected, result = classification(scores, labels), classification(scores, labels.to(dtype))
        assert torch.equal(result.confusion, expected.confusion)
        assert (result.accuracy, result.top5) == (expected.accuracy, expected.top5)

    def test_equal_scores_are_no_help(self):
        # The lowest class is the answer, and five of ten classes are the first five.
        result = classification(torch.zeros(10, 10), torch.arange(10))
        assert (result.accuracy, result.top5) == (0.1, 0.5)

    def test_bad_input(self):
        with pytest.raises(ValueError, match="scores must be finite, got NaN or infinity for 1 of the 2 images"):
            classification(torch.tensor([[0.0, 1.0], [math.nan, 0.0]]), torch.zeros(2, dtype=torch.int64))
        with pytest.raises(ValueError, match=r"labels must lie in \[0, 2\), got 2"):
            classification(torch.eye(2), torch.tensor([0, 2]))

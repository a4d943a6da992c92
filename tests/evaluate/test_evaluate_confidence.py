"""Confidence, entropy and calibration against plain loops."""

import math

import numpy as np
import pytest
import torch
from sklearn.calibration import calibration_curve
from torch import nn

from texfilters.evaluate import confidence
from texfilters.evaluate.confidence import (
    NetworkAnswers,
    answers,
    calibration,
    network_answers,
    reliability_diagram,
    shared_confidence,
)
from texfilters.evaluate.figures import save


def drawn(n=200, classes=6, sharpness=2.0, seed=0):
    """Logits that favor the labels, and these."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(classes, (n,), generator=torch.Generator().manual_seed(77))
    logits = sharpness * torch.randn(n, classes, generator=generator)
    return logits + nn.functional.one_hot(labels, classes) * sharpness, labels


class TestAnswers:
    def test_by_hand(self, monkeypatch):
        logits, labels = drawn()
        probabilities = logits.double().softmax(1)
        got = answers(probabilities, labels)
        for i, row in enumerate(probabilities.tolist()):
            assert got.classes[i] == row.index(max(row))
            assert got.top[i].item() == pytest.approx(max(row), rel=1e-6)
            assert got.entropy[i].item() == pytest.approx(-sum(p * math.log(p) for p in row), rel=1e-5)
        monkeypatch.setattr(confidence, "_CELLS", 6 * 7)
        parts = answers(probabilities, labels)
        assert torch.equal(parts.entropy, got.entropy)
        assert torch.equal(parts.top, got.top)

    def test_the_ends(self):
        certain = answers(torch.tensor([[0.0, 1.0], [0.5, 0.5]]), torch.tensor([1, 0]))
        assert certain.entropy.tolist() == pytest.approx([0, math.log(2)])
        assert certain.top.tolist() == [1, 0.5]
        assert certain.right.tolist() == [True, True]

    def test_a_network_gives_the_same_batch_by_batch(self):
        logits, labels = drawn()
        network = nn.Linear(6, 6)
        nn.init.eye_(network.weight)
        nn.init.zeros_(network.bias)
        batches = [(255 * logits[:64], labels[:64]), (255 * logits[64:], labels[64:])]
        got = network_answers(network, batches, transform=lambda batch: batch[0] / 255)
        expected = answers(logits.softmax(1), labels)
        assert torch.equal(got.classes, expected.classes)
        assert torch.equal(got.labels, labels)
        torch.testing.assert_close(got.entropy, expected.entropy)
        torch.testing.assert_close(got.top, expected.top)
        assert network.training

    def test_bad_input(self):
        logits, labels = drawn(10)
        with pytest.raises(ValueError, match="sum to 1, got 10 rows that do not"):
            answers(logits, labels)
        with pytest.raises(ValueError, match="got 1 rows that do not, one of sum 1"):
            answers(torch.tensor([[1.5, -0.5]]), torch.tensor([0]))
        with pytest.raises(ValueError, match="got NaN or infinity for 10 of the 10 images"):
            answers(logits * math.nan, labels)
        with pytest.raises(ValueError, match=r"labels must lie in \[0, 6\)"):
            answers(logits.softmax(1), labels + 6)
        with pytest.raises(ValueError, match="got NaN or infinity for 10 of the 10 images"):
            network_answers(lambda x: x * math.nan, [(logits, labels)])
        with pytest.raises(ValueError, match="at least one image"):
            network_answers(nn.Identity(), [])
        with pytest.raises(ValueError, match="at least one image"):
            network_answers(nn.Identity(), [(logits[:0], labels[:0])])
        with pytest.raises(ValueError, match=r"logits \[B, C\] for 10 images, got dict"):
            network_answers(lambda x: {"logits": x}, [(logits, labels)])
        with pytest.raises(ValueError, match="as many classes for every batch, got 6 and 4"):
            network_answers(nn.Identity(), [(logits, labels), (logits[:, :4], labels % 4)])
        with pytest.raises(ValueError, match="labels must be 10 integers, one an image, got float32"):
            network_answers(nn.Identity(), [(logits, labels + 0.5)])
        with pytest.raises(ValueError, match=r"labels must lie in \[0, 6\), got"):
            network_answers(nn.Identity(), [(logits, labels + 6)])


class TestSharedConfidence:
    def test_by_hand(self):
        first, labels = drawn(seed=1)
        second, _ = drawn(seed=2, sharpness=4.0)
        got = shared_confidence({"a": answers(first.softmax(1), labels), "b": answers(second.softmax(1), labels)})
        for name, logits in (("a", first), ("b", second)):
            entropies, tops = [], []
            for one, other, label, row in zip(first, second, labels, logits.double().softmax(1), strict=True):
                if one.argmax() == label == other.argmax():
                    entropies.append(-(row * row.log()).sum().item())
                    tops.append(row.max().item())
            assert got[name].images == len(tops)
            assert got[name].entropy == pytest.approx(np.mean(entropies), rel=1e-5)
            assert got[name].top == pytest.approx(np.mean(tops), rel=1e-5)
        assert got["a"].entropy > got["b"].entropy

    def test_without_an_image_that_all_get_right_there_is_no_number(self):
        labels = torch.tensor([0, 1])
        a = answers(torch.tensor([[0.9, 0.1], [0.8, 0.2]]), labels)
        b = answers(torch.tensor([[0.1, 0.9], [0.2, 0.8]]), labels)
        got = shared_confidence({"a": a, "b": b})["a"]
        assert got.images == 0
        assert math.isnan(got.entropy)
        assert math.isnan(got.top)

    def test_bad_input(self):
        probabilities = torch.full((3, 2), 0.5)
        a, b = answers(probabilities, torch.zeros(3).long()), answers(probabilities, torch.ones(3).long())
        with pytest.raises(ValueError, match="labels of 'b' are others"):
            shared_confidence({"a": a, "b": b})
        with pytest.raises(ValueError, match="at least one model"):
            shared_confidence({})


class TestCalibration:
    @pytest.mark.parametrize("bins", [1, 4, 15])
    def test_by_hand(self, bins):
        logits, labels = drawn(500)
        given = answers(logits.softmax(1), labels)
        got = calibration(given, bins)
        expected, worst = 0.0, 0.0
        for m in range(bins):
            inside = [i for i, p in enumerate(given.top.tolist()) if m / bins < p <= (m + 1) / bins]
            assert got.counts[m] == len(inside)
            if not inside:
                assert math.isnan(got.accuracy[m])
                continue
            accuracy = given.right[inside].double().mean().item()
            certainty = given.top[inside].double().mean().item()
            assert got.accuracy[m] == pytest.approx(accuracy)
            assert got.confidence[m] == pytest.approx(certainty)
            expected += len(inside) / 500 * abs(accuracy - certainty)
            worst = max(worst, abs(accuracy - certainty))
        assert got.error == pytest.approx(expected)
        assert got.greatest == pytest.approx(worst)

    def test_scikit_learn_agrees(self):
        logits, labels = drawn(500)
        given = answers(logits.softmax(1), labels)
        got = calibration(given, 10)
        accuracy, certainty = calibration_curve(given.right.numpy(), given.top.numpy(), n_bins=10)
        filled = [m for m, count in enumerate(got.counts) if count]
        np.testing.assert_allclose([got.accuracy[m] for m in filled], accuracy, atol=1e-6)
        np.testing.assert_allclose([got.confidence[m] for m in filled], certainty, atol=1e-6)

    def test_an_edge_belongs_to_the_bin_below_it(self):
        given = answers(torch.tensor([[0.6, 0.4], [1.0, 0.0], [0.8, 0.2]]), torch.zeros(3).long())
        got = calibration(given, 5)
        assert got.counts == (0, 0, 1, 1, 1)
        assert got.error == pytest.approx((0.4 + 0.0 + 0.2) / 3)

    def test_figure(self, tmp_path):
        logits, labels = drawn(500)
        models = {
            "plain": calibration(answers(logits.softmax(1), labels)),
            "diffused": calibration(answers((3 * logits).softmax(1), labels)),
        }
        figure = reliability_diagram(models)
        save(figure, tmp_path / "reliability.svg")
        written = (tmp_path / "reliability.svg").read_text()
        assert all(f"expected error {100 * model.error:.1f} %" in written for model in models.values())
        for axes, model in zip(figure.axes, models.values(), strict=False):
            # Dark and pale parts of each bin that holds an image.
            bars = [(bar.get_x() + bar.get_width() / 2, bar.get_y(), bar.get_height()) for bar in axes.patches]
            bars = [bar for bar in bars if bar[0] > 0]  # less those of the legend
            filled = [(m + 0.5) / 15 for m, count in enumerate(model.counts) if count]
            assert [bar[0] for bar in bars] == pytest.approx(np.repeat(filled, 2))
            ends = [pale[1] + pale[2] for pale in bars[1::2]], [dark[2] for dark in bars[::2]]
            pairs = [pair for pair in zip(model.accuracy, model.confidence, strict=True) if pair[0] == pair[0]]
            assert ends[0] == pytest.approx([max(pair) for pair in pairs])
            assert ends[1] == pytest.approx([min(pair) for pair in pairs])
        with pytest.raises(ValueError, match="at least one model"):
            reliability_diagram({})
        for top in (torch.tensor([0.5, math.nan]), torch.tensor([0.5, 1.5]), torch.zeros(0)):
            given = NetworkAnswers(*torch.zeros(2, len(top), dtype=torch.int64), top, top)
            with pytest.raises(ValueError, match=r"given must hold probabilities in \[0, 1\] of at least one image"):
                calibration(given)
        with pytest.raises(ValueError, match="bins must be at least 1, got 0"):
            calibration(answers(logits.softmax(1), labels), 0)

"""Right answers counted by cell, and what a count refuses."""

import math

import pytest
import torch

from texfilters.evaluate._counting import RightAnswers

CPU = torch.device("cpu")


def test_shares_are_those_of_a_loop():
    counts = RightAnswers(["plain", "blurred"], CPU)
    right, images = [0, 0], [0, 0]
    for cell in (0, 1, 1, 0, 1):
        logits, labels = torch.randn(7, 4), torch.randint(4, (7,), dtype=torch.int32)
        counts.add(cell, logits, labels)
        right[cell] += sum(row.index(max(row)) == label for row, label in zip(logits.tolist(), labels, strict=True))
        images[cell] += 7
    assert counts.shares() == [r / n for r, n in zip(right, images, strict=True)]


@pytest.mark.parametrize(
    "labels", [torch.tensor([[1], [1], [0]]), torch.tensor([0.0, 1.0, 2.0]), torch.ones(3, dtype=torch.bool)]
)
def test_labels_are_one_integer_an_image(labels):
    # Labels [B, 1] would be compared with every answer of the batch.
    with pytest.raises(ValueError, match="labels must be 3 integers, one an image, got"):
        RightAnswers(["plain"], CPU).add(0, torch.eye(3), labels)


@pytest.mark.parametrize(
    ("logits", "labels", "message"),
    [
        (torch.eye(3), torch.tensor([0, 1, 3]), r"labels must lie in \[0, C\) of the C scores, got 1 that do not"),
        (torch.eye(3) * math.inf, torch.arange(3), "NaN or infinity for 3 of 3 images, plain"),
        (torch.zeros(3, 2, 2), torch.arange(3), r"scores \[B, C\] for 3 images, got shape \(3, 2, 2\)"),
        (torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64), "at least one image, got none"),
    ],
)
def test_bad_input_is_named(logits, labels, message):
    def shares():
        counts = RightAnswers(["plain"], CPU)
        counts.add(0, logits, labels)
        return counts.shares()

    with pytest.raises(ValueError, match=message):
        shares()

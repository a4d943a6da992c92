"""Answers against labels, and what features and labels must be for that."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from texfilters import _check


@dataclass(frozen=True)
class Classification:
    """How a classifier answers on N labeled images of C classes. Tensors are on the CPU.

    Attributes:
        accuracy: the share of right answers.
        top5: the share of images whose class is among the five of the highest scores; 1 for five classes or fewer.
        confusion: int64 `[C, C]`, how many images of the row's class were answered with the column's.
        answers: int64 `[N]`.
    """

    accuracy: float
    top5: float
    confusion: Tensor
    answers: Tensor

    @property
    def by_class(self) -> Tensor:
        """Accuracy on the images of each class, float64 `[C]`; NaN for a class without images."""
        return self.confusion.diagonal() / self.confusion.sum(1).double()

    @property
    def balanced_accuracy(self) -> float:
        """The mean of `by_class` over the classes that have images."""
        return self.by_class.nanmean().item()


@torch.no_grad()
def classification(scores: Tensor, labels: Tensor) -> Classification:
    """Compare the highest of each image's scores with its label; of equal scores the lower class is the answer.

    Args:
        scores: logits, probabilities or votes `[N, C]`.
        labels: integers `[N]`, on the device of `scores`.

    Raises:
        ValueError: for no image, scores that are NaN, labels outside `[0, C)`.
    """
    matrix("scores", scores)
    classes = scores.shape[1]
    class_labels("labels", labels, scores, classes)
    labels = labels.long()
    answers = scores.argmax(1)
    own = scores.gather(1, labels[:, None])
    earlier = torch.arange(classes, device=scores.device) < labels[:, None]
    rank = (scores > own).sum(1) + ((scores == own) & earlier).sum(1)
    confusion = torch.bincount(labels * classes + answers, minlength=classes * classes).view(classes, classes)
    return Classification(
        accuracy=(answers == labels).double().mean().item(),
        top5=(rank < 5).double().mean().item(),
        confusion=confusion.cpu(),
        answers=answers.cpu(),
    )


def matrix(name: str, values: Tensor) -> None:
    """Finite numbers `[N, C]`, a row an image."""
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(f"{name} must have shape [N, C] with N and C of at least 1, got {tuple(values.shape)}")
    if not values.is_floating_point():
        raise TypeError(f"{name} must be floating point, got {str(values.dtype).removeprefix('torch.')}")
    # One pass, which gives NaN where there is one; which images these are is asked only then.
    if not all(map(math.isfinite, torch.stack(values.aminmax()).tolist())):
        bad = len(values) - int(values.isfinite().all(1).sum())
        raise ValueError(f"{name} must be finite, got NaN or infinity for {bad} of the {len(values)} images")


def unit(rows: Tensor) -> Tensor:
    """float32 rows `[..., D]` of length 1, in the directions of rows of any length; rows of zeros stay zeros."""
    rows = rows if rows.dtype == torch.float64 else rows.float()
    # Else squares of great and of small numbers do not fit.
    greatest = rows.abs().amax(-1, keepdim=True)
    return functional.normalize((rows / greatest.where(greatest > 0, 1)).float(), dim=-1)


def returned(what: str, rows: Any, labels: Tensor) -> None:
    """Of a network: one row for each image."""
    if not isinstance(rows, Tensor) or rows.ndim != 2 or len(rows) != len(labels):
        got = f"shape {tuple(rows.shape)}" if isinstance(rows, Tensor) else type(rows).__name__
        raise ValueError(f"network must return {what} for {len(labels)} images, got {got}")


def integers(name: str, labels: Tensor, rows: Tensor) -> None:
    """One integer for each of the images that `rows` belongs to."""
    if labels.is_floating_point() or labels.dtype == torch.bool or labels.shape != rows.shape[:1]:
        dtype = str(labels.dtype).removeprefix("torch.")
        raise ValueError(f"{name} must be {len(rows)} integers, one an image, got {dtype} {list(labels.shape)}")


def class_labels(name: str, labels: Tensor, rows: Tensor, classes: int | None = None) -> int:
    """Labels of the images that `rows` belongs to; returns the number of classes, None being as many as there are."""
    integers(name, labels, rows)
    if labels.device != rows.device:
        raise ValueError(f"{name} must be on the device of the features, {rows.device}, got {labels.device}")
    least, most = (int(value) for value in labels.aminmax())
    classes = most + 1 if classes is None else _check.whole("classes", classes, least=1)
    if least < 0 or most >= classes:
        raise ValueError(f"{name} must lie in [0, {classes}), got {least if least < 0 else most}")
    return classes


def same_classes(train_labels: Tensor, test_labels: Tensor) -> None:
    """Every class that is tested has been shown in training."""
    missing = sorted(set(test_labels.unique().tolist()) - set(train_labels.unique().tolist()))
    if missing:
        raise ValueError(f"train_labels must have an example of each class of test_labels, but have none of {missing}")

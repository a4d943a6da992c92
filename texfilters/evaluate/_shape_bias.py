"""Whether a network goes by shape or by texture where the two disagree."""

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from texfilters import _check
from texfilters.evaluate._classification import class_labels
from texfilters.evaluate.class_mapping import SIXTEEN_CATEGORIES, Categories, category_probabilities
from texfilters.evaluate.cue_conflict import CueConflictAnswers, answers_on_folder, best, read_answers


class Decisions(NamedTuple):
    """How many images were answered with the category of their shape, of their texture, and with any other or none."""

    shape: int
    texture: int
    other: int

    @property
    def bias(self) -> float:
        """`shape / (shape + texture)`; NaN where no answer is either."""
        return self.shape / (self.shape + self.texture) if self.shape + self.texture else math.nan


@dataclass(frozen=True)
class ShapeBias:
    """How an observer answers to images whose shape and texture are of different categories.

    Attributes:
        overall: the share of shape decisions among the decisions for shape or texture; NaN where there are none.
        by_class: the same for the images of each shape; NaN also for a category without images.
        counts, counts_by_class: the decisions that these are shares of.
    """

    overall: float
    by_class: dict[str, float]
    counts: Decisions
    counts_by_class: dict[str, Decisions]


@dataclass(frozen=True)
class ShapeBiasInterval:
    """Lower and upper bounds of a `ShapeBias`; NaN where all decisions are for one cue, or none is for either."""

    confidence: float
    overall: tuple[float, float]
    by_class: dict[str, tuple[float, float]]


@torch.no_grad()
def shape_bias(
    probabilities: Tensor,
    shapes: Tensor | Sequence[int] | Sequence[str],
    textures: Tensor | Sequence[int] | Sequence[str],
    *,
    categories: Categories | None = None,
    logits: bool = False,
) -> ShapeBias:
    """Count decisions for shape and for texture, `shape / (shape + texture)`.

    The answer is the category of the highest mean probability over its classes, the first of equal ones; an image that
    gives all categories probability 0 is answered with none. Images whose shape is of the category of their texture
    show no conflict and do not count.

    Args:
        probabilities: `[N, C]`, of a network's classes or of the categories themselves.
        shapes, textures: the categories of N images each, as names or as integers, which are places in `categories`.
        categories: a mapping from each name to its classes, or the names of the C columns. None is
            `SIXTEEN_CATEGORIES` for 1,000 columns, its names in their order for 16, and numbers otherwise.
        logits: take `probabilities` as logits, and their softmax over all C classes.

    Raises:
        ValueError: for no image in conflict, another number of shapes or textures, a category that is not in
            `categories`, and as `category_probabilities`.

    Source: Geirhos et al. 2019, arXiv:1811.12231, section 2.
    """
    categories = _usual(probabilities) if categories is None else categories
    answers = best(category_probabilities(probabilities, categories, logits=logits))
    names = tuple(categories)
    shapes, textures = _places("shapes", shapes, names, answers), _places("textures", textures, names, answers)
    return _counted(names, shapes, textures, answers)


def shape_bias_from_answers(
    answers: CueConflictAnswers | str | os.PathLike[str], *, categories: Sequence[str] | None = None
) -> ShapeBias:
    """The shape bias of an observer whose answers are in a table, or are `CueConflictAnswers`.

    Args:
        answers: a CSV file as `read_answers` takes it.
        categories: their names; None is the 16 of Geirhos et al.

    Raises:
        ValueError: for no image in conflict, and as `read_answers`.
    """
    if not isinstance(answers, CueConflictAnswers):
        answers = read_answers(answers, SIXTEEN_CATEGORIES if categories is None else categories)
    elif categories is not None and tuple(categories) != answers.categories:
        raise ValueError(f"categories must be those of answers, {answers.categories}, got {tuple(categories)}")
    return _counted(answers.categories, answers.shapes, answers.textures, answers.answers)


def shape_bias_on_folder(
    network: Callable[[Tensor], Tensor],
    folder: str | os.PathLike[str],
    categories: Categories = SIXTEEN_CATEGORIES,
    *,
    transform: Callable[[Tensor], Tensor] | None = None,
    logits: bool = True,
    batch_size: int = 64,
    num_workers: int = 0,
    device: torch.device | str | None = None,
) -> ShapeBias:
    """The shape bias of a network on a folder of images named `shapeN-textureM`.

    Arguments and errors are those of `answers_on_folder`; ValueError also for a folder without images in conflict.
    """
    answers = answers_on_folder(
        network,
        folder,
        categories,
        transform=transform,
        logits=logits,
        batch_size=batch_size,
        num_workers=num_workers,
        device=device,
    )
    return shape_bias_from_answers(answers)


def shape_bias_interval(
    result: ShapeBias, *, confidence: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> ShapeBiasInterval:
    """Percentile intervals of a shape bias over resamples of the images, with replacement.

    A resample of N images is a multinomial draw of the three kinds of decisions, so none is drawn by its image. Those
    without a decision for shape or texture are left out. Decisions that are all for one cue stay so in every resample,
    which would look like certainty: their bounds are NaN.

    Args:
        confidence: between 0 and 1.
        resamples: how many, at least 100.
        seed: of the draws.

    Raises:
        ValueError: for a value out of its range.

    Source: Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 13.
    """
    confidence = _check.positive("confidence", confidence)
    if confidence >= 1:
        raise ValueError(f"confidence must lie in (0, 1), got {confidence}")
    resamples = _check.whole("resamples", resamples, least=100)
    draws = np.random.default_rng(seed)
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]

    def bounds(decisions: Decisions) -> tuple[float, float]:
        if not (decisions.shape and decisions.texture):
            return math.nan, math.nan
        drawn = draws.multinomial(sum(decisions), np.array(decisions) / sum(decisions), size=resamples)
        shape, texture, _ = drawn[drawn[:, :2].any(1)].T
        lower, upper = np.quantile(shape / (shape + texture), tails)
        return float(lower), float(upper)

    overall = bounds(result.counts)
    return ShapeBiasInterval(confidence, overall, {name: bounds(row) for name, row in result.counts_by_class.items()})


def _counted(names: tuple[str, ...], shapes: Tensor, textures: Tensor, answers: Tensor) -> ShapeBias:
    """All on one device: int64 `[N]`, of places in `names`."""
    kinds = torch.where(answers == shapes, 0, torch.where(answers == textures, 1, 2))
    cells = (3 * shapes + kinds)[shapes != textures]
    if not len(cells):
        raise ValueError(f"shapes and textures must differ for at least one image, got the same for all {len(shapes)}")
    counts = cells.bincount(minlength=3 * len(names)).view(-1, 3).cpu()
    by_class = {name: Decisions(*row) for name, row in zip(names, counts.tolist(), strict=True)}
    overall = Decisions(*counts.sum(0).tolist())
    return ShapeBias(overall.bias, {name: row.bias for name, row in by_class.items()}, overall, by_class)


def _usual(probabilities: Tensor) -> Categories:
    columns = probabilities.shape[-1] if probabilities.ndim else 0
    if columns == 1000:
        return SIXTEEN_CATEGORIES
    return tuple(SIXTEEN_CATEGORIES) if columns == 16 else [str(i) for i in range(columns)]


def _places(
    name: str, values: Tensor | Sequence[int] | Sequence[str], names: tuple[str, ...], answers: Tensor
) -> Tensor:
    """Places in `names`, on the device of the answers."""
    if not isinstance(values, Tensor):
        place = {category: i for i, category in enumerate(names)}
        unknown = [value for value in values if isinstance(value, str) and value not in place]
        if unknown:
            raise ValueError(f"{name} must be among {', '.join(names)}, got {unknown[0]!r}")
        values = torch.tensor([place[value] if isinstance(value, str) else value for value in values], device="cpu")
    values = values.to(answers.device)
    class_labels(name, values, answers, len(names))
    return values.long()

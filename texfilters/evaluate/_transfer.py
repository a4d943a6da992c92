"""How far features carry: probes trained on some images and tested on others, on classes and on coarser categories."""

import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from texfilters import _check
from texfilters.evaluate._classification import class_labels, classification, matrix
from texfilters.evaluate._training import ProbeRecipe
from texfilters.evaluate.class_mapping import category_probabilities
from texfilters.evaluate.own_classes import categories_of, usual_categories
from texfilters.evaluate.probes import knn, linear_probe

PROBES = ("linear", "knn")
ANSWERS = ("classes", "categories, added up", "categories, mean", "categories, own probe")

STANDARDIZED = ProbeRecipe(lr=0.1, epochs=50, milestones=(30, 40))
"""Ours, for linear classifiers on features that are standardized, so that it suits those of any network."""


@dataclass(frozen=True)
class LabeledFeatures:
    """Features of labeled images.

    Attributes:
        features: `[N, D]`.
        labels: integers `[N]` on their device, of places in `classes`.
        classes: the names of the classes.
    """

    features: Tensor
    labels: Tensor
    classes: tuple[str, ...]


@dataclass(frozen=True)
class Transfer:
    """How one kind of probe answers on one set of test images.

    Attributes:
        test: the name of that set.
        probe: one of `PROBES`.
        answers: one of `ANSWERS`.
        images: how many are tested: those whose class the probe can answer with.
        chance: the accuracy of guessing among the answers.
        accuracy, balanced_accuracy: a number for each seed; one alone for neighbors, which draw nothing.
    """

    test: str
    probe: str
    answers: str
    images: int
    chance: float
    accuracy: tuple[float, ...]
    balanced_accuracy: tuple[float, ...]

    @property
    def mean(self) -> float:
        return statistics.fmean(self.accuracy)

    @property
    def deviation(self) -> float:
        """The sample deviation over the seeds; NaN for one."""
        return deviation(self.accuracy)


def deviation(values: Sequence[float]) -> float:
    """The sample deviation, with n - 1 in the denominator; NaN for a single value."""
    return statistics.stdev(values) if len(values) > 1 else math.nan


@torch.no_grad()
def transfer(
    train: LabeledFeatures,
    tests: Mapping[str, LabeledFeatures],
    *,
    categories: Mapping[str, Any] | None = None,
    probes: Sequence[str] = PROBES,
    seeds: Sequence[int] = (0, 1, 2),
    recipe: ProbeRecipe = STANDARDIZED,
    standardize: bool = True,
    k: int = 200,
    temperature: float = 0.07,
) -> tuple[Transfer, ...]:
    """Train probes once, and test them on several sets of images, whose labels may be coarser.

    Images with the classes of the training images, or some of them, are answered with classes and, if `categories`
    puts several in one, with categories: that of the greatest sum of its classes' probabilities, and that of a probe
    trained on categories alone, on the images of their classes. Images labeled with categories are answered with that
    of the highest mean probability, as `category_probabilities` has it, and with that of the second probe. Images of
    other categories than these are left out, in training and in tests.

    Args:
        train: on one device with the tests.
        tests: by name.
        categories: as in `categories_of`; None asks no images with the classes of training for categories. Tests with
            other classes take these if they bear their names, else `usual_categories`.
        probes: some of `PROBES`.
        seeds: of the linear classifiers.
        recipe, standardize: of `linear_probe`.
        k: of `knn`, at most the number of training images; all vote if there are fewer.
        temperature: of `knn`.

    Returns: for every test, probe and kind of answer a `Transfer`, in that order.

    Raises:
        ValueError: for no test, seed or probe; classes that are neither those of training nor categories of them; a
            tested class without a training image; and as `linear_probe`, `knn` and `categories_of`.
    """
    if not tests or not seeds:
        raise ValueError(f"tests and seeds must hold at least one, got {list(tests)} and {list(seeds)}")
    probes = tuple(dict.fromkeys(_check.choice("probes", probe, PROBES) for probe in probes))
    if not probes:
        raise ValueError("probes must hold at least one, got none")
    _checked("train", train)
    given = None if categories is None else categories_of(categories, train.classes)
    questions = [q for name, test in tests.items() for q in _questions(name, test, train, given)]
    trained = _Trained(train, tuple(seeds), recipe, standardize, k, temperature)
    results = []
    for name in tests:
        for probe in probes:
            for question in questions:
                if question.test == name:
                    results.append(question.asked(trained, probe))
    return tuple(results)


@dataclass(frozen=True)
class _Question:
    """One set of images and one kind of answer to them."""

    test: str
    answers: str
    features: Tensor
    labels: Tensor  # places in the answers
    members: tuple[tuple[int, ...], ...]  # classes of training of each answer

    def asked(self, trained: "_Trained", probe: str) -> Transfer:
        own = self.answers == ANSWERS[3]
        outcomes = []
        for scores in trained.scores(probe, self.features, self.members if own else None):
            if self.answers in (ANSWERS[1], ANSWERS[2]):
                groups = {str(i): places for i, places in enumerate(self.members)}
                scores = category_probabilities(scores, groups, logits=probe == "linear")
                if self.answers == ANSWERS[1]:
                    scores = scores * torch.tensor([float(len(places)) for places in self.members]).to(scores)
            outcomes.append(classification(scores, self.labels))
        return Transfer(
            self.test,
            probe,
            self.answers,
            len(self.labels),
            1 / len(self.members),
            tuple(outcome.accuracy for outcome in outcomes),
            tuple(outcome.balanced_accuracy for outcome in outcomes),
        )


class _Trained:
    """Probes on the training features, each trained when it is first asked for."""

    def __init__(
        self,
        train: LabeledFeatures,
        seeds: tuple[int, ...],
        recipe: ProbeRecipe,
        standardize: bool,
        k: int,
        temperature: float,
    ) -> None:
        self.train, self.seeds, self.recipe, self.standardize = train, seeds, recipe, standardize
        self.k, self.temperature = _check.whole("k", k, least=1), temperature
        self._linear: dict[Any, list[Any]] = {}

    def scores(self, probe: str, features: Tensor, members: tuple[tuple[int, ...], ...] | None) -> Iterator[Tensor]:
        """Logits of linear classifiers, one a seed, or votes, for classes or for groups of them."""
        x, y, count = self._examples(members)
        if probe == "knn":
            yield knn(x, y, features, k=min(self.k, len(x)), temperature=self.temperature, classes=count)
            return
        if members not in self._linear:
            self._linear[members] = [
                linear_probe(
                    x, y, x[:1], y[:1], self.recipe, standardize=self.standardize, classes=count, seed=seed
                ).model
                for seed in self.seeds
            ]
        for model in self._linear[members]:
            yield model(features.float())

    def _examples(self, members: tuple[tuple[int, ...], ...] | None) -> tuple[Tensor, Tensor, int]:
        x, y = self.train.features, self.train.labels.long()
        if members is None:
            return x, y, len(self.train.classes)
        y = _regrouped(len(self.train.classes), members, y.device)[y]
        return x[y >= 0], y[y >= 0], len(members)


def _questions(
    name: str, test: LabeledFeatures, train: LabeledFeatures, given: dict[str, tuple[int, ...]] | None
) -> Iterator[_Question]:
    _checked(f"test {name!r}", test)
    device, labels = test.labels.device, test.labels.long()
    if test.features.device != train.features.device:
        raise ValueError(
            f"tests must be on the device of the training images, {train.features.device}, got {test.features.device} "
            f"for {name!r}"
        )
    places = {own: i for i, own in enumerate(train.classes)}
    singles = tuple((i,) for i in range(len(train.classes)))
    if set(test.classes) <= set(places):
        own = torch.tensor([places[each] for each in test.classes], device=device)[labels]
        _trained_on(name, own, train)
        yield _Question(name, ANSWERS[0], test.features, own, singles)
        if given is None or all(len(members) == 1 for members in given.values()):
            return
        members, kinds = tuple(given.values()), (ANSWERS[1], ANSWERS[3])
        coarse = _regrouped(len(train.classes), members, device)[own]
    else:
        for found in (given or {}, usual_categories(train.classes)):
            chosen = [category for category in found if category in test.classes]
            if len(chosen) > 1:
                break
        else:
            raise ValueError(
                f"tests must have classes of training, or two categories of them at least, got "
                f"{', '.join(test.classes)} for {name!r}: give categories of {', '.join(train.classes)}"
            )
        members, kinds = tuple(found[category] for category in chosen), (ANSWERS[2], ANSWERS[3])
        order = [chosen.index(each) if each in chosen else -1 for each in test.classes]
        coarse = torch.tensor(order, device=device)[labels]
    kept = coarse >= 0
    if not bool(kept.any()):
        raise ValueError(f"tests must hold images of the categories, got none in {name!r}")
    for kind in kinds:
        yield _Question(name, kind, test.features[kept], coarse[kept], members)


def _regrouped(classes: int, members: Sequence[Sequence[int]], device: torch.device) -> Tensor:
    """The group of each class, `[classes]`; -1 for one of none."""
    groups = torch.full((classes,), -1)
    for group, places in enumerate(members):
        groups[list(places)] = group
    return groups.to(device)


def _trained_on(name: str, labels: Tensor, train: LabeledFeatures) -> None:
    missing = sorted(set(labels.unique().tolist()) - set(train.labels.unique().tolist()))
    if missing:
        names = ", ".join(train.classes[i] for i in missing[:4])
        raise ValueError(f"tests must be of classes with a training image, got {names} without any in {name!r}")


def _checked(name: str, given: LabeledFeatures) -> None:
    matrix(f"features of {name}", given.features)
    class_labels(f"labels of {name}", given.labels, given.features, len(given.classes))
    if len(set(given.classes)) != len(given.classes):
        raise ValueError(f"classes of {name} must have different names, got {given.classes}")

"""The section of transfer: probes of each network's features across sets of images."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from texfilters.evaluate._training import ProbeRecipe
from texfilters.evaluate._transfer import PROBES, STANDARDIZED, LabeledFeatures, Transfer, deviation
from texfilters.evaluate._transfer import transfer as probed
from texfilters.evaluate.probes import features
from texfilters.evaluate.report import Cell, Section, Table
from texfilters.evaluate.sections._model import LabeledImages, Model, Models
from texfilters.evaluate.sections._numbers import percent
from texfilters.evaluate.transfer_figure import transfer_figure

TEXT = """\
What the features of each network give on images of other kinds. Probes are trained on {train} images of {classes}
classes, and tested on {tests}.

A linear classifier ({epochs} epochs, learning rate {lr:g}{standardized}) is trained with {seeds}; the deviation is
that of a sample. The {k} nearest neighbors draw nothing, and have none. Balanced accuracy is the mean over the classes
that are tested.

Where tests have coarser categories, or several classes are put in one: "added up" is the category of the greatest sum
of its classes' probabilities, "mean" that of the highest mean, as Geirhos et al. have it, and "own probe" is one
trained on the categories themselves.

Sources: He et al. 2020, arXiv:1911.05722, for linear classifiers; Wu et al. 2018, arXiv:1805.01978, for neighbors;
Geirhos et al. 2019, arXiv:1811.12231, for categories.\
"""


def transfer(
    models: Models,
    train: LabeledImages,
    tests: Mapping[str, LabeledImages],
    *,
    mapping: Mapping[str, Any] | None = None,
    probes: Sequence[str] = PROBES,
    seeds: Sequence[int] = (0, 1, 2),
    recipe: ProbeRecipe = STANDARDIZED,
    standardize: bool = True,
    k: int = 200,
    temperature: float = 0.07,
) -> Section:
    """Linear and nearest-neighbor probes of networks, which need no classifier of their own, as one table.

    Args:
        train: what probes are trained on.
        tests: by name, with the same classes, or with categories of them.
        mapping: from categories to the classes of `train`, as in `categories_of`.
        probes, seeds, recipe, standardize, k, temperature: as in `texfilters.evaluate.transfer`.

    Raises:
        ValueError: for no network, and as `texfilters.evaluate.transfer` and `features`.
    """
    if not models:
        raise ValueError("models must hold at least one model, got none")
    found: dict[str, tuple[Transfer, ...]] = {}
    for name, model in models.items():
        trained = _features(model, train)
        found[name] = probed(
            trained,
            {test: _features(model, images) for test, images in tests.items()},
            categories=mapping,
            probes=probes,
            seeds=seeds,
            recipe=recipe,
            standardize=standardize,
            k=k,
            temperature=temperature,
        )
    images = len(trained.labels)
    counts = {row.test: max(other.images for other in found[name] if other.test == row.test) for row in found[name]}
    return Section(
        name="transfer",
        title="Transfer",
        text=TEXT.format(
            train=images,
            classes=len(train.classes),
            tests=", ".join(f"{test} ({count} images)" for test, count in counts.items()),
            epochs=recipe.epochs,
            lr=recipe.lr,
            standardized=", features standardized" if standardize else "",
            seeds=f"{len(seeds)} seeds" if len(seeds) > 1 else "one seed",
            k=min(k, images),
        ),
        record={
            "train_images": images,
            "classes": list(train.classes),
            "recipe": dataclasses.asdict(recipe),
            "standardize": standardize,
            "seeds": list(seeds),
            "k": k,
            "temperature": temperature,
            "models": {
                name: [{**dataclasses.asdict(row), "mean": row.mean, "deviation": row.deviation} for row in rows]
                for name, rows in found.items()
            },
        },
        tables=(
            _table("Accuracy", "accuracy", found),
            _table("Balanced accuracy, the mean over the classes", "balanced_accuracy", found),
        ),
        figures={"Accuracy of probes by test": transfer_figure(found)},
    )


def _features(model: Model, images: LabeledImages) -> LabeledFeatures:
    x, labels = features(model.features, images, transform=model.view, device=model.device)
    return LabeledFeatures(x, labels, images.classes)


def _table(title: str, measure: str, found: Mapping[str, Sequence[Transfer]]) -> Table:
    """Means and deviations over the seeds of "accuracy" or "balanced_accuracy"."""
    rows: list[tuple[Cell, ...]] = []
    for row, *others in zip(*found.values(), strict=True):
        cells: list[Cell] = [row.test, row.probe, row.answers, row.images, percent(row.chance)]
        means = []
        for each in (row, *others):
            values = getattr(each, measure)
            means.append(statistics.fmean(values))
            cells += [percent(means[-1]), percent(deviation(values))]
        if len(means) == 2:
            cells.append(percent(means[1] - means[0]))
        rows.append(tuple(cells))
    measured = (title for name in found for title in (f"{name}, %", "deviation"))
    last = ("difference",) if len(found) == 2 else ()
    return Table(title, ("test", "probe", "answers", "images", "chance, %", *measured, *last), tuple(rows))

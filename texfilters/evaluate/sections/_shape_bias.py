"""The section of shape bias: networks and tables of answers on cue-conflict images."""

import itertools
import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils.data import DataLoader, Subset

from texfilters.evaluate._error_consistency import ErrorConsistency, error_consistency_from_answers
from texfilters.evaluate._shape_bias import ShapeBias, ShapeBiasInterval, shape_bias_from_answers, shape_bias_interval
from texfilters.evaluate._shape_bias_figure import shape_bias_figure
from texfilters.evaluate.class_mapping import SIXTEEN_CATEGORIES, category_probabilities
from texfilters.evaluate.cue_conflict import CueConflict, CueConflictAnswers, best, read_answers
from texfilters.evaluate.own_classes import shared_categories
from texfilters.evaluate.probes import features
from texfilters.evaluate.report import Cell, Section, Table
from texfilters.evaluate.sections._model import Models
from texfilters.evaluate.sections._numbers import difference, percent, spread_over

TEXT = """\
Images with the shape of one category and the texture of another. Of the answers that are either, the shape bias is the
share of those for the shape: 0 % is texture alone, 100 % shape alone. Images whose shape and texture agree do not
count.

{measured}

Other answers are with a third category, or of observers in tables with one that is not compared here. Lower and upper
bounds are 95 % bootstrap intervals over the images. Kappa is error consistency: 1 for observers that
err on the same images, 0 for what their accuracies alone explain.

Sources: Geirhos et al. 2019, arXiv:1811.12231; for kappa Geirhos, Meding and Wichmann 2020, arXiv:2006.16736.\
"""


def shape_bias(
    models: Models,
    stimuli: str | os.PathLike[str] | None = None,
    *,
    answers: Mapping[str, str | os.PathLike[str]] | None = None,
    mapping: Mapping[str, Any] | None = None,
    limit: int | None = None,
    batch_size: int = 64,
    num_workers: int = 0,
) -> Section:
    """The shape bias of networks on a folder of images named `shapeN-textureM`, and of raw tables of answers.

    Args:
        models: may be none where there are answers.
        stimuli: as `CueConflict` reads it; not needed without models.
        answers: CSV files as `read_answers` takes them, by the names of their observers.
        mapping: from categories to the networks' classes, as in `categories_of`; None takes what all networks tell of
            the 16 categories of Geirhos et al.
        limit: at most so many of the images, evenly over the folder.
        num_workers: processes that decode images.

    Raises:
        ValueError: for nothing to measure, one name for two observers, more than eight of them, and as `CueConflict`,
            `read_answers`, `shared_categories` and `features`.
    """
    answers = answers or {}
    if not models and not answers:
        raise ValueError("models or answers must hold at least one observer, got none")
    if twice := sorted(set(models) & set(answers)):
        raise ValueError(f"models and answers must have different names, got {twice[0]!r} for both")
    if models and stimuli is None:
        raise ValueError("stimuli must be a folder of images for models to answer to, got None")
    categories = _categories(models, mapping)
    names = tuple(next(iter(categories.values()))) if categories else tuple(mapping or SIXTEEN_CATEGORIES)
    observers: dict[str, CueConflictAnswers] = {}
    if models and stimuli is not None:
        observers |= _answered(models, stimuli, categories, limit, batch_size, num_workers)
    observers |= {name: read_answers(path, names) for name, path in answers.items()}
    results = {name: shape_bias_from_answers(given) for name, given in observers.items()}
    intervals = {name: shape_bias_interval(result) for name, result in results.items()}
    pairs = _pairs(observers)
    tables = [_overall(results, intervals), _by_category(results, names)]
    if pairs:
        tables.append(_consistency(pairs))
    measured = "; ".join(f"{name}: {sum(result.counts)} images in conflict" for name, result in results.items())
    return Section(
        name="shape-bias",
        title="Shape bias",
        text=TEXT.format(measured=f"Measured over {len(names)} categories ({', '.join(names)}). {measured}."),
        record={
            "categories": list(names),
            "classes": {name: {each: list(places) for each, places in own.items()} for name, own in categories.items()},
            "observers": {name: _recorded(results[name], intervals[name]) for name in results},
            "error_consistency": [
                {"first": first, "second": second, **({} if found is None else vars(found))}
                for (first, second), found in pairs.items()
            ],
        },
        tables=tuple(tables),
        figures={"Decisions for texture and for shape, by the category of the shape": shape_bias_figure(results)},
    )


def _categories(models: Models, mapping: Mapping[str, Any] | None) -> dict[str, dict[str, tuple[int, ...]]]:
    for name, model in models.items():
        if not model.classes:
            raise ValueError(f"models must have a classifier, but {name!r} has none")
    return shared_categories({name: model.classes for name, model in models.items()}, mapping) if models else {}


def _answered(
    models: Models,
    stimuli: str | os.PathLike[str],
    categories: Mapping[str, Mapping[str, Sequence[int]]],
    limit: int | None,
    batch_size: int,
    num_workers: int,
) -> dict[str, CueConflictAnswers]:
    images = CueConflict(stimuli, next(iter(categories.values())))
    places = spread_over(len(images), limit)
    loader = DataLoader(Subset(images, places), batch_size, num_workers=num_workers)
    # A few hundred MB at most: decoded once, however many networks look at them.
    batches = list(loader) if len(models) > 1 else loader
    kept = torch.tensor(places)
    observers = {}
    for name, model in models.items():
        logits, _ = features(model.logits, batches, transform=model.view, device=model.device)
        answers = best(category_probabilities(logits, categories[name], logits=True)).cpu()
        observers[name] = CueConflictAnswers(
            images.categories,
            tuple(images.images[i] for i in places),
            images.shapes[kept],
            images.textures[kept],
            answers,
        )
    return observers


def _pairs(observers: Mapping[str, CueConflictAnswers]) -> dict[tuple[str, str], ErrorConsistency | None]:
    """None for two who answered to different images."""
    result: dict[tuple[str, str], ErrorConsistency | None] = {}
    for first, second in itertools.combinations(observers, 2):
        same = set(observers[first].images) == set(observers[second].images)
        pair = observers[first], observers[second]
        result[first, second] = error_consistency_from_answers(*pair) if same else None
    return result


def _overall(results: Mapping[str, ShapeBias], intervals: Mapping[str, ShapeBiasInterval]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for name, result in results.items():
        lower, upper = intervals[name].overall
        images = sum(result.counts)
        cues = (result.counts.shape + result.counts.texture) / images
        rows.append((name, images, *result.counts, percent(cues), *map(percent, (result.overall, lower, upper))))
    if len(rows) == 2:
        rows.append((*difference(rows)[:-2], None, None))
    header = ("observer", "images", "shape", "texture", "other", "shape or texture, %", "shape bias, %")
    return Table("Decisions", (*header, "lower, %", "upper, %"), tuple(rows))


def _by_category(results: Mapping[str, ShapeBias], names: Sequence[str]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for category in names:
        biases = [result.by_class[category] for result in results.values()]
        gained = (percent(biases[1] - biases[0]),) if len(biases) == 2 else ()
        rows.append((category, *map(percent, biases), *gained))
    header = ("category", *(f"{name}, %" for name in results), *(("difference",) if len(results) == 2 else ()))
    return Table("Shape bias by the category of the shape", header, tuple(rows))


def _consistency(pairs: Mapping[tuple[str, str], ErrorConsistency | None]) -> Table:
    rows = tuple(
        (f"{first}, {second}", *((None,) * 4 if found is None else _shown(found)))
        for (first, second), found in pairs.items()
    )
    title = "Error consistency, for observers of the same images"
    return Table(title, ("pair", "kappa", "agree, %", "expected, %", "images"), rows)


def _shown(found: ErrorConsistency) -> tuple[Cell, ...]:
    return round(found.kappa, 4), percent(found.observed), percent(found.expected), found.images


def _recorded(result: ShapeBias, interval: ShapeBiasInterval) -> dict[str, Any]:
    return {
        "shape_bias": result.overall,
        "interval": list(interval.overall),
        "confidence": interval.confidence,
        "counts": result.counts._asdict(),
        "by_category": {
            name: {"shape_bias": bias, "interval": list(interval.by_class[name]), "counts": counts._asdict()}
            for (name, bias), counts in zip(result.by_class.items(), result.counts_by_class.values(), strict=True)
        },
    }

"""The section on what contrastive models hold for similar."""

import dataclasses
from collections.abc import Callable, Mapping
from itertools import accumulate
from typing import Any

from torch import Tensor

from texfilters.evaluate._similarity import Histogram, Similarity, similarity_figure, similarity_histograms
from texfilters.evaluate._training import seeded
from texfilters.evaluate.report import Section, Table
from texfilters.evaluate.sections._model import LabeledImages, Models

BINS = 2000  # so that networks are told apart, too, all of whose cosines are near 1, as before training
DRAWN = 70  # at least

TEXT = """\
Cosines between embeddings of {images} images. A query is one random view of an image, its positive another one. A patch
negative is made of small patches of the query's view, tiled at random: it has its texture and not its shape.

A network that holds a patch negative for almost as similar as the positive goes by texture. How often a positive is
more similar than the other is 1 where they never meet, and 0.5 where nothing tells them apart.

Source: Ge et al. 2021, arXiv:2110.14189, whose mean cosine with a patch negative is 0.404 without patch negatives in
training, 0.325 and 0.159 with them at a weight of 2 and 3.\
"""


def similarity(
    models: Models,
    images: LabeledImages,
    views: Mapping[str, Callable[[Any], Tensor]],
    *,
    key_networks: Mapping[str, Callable[[Tensor], Tensor]] | None = None,
    negatives: Callable[[Tensor], Tensor] | None = None,
    seed: int = 0,
) -> Section:
    """Cosines of queries with positives, other images and patch negatives, such as before and after training.

    Every model sees the same draws of views and patches, as far as their views draw alike.

    Args:
        models: by name; `features` are the embeddings that are compared, at best those of the projection head, which
            the contrastive loss sees. Differences are to the first.
        images: gone through once for each model. All images of a batch are others to each other.
        views: for each model's name from a batch, on its device, to augmented images as its network takes them; drawn
            twice, for query and positive.
        key_networks: for names of models that have one, the network of keys and patch negatives, such as the momentum
            branch; the others take `features`.
        negatives: as in `similarity_histograms`.
        seed: of views and patches.

    Raises:
        ValueError: for no model, a model without a view, and as `similarity_histograms`.

    Source: Ge et al. 2021, arXiv:2110.14189.
    """
    if not models:
        raise ValueError("models must hold at least one model, got none")
    if missing := [name for name in models if name not in views]:
        raise ValueError(f"views must have one for every model, got none for {missing}")
    found: dict[str, Similarity] = {}
    for name, model in models.items():
        with seeded(seed, model.device):
            found[name] = similarity_histograms(
                model.features,
                images,
                views[name],
                key_network=(key_networks or {}).get(name),
                negatives=negatives,
                device=model.device,
                bins=BINS,
            )
    count = next(iter(found.values())).positive.total
    drawn = _readable(found)
    return Section(
        name="similarity",
        title="Similarity of views",
        text=TEXT.format(images=count),
        record={
            "images": count,
            "seed": seed,
            "models": {name: _record(each, drawn[name]) for name, each in found.items()},
        },
        tables=_tables(found),
        figures={"Cosines of a query with its positive, other images and a patch negative.": similarity_figure(drawn)},
    )


def above(one: Histogram, other: Histogram) -> float:
    """How often a cosine of one histogram is greater than one of the other, ties of a bin counting half; NaN if empty.

    It is the area under the ROC curve of telling them apart, to the width of a bin.
    """
    if not one.total or not other.total:
        return float("nan")
    below = accumulate(other.counts, initial=0)
    wins = sum(n * (less + same / 2) for n, same, less in zip(one.counts, other.counts, below, strict=False))
    return wins / (one.total * other.total)


def _readable(found: Mapping[str, Similarity]) -> dict[str, Similarity]:
    """Histograms whose bins are as many as can be told apart over the cosines that there are, the same for all."""
    counts = [histogram.counts for each in found.values() for histogram in _kinds(each).values()]
    lowest = min(i for each in counts for i, count in enumerate(each) if count)
    merged = max(n for n in range(1, BINS + 1) if BINS % n == 0 and n <= max(1, (BINS - lowest) // DRAWN))

    def coarser(histogram: Histogram) -> Histogram:
        sums = tuple(sum(histogram.counts[i : i + merged]) for i in range(0, BINS, merged))
        return Histogram(sums, histogram.mean, histogram.deviation)

    return {name: Similarity(*map(coarser, _kinds(each).values())) for name, each in found.items()}


def _kinds(each: Similarity) -> dict[str, Histogram]:
    return {"positive": each.positive, "other image": each.other, "patch negative": each.negative}


def _separation(each: Similarity) -> tuple[float, float]:
    return above(each.positive, each.other), above(each.positive, each.negative)


def _record(each: Similarity, drawn: Similarity) -> dict[str, Any]:
    other, negative = _separation(each)
    return {
        **{kind: dataclasses.asdict(histogram) for kind, histogram in _kinds(drawn).items()},
        "positive_above_other_image": other,
        "positive_above_patch_negative": negative,
    }


def _tables(found: Mapping[str, Similarity]) -> tuple[Table, ...]:
    cosines, apart = [], []
    reference = next(iter(found))
    for name, each in found.items():
        for kind, histogram in _kinds(each).items():
            change = histogram.mean - _kinds(found[reference])[kind].mean if name != reference else None
            row = (name, kind, histogram.mean, histogram.deviation, histogram.total)
            cosines.append(row if len(found) == 1 else (*row, change))
        apart.append((name, *_separation(each)))
    header: tuple[str, ...] = ("network", "cosine with", "mean", "deviation", "pairs")
    if len(found) > 1:
        header += (f"mean − that of {reference}",)
    return (
        Table("Cosines of queries", header, tuple(cosines)),
        Table(
            "How often the positive is more similar than the other",
            ("network", "than another image", "than a patch negative"),
            tuple(apart),
        ),
    )

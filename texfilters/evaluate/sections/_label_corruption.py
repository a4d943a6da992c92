"""The section on training with wrong labels."""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import mean, stdev
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from texfilters.evaluate.gold_loss_correction import glc
from texfilters.evaluate.label_corruption import area_under_error_curve
from texfilters.evaluate.label_corruption_figure import error_curves, estimated_matrix
from texfilters.evaluate.report import Cell, Section, Table
from texfilters.evaluate.resnet9 import ResNet9

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ERRORS = {"labels alone": "silver_error", "GLC": "error"}


@dataclass(frozen=True)
class Run:
    """Where a training by `glc` stands in the grid, and what it came to, without its network."""

    corruption: str
    gold: float
    probability: float
    variant: str
    seed: int
    error: float
    silver_error: float
    estimate_error: float
    matrix: Tensor
    estimate: Tensor
    seconds: tuple[float, float]


def label_corruption(
    images: Tensor,
    labels: Tensor,
    test_images: Tensor,
    test_labels: Tensor,
    *,
    variants: Mapping[str, Callable[[Tensor], Tensor] | None] | None = None,
    corruptions: Sequence[str] = ("uniform", "flip"),
    probabilities: Sequence[float] = (0.2, 0.6, 1.0),
    gold: Sequence[float] = (0.05, 0.1),
    seeds: Sequence[int] = (0,),
    classes: Sequence[str] | None = None,
    network: Callable[[int], nn.Module] = ResNet9,
    epochs: int = 15,
    batch_size: int = 128,
    lr: float = 0.1,
    weight_decay: float = 5e-4,
    device: torch.device | str | None = None,
    on_run: Callable[[Run], None] | None = None,
) -> Section:
    """Train on corrupted labels over a grid of corruption, gold fraction, probability, variant and seed.

    It trains networks of its own, two a run of `glc`, and compares the data that they are trained on, not models.

    Args:
        images, test_images: uint8 `[N, C, H, W]` and `[M, C, H, W]`.
        labels, test_labels: the right ones, integers `[N]` and `[M]`.
        variants: at most 5, by name what makes the copies that double the training images, as `suppressed` of `glc`;
            None for the images alone. By default "baseline", which is that, and "diffusion", copies of 20 iterations
            at a kappa of 20. Differences are to the first.
        corruptions: of "uniform" and "flip".
        probabilities: of corruption. They rise.
        gold: shares of images with trusted labels.
        classes: their names; None numbers them.
        network, epochs, batch_size, lr, weight_decay, device: as in `glc`.
        on_run: called after each run.

    Raises:
        TypeError, ValueError: for an empty grid, and as `glc`.

    Source: Hendrycks et al. 2018, arXiv:1802.05300; with diffused copies Mishra et al. 2020, arXiv:2011.01901.
    """
    if variants is None:
        from texfilters.transforms import AnisotropicDiffusion

        variants = {"baseline": None, "diffusion": AnisotropicDiffusion(20, 20.0)}
    grid = {"corruptions": corruptions, "gold": gold, "probabilities": probabilities, "seeds": seeds}
    for name, given in {"variants": list(variants), **grid}.items():
        if not given or len(set(given)) != len(given):
            raise ValueError(f"{name} must be at least one and all different, got {list(given)}")
    if len(variants) > 5:
        raise ValueError(f"variants must be at most 5, got {list(variants)}")
    if list(probabilities) != sorted(probabilities):
        raise ValueError(f"probabilities must rise, got {list(probabilities)}")
    runs = []
    for seed, corruption, share, p, name in itertools.product(seeds, corruptions, gold, probabilities, variants):
        found = glc(
            images,
            labels,
            test_images,
            test_labels,
            corruption=corruption,
            probability=p,
            gold=share,
            suppressed=variants[name],
            network=network,
            epochs=epochs,
            batch_size=batch_size,
            lr=lr,
            weight_decay=weight_decay,
            seed=seed,
            device=device,
        )
        errors = found.error, found.silver_error, found.estimate_error
        runs.append(Run(corruption, share, p, name, seed, *errors, found.matrix, found.estimate, found.seconds))
        if on_run is not None:
            on_run(runs[-1])
    settings = {"epochs": epochs, "batch_size": batch_size, "lr": lr, "weight_decay": weight_decay}
    record = {
        "images": len(images),
        "test_images": len(test_images),
        **{name: list(given) for name, given in grid.items()},
        "variants": list(variants),
        "settings": settings,
        "runs": [asdict(run) for run in runs],
    }
    return Section(
        name="label-corruption",
        title="Label corruption",
        text=_text(record),
        record=record,
        tables=_tables(runs, list(variants)),
        figures=_figures(runs, list(variants), classes),
    )


def _at(runs: Sequence[Run], **place: Any) -> list[Run]:
    return [run for run in runs if all(getattr(run, name) == value for name, value in place.items())]


def _settings(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """Corruptions and gold fractions, each of which has a curve of its own."""
    pairs = dict.fromkeys((run.corruption, run.gold) for run in runs)
    return [{"corruption": corruption, "gold": share} for corruption, share in pairs]


def _tables(runs: Sequence[Run], variants: Sequence[str]) -> tuple[Table, ...]:
    errors: list[tuple[Cell, ...]] = []
    areas: list[tuple[Cell, ...]] = []
    probabilities = list(dict.fromkeys(run.probability for run in runs))
    for setting in _settings(runs):
        where = setting["corruption"], f"{100 * setting['gold']:g} %"
        for p, variant in itertools.product(probabilities, variants):
            at = _at(runs, **setting, probability=p, variant=variant)
            silver, corrected = ([100 * getattr(run, what) for run in at] for what in ERRORS.values())
            estimate = mean(run.estimate_error for run in at)
            errors.append((*where, p, variant, *_over_seeds(silver), *_over_seeds(corrected), 100 * estimate, len(at)))
        if len(probabilities) > 1:
            first = _areas(_at(runs, **setting, variant=variants[0]), "error")
            for variant in variants:
                silver, corrected = (_areas(_at(runs, **setting, variant=variant), what) for what in ERRORS.values())
                gain = [math.nan] if variant == variants[0] else [b - a for a, b in zip(first, corrected, strict=True)]
                areas.append((*where, variant, *_over_seeds(silver), *_over_seeds(corrected), *_over_seeds(gain)))
    header = ("corruption", "gold")
    both = ("labels alone, %", "labels alone, ±", "GLC, %", "GLC, ±")
    by_p = ("p", "trained on", *both, "estimate's error, %", "seeds")
    tables = [Table("Errors on the test images, means and deviations over the seeds", (*header, *by_p), tuple(errors))]
    if areas:
        title = "Areas under the curves of error over p, by trapezoids, not divided by the range of p"
        both = ("labels alone", "labels alone, ±", "GLC", "GLC, ±")
        by_area = ("trained on", *both, f"GLC − that of {variants[0]}", "difference, ±")
        width = len(header) + len(by_area) - 2 * (len(variants) == 1)
        tables.append(Table(title, (*header, *by_area)[:width], tuple(row[:width] for row in areas)))
    return tuple(tables)


def _areas(runs: Sequence[Run], what: str) -> list[float]:
    """The area under the error curve of every seed."""
    areas = []
    for seed in dict.fromkeys(run.seed for run in runs):
        own = _at(runs, seed=seed)
        areas.append(area_under_error_curve([run.probability for run in own], [getattr(run, what) for run in own]))
    return areas


def _over_seeds(values: Sequence[float]) -> tuple[float, float]:
    """Mean and deviation, which one seed does not have."""
    return mean(values), stdev(values) if len(values) > 1 else math.nan


def _figures(runs: Sequence[Run], variants: Sequence[str], classes: Sequence[str] | None) -> "dict[str, Figure]":
    figures = {}
    for setting in _settings(runs):
        curves: dict[str, dict[float, list[float]]] = {}
        # With both errors more than two variants would be too many lines to tell apart.
        kinds = ERRORS if len(variants) < 3 else {"GLC": "error"}
        for variant, (kind, what) in itertools.product(variants, kinds.items()):
            for run in _at(runs, **setting, variant=variant):
                curves.setdefault(f"{variant}, {kind}", {}).setdefault(run.probability, []).append(getattr(run, what))
        caption = f"Error by probability of {setting['corruption']} corruption, {100 * setting['gold']:g} % gold."
        figures[caption] = error_curves(curves)
    for corruption in dict.fromkeys(run.corruption for run in runs):
        # Where every label is drawn anew there is little of a pattern to see.
        mine = _at(runs, corruption=corruption)
        run = max(mine, key=lambda each: (each.probability < 1, each.probability, each.gold, -each.seed))
        caption = (
            f"How labels were corrupted and what the first network took that for: {corruption}, p = "
            f"{run.probability:g}, {100 * run.gold:g} % gold, {run.variant}, seed {run.seed}."
        )
        figures[caption] = estimated_matrix(run.matrix, run.estimate, classes)
    return figures


def _text(record: Mapping[str, Any]) -> str:
    seeds = len(record["seeds"])
    return f"""\
Networks trained on {record["images"]} images whose labels were corrupted, and tested on {record["test_images"]} with
the right ones; {record["settings"]["epochs"]} epochs a phase, {seeds} {"seed" if seeds == 1 else "seeds"}. Of the
labels a fraction, the gold, is right and known to be. A network trained on the corrupted labels alone estimates from
the gold images how labels were corrupted; a second one is trained on all images with a loss that knows it (GLC).

With uniform corruption a label is drawn anew from all classes with probability p, with flips it becomes that of one
other class. The variants differ in what they are trained on: images alone, or doubled by copies, in as many steps.
Lower errors and areas are better; what follows ± is the deviation over seeds. "Labels alone" is the first network,
which knows nothing of the corruption. The estimate's error is the mean total variation distance of its rows.

Source: Hendrycks et al. 2018, arXiv:1802.05300; with diffused copies Mishra et al. 2020, arXiv:2011.01901."""

"""Pictures of training on corrupted labels: error by corruption, and what a network made of the corruption."""

from collections.abc import Mapping, Sequence
from statistics import mean
from typing import TYPE_CHECKING

from torch import Tensor

from texfilters import _check
from texfilters.evaluate.figures import _COLORS, _INK, _NAMED, _PALE, _figure, _titled
from texfilters.evaluate.label_corruption import area_under_error_curve

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST = 5  # curves


def error_curves(curves: Mapping[str, Mapping[float, Sequence[float]]], title: str = "") -> "Figure":
    """Draw error against the probability of corruption, a line a method through the means, a point a seed.

    Args:
        curves: by the name of a method, at most 5 of them, its errors from each seed by probability. The area under
            the means is written beside the name of a method that has two probabilities or more.
        title: one line above the picture.

    Raises:
        ValueError: for no curve or too many, a curve without errors, probabilities and errors outside of [0, 1].
    """
    if not 1 <= len(curves) <= _MOST:
        raise ValueError(f"curves must be 1 to {_MOST}, got {len(curves)}")
    figure = _figure((5.6, 4.0 + 0.22 * len(curves)))
    axes = figure.add_subplot()
    for (name, by_probability), color in zip(curves.items(), _COLORS, strict=False):
        probabilities = sorted(by_probability)
        errors = [[_check.probability("errors", e) for e in by_probability[p]] for p in probabilities]
        if not errors or not all(errors):
            raise ValueError(f"curves must have an error for each probability, got none in {name!r}")
        means = [mean(seeds) for seeds in errors]
        label = name
        if len(means) > 1:
            label += f" (area {area_under_error_curve(probabilities, means):.3f})"
        axes.plot(probabilities, means, color=color, label=label)
        for p, seeds in zip(probabilities, errors, strict=True):
            axes.plot([_check.probability("probabilities", p)] * len(seeds), seeds, "o", color=color, markersize=3.5)
    axes.set_xlabel("probability of corruption", color=_INK)
    axes.set_ylabel("error", color=_INK)
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:.0f} %")
    axes.grid(axis="y", color=_PALE, alpha=0.25, linewidth=0.6)
    axes.tick_params(labelsize=9, labelcolor=_INK, color=_PALE)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_PALE)
    figure.legend(frameon=False, fontsize=9, loc="outside lower left")
    _titled(figure, title)
    return figure


def estimated_matrix(
    matrix: Tensor, estimate: Tensor, classes: Sequence[str] | None = None, title: str = ""
) -> "Figure":
    """Draw how labels were corrupted beside what the first network took that for; rows are right classes.

    Args:
        matrix, estimate: `[K, K]`, as those of `GoldLossCorrection`.
        classes: their names; None numbers them. They are written for up to 25 classes.
        title: one line above the picture.

    Raises:
        ValueError: for matrices of other shapes, or another number of names.
    """
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or matrix.shape != estimate.shape or not len(matrix):
        raise ValueError(
            f"matrix and estimate must have one shape [K, K], got {tuple(matrix.shape)} and {tuple(estimate.shape)}"
        )
    names = [str(i) for i in range(len(matrix))] if classes is None else list(classes)
    if len(names) != len(matrix):
        raise ValueError(f"classes must name all {len(matrix)} classes, got {len(names)} names")
    named = range(len(names)) if len(names) <= _NAMED else range(0)
    # A panel wide enough for its names, and as much more as the longest of them takes.
    side = max(3.4, 0.2 * len(named))
    length = 0.075 * max((len(name) for name in names[: len(named)]), default=0)
    figure = _figure((2 * side + length + 1.6, side + 0.7 * length + 0.8))
    panels = figure.subplots(1, 2, sharey=True)
    for axes, shares, heading in zip(panels, (matrix, estimate), ("drawn from", "estimated"), strict=True):
        drawn = axes.imshow(shares.detach().cpu().float().numpy(), cmap="Blues", vmin=0, vmax=1)
        axes.set_title(heading, fontsize=10, color=_INK)
        axes.set_xlabel("label", color=_INK)
        axes.set_xticks(named, names[: len(named)], rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(named, names[: len(named)])
        axes.tick_params(length=0, labelsize=9, labelcolor=_INK)
        for spine in axes.spines.values():
            spine.set_color(_PALE)
    panels[0].set_ylabel("class", color=_INK)
    bar = figure.colorbar(drawn, ax=panels, fraction=0.03, pad=0.02, ticks=[0, 0.5, 1], format="{x:.0%}")
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelsize=9, labelcolor=_INK)
    _titled(figure, title)
    return figure

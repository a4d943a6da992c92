"""The shape bias of several observers, by the category of the shape, as Geirhos et al. draw it."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from texfilters.evaluate._shape_bias import ShapeBias, shape_bias_interval
from texfilters.evaluate.figures import _BLUE, _INK, _ORANGE, _PALE, _figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLORS = (_BLUE, _ORANGE, "#5a8f29", "#9b3d8f", "#b8901c", "#3aa6a0", "#c23b4b", "#6b5b4b")
_MARKERS = "osD^vPXh"


def shape_bias_figure(results: Mapping[str, ShapeBias], title: str = "") -> "Figure":
    """Draw a dot for each category, and a line at each observer's overall bias with its 95 % bootstrap interval.

    Texture is to the right. A category without a decision for shape or texture has no dot, an observer without any no
    line.

    Args:
        results: up to eight, by the names of their observers.
        title: one line above the picture.

    Raises:
        ValueError: for no result or more than eight, and for results of different categories.
    """
    if not 1 <= len(results) <= len(_COLORS):
        raise ValueError(f"results must hold 1 to {len(_COLORS)} observers, got {len(results)}")
    categories = list(next(iter(results.values())).by_class)
    for name, result in results.items():
        if list(result.by_class) != categories:
            raise ValueError(
                f"results must be of the same categories, {categories}, got {list(result.by_class)} for {name}"
            )
    rows = len(categories)
    figure = _figure((7.0, 1.9 + 0.31 * rows + 0.2 * math.ceil(len(results) / 2)))
    axes = figure.add_subplot()
    for i, (name, result) in enumerate(results.items()):
        color, marker = _COLORS[i], _MARKERS[i]
        label = f"{name}, no decision"
        if not math.isnan(result.overall):
            label = f"{name}, {100 * result.overall:.1f} % shape"
            lower, upper = shape_bias_interval(result).overall
            if not math.isnan(lower):
                axes.axvspan(1 - upper, 1 - lower, color=color, alpha=0.12, linewidth=0)
            axes.axvline(1 - result.overall, color=color, linewidth=1.6, zorder=2)
        textures = [1 - bias for bias in result.by_class.values()]
        # Beside each other within a row, so that equal values of several observers all show.
        offset = 0.14 * (i - (len(results) - 1) / 2) * min(1, 4 / len(results))
        axes.plot(
            textures,
            [row + offset for row in range(rows)],
            marker,
            color=color,
            markersize=7,
            markeredgecolor="white",
            markeredgewidth=0.6,
            clip_on=False,
            zorder=3,
            label=label,
        )
    axes.set_xlim(0, 1)
    axes.set_ylim(rows - 0.4, -0.6)
    axes.set_yticks(range(rows), categories)
    axes.set_ylabel("category of the shape", color=_INK)
    ticks = [0, 0.2, 0.4, 0.6, 0.8, 1]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xlabel("share of texture decisions", color=_INK)
    above = axes.secondary_xaxis("top")
    above.set_xticks(ticks, [f"{1 - tick:g}" for tick in ticks])
    above.set_xlabel("share of shape decisions", color=_INK)
    for y in range(rows):
        axes.axhline(y, color=_PALE, alpha=0.3, linewidth=0.6, zorder=1)
    for part in (axes, above):
        part.tick_params(length=0, labelsize=9, labelcolor=_INK)
        for spine in part.spines.values():
            spine.set_color(_PALE)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    figure.suptitle(title, fontsize=10, color=_INK, x=0.01, ha="left")
    return figure

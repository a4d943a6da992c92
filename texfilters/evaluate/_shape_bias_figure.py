"""The shape bias of several observers, by the category of the shape, as Geirhos et al. draw it."""

import math
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from texfilters.evaluate._shape_bias import ShapeBias, shape_bias_interval
from texfilters.evaluate.figures import _COLORS, _INK, _MARKERS, _PALE, _figure, _titled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST = 8  # observers


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
    if not 1 <= len(results) <= _MOST:
        raise ValueError(f"results must hold 1 to {_MOST} observers, got {len(results)}")
    categories = list(next(iter(results.values())).by_class)
    for name, result in results.items():
        if list(result.by_class) != categories:
            raise ValueError(
                f"results must be of the same categories, {categories}, got {list(result.by_class)} for {name}"
            )
    rows = len(categories)
    # What two columns of the legend have room for.
    columns = 2 if max(map(len, results)) <= 24 else 1
    names = {name: textwrap.shorten(name, 64, placeholder=" ...") for name in results}
    figure = _figure((7.0, 2.1 + 0.31 * rows + 0.2 * math.ceil(len(results) / columns)))
    from matplotlib.legend_handler import HandlerTuple
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    axes = figure.add_subplot()
    for i, (name, result) in enumerate(results.items()):
        color, marker = _COLORS[i], _MARKERS[i]
        label = f"{names[name]}, no decision"
        if not math.isnan(result.overall):
            label = f"{names[name]}, {100 * result.overall:.1f} % shape"
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
        part.tick_params(length=0, pad=9, labelsize=9, labelcolor=_INK)  # a dot at an end reaches over it
        for spine in part.spines.values():
            spine.set_color(_PALE)
    handles, labels = axes.get_legend_handles_labels()
    average = Line2D([], [], color=_PALE, linewidth=1.6), Patch(color=_PALE, alpha=0.25, linewidth=0)
    entries: list[Any] = [*handles, average]
    figure.legend(
        entries,
        [*labels, "over all images, with its 95 % interval"],
        handler_map={tuple: HandlerTuple(ndivide=1)},
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=9,
    )
    _titled(figure, title)
    return figure

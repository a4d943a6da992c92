"""The picture of transfer: what each network's features give on each set of test images."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from texfilters.evaluate._transfer import Transfer
from texfilters.evaluate.figures import _COLORS, _GRID, _INK, _MARKERS, _PALE, _figure, _titled

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST = 8  # models
_TITLES = {"linear": "linear classifier", "knn": "nearest neighbors"}


def transfer_figure(models: Mapping[str, Sequence[Transfer]], title: str = "") -> "Figure":
    """Draw a dot for each network and set of test images, a panel a probe, with bars of one deviation over the seeds.

    A short gray line is chance.

    Args:
        models: up to eight, by name, of the same tests.
        title: one line above the picture.

    Raises:
        ValueError: for no model or more than eight, and for models of different tests.
    """
    if not 1 <= len(models) <= _MOST:
        raise ValueError(f"models must be 1 to {_MOST}, got {len(models)}")
    kinds = {name: [(row.test, row.probe, row.answers) for row in rows] for name, rows in models.items()}
    first, *others = kinds.values()
    if not first or any(other != first for other in others):
        raise ValueError(f"models must be of the same tests, at least one, got {kinds}")
    probes = list(dict.fromkeys(probe for _, probe, _ in first))
    lines = list(dict.fromkeys((test, answers) for test, _, answers in first))
    figure = _figure((2.9 + 3.1 * len(probes), 1.7 + 0.42 * len(lines) + 0.2 * math.ceil(len(models) / 3)))
    panels = figure.subplots(1, len(probes), sharey=True, squeeze=False)[0]
    for probe, axes in zip(probes, panels, strict=True):
        for i, rows in enumerate(models.values()):
            offset = 0.16 * (i - (len(models) - 1) / 2) * min(1, 4 / len(models))
            for row in rows:
                if row.probe != probe:
                    continue
                y = lines.index((row.test, row.answers)) + offset
                spread = 0 if math.isnan(row.deviation) else 100 * row.deviation
                axes.errorbar(
                    100 * row.mean, y, xerr=spread or None, fmt=_MARKERS[i], color=_COLORS[i], ms=6, capsize=2,
                    elinewidth=1.2, markeredgecolor="white", markeredgewidth=0.6, clip_on=False, zorder=3,
                )  # fmt: skip
                x = 100 * row.chance
                line = lines.index((row.test, row.answers))
                axes.plot([x, x], [line - 0.3, line + 0.3], color=_PALE, lw=1.2, zorder=2)
        axes.set_title(_TITLES[probe], fontsize=10, color=_INK)
        axes.set_xlim(0, 100)
        axes.set_xlabel("accuracy, %", color=_INK)
        axes.grid(axis="x", color=_GRID, lw=0.7)
        axes.set_axisbelow(True)
        axes.tick_params(length=0, labelsize=9, labelcolor=_INK)
        for spine in axes.spines.values():
            spine.set_color(_PALE)
    panels[0].set_ylim(len(lines) - 0.5, -0.5)
    panels[0].set_yticks(range(len(lines)), [f"{test}\n{answers}" for test, answers in lines])
    for i, name in enumerate(models):
        panels[0].plot([], [], _MARKERS[i], color=_COLORS[i], markeredgecolor="white", label=name)
    panels[0].plot([], [], color=_PALE, lw=1.2, label="chance")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    _titled(figure, title)
    return figure

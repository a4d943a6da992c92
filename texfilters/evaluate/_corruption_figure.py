"""The picture of errors under corruption."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from texfilters.evaluate._corruption_errors import CorruptionErrors, measured, shown
from texfilters.evaluate._lines import below, styles
from texfilters.evaluate.figures import _GRID, _INK, _PALE, _figure, _titled

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def corruption_figure(models: Mapping[str, CorruptionErrors], title: str = "") -> "Figure":
    """Draw the error against severity, 0 being the clean images, a panel a corruption and a line a model.

    Raises:
        ValueError: for no model, or models measured under different corruptions.
    """
    corruptions = measured(models)
    columns = min(5, len(corruptions))
    rows = -(-len(corruptions) // columns)
    figure = _figure((max(4.2, 2.1 * columns + 0.5), 1.75 * rows + 0.5))
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes, name in zip(panels.flat, corruptions, strict=False):
        for (model, errors), style in zip(models.items(), styles(len(models)), strict=True):
            by_severity = sorted(zip((0, *errors.severities), (errors.clean, *errors.errors[name]), strict=True))
            severities, shares = zip(*by_severity, strict=True)
            axes.plot(severities, [100 * share for share in shares], ms=3.5, lw=1.4, label=model, **style)
        axes.set_title(shown(name, models), fontsize=9, color=_INK)
        axes.set_ylim(0, 103)
        axes.set_xticks(range(6))
        axes.grid(axis="y", color=_GRID, lw=0.7)
        axes.set_axisbelow(True)
        axes.tick_params(labelsize=8, labelcolor=_INK, color=_PALE)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(_PALE)
    for axes in panels.flat[len(corruptions) :]:
        axes.set_visible(False)
    for axes in panels.flat[max(0, len(corruptions) - columns) : len(corruptions)]:  # the last of each column
        axes.tick_params(labelbottom=True)
        axes.set_xlabel("severity", fontsize=9, color=_INK)
    figure.supylabel("error, %", fontsize=9, color=_INK)
    below(figure)
    _titled(figure, title)
    return figure

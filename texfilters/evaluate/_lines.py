"""Lines of several networks in one picture: how they are told apart, and where their names go."""

import math
import textwrap
from typing import TYPE_CHECKING, Any

from texfilters.evaluate.figures import _COLORS, _EM, _MARKERS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def styles(count: int) -> list[dict[str, Any]]:
    """Color and marker of each line, no two alike up to 90."""
    markers = _MARKERS[:9]  # shares no divisor with the ten colors
    return [{"color": _COLORS[i % len(_COLORS)], "marker": markers[i % len(markers)]} for i in range(count)]


def below(figure: "Figure") -> None:
    """Put one legend of the lines of all panels, each name once, under them; the figure grows by its height."""
    handles: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(str(label), handle)
    width, height = figure.get_size_inches()
    letters = max(4, math.floor((width - 0.7) / (0.9 * _EM)))
    names = [textwrap.fill(name, letters) for name in handles]
    longest = max(len(line) for name in names for line in name.splitlines())
    columns = max(1, min(len(names), math.floor(width / (0.6 + 0.9 * _EM * longest))))
    rows = -(-len(names) // columns)
    lines = rows * max(name.count("\n") + 1 for name in names)
    figure.set_size_inches(width, height + 0.2 * lines + 0.05)
    figure.legend(list(handles.values()), names, loc="outside lower left", ncols=columns, frameon=False, fontsize=9)

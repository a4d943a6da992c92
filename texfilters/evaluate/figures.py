"""Pictures of measurements. They need matplotlib, and touch no global state of it."""

import math
import os
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from texfilters.evaluate._training import Epoch

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_INK, _PALE, _GRID = "#1c1c1e", "#8a8a90", "#e4e4e8"
_COLORS = ("#2a6f97", "#d1651a", "#7a2e2e", "#62b4e8", "#332288", "#e3a857", "#009e73", _INK, "#9167e6", "#22494c")
"""Any two can be told apart by a reader who lacks one of the three cones, too: at least 12 by CIEDE2000; the first
five at least 16."""
_BLUE, _ORANGE = _COLORS[:2]
_COOL, _WARM = tuple(_COLORS[i] for i in (0, 3, 4, 6, 8, 9)), tuple(_COLORS[i] for i in (1, 2, 5, 7))
_MARKERS = "osD^vPXh<>"
_EM = 0.083  # inches of a letter of 10 points, on the wide side
_NAMED = 25  # classes whose names and shares can still be read


def confusion_matrix(confusion: Tensor, classes: Sequence[str] | None = None, title: str = "") -> "Figure":
    """Draw which classes are taken for which: a row is a true class, its cells shares of that class's images.

    The row of a class without images is gray.

    Args:
        confusion: counts `[C, C]`, as `Classification.confusion`.
        classes: their names. They and the shares in percent are written for up to 25 classes; of more classes small
            shares are drawn darker than in proportion, so that they show.
        title: one line above the picture.

    Raises:
        ValueError: for a matrix that is not square, or another number of names.
    """
    if confusion.ndim != 2 or confusion.shape[0] != confusion.shape[1] or not len(confusion):
        raise ValueError(f"confusion must have shape [C, C], got {tuple(confusion.shape)}")
    n = len(confusion)
    if classes is not None and len(classes) != n:
        raise ValueError(f"classes must name all {n} classes, got {len(classes)} names")
    figure = _figure((3.0 + 0.42 * n, 2.4 + 0.42 * n) if n <= _NAMED else (7.6, 7.0))
    figure.set_layout_engine("compressed")  # knows that the cells are square
    from matplotlib import colormaps, colors

    counts = confusion.detach().cpu().double()
    shares = (counts / counts.sum(1, keepdim=True)).numpy()  # NaN for a class without images
    axes = figure.add_subplot()
    image = axes.imshow(
        shares,
        cmap=colormaps["Blues"].with_extremes(bad=_GRID),
        norm=colors.PowerNorm(1 if n <= _NAMED else 0.5, vmin=0, vmax=1),
        # More cells than pixels: a pixel is the mean of its cells.
        interpolation="nearest" if n <= 500 else "antialiased",
    )
    axes.set_xlabel("answer", color=_INK)
    axes.set_ylabel("class", color=_INK)
    if n <= _NAMED:
        names = [str(i) for i in range(n)] if classes is None else classes
        axes.set_xticks(range(n), names, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(range(n), names)
        for (row, column), share in np.ndenumerate(shares):
            if share >= 0.005:
                ink = "white" if share > 0.55 else _INK
                axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", color=ink, fontsize=8)
    ticks = [0, 0.5, 1] if n <= _NAMED else [0, 0.1, 0.5, 1]
    bar = figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03, ticks=ticks, format="{x:.0%}")
    bar.outline.set_visible(False)
    bar.ax.tick_params(length=0, labelsize=9, labelcolor=_INK)
    for spine in axes.spines.values():
        spine.set_color(_PALE)
    axes.tick_params(length=0, labelsize=9, labelcolor=_INK)
    _titled(figure, title)
    return figure


def training_curve(curve: Sequence[Epoch], title: str = "") -> "Figure":
    """Draw accuracy and loss of a probe by epoch, with a line wherever the learning rate falls.

    Raises:
        ValueError: for no epoch.
    """
    if not curve:
        raise ValueError("curve must hold at least one epoch, got none")
    figure = _figure((8.4, 3.4))
    accuracy, loss = figure.subplots(1, 2)
    epochs = range(1, len(curve) + 1)
    marker = "o" if len(curve) < 3 else None
    accuracy.plot(epochs, [100 * e.train_accuracy for e in curve], color=_BLUE, marker=marker, label="training")
    accuracy.plot(epochs, [100 * e.test_accuracy for e in curve], color=_ORANGE, marker=marker, label="test")
    accuracy.set_ylabel("accuracy, %", color=_INK)
    accuracy.legend(frameon=False, fontsize=9, loc="best")
    loss.plot(epochs, [e.train_loss for e in curve], color=_BLUE, marker=marker)
    loss.set_ylabel("training loss", color=_INK)
    loss.set_ylim(bottom=0)
    falls = None
    for axes in (accuracy, loss):
        for before, (epoch, after) in zip(curve, enumerate(curve[1:], start=1), strict=False):
            if after.lr < before.lr:
                falls = axes.axvline(epoch + 0.5, color=_PALE, linewidth=0.7, linestyle=":")
        axes.set_xlabel("epoch", color=_INK)
        axes.set_xlim(0.5, len(curve) + 0.5)
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
        _plain(axes)
    if falls is not None:
        loss.legend([falls], ["the learning rate falls"], facecolor="white", edgecolor="none", fontsize=9)
    _titled(figure, title)
    return figure


def save(figure: "Figure", path: str | os.PathLike[str]) -> None:
    """Write a picture of the kind that the name's ending says. PNG, SVG and PDF of the same figure are the same."""
    from matplotlib import rc_context

    # Without dates, versions and random names in it.
    without = {".png": ["Software"], ".svg": ["Date"], ".pdf": ["CreationDate"]}
    metadata = dict.fromkeys(without.get(Path(path).suffix.lower(), []))
    with rc_context({"svg.hashsalt": "texfilters"}):
        figure.savefig(path, dpi=150, metadata=metadata or None)


def ready() -> type["Figure"]:
    """Whether there is matplotlib, for whoever will draw after a long measurement; ImportError if there is not."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        message = "pictures need matplotlib: pip install 'texfilters[evaluate]'"
        raise ImportError(message, name="matplotlib") from error
    return Figure


def _figure(size: tuple[float, float]) -> "Figure":
    return ready()(figsize=size, layout="constrained", facecolor="white")


def _titled(figure: "Figure", title: str) -> None:
    """A title at the left, on as many lines as it needs; the figure grows by those after the first."""
    width, height = figure.get_size_inches()
    lines = textwrap.fill(title, math.floor((width - 0.1) / _EM))
    figure.set_size_inches(width, height + 0.18 * lines.count("\n"))
    figure.suptitle(lines, fontsize=10, color=_INK, x=0.01, ha="left")


def _plain(axes: "Axes") -> None:
    axes.tick_params(labelsize=9, labelcolor=_INK, color=_PALE)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_PALE)

"""Draw what suppressed copies do, from the results of suppression_runs.py.

    python benchmarks/suppression_figures.py [--out docs]

Every study that has results gets a picture suppression-<study>.png.
"""

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import TYPE_CHECKING

import study_runner
from suppression_studies import STUDIES
from suppression_summary import SHAPE_BIAS, Summary
from tables_suppression import TESTS, TITLES
from texfilters.evaluate.figures import _BLUE, _INK, _ORANGE, _PALE, _figure, _titled, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=study_runner.RESULTS / "evaluate")
    parser.add_argument("--out", type=Path, default=Path("docs"), help="folder for the pictures (default %(default)s)")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for study in STUDIES:
        found = Summary(study, given.results)
        if found.found:
            path = given.out / f"suppression-{study}.png"
            save(drawn(found), path)
            print(f"wrote {path}")


def drawn(found: Summary) -> "Figure":
    """A panel a test: a row a variant, a small dot a seed, mean and standard deviation; plain's mean as a line."""
    panels = [*found.tests, *([SHAPE_BIAS] if found.has_conflict else [])]
    rows = range(len(found.variants))
    figure = _figure((2.0 + 2.1 * len(panels), 1.5 + 0.3 * len(rows)))
    all_axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, panel in zip(all_axes, panels, strict=True):
        for row, variant in enumerate(found.variants):
            color = _INK if variant == "plain" else _BLUE
            if panel == SHAPE_BIAS:
                _bias(axes, found, variant, row, color)
            else:
                _accuracy(axes, found.accuracies(variant, panel), row, color)
        if "plain" in found.variants:
            value = found.bias("plain").value if panel == SHAPE_BIAS else mean(found.accuracies("plain", panel))
            axes.axvline(value, color=_PALE, linewidth=0.8, linestyle=":", zorder=1)
        axes.set_title(TESTS.get(panel, panel), fontsize=10, color=_INK)
        axes.set_xlabel("% of decisions" if panel == SHAPE_BIAS else "accuracy, %", color=_INK, fontsize=9)
        axes.tick_params(labelsize=9, labelcolor=_INK, color=_PALE)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="y", color=_PALE, alpha=0.25, linewidth=0.6)
        axes.set_axisbelow(True)
        axes.margins(x=0.12)
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.spines["bottom"].set_color(_PALE)
    all_axes[0].set_yticks(rows, [TITLES[variant] for variant in found.variants])
    all_axes[0].set_ylim(len(rows) - 0.5, -0.5)
    _titled(figure, _heading(found))
    return figure


def _accuracy(axes: "Axes", values: Sequence[float], row: int, color: str) -> None:
    deviation = stdev(values) if len(values) > 1 else 0.0
    axes.errorbar(mean(values), row, xerr=deviation, fmt="o", color=color, markersize=5, capsize=2.5, linewidth=1.3)
    _seeds(axes, values, row)


def _bias(axes: "Axes", found: Summary, variant: str, row: int, color: str) -> None:
    bias = found.bias(variant)
    if math.isnan(bias.value):
        return
    if not math.isnan(bias.interval[0]):
        axes.plot(bias.interval, [row, row], "|-", color=color, linewidth=1.3, markersize=6)
    axes.plot(bias.value, row, "o", color=color, markersize=5)
    _seeds(axes, found.biases(variant), row)


def _seeds(axes: "Axes", values: Sequence[float], row: int) -> None:
    axes.plot(values, [row + 0.25] * len(values), "o", color=_ORANGE, markersize=2.5, linestyle="none")


def _heading(found: Summary) -> str:
    data = "PACS, trained on photos and art paintings" if STUDIES[found.study].data == "pacs" else "CIFAR-10"
    reduced = ", reduced" if STUDIES[found.study].reduced else ""
    bars = "bars: standard deviation" + (", of the shape bias a 95 % interval" if found.has_conflict else "")
    seeds = sorted({len(found.seeds(variant)) for variant in found.variants})
    count = f"{seeds[0]}" if len(seeds) == 1 else f"{seeds[0]} to {seeds[-1]}"
    return f"{data}{reduced}; {count} seed{'s' * (seeds[-1] > 1)} (orange), {bars}"


if __name__ == "__main__":
    main()

"""The tables of texture suppression, from the results of texture_quality.py."""

import json
from pathlib import Path

from table_cells import Result, table
from tables_studies import not_yet
from texture_quality import curves

_AT = (0.25, 0.5, 0.75)


def table_of(path: Path) -> str:
    """A line a filter, and where the numbers come from."""
    if not path.exists():
        return not_yet(needs_gpu=False)
    result: Result = json.loads(path.read_text())
    counts = {each["filter"]: each["better_than_blur"] for each in result["curves"]}
    lines = []
    for curve in sorted(
        curves(result), key=lambda curve: -_number(curve.kept_at(0.5), _number(curve.kept_at(0.25)) - 1)
    ):
        strengths = f"{curve.parameter} {curve.values[0]:g} to {curve.values[-1]:g}"
        kept = [curve.kept_at(at) for at in _AT]
        better = counts[curve.name]
        lines.append(
            [
                curve.name,
                ", ".join(part for part in (strengths, curve.fixed) if part),
                *("" if share != share else f"{100 * share:.1f}" for share in kept),
                f"{better[0]} of {better[1]}" if better and better[1] else "",
            ]
        )
    head = ["", "strengths", *(f"{100 * at:.0f} % removed" for at in _AT), "more than blur"]
    kappa = result["robust_kappa"]
    note = (
        f"Edge strength kept, in %, mean of {result['images']} photos; where so much texture energy is removed, on a "
        "straight line between the two strengths around it; empty where all of them remove more, or less. The last "
        "column counts the photos in which it keeps more than Gaussian blur at 50 %, of those in which the strengths "
        f"of both enclose it. The photos' own robust kappa: median {kappa['median']:.1f} grey levels, quartiles "
        f"{kappa['quartiles'][0]:.1f} and {kappa['quartiles'][1]:.1f}."
    )
    return f"{table(head, lines)}\n{note}\n\n{_origin(result)}\n"


def table_of_settings(path: Path) -> str:
    """A line a tolerance and margin, a column a filter."""
    if not path.exists():
        return not_yet(needs_gpu=False)
    result: Result = json.loads(path.read_text())
    names = list(result["rows"][0]["kept"])
    lines = [
        [
            f"{row['tolerance']} and {row['margin']} pixels",
            *("" if (share := row["kept"][name]) is None else f"{100 * share:.1f}" for name in names),
        ]
        for row in result["rows"]
    ]
    note = f"Edge strength kept where 50 % of the texture energy is removed, in %, mean of {result['images']} photos."
    return f"{table(['tolerance and margin', *names], lines)}\n{note}\n\n{_origin(result)}\n"


def _origin(result: Result) -> str:
    versions = ", ".join(f"{package} {version}" for package, version in result["packages"].items())
    where = f"{result['cpu']}, {result['cores']} cores; {result['date']}; commit {result['commit']}; {versions}"
    return f"<sub>{where}; `{result['command']}`.</sub>"


def _number(value: float, otherwise: float = 0.0) -> float:
    return value if value == value else otherwise

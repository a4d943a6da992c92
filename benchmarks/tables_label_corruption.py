"""The table of label corruption, from the results of label_corruption_runs.py: mean and deviation over seeds."""

import json
from pathlib import Path
from statistics import mean

from label_corruption_studies import STUDIES, VARIANTS
from table_cells import Result, table
from tables_studies import not_yet, spread
from texfilters.evaluate.label_corruption import area_under_error_curve

_HEADINGS = ["corruption", "gold", "p", "silver alone", "GLC", "silver alone, diffused copies", "GLC, diffused copies"]


def table_of(study: str, folder: Path) -> str:
    """A line a setting, the area under each curve of errors, and where the numbers come from."""
    files = sorted(folder.glob(f"label_corruption_{study}_*.json"))
    found: list[Result] = [json.loads(path.read_text()) for path in files]
    if not found:
        return not_yet(STUDIES[study].needs_gpu)
    lines = []
    for corruption in STUDIES[study].corruptions:
        for gold in STUDIES[study].gold:
            runs = [r for r in found if (r["corruption"], r["gold"]) == (corruption, gold)]
            for p in STUDIES[study].probabilities:
                if at_p := [r for r in runs if r["probability"] == p]:
                    lines.append([corruption, str(gold), str(p), *_errors(at_p)])
            if any(areas := _areas(study, runs)):
                lines.append([corruption, str(gold), "area", *areas])
    return table([*_HEADINGS, "runs"], lines) + f"\n{_note(study, found)}\n"


def _errors(runs: list[Result]) -> list[str]:
    cells, counts = [], []
    for variant in VARIANTS:
        own = [r for r in runs if r["variant"] == variant]
        counts.append(len(own))
        cells += [spread([100 * r[key] for r in own]) if own else "" for key in ("silver_error", "error")]
    return [*cells, " + ".join(map(str, counts))]


def _areas(study: str, runs: list[Result]) -> list[str]:
    """Of the seeds that have a result for every probability."""
    probabilities, cells, counts = STUDIES[study].probabilities, [], []
    for variant in VARIANTS:
        curves = [
            [r for r in runs if (r["variant"], r["seed"]) == (variant, seed)] for seed in range(STUDIES[study].seeds)
        ]
        full = [sorted(curve, key=lambda r: r["probability"]) for curve in curves if len(curve) == len(probabilities)]
        counts.append(len(full))
        for key in ("silver_error", "error"):
            areas = [100 * area_under_error_curve(probabilities, [r[key] for r in curve]) for curve in full]
            cells.append(spread(areas) if areas else "")
    return [*cells, " + ".join(map(str, counts))] if any(counts) else []


def _note(study: str, found: list[Result]) -> str:
    first, given = found[0], STUDIES[study]
    epochs = ", ".join(str(n) for n in sorted({r["epochs"] for r in found}))
    seconds = [s for r in found for s in r.get("training_seconds", [])]
    text = (
        f"Error in % on {first['test_images']:,} test images after training on {first['images']:,}; mean and standard "
        f"deviation over seeds. Area: under the error from p = {given.probabilities[0]} to {given.probabilities[-1]}, "
        f"in % times p. ResNet-9 of width {given.width}, {epochs} epochs a phase, half as many where diffused copies "
        f"double the training set{f', {mean(seconds):,.1f} s a phase' if seconds else ''}."
    )
    commits = ", ".join(sorted({r["commit"] for r in found}))
    where = first.get("device") or f"{first['cpu']}, {first['cores']} core{'s' if first['cores'] > 1 else ''}"
    versions = ", ".join(f"{package} {version}" for package, version in first["packages"].items())
    origin = f"<sub>{where}; {first['date']}; commit {commits}; {versions}.</sub>"
    return f"{text}{' ' + given.note if given.note else ''}\n\n{origin}"

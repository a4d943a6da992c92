"""The tables of pretraining, from the results of pretraining_runs.py: mean and deviation over seeds."""

import json
from pathlib import Path
from statistics import mean, stdev

from pretraining_studies import STUDIES
from table_cells import Result, table

NOT_YET = "Not yet measured on a GPU.\n"


def table_of(study: str, folder: Path) -> str:
    """A line a variant, a column a probe, and where the numbers come from."""
    found: list[Result] = [json.loads(path.read_text()) for path in sorted(folder.glob(f"{study}_*.json"))]
    if not found:
        return NOT_YET
    columns = list(found[0]["accuracies"])
    lines = []
    for variant in STUDIES[study].variants:
        runs = [result for result in found if result["variant"] == variant]
        if runs:
            cells = [spread([100 * run["accuracies"][column] for run in runs]) for column in columns]
            lines.append([f"{variant.replace('-', ', ')}", *cells, str(len(runs))])
    first = found[0]
    epochs = ", ".join(str(n) for n in sorted({result["epochs"] for result in found}))
    commits = ", ".join(sorted({result["commit"] for result in found}))
    where = first.get("device") or f"{first['cpu']}, {first['cores']} cores"
    versions = ", ".join(f"{package} {version}" for package, version in first["packages"].items())
    seconds = mean(result["training_seconds"] for result in found)
    note = (
        f"Accuracy in %; mean and standard deviation over seeds. {epochs} epochs, {seconds:,.0f} s of training a run."
    )
    origin = f"<sub>{where}; {first['date']}; commit {commits}; {versions}.</sub>"
    return table(["", *columns, "runs"], lines) + f"\n{note}\n\n{origin}\n"


def spread(values: list[float]) -> str:
    return f"{mean(values):.1f}" + (f" ± {stdev(values):.1f}" if len(values) > 1 else "")

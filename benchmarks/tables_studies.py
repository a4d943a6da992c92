"""The tables of pretraining, from the results of pretraining_runs.py: mean and deviation over seeds."""

import json
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from pretraining_studies import STUDIES
from table_cells import Result, table


def table_of(study: str, folder: Path) -> str:
    """A line a variant, a column a probe, and where the numbers come from."""
    found: list[Result] = [json.loads(path.read_text()) for path in sorted(folder.glob(f"{study}_*.json"))]
    if not found:
        return not_yet(STUDIES[study].needs_gpu)
    columns = list(found[0]["accuracies"])
    lines = []
    for epochs in _distinct(found, "epochs"):
        for variant in STUDIES[study].variants:
            runs = [result for result in found if (result["variant"], result["epochs"]) == (variant, epochs)]
            if runs:
                cells = [spread([100 * run["accuracies"][column] for run in runs]) for column in columns]
                lines.append([variant.replace("-", ", "), *cells, str(epochs), str(len(runs))])
    places = {result.get("device") or f"{result['cpu']}, {result['cores']} cores" for result in found}
    versions = ", ".join(f"{package} {version}" for package, version in found[0]["packages"].items())
    seconds = mean(result["training_seconds"] for result in found)
    note = f"Accuracy in %; mean and standard deviation over seeds. {seconds:,.0f} s of training a run."
    dates, commits = (", ".join(_distinct(found, key)) for key in ("date", "commit"))
    origin = f"<sub>{'; '.join(sorted(places))}; {dates}; commit {commits}; {versions}.</sub>"
    return table(["", *columns, "epochs", "runs"], lines) + f"\n{note}\n\n{origin}\n"


def _distinct(found: list[Result], key: str) -> list[Any]:
    return sorted({result[key] for result in found})


def not_yet(needs_gpu: bool) -> str:
    return f"Not yet measured{' on a GPU' if needs_gpu else ''}.\n"


def spread(values: list[float]) -> str:
    return f"{mean(values):.1f}" + (f" ± {stdev(values):.1f}" if len(values) > 1 else "")

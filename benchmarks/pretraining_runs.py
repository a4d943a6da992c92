"""Pretrain and probe on real images, a file of results for every run.

    python benchmarks/pretraining_runs.py DATA --study trial            # a CPU, some ten minutes a run
    python benchmarks/pretraining_runs.py DATA --study cifar10 --at-once 4

DATA holds cifar10/train/<class>/, cifar10/val/<class>/ and pacs/<domain>/<class>/. What has a result is left out, so
that runs add up over time. Each result goes to benchmarks/results/ssl/ with its commands, seed, curve and accuracies.
"""

import csv
import json
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import study_runner
from pretraining_studies import STUDIES, Cell, cells

ROOT = Path(__file__).resolve().parent.parent


def run(cell: Cell, data: Path, epochs: int, logs: Path) -> dict[str, Any]:
    """Train and probe one cell; what was found."""
    about = study_runner.described()  # of the code that runs, not of what is committed meanwhile
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        seconds = _call(cell.pretraining(data, out, epochs), logs / f"{cell.name}.log")
        accuracies: dict[str, float] = {}
        for name, (command, result) in cell.measurements(data, out).items():
            _call(command, logs / f"{cell.name}-{name.replace(' ', '-')}.log")
            accuracies[name] = json.loads(result.read_text())["accuracy"]
        curve = curve_of(next(out.glob("logs/version_*/metrics.csv")))
    shown = [cell.pretraining("DATA", "RUN", epochs), *(c for c, _ in cell.measurements("DATA", "RUN").values())]
    return {
        "study": cell.study,
        "variant": cell.variant,
        "seed": cell.seed,
        **about,
        "epochs": epochs,
        "training_seconds": round(seconds, 1),
        "commands": ["python " + " ".join(command) for command in shown],
        "accuracies": accuracies,
        "curve": curve,
    }


def curve_of(metrics: Path) -> list[dict[str, float]]:
    """What was logged of every epoch, one row an epoch."""
    epochs: dict[int, dict[str, float]] = {}
    with metrics.open(newline="") as file:
        for row in csv.DictReader(file):
            values = {
                name.removesuffix("_epoch"): float(value)
                for name, value in row.items()
                if value and not name.endswith("_step") and name not in ("epoch", "step") and not name.startswith("lr-")
            }
            if row.get("epoch"):
                epochs.setdefault(int(row["epoch"]), {}).update(values)
    return [{"epoch": epoch} | values for epoch, values in sorted(epochs.items()) if values]


def _call(command: list[str], log: Path) -> float:
    begun = time.perf_counter()
    with log.open("w") as output:
        code = subprocess.run([sys.executable, *command], cwd=ROOT, stdout=output, stderr=subprocess.STDOUT).returncode
    if code:
        raise RuntimeError(f"{' '.join(command)} ended with {code}, see {log}: {log.read_text()[-600:]}")
    return time.perf_counter() - begun


def _told(result: dict[str, Any]) -> str:
    return f"{result['accuracies']}, {result['training_seconds']} s"


def main() -> None:
    parser = study_runner.parser(__doc__, list(STUDIES), study_runner.RESULTS / "ssl", "plain_seed*")
    parser.add_argument("--logs", type=Path, help="a folder for what the commands print; by default a temporary one")
    given = study_runner.parsed(parser, STUDIES)
    logs = given.logs or Path(tempfile.mkdtemp())
    logs.mkdir(parents=True, exist_ok=True)

    def one(cell: Cell, epochs: int) -> dict[str, Any]:
        return run(cell, given.data.resolve(), epochs, logs)

    own = [cell for cell in cells() if cell.study == given.study]
    missing = study_runner.missing(study_runner.chosen(own, f"{given.study}_{given.cells}"), given.results)
    with ThreadPoolExecutor(given.at_once) as pool:  # threads: each run is a command of its own
        epochs = given.epochs or STUDIES[given.study].epochs
        done = study_runner.run_all(pool, one, missing, epochs, given.results, _told)
    sys.exit(not done)


if __name__ == "__main__":
    main()

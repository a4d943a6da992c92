"""Pretrain and probe on real images, a file of results for every run.

    python benchmarks/pretraining_runs.py DATA --study trial            # a CPU, some ten minutes a run
    python benchmarks/pretraining_runs.py DATA --study cifar10 --at-once 4

DATA holds cifar10/train/<class>/, cifar10/val/<class>/ and pacs/<domain>/<class>/. What has a result is left out, so
that runs add up over time. Each result goes to benchmarks/results/ssl/ with its commands, seed, curve and accuracies.
"""

import argparse
import csv
import fnmatch
import json
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

import machine
from pretraining_studies import STUDIES, Cell, cells

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "ssl"
PACKAGES = ["torch", "torchvision", "lightning", "kornia", "numpy"]


def run(cell: Cell, data: Path, epochs: int, logs: Path) -> dict[str, Any]:
    """Train and probe one cell; what was found."""
    about = described()  # of the code that runs, not of what is committed meanwhile
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


def described() -> dict[str, Any]:
    if torch.cuda.is_available():
        device = {"device": torch.cuda.get_device_name(), "cuda": torch.version.cuda}
    else:
        device = {"cpu": machine.cpu(), "cores": machine.cores()}
    about = {"date": machine.date(), "commit": machine.commit(), "packages": machine.packages(PACKAGES)}
    return about | device


def _call(command: list[str], log: Path) -> float:
    begun = time.perf_counter()
    with log.open("w") as output:
        code = subprocess.run([sys.executable, *command], cwd=ROOT, stdout=output, stderr=subprocess.STDOUT).returncode
    if code:
        raise RuntimeError(f"{' '.join(command)} ended with {code}, see {log}: {log.read_text()[-600:]}")
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--study", choices=list(STUDIES), required=True)
    parser.add_argument("--cells", default="*", help="which of its cells, a pattern such as 'plain_seed*'")
    parser.add_argument("--epochs", type=int, help="other than the study's")
    parser.add_argument("--at-once", type=int, default=1)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--logs", type=Path, help="a folder for what the commands print; by default a temporary one")
    given = parser.parse_args()
    study = STUDIES[given.study]
    if study.needs_gpu and not torch.cuda.is_available():
        parser.error(f"study {given.study} takes hours without a GPU, and there is none")
    logs = given.logs or Path(tempfile.mkdtemp())
    for folder in (logs, given.results):
        folder.mkdir(parents=True, exist_ok=True)

    def one(cell: Cell) -> bool:
        try:
            result = run(cell, given.data.resolve(), given.epochs or study.epochs, logs)
        except (RuntimeError, OSError, StopIteration) as error:  # the others go on
            print(f"{cell.name}: {error}", flush=True)
            return False
        (given.results / f"{cell.name}.json").write_text(machine.as_json(result))
        print(f"{cell.name}: {result['accuracies']}, {result['training_seconds']} s", flush=True)
        return True

    wanted = [c for c in cells() if c.study == given.study and fnmatch.fnmatch(c.name, f"{given.study}_{given.cells}")]
    missing = [c for c in wanted if not (given.results / f"{c.name}.json").exists()]
    print(f"{len(wanted)} cells, {len(missing)} to do", flush=True)
    with ThreadPoolExecutor(given.at_once) as pool:
        sys.exit(not all(list(pool.map(one, missing))))


if __name__ == "__main__":
    main()

"""Train on CIFAR-10 with corrupted labels, with and without diffused copies, a file of results for every run.

    python benchmarks/label_corruption_runs.py DATA --study reduced              # a CPU core, some minutes in all
    python benchmarks/label_corruption_runs.py DATA --study cifar10 --at-once 4

DATA holds cifar10/train/<class>/ and cifar10/val/<class>/. What has a result is left out, so that runs add up over
time. Each result goes to benchmarks/results/evaluate/ with its command, seed, errors and the estimated corruption.
"""

import argparse
import fnmatch
import functools
import multiprocessing
import shlex
import sys
import tempfile
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import machine
from label_corruption_studies import STUDIES, Cell, cells
from pretraining_runs import described
from texfilters.evaluate.gold_loss_correction import glc
from texfilters.evaluate.resnet9 import ResNet9
from texfilters.ssl.data import FolderData
from texfilters.transforms import AnisotropicDiffusion

RESULTS = Path(__file__).resolve().parent / "results" / "evaluate"

_data: list[Tensor] = []  # of a worker: training images and labels, test images and labels


def run(cell: Cell, data: list[Tensor], epochs: int) -> dict[str, Any]:
    """Train and test one cell; what was found."""
    study = STUDIES[cell.study]
    images, labels, test_images, test_labels = data
    device = "cuda" if torch.cuda.is_available() else "cpu"
    found = glc(
        *(part[:: study.train_every].to(device) for part in (images, labels)),
        *(part[:: study.test_every].to(device) for part in (test_images, test_labels)),
        corruption=cell.corruption,
        probability=cell.probability,
        gold=cell.gold,
        suppressed=AnisotropicDiffusion(study.niter, study.kappa) if cell.variant == "diffusion" else None,
        network=functools.partial(ResNet9, width=study.width),
        epochs=epochs,
        batch_size=study.batch_size,
        lr=study.lr,
        seed=cell.seed,
    )
    command = ["benchmarks/label_corruption_runs.py", "DATA", "--study", cell.study, "--cells", cell.name]
    if epochs != study.epochs:
        command += ["--epochs", str(epochs)]
    return {
        **asdict(cell),
        **described(),
        "reduced": study.reduced,
        "images": len(range(0, len(images), study.train_every)),
        "test_images": len(range(0, len(test_images), study.test_every)),
        "epochs": epochs,
        "batch_size": study.batch_size,
        "lr": study.lr,
        "width": study.width,
        "diffusion": {"niter": study.niter, "kappa": study.kappa} if cell.variant == "diffusion" else None,
        "command": "python " + shlex.join(command),
        "error": round(found.error, 6),
        "silver_error": round(found.silver_error, 6),
        "estimate_error": round(found.estimate_error, 6),
        "estimate": [[round(share, 4) for share in row] for row in found.estimate.tolist()],
        # Of the reduced study only the answers are of interest: it runs on machines that do other things, too.
        **({} if study.reduced else {"training_seconds": [round(seconds, 1) for seconds in found.seconds]}),
    }


def decoded(folder: Path) -> list[Tensor]:
    """All images of CIFAR-10 and their labels, sorted by class."""
    data = FolderData(str(folder), batch_size=1000, side=32, resident=True)
    result: list[Tensor] = []
    for split in ("train", "val"):
        batches = list(data.labelled(split))
        result += [torch.cat([batch.images for batch in batches]), torch.cat([batch.labels for batch in batches])]
    return result


def _begin(file: Path, threads: int) -> None:
    torch.set_num_threads(threads)
    _data.extend(torch.load(file, mmap=True))


def _one(cell: Cell, epochs: int) -> dict[str, Any]:
    return run(cell, _data, epochs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--study", choices=list(STUDIES), required=True)
    parser.add_argument("--cells", default="*", help="which of its cells, a pattern such as '*_flip_p0.6_*'")
    parser.add_argument("--epochs", type=int, help="other than the study's")
    parser.add_argument("--at-once", type=int, default=1)
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    study = STUDIES[given.study]
    if study.needs_gpu and not torch.cuda.is_available():
        parser.error(f"study {given.study} takes hours without a GPU, and there is none")
    given.results.mkdir(parents=True, exist_ok=True)

    wanted = [cell for cell in cells(given.study) if fnmatch.fnmatch(cell.name, given.cells)]
    if not wanted:
        parser.error(f"study {given.study} has no cell like {given.cells!r}")
    missing = [cell for cell in wanted if not (given.results / f"{cell.name}.json").exists()]
    print(f"{len(wanted)} cells, {len(missing)} to do", flush=True)
    if not missing:
        return
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "images.pt"
        torch.save(decoded(given.data / "cifar10"), file)
        threads = max(1, machine.cores() // given.at_once)
        # Processes, not threads: a small network's launches keep one interpreter busy.
        spawn = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(given.at_once, spawn, _begin, (file, threads)) as pool:
            jobs: dict[Future[dict[str, Any]], Cell] = {
                pool.submit(_one, cell, given.epochs or study.epochs): cell for cell in missing
            }
            for job in as_completed(jobs):
                cell = jobs[job]
                if error := job.exception():  # the others go on
                    failed += 1
                    print(f"{cell.name}: {type(error).__name__}: {error}", flush=True)
                    continue
                result = job.result()
                (given.results / f"{cell.name}.json").write_text(machine.as_json(result))
                print(f"{cell.name}: error {result['error']}", flush=True)
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()

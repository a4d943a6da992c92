"""Train on CIFAR-10 with corrupted labels, with and without diffused copies, a file of results for every run.

    python benchmarks/label_corruption_runs.py DATA --study reduced              # a CPU core, some minutes in all
    python benchmarks/label_corruption_runs.py DATA --study cifar10 --at-once 4

DATA holds cifar10/train/<class>/ and cifar10/val/<class>/. What has a result is left out, so that runs add up over
time. Each result goes to benchmarks/results/evaluate/ with its command, seed, errors and the estimated corruption.
"""

import functools
import shlex
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import study_runner
from label_corruption_studies import STUDIES, Cell, cells
from texfilters.evaluate.gold_loss_correction import glc
from texfilters.evaluate.resnet9 import ResNet9
from texfilters.ssl.data import FolderData
from texfilters.transforms import AnisotropicDiffusion

_data: list[Tensor] = []  # of a worker: training images and labels, test images and labels


def run(cell: Cell, data: list[Tensor], epochs: int) -> dict[str, Any]:
    """Train and test one cell; what was found."""
    about = study_runner.described()  # of the code that runs, not of what is committed meanwhile
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
        **about,
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
        batches = list(data.labeled(split))
        result += [torch.cat([batch.images for batch in batches]), torch.cat([batch.labels for batch in batches])]
    return result


def _begin(file: Path) -> None:
    _data.extend(torch.load(file, mmap=True))


def _one(cell: Cell, epochs: int) -> dict[str, Any]:
    return run(cell, _data, epochs)


def main() -> None:
    parser = study_runner.parser(__doc__, list(STUDIES), study_runner.RESULTS / "evaluate", "*_flip_p0.6_*")
    given = study_runner.parsed(parser, STUDIES)
    wanted = study_runner.chosen(cells(given.study), given.cells)
    if not wanted:
        parser.error(f"study {given.study} has no cell like {given.cells!r}")
    missing = study_runner.missing(wanted, given.results)
    if not missing:
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "images.pt"
        torch.save(decoded(given.data / "cifar10"), file)
        with study_runner.processes(given.at_once, _begin, file) as pool:
            epochs = given.epochs or STUDIES[given.study].epochs
            done = study_runner.run_all(pool, _one, missing, epochs, given.results, lambda r: f"error {r['error']}")
    sys.exit(not done)


if __name__ == "__main__":
    main()

"""Train on images and their texture-suppressed copies, and test where texture helps little: a file for every run.

    python benchmarks/suppression_runs.py DATA --study pacs-reduced         # a CPU core, about a minute a run
    python benchmarks/suppression_runs.py DATA --study pacs --at-once 4
    python benchmarks/suppression_runs.py DATA --study cifar10 --at-once 4

DATA holds pacs/<domain>/<class>/, cifar10/{train,val}/<class>/, and for CIFAR-10 the stimuli of Geirhos et al. in
stimuli/{cue-conflict,edges,filled-silhouettes}/<category>/. What has a result is left out, so that runs add up over
time. Each result goes to benchmarks/results/evaluate/ with its command, seed, accuracies and decisions.
"""

import math
import shlex
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

import study_runner
from suppression_studies import STUDIES, VARIANTS, Cell, Study, cells
from texfilters import transforms
from texfilters.evaluate import CueConflict, category_probabilities, classification, shape_bias
from texfilters.evaluate._resident import ResidentImages, Standardized, fit, logits_of
from texfilters.evaluate._training import seeded
from texfilters.evaluate.class_mapping import CIFAR10_CATEGORIES
from texfilters.evaluate.resnet9 import ResNet9
from texfilters.ssl.data import FolderData

TRAINING_DOMAINS = ("photo", "art_painting")
TEST_DOMAINS = ("cartoon", "sketch")
STIMULI = ("edges", "filled-silhouettes")
HELD_OUT_EVERY = 5  # of the images of the training domains
WEIGHT_DECAY = 5e-4
_NATIVE = {"pacs": 128, "cifar10": 32, "stimuli": 224}  # pixels that the images have
_CHUNK = 512

Labeled = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Data:
    """All on the CPU, images uint8 `[N, 3, S, S]`.

    Attributes:
        images, labels: to train on, of the side that they have in their files.
        tests: by name, of the network's side. Labels of STIMULI are places in CIFAR10_CATEGORIES.
        conflict: images whose shape is of one category and whose texture is of another, with both; or None.
    """

    images: Tensor
    labels: Tensor
    tests: dict[str, Labeled]
    conflict: tuple[Tensor, Tensor, Tensor] | None = None


def read(study: Study, folder: Path) -> Data:
    """What a study trains and tests on."""
    return _pacs(study, folder / "pacs") if study.data == "pacs" else _cifar10(study, folder)


def run(cell: Cell, data: Data, epochs: int) -> dict[str, Any]:
    """Train and test one cell; what was found."""
    about = study_runner.described()  # of the code that runs, not of what is committed meanwhile
    study, suppressor = STUDIES[cell.study], VARIANTS[cell.variant]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    images, labels = data.images.to(device), data.labels.to(device)
    steps = math.ceil(epochs * len(images) / study.batch_size)
    # cuDNN's fastest convolutions add up in any order.
    with seeded(cell.seed, device), torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
        shown = resized(images, study.side)
        network = Standardized(ResNet9(int(labels.max()) + 1, width=study.width), shown)
        network = network.to(device).to(memory_format=torch.channels_last)
        if suppressor is not None:
            suppress = getattr(transforms, suppressor.transform)(**suppressor.settings)
            shown = torch.cat([shown, resized(images, study.side, suppress)])
            labels = labels.repeat(2)
        fit(
            network,
            ResidentImages(shown, device),
            torch.arange(len(shown), device=device),
            lambda logits, places: functional.cross_entropy(logits.float(), labels[places]),
            steps=steps,
            batch_size=study.batch_size,
            lr=study.lr,
            weight_decay=WEIGHT_DECAY,
        )

        def logits(images: Tensor) -> Tensor:
            return logits_of(network, ResidentImages(images, device), torch.arange(len(images), device=device)).cpu()

        tests = {name: _tested(name, logits(tested), right) for name, (tested, right) in data.tests.items()}
        conflict = {}
        if data.conflict is not None:
            stimuli, shapes, textures = data.conflict
            conflict = {"conflict": _decisions(logits(stimuli), shapes, textures)}
    command = ["benchmarks/suppression_runs.py", "DATA", "--study", cell.study, "--cells", cell.name]
    if epochs != study.epochs:
        command += ["--epochs", str(epochs)]
    return {
        **asdict(cell),
        **about,
        "reduced": study.reduced,
        "suppressor": None if suppressor is None else {"transform": suppressor.transform} | suppressor.settings,
        "images": len(images),
        "side": study.side,
        "epochs": epochs,
        "steps": steps,
        "batch_size": study.batch_size,
        "lr": study.lr,
        "weight_decay": WEIGHT_DECAY,
        "width": study.width,
        "command": "python " + shlex.join(command),
        "tests": tests,
        **conflict,
    }


def resized(images: Tensor, side: int, suppress: Callable[[Tensor], Tensor] | None = None) -> Tensor:
    """The images, suppressed if so wanted, at another side. In float32: CUDA has no such resizing of uint8."""
    result = []
    for chunk in images.split(_CHUNK):
        chunk = chunk if suppress is None else suppress(chunk)
        if chunk.shape[-1] != side:
            chunk = functional.interpolate(chunk.float(), (side, side), mode="bilinear", antialias=True)
            chunk = chunk.round().clamp(0, 255).to(torch.uint8)
        result.append(chunk)
    return torch.cat(result)


def _tested(name: str, logits: Tensor, labels: Tensor) -> dict[str, float]:
    # Stimuli are answered among their own categories: the other classes of CIFAR-10 do not count.
    scores = category_probabilities(logits, CIFAR10_CATEGORIES, logits=True) if name in STIMULI else logits
    found = classification(scores, labels)
    return {
        "images": len(labels),
        "accuracy": round(found.accuracy, 6),
        "balanced_accuracy": round(found.balanced_accuracy, 6),
    }


def _decisions(logits: Tensor, shapes: Tensor, textures: Tensor) -> dict[str, Any]:
    """Of each image whether it is answered with its shape's category, its texture's or another, and how many are."""
    found = shape_bias(logits, shapes, textures, categories=CIFAR10_CATEGORIES, logits=True)
    answers = category_probabilities(logits, CIFAR10_CATEGORIES, logits=True).argmax(1)
    kinds = torch.where(answers == shapes, 0, torch.where(answers == textures, 1, 2)).tolist()
    return {
        "shape_bias": None if math.isnan(found.overall) else round(found.overall, 6),
        **found.counts._asdict(),
        "by_class": {name: list(counts) for name, counts in found.counts_by_class.items()},
        "decisions": "".join("sto"[kind] for kind in kinds),  # in the order of the images' names
    }


def _pacs(study: Study, folder: Path) -> Data:
    domains = {name: _folder(folder, [name], "pacs") for name in (*TRAINING_DOMAINS, *TEST_DOMAINS)}
    tests, training = {}, []
    for name in TRAINING_DOMAINS:
        images, labels = domains[name]
        held_out = torch.arange(len(labels)) % HELD_OUT_EVERY == HELD_OUT_EVERY - 1
        training.append((images[~held_out], labels[~held_out]))
        tests[name] = (resized(images[held_out], study.side), labels[held_out])
    for name in TEST_DOMAINS:
        images, labels = (part[:: study.test_every] for part in domains[name])
        tests[name] = (resized(images, study.side), labels)
    images, labels = (torch.cat(parts)[:: study.train_every] for parts in zip(*training, strict=True))
    return Data(images, labels, tests)


def _cifar10(study: Study, folder: Path) -> Data:
    images, labels = (part[:: study.train_every] for part in _folder(folder / "cifar10" / "train", None, "cifar10"))
    tested, right = _folder(folder / "cifar10" / "val", None, "cifar10")
    tests = {"test": (tested[:: study.test_every], right[:: study.test_every])}
    for name in STIMULI:
        tests[name] = _stimuli(folder / "stimuli" / name, study.side)
    pairs = CueConflict(folder / "stimuli" / "cue-conflict", CIFAR10_CATEGORIES)
    differ = (pairs.shapes != pairs.textures).nonzero()[:, 0]
    conflict = torch.stack([pairs[i][0] for i in differ.tolist()])
    return Data(images, labels, tests, (resized(conflict, study.side), pairs.shapes[differ], pairs.textures[differ]))


def _stimuli(folder: Path, side: int) -> Labeled:
    """Those of the categories of CIFAR-10."""
    data = FolderData(str(folder), side=_NATIVE["stimuli"], resident=True)
    images, labels = _all(data)
    names = list(CIFAR10_CATEGORIES)
    place = torch.tensor([names.index(name) if name in names else -1 for name in data.classes])[labels]
    return resized(images[place >= 0], side), place[place >= 0]


def _folder(root: Path, domains: list[str] | None, kind: str) -> Labeled:
    return _all(FolderData(str(root), side=_NATIVE[kind], resident=True, domains=domains))


def _all(data: FolderData) -> Labeled:
    """Images and labels, sorted by class."""
    batches = list(data.labeled("train"))
    return torch.cat([batch.images for batch in batches]), torch.cat([batch.labels for batch in batches])


_worker: list[Data] = []


def _begin(file: Path) -> None:
    _worker.append(Data(**torch.load(file, mmap=True)))


def _one(cell: Cell, epochs: int) -> dict[str, Any]:
    return run(cell, _worker[0], epochs)


def _told(result: dict[str, Any]) -> str:
    return ", ".join(f"{name} {100 * test['accuracy']:.1f} %" for name, test in result["tests"].items())


def main() -> None:
    parser = study_runner.parser(__doc__, list(STUDIES), study_runner.RESULTS / "evaluate", "*_diffusion-*_seed0")
    given = study_runner.parsed(parser, STUDIES)
    study = STUDIES[given.study]
    wanted = study_runner.chosen(cells(given.study), given.cells)
    if not wanted:
        parser.error(f"study {given.study} has no cell like {given.cells!r}")
    missing = study_runner.missing(wanted, given.results)
    if not missing:
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "images.pt"
        torch.save(vars(read(study, given.data)), file)
        with study_runner.processes(given.at_once, _begin, file) as pool:
            epochs = given.epochs or study.epochs
            done = study_runner.run_all(pool, _one, missing, epochs, given.results, _told)
    sys.exit(not done)


if __name__ == "__main__":
    main()

"""Measure on labeled images what a pretrained network has learned.

    python ssl/probe.py --checkpoint runs/pretraining/last.ckpt --data FolderData --data.root DIR --method knn

Methods: `knn`, nearest neighbors on frozen features; `linear`, a linear classifier on them; `finetune`, the whole
network trained further; `pixels`, nearest neighbors on the images themselves, a baseline that features have to pass.
Another baseline is a network that was never trained: --random_init, or --backbone NAME in place of a checkpoint.

Training and test images may differ in kind: --data.domains '[photo]' --data.val_domains '[sketch]' trains on photos and
tests on sketches; --test_data is another data set with the same classes.

Results go to --out as METHOD.json, METHOD.csv (accuracy by class), METHOD-confusion.csv and .png and, for what is
trained, METHOD-curve.csv and .png and METHOD.pth, its weights, which evaluate.py --classifier reads.
"""

import csv
import json
import math
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import torch
from jsonargparse import ArgumentParser, Namespace
from torch import Tensor, nn
from tqdm import tqdm

import texfilters
from texfilters import evaluate
from texfilters.evaluate import Classification, Epoch, Probe, ProbeRecipe, figures
from texfilters.evaluate.report import write_whole
from texfilters.ssl import Backbone
from texfilters.ssl._command_line import Formatter, ToldInALine
from texfilters.ssl._evaluation import centered, cropped, shuffled
from texfilters.ssl._networks import Computing, Seen, drawn, pretrained, untrained
from texfilters.ssl.classifier import probe_file
from texfilters.ssl.data import ImageData

RECIPES = {"moco": evaluate.MOCO, "nonsemantic": evaluate.NONSEMANTIC, "geirhos": evaluate.FINETUNE}


def arguments() -> ArgumentParser:
    parser = ToldInALine(description=__doc__, formatter_class=Formatter)
    parser.add_argument("--config", action="config", help="a YAML of these options")
    parser.add_argument("--method", type=Literal["knn", "linear", "finetune", "pixels"], default="knn")
    parser.add_argument("--out", type=str, default="runs/probe", help="the folder of the results")
    parser.add_argument("--overwrite", action="store_true", help="replace results that are there")

    network = parser.add_argument_group("Network")
    network.add_argument("--checkpoint", type=str | None, help="of a pretrained network")
    network.add_argument("--random_init", action="store_true", help="that network as it was before any training")
    network.add_argument("--backbone", type=str | None, help="a network without a checkpoint, never trained")
    network.add_argument("--small_images", action="store_true", help="give that network a stem for small images")

    parser.add_subclass_arguments(ImageData, "data", required=True, help="learned from, and tested on its val images")
    parser.add_subclass_arguments(ImageData, "test_data", required=False, help="tested on, in place of data")
    images = parser.add_argument_group("Images")
    images.add_argument("--test_split", type=Literal["train", "val"], default="val", help="which images are tested")
    images.add_argument("--size", type=int | None, help="what the network sees; by default as in pretraining")
    images.add_argument(
        "--share", type=float | None, help="of a test image's shorter side; by default 224/256, or 1 for small images"
    )

    neighbors = parser.add_argument_group("Nearest neighbors")
    neighbors.add_argument("--k", type=int, default=200)
    neighbors.add_argument("--temperature", type=float, default=0.07)

    training = parser.add_argument_group("Training")
    training.add_argument(
        "--recipe",
        type=Literal["moco", "nonsemantic", "geirhos"] | None,
        help="by default moco for linear, geirhos for finetune; what follows replaces parts of it",
    )
    training.add_argument("--lr", type=float | None)
    training.add_argument("--epochs", type=int | None)
    training.add_argument("--milestones", type=list[int] | None, help="epochs from which on the rate is a tenth")
    training.add_argument("--batch_size", type=int | None)
    training.add_argument(
        "--augment", action="store_true", help="linear sees random crops and flips, as MoCo's, not features made once"
    )
    training.add_argument(
        "--standardize", action="store_true", help="features get mean 0 and deviation 1; lr about 0.1"
    )
    training.add_argument("--seed", type=int, default=0, help="of weights at the beginning, order and crops")

    parser.add_argument("--device", type=str | None, help="cpu or cuda; by default a GPU if there is one")
    parser.add_argument(
        "--precision", type=Literal["float32", "bfloat16"], default="float32", help="of the network; probes are float32"
    )
    return parser


def measure(given: Namespace) -> tuple[dict[str, Any], Classification, Probe | None, dict[str, Any] | None]:
    """The record of a measurement, the answers, what was trained for them, and how it is written."""
    data, tests = given.data, given.data if given.test_data is None else given.test_data
    if list(tests.classes) != list(data.classes):
        raise ValueError(f"test_data must have the classes of data, {list(data.classes)}, got {list(tests.classes)}")
    device = torch.device(given.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    begun = time.perf_counter()
    network, about = (nn.Flatten(), {"name": "pixels"}) if given.method == "pixels" else _network(given)
    views = about.get("views") or {}
    normalization = views.get("mean"), views.get("std")
    size = given.size or views.get("size") or (32 if given.small_images or given.method == "pixels" else 224)
    center = centered(size, *normalization, given.share)
    weights: dict[str, Any] | None = None
    backbone, network = network, Computing(network, given.precision).to(device)
    train, test, classes = data.labeled("train"), tests.labeled(given.test_split), len(data.classes)

    def measured(batches: Iterable[Any]) -> tuple[Tensor, Tensor]:
        batches = tqdm(batches, "features", leave=False, disable=None)
        return evaluate.features(network, batches, transform=center, device=device)

    settings: dict[str, Any] = {"size": size, "share": given.share}
    result: Probe | None = None
    if given.method in ("knn", "pixels"):
        (x, y), (tested, labels) = measured(train), measured(test)
        votes = evaluate.knn(x, y, tested, k=given.k, temperature=given.temperature, classes=classes)
        outcome = evaluate.classification(votes, labels)
        settings |= {"k": given.k, "temperature": given.temperature}
    else:
        recipe, crops = _recipe(given), given.augment or given.method == "finetune"
        settings |= asdict(recipe) | {"seed": given.seed, "augment": crops, "standardize": given.standardize}
        common: dict[str, Any] = {"classes": classes, "seed": given.seed, "on_epoch": _Progress(recipe.epochs)}
        if not crops:
            (x, y), (tested, labels) = measured(train), measured(test)
            result = evaluate.linear_probe(x, y, tested, labels, recipe, standardize=given.standardize, **common)
        else:
            if given.standardize:
                raise ValueError("--standardize is for features that are made once, not for crops or fine-tuning")
            trains = evaluate.finetune if given.method == "finetune" else evaluate.linear_probe_on_images
            batches = shuffled(data, recipe.batch_size, given.seed)
            common |= {"transform": cropped(size, *normalization), "test_transform": center, "device": device}
            result = trains(network, batches, test, recipe, **common)
        outcome = result.test
        view = Seen(size, given.share, *normalization)
        weights = probe_file(given.method, result.model, backbone, view, data.classes, standardized=given.standardize)
    by_class = [None if math.isnan(accuracy) else accuracy for accuracy in outcome.by_class.tolist()]
    record = {
        "method": given.method,
        "accuracy": outcome.accuracy,
        "balanced_accuracy": outcome.balanced_accuracy,
        "top5": outcome.top5,
        "chance": 1 / classes,
        "train_images": train.sampler.count,
        "test_images": len(outcome.answers),
        "by_class": dict(zip(data.classes, by_class, strict=True)),
        "network": about,
        "settings": settings,
        "seconds": round(time.perf_counter() - begun, 2),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "precision": given.precision,
        "versions": {"texfilters": texfilters.__version__, "torch": torch.__version__},
    }
    return record, outcome, result, weights


def _network(given: Namespace) -> tuple[Backbone, dict[str, Any]]:
    """The network to measure, and what is known of it."""
    if (given.checkpoint is None) == (given.backbone is None):
        raise ValueError("one of --checkpoint and --backbone must be given, or --method pixels")
    if given.checkpoint is not None:
        if given.small_images:
            raise ValueError("--small_images is for --backbone: a checkpoint says what its stem is")
        return untrained(given.checkpoint, given.seed) if given.random_init else pretrained(given.checkpoint)
    built = {"name": given.backbone, "small_images": given.small_images}
    return drawn(built, given.seed), {"backbone": built, "random_init": True}


def _recipe(given: Namespace) -> ProbeRecipe:
    name = given.recipe or ("geirhos" if given.method == "finetune" else "moco")
    own = {key: given[key] for key in ("lr", "epochs", "milestones", "batch_size") if given[key] is not None}
    return replace(RECIPES[name], **own)


class _Progress:
    """A line after each epoch, on a terminal always the same one."""

    def __init__(self, epochs: int) -> None:
        self.epochs, self.done = epochs, 0

    def __call__(self, epoch: Epoch) -> None:
        self.done += 1
        end = "\r" if sys.stderr.isatty() and self.done < self.epochs else "\n"
        line = f"epoch {self.done}/{self.epochs}  lr {epoch.lr:g}  loss {epoch.train_loss:.4f}"
        line += f"  training {epoch.train_accuracy:.2%}  test {epoch.test_accuracy:.2%}"
        print(f"{line:80}", end=end, file=sys.stderr, flush=True)


def write(
    out: Path, record: dict[str, Any], outcome: Classification, result: Probe | None, weights: dict[str, Any] | None
) -> None:
    method, classes = record["method"], list(record["by_class"])
    title = f"{method}: {outcome.accuracy:.2%} of {len(outcome.answers)} test images"
    counts = outcome.confusion.sum(1).tolist()
    rows = [[name, count, record["by_class"][name]] for name, count in zip(classes, counts, strict=True)]
    _write_table(
        out / f"{method}.csv", ["class", "images", "accuracy"], [*rows, ["all", sum(counts), outcome.accuracy]]
    )
    confusion = [[name, *row] for name, row in zip(classes, outcome.confusion.tolist(), strict=True)]
    _write_table(out / f"{method}-confusion.csv", ["class", *classes], confusion)
    figures.save(figures.confusion_matrix(outcome.confusion, classes, title), out / f"{method}-confusion.png")
    if result is not None:
        epochs = [[i, *epoch] for i, epoch in enumerate(result.curve, start=1)]
        _write_table(out / f"{method}-curve.csv", ["epoch", *Epoch._fields], epochs)
        figures.save(figures.training_curve(result.curve, title), out / f"{method}-curve.png")
        torch.save(weights, out / f"{method}.pth")
    # Last: where it is, all the others are.
    write_whole(out / f"{method}.json", json.dumps(record, indent=2, allow_nan=False) + "\n")


def _write_table(path: Path, header: list[str], rows: list[list[Any]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def main(args: list[str] | None = None) -> None:
    parser = arguments()
    config = parser.parse_args(args)
    out = Path(config.out)
    there = out / f"{config.method}.json"
    if there.exists() and not config.overwrite:
        sys.exit(f"probe.py: error: {there} is there already: give another --out, or --overwrite")
    try:
        given = parser.instantiate(config)
    except (ValueError, TypeError) as error:
        parser.error(str(error))
    try:
        figures.ready()
        out.mkdir(parents=True, exist_ok=True)
        record, outcome, result, weights = measure(given)
        record["data"] = {key: config[key].as_dict() for key in ("data", "test_data") if config[key] is not None}
        write(out, record, outcome, result, weights)
    except (ValueError, OSError, RuntimeError, ImportError) as error:
        sys.exit(f"probe.py: error: {error}")
    except KeyboardInterrupt:
        print("probe.py: interrupted", file=sys.stderr)
        sys.exit(130)
    print(
        f"{record['method']}: {outcome.accuracy:.2%} (chance {record['chance']:.2%}) of {record['test_images']} images"
    )
    if result is not None and result.curve[-1].train_loss > math.log(len(outcome.confusion)):
        other = "" if record["settings"]["augment"] else ", or --standardize and --lr 0.1"
        print(f"The loss is above that of a guess: a lower --lr may suit these features{other}.")
    print(f"results: {there}")


if __name__ == "__main__":
    main()

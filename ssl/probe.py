"""Measure what a pretrained network has learned, on labelled images.

    python ssl/probe.py --checkpoint runs/pretraining/last.ckpt --data FolderData --data.root DIR --method knn

Methods: `knn`, nearest neighbors on frozen features; `linear`, a linear classifier on them; `finetune`, the whole network
trained further; `pixels`, nearest neighbors on the images themselves, the baseline that features have to pass. Another
baseline is a network that was never trained: --random_init, or --backbone NAME in place of a checkpoint.

Domains may differ: --data.domains '[photo]' --data.val_domains '[sketch]' trains on photos and tests on sketches.

Results go to --out as METHOD.json, METHOD.csv, METHOD-confusion.csv and .png, and METHOD-curve.csv and .png where there
is a curve.
"""

import csv
import json
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

import torch
from jsonargparse import ArgumentParser
from torch import Tensor, nn

import texfilters
from texfilters import evaluate
from texfilters.evaluate import Classification, Epoch, ProbeRecipe, figures
from texfilters.ssl import Backbone, load_backbone
from texfilters.ssl._checkpoint import KEY, read
from texfilters.ssl._evaluation import centered, cropped, shuffled
from texfilters.ssl.data import ImageData

Method = Literal["knn", "linear", "finetune", "pixels"]
RECIPES = {"moco": evaluate.MOCO, "nonsemantic": evaluate.NONSEMANTIC, "finetune": evaluate.FINETUNE}


def probe(
    data: ImageData,
    method: Method = "knn",
    checkpoint: str | None = None,
    random_init: bool = False,
    backbone: str | None = None,
    small_images: bool = False,
    test_data: ImageData | None = None,
    test_split: Literal["train", "val"] = "val",
    size: int | None = None,
    share: float | None = None,
    k: int = 200,
    temperature: float = 0.07,
    recipe: Literal["moco", "nonsemantic", "finetune"] | None = None,
    lr: float | None = None,
    epochs: int | None = None,
    milestones: list[int] | None = None,
    batch_size: int | None = None,
    augment: bool = False,
    standardize: bool = False,
    seed: int = 0,
    device: str | None = None,
    precision: Literal["float32", "bfloat16"] = "float32",
) -> tuple[dict[str, Any], Classification, tuple[Epoch, ...]]:
    """What the command does but for the files.

    Args:
        data: its labelled training images are learned from.
        method: what is measured.
        checkpoint: of a pretrained network.
        random_init: take the checkpoint's network as it was before any training.
        backbone: a network that was never trained, in place of a checkpoint's.
        small_images: give that network a stem for small images.
        test_data: where the test images come from; by default `data`. Its classes must be the same.
        test_split: which of its images are tested.
        size: side of what the network sees; by default that of the checkpoint's views, else 224, or 32 with small_images.
        share: of a test image's shorter side that is seen; by default 224/256, or 1 where images are no larger than size.
        k: neighbors.
        temperature: of the neighbors' weights.
        recipe: of training. For `linear` moco, the default, or nonsemantic; for `finetune` finetune.
        lr: in place of the recipe's.
        epochs: in place of the recipe's.
        milestones: in place of the recipe's.
        batch_size: in place of the recipe's.
        augment: let `linear` see random crops and flips through the network, as MoCo's does, not features made once.
        standardize: give every feature mean 0 and deviation 1 before `linear`; an lr of about 0.1 suits them.
        seed: of weights at the beginning, of the order of images, of crops.
        device: cpu or cuda; by default a GPU if there is one.
        precision: in which the network computes; nearest neighbors and linear classifiers stay in float32.
    """
    place = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    network, about = _network(checkpoint, backbone, small_images, random_init, seed) if method != "pixels" else (None, {})
    views = about.get("views") or {}
    size = size or views.get("size") or (32 if small_images or method == "pixels" else 224)
    numbers = {"mean": views.get("mean"), "std": views.get("std")}
    tests = data if test_data is None else test_data
    if list(tests.classes) != list(data.classes):
        raise ValueError(f"test_data must have the classes {list(data.classes)}, got {list(tests.classes)}")
    classes, train, test = len(data.classes), data.labelled("train"), tests.labelled(test_split)
    center = centered(size, **numbers, share=share)
    begun = time.perf_counter()

    def measured(batches: Iterable[Any]) -> tuple[Tensor, Tensor]:
        model = (lambda images: images.flatten(1)) if network is None else network
        return evaluate.features(model, batches, transform=center, device=place)

    settings: dict[str, Any]
    curve: tuple[Epoch, ...] = ()
    if network is not None:
        network = Computing(network.to(place), precision)
    if method in ("knn", "pixels"):
        (x, y), (tested, labels) = measured(train), measured(test)
        votes = evaluate.knn(x, y, tested, k=k, temperature=temperature, classes=classes)
        outcome, settings = evaluate.classification(votes, labels), {"k": k, "temperature": temperature}
        learned = len(x)
    else:
        chosen = _recipe(method, recipe, {"lr": lr, "epochs": epochs, "milestones": milestones, "batch_size": batch_size})
        settings = {**asdict(chosen), "augment": augment or method == "finetune", "standardize": standardize, "seed": seed}
        options = {"seed": seed, "classes": classes, "on_epoch": _Progress(chosen.epochs)}
        if method == "linear" and not augment:
            (x, y), (tested, labels) = measured(train), measured(test)
            result = evaluate.linear_probe(x, y, tested, labels, chosen, standardize=standardize, **options)
            learned = len(x)
        else:
            if standardize:
                raise ValueError("standardize is for features that are made once: leave it or augment out")
            batches = shuffled(data, chosen.batch_size, seed)
            function = evaluate.finetune if method == "finetune" else evaluate.linear_probe_on_images
            crops = cropped(size, **numbers)
            views_ = {"transform": crops, "test_transform": center}
            result = function(network, batches, test, chosen, **views_, **options, device=place)
            learned = batches.sampler.count
        outcome, curve = result.test, result.curve
    record = {
        "method": method,
        "accuracy": outcome.accuracy,
        "top5": outcome.top5,
        "by_class": dict(zip(data.classes, outcome.by_class.tolist(), strict=True)),
        "train_images": learned,
        "test_images": len(outcome.answers),
        "chance": 1 / classes,
        "network": about,
        "settings": settings | {"size": size, "share": share},
        "seconds": round(time.perf_counter() - begun, 2),
        "device": torch.cuda.get_device_name(place) if place.type == "cuda" else "cpu",
        "versions": {"texfilters": texfilters.__version__, "torch": torch.__version__},
    }
    return record, outcome, curve

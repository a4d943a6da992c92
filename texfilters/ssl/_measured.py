"""What the command ssl/evaluate.py measures, and on what: networks and images by their names on a command line."""

import dataclasses
import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from texfilters import _check
from texfilters.evaluate.own_classes import read_mapping
from texfilters.evaluate.sections import LabeledImages, Model
from texfilters.ssl._boxes import boxed
from texfilters.ssl._embedding import embedding
from texfilters.ssl._evaluation import labeled
from texfilters.ssl._networks import Computing
from texfilters.ssl.classifier import from_checkpoint, from_torchvision, trained
from texfilters.ssl.data import FolderData, ImageData


class Missing(ValueError):
    """What a measurement needs was not given: a report leaves it out, and says so."""


@dataclass(frozen=True)
class Network:
    """A network as it was asked for.

    Attributes:
        model: with its classifier, if it has one.
        about: what is known of it.
        checkpoint: where it is from, None for one of torchvision's.
        random_init: whether it is what was there before training.
    """

    model: Model
    about: dict[str, Any]
    checkpoint: str | None = None
    random_init: bool = False


class Measured:
    """Networks, built when they are first asked for, and the images to measure them on.

    Args:
        given: the options of ssl/evaluate.py, by their names; those that a measurement lacks count as not given.

    Raises:
        ValueError: for numbers out of their ranges, and a device that is not there.
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        self.given = given
        for name in ("batch_size", "limit", "train_limit", "size"):
            if given.get(name) is not None:
                _check.whole(name, given[name], least=1)
        if (share := given.get("share")) is not None and not 0 < share <= 1:
            raise ValueError(f"share must lie in (0, 1], got {share}")
        self.device = _device(given.get("device"))
        self.data: ImageData | None = given.get("data")
        self.seed: int = given.get("seed") or 0

    @functools.cached_property
    def networks(self) -> dict[str, Network]:
        """By name, in the order of the kinds of options.

        Raises:
            ValueError: for a name that two bear, and for classifiers and weights of a network that is not there.
        """
        get = self.given.get
        checkpoints = named("--checkpoint", get("checkpoint") or ())
        untrained = named("--random_init", get("random_init") or ())
        others = named("--torchvision", get("torchvision") or ())
        classifiers = named("--classifier", get("classifier") or (), checkpoints)
        weights = named("--weights", get("weights") or (), others)
        names = [*untrained, *checkpoints, *others]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"networks must have different names, got {twice[0]!r} twice: say NAME=FILE")
        if without := [name for name in others if name not in weights]:
            raise ValueError(f"--weights must be given for {without[0]!r}: nothing is downloaded")
        common: dict[str, Any] = {name: get(name) for name in ("size", "share")}
        common |= {"device": self.device, "precision": get("precision") or "float32"}
        # Not asked of the data before they are needed: their classes are the names of folders that are read for them.
        classes = self.classes if self.data is not None else ()
        result = {}
        for name, path in untrained.items():
            built = from_checkpoint(path, random_init=True, seed=self.seed, **common)
            result[name] = Network(*built, path, True)
        for name, path in checkpoints.items():
            built = from_checkpoint(path, classifier=classifiers.get(name), classes=classes, **common)
            result[name] = Network(*built, path)
        for name, kind in others.items():
            result[name] = Network(*from_torchvision(kind, weights[name], classes=classes, **common))
        return result

    @property
    def models(self) -> dict[str, Model]:
        """All networks, with classifiers or without.

        Raises:
            Missing: for none.
        """
        if not self.networks:
            raise Missing("no network is given: --checkpoint, --random_init or --torchvision")
        return {name: network.model for name, network in self.networks.items()}

    @functools.cached_property
    def classifying(self) -> dict[str, Model]:
        """All networks with a classifier: those that have none get one that is trained on the training images.

        Raises:
            Missing: for no network, or no images to train with.
        """
        result = self.models
        for name, network in self.networks.items():
            if network.model.classes:
                continue
            if self.data is None:
                raise Missing(f"{name} has no classifier: give --classifier, or --data to train one on")
            images = self.images("train")
            result[name], told = trained(network.model, images, images.classes, seed=self.seed)
            network.about.update(told)
        return result

    @property
    def telling(self) -> dict[str, Model]:
        """All networks with a classifier, of the classes of the data.

        Raises:
            Missing: as `classifying`, and for networks that tell others.
        """
        if self.data is None:
            raise Missing("no labeled images are given: --data")
        for name, model in self.classifying.items():
            if model.classes != self.classes:
                told = f"{name} tells {len(model.classes)} classes"
                if sorted(model.classes) == sorted(self.classes):
                    raise Missing(f"{told} in another order than the data have them")
                raise Missing(f"{told} that are not those of the data")
        return self.classifying

    @functools.cached_property
    def classes(self) -> tuple[str, ...]:
        return () if self.data is None else tuple(self.data.classes)

    def images(self, split: str | None = None, *, limit: int | None = None) -> LabeledImages:
        """Labeled images of the data, those of --split for None, and at most as many as --limit or `limit` says.

        Raises:
            Missing: for no data.
        """
        if self.data is None:
            raise Missing("no labeled images are given: --data")
        split, limit = self._split(split, limit)
        return LabeledImages(labeled(self.data, split, self.given["batch_size"], limit), self.classes)

    def boxed(self, path: str, limit: int) -> tuple[LabeledImages, list[Tensor]]:
        """Images as `images` gives them, of those that have boxes in a file, and the boxes.

        Raises:
            Missing: for no data.
            OSError, ValueError: as `texfilters.ssl._boxes.boxed`.
        """
        if self.data is None:
            raise Missing("no labeled images are given: --data")
        split, most = self._split(None, limit)
        loader, boxes = boxed(self.data, split, self.given["batch_size"], most, path)
        return LabeledImages(loader, self.classes), boxes

    def _split(self, split: str | None, limit: int | None) -> tuple[str, int | None]:
        """The split that is asked for, or --split, and how many of its images."""
        split = split or self.given.get("split") or "val"
        given = self.given.get("train_limit" if split == "train" else "limit")
        if split == "val" and self.data is not None and not self.data._validates():
            raise Missing("the data have no images to test with: give --data.val_root, or domains and val_domains")
        return split, min((each for each in (limit, given) if each is not None), default=None)

    def tests(self) -> dict[str, LabeledImages]:
        """The data's own images for tests, where there are such, and the folders of --tests.

        Raises:
            Missing: for neither.
        """
        folders = named("--tests", self.given.get("tests") or ())
        result = {}
        if self.data is None or self.data._validates() or not folders:
            result[_kind(self.data)] = self.images("val")
        for name, folder in folders.items():
            if name in result:
                raise ValueError(f"tests must have different names, got {name!r} twice: say NAME=FOLDER")
            result[name] = self._folder(folder)
        return result

    def all_images(self, split: str) -> tuple[Tensor, Tensor]:
        """All images of a split as tensors."""
        batches = list(self.images(split))
        return torch.cat([batch[0] for batch in batches]), torch.cat([batch[1] for batch in batches])

    @property
    def mapping(self) -> Mapping[str, Any] | None:
        given = self.given.get("mapping")
        return read_mapping(given) if isinstance(given, str) else given

    def embeddings(self) -> tuple[dict[str, Model], dict[str, Any], list[str]]:
        """Networks whose features are the embeddings that a contrastive method compares, those of their keys, and the
        names of the other networks.

        Raises:
            Missing: where all are of other methods.
        """
        models, keys, others = {}, {}, []
        for name, model in self.models.items():
            network = self.networks[name]
            found = None
            if network.checkpoint is not None:
                found = embedding(network.checkpoint, random_init=network.random_init, seed=self.seed)
            if found is None:
                others.append(name)
                continue
            query, key = (
                Computing(each.to(self.device), self.given.get("precision") or "float32").eval() for each in found
            )
            models[name], keys[name] = dataclasses.replace(model, features=query), key
        if not models:
            raise Missing(f"{', '.join(others)}: of no contrastive method, which are MoCoV2, DenseCL and BYOL")
        return models, keys, others

    def _folder(self, folder: str) -> LabeledImages:
        if not os.path.isdir(folder):
            raise FileNotFoundError(f"tests must be folders of images by class, got {folder!r}")
        size = min(network.about["sees"]["size"] for network in self.networks.values())
        # Where images of the data are not resized, networks see them whole, and these as well.
        side = _side(folder, size, getattr(self.data, "side", size))
        data = FolderData(folder, self.given["batch_size"], side=side, workers=getattr(self.data, "workers", 0))
        # Of a folder with train/ and val/, which may be that of --data, what probes may have been trained on stays out.
        split = "val" if data._validates() else "train"
        return LabeledImages(
            labeled(data, split, self.given["batch_size"], self.given.get("limit")), tuple(data.classes)
        )


def named(option: str, values: Sequence[str], owners: Mapping[str, Any] | None = None) -> dict[str, str]:
    """What is given as NAME=VALUE, by name; without NAME= the value's own name, or that of the only owner.

    Args:
        owners: whose names these must be; None takes any.

    Raises:
        ValueError: for a name that is given twice, or that is of no owner.
    """
    result: dict[str, str] = {}
    for each in values:
        name, equals, value = each.partition("=")
        if not equals or "/" in name or os.path.exists(each):
            name, value = _name(each) if owners is None or len(owners) != 1 else next(iter(owners)), each
        if not name or not value:
            raise ValueError(f"{option} must be NAME=VALUE, got {each!r}")
        if name in result:
            raise ValueError(f"{option} must have different names, got {name!r} twice: say NAME={value}")
        if owners is not None and name not in owners:
            raise ValueError(
                f"{option} must be of a network that is given, {', '.join(owners) or 'none'}, got {name!r}"
            )
        result[name] = value
    return result


def _device(given: str | None) -> torch.device:
    if given is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(given)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise ValueError(f"device must be cpu or cuda, got {given!r}")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device must be one of the {torch.cuda.device_count()} GPUs that are found, got {given!r}")
    return device


def _name(value: str) -> str:
    """The folder of a run, a file without its ending, or a word as it is."""
    path = Path(value)
    return path.parent.name if path.suffix == ".ckpt" and path.parent.name else path.stem


def _kind(data: ImageData | None) -> str:
    domains = getattr(data, "val_domains", None)
    return " and ".join(domains) if domains else "val"


def _side(folder: str, size: int, usual: int) -> int:
    """That of images which are no larger than what a network sees, so that it sees them whole; else the usual one."""
    for path in sorted(Path(folder).rglob("*")):
        if path.suffix.lower() in (".png", ".jpg", ".jpeg", ".webp"):
            try:
                with Image.open(path) as image:
                    return size if max(image.size) <= size else usual
            except OSError:
                continue
    return usual

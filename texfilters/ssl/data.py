"""Data for pretraining and for probes: folders of photos, CIFAR-10 and STL-10, as batches of squares."""

import os
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.distributed
from lightning import LightningDataModule
from torch import Tensor
from torchvision import datasets

from texfilters import _check
from texfilters.ssl._listing import Listing, below, classes_of, listed, same_classes
from texfilters.ssl._loaders import FromFiles, FromTensors, InSequence, Loader, Order, Shuffled, resident
from texfilters.ssl._method import Batch
from texfilters.ssl._sources import Faults, Files

_MOST_WORKERS = 16


class ImageData(LightningDataModule):
    """What the data modules share.

    `train_dataloader()` gives batches of `batch_size` images on every process, in an order that is a function of the
    seed, the epoch and the process's rank; what does not fill a batch is left out until another epoch. Lightning needs
    no sampler of its own for it. `labeled("train")` and `labeled("val")` give every labeled image once, in a fixed
    order, on every process all of them.

    Every batch is a `Batch`: uint8 `[B, 3, S, S]`, labels, and the sizes that the images had. Nothing is random but
    the order: views are made on the device, by the step.
    """

    pretrains_on = "train"

    def __init__(self, batch_size: int, seed: int) -> None:
        super().__init__()
        self.batch_size = _check.whole("batch_size", batch_size, least=1)
        self.seed = _check.whole("seed", seed, least=0)
        self._resident: dict[str, Batch] = {}
        self._training: weakref.WeakSet[Loader] = weakref.WeakSet()

    @property
    def classes(self) -> Sequence[str]:
        """The names of the classes, in the order of their labels; none where images have no labels."""
        raise NotImplementedError

    def settings(self) -> dict[str, Any]:
        """What makes the batches of a run, in plain types, beside the images themselves."""
        return {"images a batch": self.batch_size, "seed of the order": self.seed}

    def train_dataloader(self) -> Loader:
        rank, processes = self._rank()
        loader = self.loader(
            self.pretrains_on, lambda count: Shuffled(count, self.batch_size, self.seed, rank, processes)
        )
        self._training.add(loader)
        return loader

    def val_dataloader(self) -> Loader | list[Any]:
        """`labeled("val")` for methods that validate, which Lightning asks for; nothing where there are no such."""
        return self.labeled("val") if self.classes and self._validates() else []

    def labeled(self, split: str) -> Loader:
        """Batches of all images of "train" or "val"."""
        _check.choice("split", split, ("train", "val"))
        if not self.classes:
            raise ValueError("there are no labels: the images lie in no folders that could be classes")
        return self.loader(split, lambda count: InSequence(count, self.batch_size))

    def loader(self, split: str, order: Callable[[int], Order]) -> Loader:
        """Batches of a split, in the order that is made for as many images as it has."""
        tensors = self._tensors(split)
        return FromTensors(tensors, order(len(tensors.images)))

    def teardown(self, stage: str) -> None:
        self._resident.clear()
        for loader in self._training:
            loader.close()

    def _validates(self) -> bool:
        """Whether there are images for `labeled("val")`."""
        return True

    def _tensors(self, split: str) -> Batch:
        """All images of a split, on the device of the run."""
        if split not in self._resident:
            self._resident[split] = self._read(split, self._device())
        return self._resident[split]

    def _read(self, split: str, device: torch.device) -> Batch:
        raise NotImplementedError

    def _device(self) -> torch.device:
        return torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device

    def _rank(self) -> tuple[int, int]:
        """This process's rank, and how many there are."""
        if self.trainer is not None:
            return self.trainer.global_rank, self.trainer.world_size
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            return torch.distributed.get_rank(), torch.distributed.get_world_size()
        return 0, 1


class FolderData(ImageData):
    """Photos in folders, one a class.

    `root/train/<class>/...` and `root/val/<class>/...`, as ImageNet has them; or `root/<class>/...` to train on and
    `val_root/<class>/...`; or, with `domains`, `root/<domain>/<class>/...`, as PACS has them. A folder without folders,
    whose images have no classes, serves for pretraining; their label is -1.

    Args:
        root: the folder.
        batch_size: of every process.
        side: the photos are squashed to squares of this side, about 8/7 of that of the views.
        workers: processes that decode, for every process of the run; None takes the cores there are.
        resident: decode all once, and keep them as uint8 on the device of the run: what small data sets want.
        val_root: where the images for `labeled("val")` are.
        domains, val_domains: names of folders below `root`, of which there may be several each.
        classes: a text file whose lines begin with the names of the folders that are taken, in the order of their
            labels, such as ImageNet-100's list of WordNet ids; None takes all folders, sorted.
        max_unreadable: up to this share of the files of a split may be damaged. They are skipped, logged and counted,
            by every process for itself; in training the next file by name takes the place of one.
        seed: of the order.

    JPEG, PNG, WebP, BMP, TIFF, PPM and GIF files are read, turned as EXIF says, made RGB of 8 bits.

    Raises:
        FileNotFoundError, ValueError: when the images are first asked for: for a folder that is missing or holds no
            images, for classes that are not the same in all folders, for fewer images than a batch.
        OSError: in the midst of a loop, for more unreadable files than `max_unreadable`.
    """

    def __init__(
        self,
        root: str,
        batch_size: int = 256,
        *,
        side: int = 256,
        workers: int | None = None,
        resident: bool = False,
        val_root: str | None = None,
        domains: list[str] | None = None,
        val_domains: list[str] | None = None,
        classes: str | None = None,
        max_unreadable: float = 0.01,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, seed)
        self.root, self.val_root = str(root), None if val_root is None else str(val_root)
        self.side = _check.whole("side", side, least=1)
        self.workers = None if workers is None else _check.whole("workers", workers, least=0)
        self.resident = _check.flag("resident", resident)
        if val_domains and not domains:
            raise ValueError(f"val_domains must come with domains, got {val_domains} alone")
        if val_domains and val_root is not None:
            raise ValueError("val_root and val_domains both say where to validate: give one of them")
        self.domains, self.val_domains, self.class_file = domains, val_domains, classes
        self.max_unreadable = _check.probability("max_unreadable", max_unreadable)
        self._listings: dict[str, Listing] = {}
        self._faults: dict[str, Faults] = {}

    @property
    def classes(self) -> Sequence[str]:
        return self._listing("train").classes

    def settings(self) -> dict[str, Any]:
        return {**super().settings(), "side": self.side, "images": len(self._listing("train"))}

    def loader(self, split: str, order: Callable[[int], Order]) -> Loader:
        if self.resident:
            return super().loader(split, order)
        return self._from_files(split, order(len(self._listing(split))))

    def names(self, split: str) -> list[str]:
        """The files of "train" or "val" in the order of `labeled`, as `<class>/<file>` or `<domain>/<class>/<file>`."""
        listing = self._listing(_check.choice("split", split, ("train", "val")))
        return [os.fsdecode(name).replace(os.sep, "/") for name in listing.names]

    @property
    def unreadable(self) -> dict[str, str]:
        """The files that could not be read so far, and why."""
        return {path: reason for faults in self._faults.values() for path, reason in faults.reasons.items()}

    def _listing(self, split: str) -> Listing:
        if split not in self._listings:
            root, folders = self._folders(split)
            chosen = None if self.class_file is None else classes_of(self.class_file)
            listing = listed(root, folders, chosen)
            if split != "train":
                same_classes(self._listing("train").classes, listing.classes, self._place("train"), self._place(split))
            self._listings[split] = listing
            self._faults[split] = Faults(listing, self.max_unreadable)
        return self._listings[split]

    def _place(self, split: str) -> str:
        root, folders = self._folders(split)
        return " with ".join(below(root, folder) for folder in folders)

    def _folders(self, split: str) -> tuple[str, Sequence[str]]:
        if self.domains:
            chosen = self.domains if split == "train" else self.val_domains
            if chosen:
                return self.root, chosen
        elif split == "train":
            train = os.path.join(self.root, "train")
            return (train if os.path.isdir(train) else self.root), ("",)
        if self.val_root is not None:
            return self.val_root, ("",)
        if not self.domains and os.path.isdir(val := os.path.join(self.root, "val")):
            return val, ("",)
        raise ValueError(f"{self.root} has no images to validate with: give val_root, or domains and val_domains")

    def _validates(self) -> bool:
        if self.val_root is not None or self.val_domains:
            return True
        return not self.domains and os.path.isdir(os.path.join(self.root, "val"))

    def _from_files(self, split: str, order: Order) -> FromFiles:
        faults, shuffled = self._faults[split], isinstance(order, Shuffled)
        files = Files(faults, self.side, replaces=shuffled)
        pin = torch.cuda.is_available() and (self.trainer is None or self._device().type == "cuda")
        processes = 1 if self.trainer is None else self.trainer.num_devices
        workers = _cores(processes) if self.workers is None else self.workers
        return FromFiles(files, order, workers, pin=pin, keeps=shuffled)

    def _read(self, split: str, device: torch.device) -> Batch:
        count = len(self._listing(split))
        return resident(self._from_files(split, InSequence(count, 64)), count, self.side, device)


class CIFAR10Data(ImageData):
    """CIFAR-10, 32 x 32, on the device of the run; "val" is its test set.

    Args:
        root: the folder that holds, or is to hold, `cifar-10-batches-py`.
        batch_size: of every process.
        download: fetch it if it is not there.
        seed: of the order.

    Raises:
        FileNotFoundError: when the images are first asked for, if they are not there.
    """

    def __init__(self, root: str, batch_size: int = 256, *, download: bool = False, seed: int = 0) -> None:
        super().__init__(batch_size, seed)
        self.root, self.download = str(root), _check.flag("download", download)

    @property
    def classes(self) -> Sequence[str]:
        return _CIFAR10

    def prepare_data(self) -> None:
        if self.download:
            for train in (True, False):
                datasets.CIFAR10(self.root, train=train, download=True)

    def _read(self, split: str, device: torch.device) -> Batch:
        if self.trainer is None:
            self.prepare_data()
        found = _kept(datasets.CIFAR10, self.root, train=split == "train")
        return _on(device, torch.from_numpy(found.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(found.targets))


class STL10Data(ImageData):
    """STL-10, 96 x 96, on the device of the run: 105,000 images to pretrain on, of which 5,000 have labels.

    "train" is the 5,000, "val" the test set of 8,000.

    Args:
        root: the folder that holds, or is to hold, `stl10_binary`.
        batch_size, download, seed: as of `CIFAR10Data`.

    Raises:
        FileNotFoundError: when the images are first asked for, if they are not there.
    """

    pretrains_on = "train+unlabeled"

    def __init__(self, root: str, batch_size: int = 256, *, download: bool = False, seed: int = 0) -> None:
        super().__init__(batch_size, seed)
        self.root, self.download = str(root), _check.flag("download", download)

    @property
    def classes(self) -> Sequence[str]:
        return _STL10

    def prepare_data(self) -> None:
        if self.download:
            datasets.STL10(self.root, split="train+unlabeled", download=True)

    def _read(self, split: str, device: torch.device) -> Batch:
        if self.trainer is None:
            self.prepare_data()
        found = _kept(datasets.STL10, self.root, split="test" if split == "val" else split)
        return _on(device, torch.from_numpy(found.data), torch.from_numpy(found.labels))


_CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_STL10 = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")


def _kept(kind: type[Any], root: str, **which: Any) -> Any:
    """A data set of torchvision's that was fetched before."""
    try:
        return kind(root, **which)
    except RuntimeError as error:
        raise FileNotFoundError(
            f"{root} holds no {kind.__name__}, or a damaged one: give its folder, or download=True (on a command line "
            "--data.download true); FolderData reads images in folders of their classes"
        ) from error


def _on(device: torch.device, images: Tensor, labels: Tensor) -> Batch:
    sizes = torch.tensor(images.shape[2:], dtype=torch.float32).expand(len(images), -1)
    return Batch(images.to(device), labels.long().to(device), sizes.to(device))


def _cores(processes: int) -> int:
    """For each of several processes here, of those that they may use."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(_MOST_WORKERS, cores // processes))

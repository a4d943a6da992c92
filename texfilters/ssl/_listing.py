"""The image files below folders, in an order that depends on their names alone."""

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from texfilters.ssl._decode import SUFFIXES

_log = logging.getLogger(__name__)

Identity = tuple[int, int]  # of a folder, whatever path it is reached by: device and inode


@dataclass(frozen=True)
class Listing:
    """Files and their labels, in arrays: lists of millions would be copied page by page into every worker."""

    root: str
    names: np.ndarray  # bytes [N], relative to the root
    labels: np.ndarray  # int64 [N], -1 for files of no class
    classes: tuple[str, ...]  # the names behind the labels

    def __len__(self) -> int:
        return len(self.names)

    def path(self, index: int) -> str:
        return os.path.join(self.root, os.fsdecode(self.names[index]))


def listed(root: str, folders: Sequence[str] = ("",), classes: Sequence[str] | None = None) -> Listing:
    """The images in some folders below a root, each of which holds one folder a class, or images and no folders.

    A class is a folder right below, whose images may lie deeper. Names that begin with a dot are left out; links are
    followed. `classes` names those that are taken, in the order of their labels; None takes all, sorted. Images beside
    folders of classes are left out, which is logged.

    Raises:
        FileNotFoundError: for a folder that is missing.
        ValueError: for a class without images, or not the same classes in all folders.
    """
    found = {folder: _classes(root, folder) for folder in folders}
    if classes is None:
        first, *others = found
        classes = found[first]
        for folder in others:
            same_classes(classes, found[folder], below(root, first), below(root, folder))
    elif repeated := sorted({name for name in classes if list(classes).count(name) > 1}):
        raise ValueError(f"classes must name a folder once, got {_some(repeated)} several times")
    names: list[bytes] = []
    labels: list[int] = []
    for folder, there in found.items():
        if missing := sorted(set(classes) - set(there)):
            raise FileNotFoundError(f"{below(root, folder)} has no folder for class {_some(missing)}")
        if classes and (beside := len(list(_images(root, folder, deeper=False)))):
            _log.warning("left out, beside the folders of classes: %d images in %s", beside, below(root, folder))
        parts = [(label, os.path.join(folder, name)) for label, name in enumerate(classes)] or [(-1, folder)]
        for label, part in parts:
            files = list(_images(root, part))
            if not files:
                raise ValueError(f"no images in {below(root, part)}; suffixes read are {' '.join(sorted(SUFFIXES))}")
            names += files
            labels += [label] * len(files)
    return Listing(root, np.array(names), np.array(labels, dtype=np.int64), tuple(classes))


def same_classes(classes: Sequence[str], others: Sequence[str], here: str, there: str) -> None:
    if differing := sorted(set(classes) ^ set(others)):
        raise ValueError(f"{here} and {there} must hold the same classes, only one of them has {_some(differing)}")


def classes_of(path: str) -> list[str]:
    """The first word on every line of a text file, such as ImageNet-100's list of WordNet ids."""
    with open(path, encoding="utf-8") as file:
        names = [words[0] for line in file if (words := line.split()) and not words[0].startswith("#")]
    if not names:
        raise ValueError(f"{path} names no classes")
    return names


def _classes(root: str, folder: str) -> list[str]:
    with os.scandir(below(root, folder)) as entries:
        return sorted(entry.name for entry in entries if entry.is_dir() and not entry.name.startswith("."))


def _images(
    root: str, folder: str, *, deeper: bool = True, above: frozenset[Identity] = frozenset()
) -> Iterator[bytes]:
    path = below(root, folder)
    status = os.stat(path)
    identity = status.st_dev, status.st_ino
    if identity in above:  # a link to a folder that contains it
        return
    with os.scandir(path) as entries:
        visible = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    for entry in visible:
        name = os.path.join(folder, entry.name)
        if entry.is_dir():
            if deeper:
                yield from _images(root, name, above=above | {identity})
        elif os.path.splitext(entry.name)[1].lower() in SUFFIXES and entry.is_file():
            yield os.fsencode(name)


def below(root: str, folder: str) -> str:
    return os.path.join(root, folder) if folder else root


def _some(names: Sequence[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")

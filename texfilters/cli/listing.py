"""Which files of a folder tree are read, and where each one goes, without a list of them all."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from texfilters.cli import image_files
from texfilters.cli.messages import Refused, reason, shown

Identity = tuple[int, int]  # of a folder or file, whatever path it is reached by: device and inode

_READ = (*image_files.SUFFIXES, ".tar")


@dataclass(frozen=True)
class Shard:
    """One of `count` parts of a tree, by the names of its files: the same part on every machine."""

    index: int = 1
    count: int = 1

    def __str__(self) -> str:
        return f"{self.index}-of-{self.count}"

    def holds(self, name: str) -> bool:
        if self.count == 1:
            return True
        digest = hashlib.sha256(os.fsencode(name)).digest()
        return 1 + int.from_bytes(digest[:8], "big") % self.count == self.index


def is_tar(name: str) -> bool:
    """Whether a file that is read is a WebDataset shard, and not an image."""
    return name[-4:].lower() == ".tar" and image_files.suffix_of(name) == ".tar"


def target_name(name: str, suffix: str | None) -> str:
    """The name of the result: the same, but for the suffix of an image if another format is asked for."""
    return name if is_tar(name) else image_files.renamed(name, suffix)


@dataclass
class Tree:
    """SRC and DST, both folders. `count` walks SRC before anything is written, then `names` gives its files.

    Held at a time are the names in one folder, the folders still to be visited, and the identities of all folders that
    images are read from.
    """

    source: str
    target: str
    suffix: str | None = None  # of all results, if not that of their sources
    shard: Shard = field(default_factory=Shard)
    images: int = 0
    tars: int = 0
    left_out: int = 0  # files of other kinds
    failures: dict[str, str] = field(default_factory=dict)  # folders that cannot be read, and why
    _folders: set[Identity] = field(default_factory=set)  # that images are read from and nothing may be written to
    _checked: tuple[str, bool] = ("", False)  # the last target folder, and whether it is one of them

    def count(self) -> None:
        """The first walk. Refuses two sources with one target."""
        for folder in self._walk():
            if self.suffix is not None:
                self._refuse_one_target_for_two(folder)
            self.left_out += folder.left_out
            if folder.files:
                self._folders.add(folder.identity)
            for file in folder.links.intersection(folder.files):
                behind = os.path.dirname(os.path.realpath(os.path.join(folder.real, file)))
                if (identity := _identity(behind)) is not None:
                    self._folders.add(identity)
            mine = [file for file in folder.files if self.shard.holds(folder.prefix + file)]
            tars = sum(map(is_tar, mine))
            self.tars += tars
            self.images += len(mine) - tars
        if not self._folders and not self.failures:
            raise Refused(f"no images in {shown(self.source)}; suffixes read are {' '.join(_READ)}")

    def names(self) -> Iterator[str]:
        """The files of this shard, relative to SRC, in an order that depends on their names alone."""
        for folder in self._walk():
            for file in folder.files:
                name = folder.prefix + file
                if self.shard.holds(name):
                    yield name

    def paths(self, name: str) -> tuple[str, str]:
        return os.path.join(self.source, name), os.path.join(self.target, target_name(name, self.suffix))

    def refusal(self, source: str, target: str) -> str | None:
        """Why a file may not be written: by a link in either tree its folder is one that images are read from."""
        folder = os.path.dirname(target)
        if folder != self._checked[0]:
            self._checked = folder, _identity(folder) in self._folders
        if not self._checked[1]:
            return None
        there = _identity(target)
        if there is not None and there == _identity(source):
            return "the output would overwrite its input"
        return "the output would go into a folder that images are read from"

    def _walk(self) -> Iterator["_Folder"]:
        target, root = os.path.realpath(self.target), os.path.realpath(self.source)
        # A destination inside the source is not read; one around the source cannot be left out.
        skip = None if _is_within(root, target) else target
        pending: list[tuple[str, str, frozenset[Identity]]] = [("", root, frozenset())]
        while pending:
            prefix, real, above = pending.pop()
            if skip is not None and _is_within(real, skip):
                continue
            try:
                folder = _Folder(prefix, real)
            except OSError as error:
                self.failures[os.path.join(self.source, prefix.rstrip(os.sep))] = reason(error)
                continue
            if folder.identity in above:  # a symbolic link to a folder that contains it
                continue
            yield folder
            above |= {folder.identity}
            for name in reversed(folder.folders):
                path = os.path.join(real, name)
                below = os.path.realpath(path) if name in folder.links else path
                pending.append((f"{prefix}{name}{os.sep}", below, above))

    def _refuse_one_target_for_two(self, folder: "_Folder") -> None:
        taken = {name: name for name in folder.folders}
        for file in folder.files:
            target = target_name(file, self.suffix)
            other = taken.setdefault(target, file)
            if other != file:
                first, second = (shown(os.path.join(self.source, folder.prefix + name)) for name in (other, file))
                raise Refused(f"{first} and {second} have one target: {shown(folder.prefix + target)}")


class _Folder:
    """One folder of SRC, listed."""

    def __init__(self, prefix: str, real: str) -> None:
        """Raises OSError if it cannot be read."""
        self.prefix = prefix  # of the names of its files, relative to SRC: "" or "a/b/"
        self.real = real  # its path without links
        status = os.stat(real)
        self.identity = status.st_dev, status.st_ino
        self.files: list[str] = []  # that are read, sorted
        self.folders: list[str] = []  # sorted
        self.links: set[str] = set()
        self.left_out = 0  # files
        with os.scandir(real) as entries:
            for entry in entries:
                if entry.is_symlink():
                    self.links.add(entry.name)
                if _is_folder(entry):
                    self.folders.append(entry.name)
                elif image_files.suffix_of(entry.name) in _READ:
                    self.files.append(entry.name)
                else:
                    self.left_out += 1
        self.files.sort()
        self.folders.sort()


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads nowhere
        return False


def _identity(path: str) -> Identity | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)

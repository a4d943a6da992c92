"""Which files of a folder tree are read, and where each one goes, without a list of them all."""

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from texfilters.cli import image_files
from texfilters.cli.messages import Refused, reason, shown

Identity = tuple[int, int]  # of a folder, whatever path it is reached by: device and inode


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
    return image_files.suffix_of(name) == ".tar"


def target_name(name: str, suffix: str | None) -> str:
    """The name of the result: the same, but for the suffix of an image if another format is asked for."""
    return name if suffix is None or is_tar(name) else os.path.splitext(name)[0] + suffix


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
        found = False
        for folder, here, files, folders in self._walk():
            read = [file for file in files if _is_read(file)]
            self.left_out += len(files) - len(read)
            if self.suffix is not None:
                self._refuse_one_target_for_two(folder, read, folders)
            if read:
                found = True
                self._folders.add(here)
            for file in read:
                path = os.path.join(self.source, folder, file)
                if os.path.islink(path) and (behind := _identity(os.path.dirname(os.path.realpath(path)))):
                    self._folders.add(behind)
                if self.shard.holds(os.path.join(folder, file)):
                    self.tars += is_tar(file)
                    self.images += not is_tar(file)
        if not found and not self.failures:
            suffixes = " ".join([*image_files.SUFFIXES, ".tar"])
            raise Refused(f"no images in {shown(self.source)}; suffixes read are {suffixes}")

    def names(self) -> Iterator[str]:
        """The files of this shard, relative to SRC, in an order that depends on their names alone."""
        for folder, _, files, _ in self._walk():
            for file in files:
                name = os.path.join(folder, file)
                if _is_read(file) and self.shard.holds(name):
                    yield name

    def paths(self, name: str) -> tuple[str, str]:
        return os.path.join(self.source, name), os.path.join(self.target, target_name(name, self.suffix))

    def refusal(self, source: str, target: str) -> str | None:
        """Why a file may not be written: by a link in either tree it is a source, or would come among them."""
        folder = os.path.dirname(target)
        if folder != self._checked[0]:
            self._checked = folder, _identity(folder) in self._folders
        try:
            if os.path.samefile(source, target):
                return "the output would overwrite its input"
        except OSError:  # most often there is no target yet
            pass
        return "the output would go into a folder that images are read from" if self._checked[1] else None

    def _walk(self) -> Iterator[tuple[str, Identity, list[str], list[str]]]:
        """Each folder with its identity, the names of its files and those of its folders, sorted."""
        target, root = os.path.realpath(self.target), os.path.realpath(self.source)
        # A destination inside the source is not read; one around the source cannot be left out.
        skip = None if _is_within(root, target) else target
        pending: list[tuple[str, str, frozenset[Identity]]] = [("", root, frozenset())]
        while pending:
            folder, real, above = pending.pop()
            if skip is not None and _is_within(real, skip):
                continue
            files: list[str] = []
            folders: list[str] = []
            try:
                status = os.stat(real)
                here = status.st_dev, status.st_ino
                if here in above:  # a symbolic link to a folder that contains it
                    continue
                with os.scandir(real) as entries:
                    for entry in entries:
                        (folders if _is_folder(entry) else files).append(entry.name)
            except OSError as error:
                self.failures[os.path.join(self.source, folder)] = reason(error)
                continue
            files.sort()
            folders.sort()
            yield folder, here, files, folders
            for name in reversed(folders):
                path = os.path.join(real, name)
                below = os.path.realpath(path) if os.path.islink(path) else path
                pending.append((os.path.join(folder, name), below, above | {here}))

    def _refuse_one_target_for_two(self, folder: str, files: list[str], folders: list[str]) -> None:
        taken = {name: name for name in folders}
        for file in files:
            target = target_name(file, self.suffix)
            other = taken.setdefault(target, file)
            if other != file:
                first, second = (shown(os.path.join(self.source, folder, name)) for name in (other, file))
                raise Refused(f"{first} and {second} have one target, {shown(os.path.join(folder, target))}")


def _is_read(file: str) -> bool:
    return image_files.is_image(file) or is_tar(file)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads nowhere
        return False


def _identity(folder: str) -> Identity | None:
    try:
        status = os.stat(folder)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)

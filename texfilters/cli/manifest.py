"""What has become of every file: one line of JSON each, in a file at the root of the target.

The first line holds the settings. Lines are appended, and the later of two on one file counts. A line that a kill has
torn is the last one: the run that goes on cuts it off.
"""

import contextlib
import hashlib
import json
import os
import re
from array import array
from collections.abc import Iterator
from typing import Any

import numpy as np

import texfilters
from texfilters.cli import work
from texfilters.cli.listing import Shard
from texfilters.cli.messages import Refused, reason, shown

VERSION = 1

Record = dict[str, Any]

_NAME = re.compile(r"texfilters-manifest(?:-(\d+)-of-(\d+))?\.jsonl")
_json = json.JSONEncoder(sort_keys=True)
_OFFSET_BITS = 48  # of a place in the index; the rest is the number of the manifest


def name_of(shard: Shard) -> str:
    return f"texfilters-manifest{'' if shard.count == 1 else f'-{shard}'}.jsonl"


class Manifest:
    """The manifest of one shard, which grows, and an index of all that lie in the folder: 16 bytes a record."""

    def __init__(self, folder: str, shard: Shard, settings: Record, *, overwrite: bool) -> None:
        self.path = os.path.join(folder, name_of(shard))
        others = []
        for name, count in sorted(_manifests(folder).items()):
            path = os.path.join(folder, name)
            if path == self.path:
                continue
            if _fits(path, settings, overwrite):
                others.append(path)
            elif count != shard.count:
                # What --overwrite has set aside would be in the way of every later run. The shards of this division
                # begin anew for themselves.
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)
        anew = os.path.exists(self.path) and not _fits(self.path, settings, overwrite)
        self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        if anew:
            os.ftruncate(self._descriptor, 0)
        self._read = [*(os.open(path, os.O_RDONLY | os.O_CLOEXEC) for path in others), self._descriptor]
        self._index([*others, self.path])
        self._flushed = self._end
        self.resuming = bool(others) or self._end > 0  # whether files without a record may be of a run that was killed
        if not self._end:
            self.append({"manifest": VERSION, "texfilters": texfilters.__version__, "settings": settings})

    def find(self, source: str) -> list[Record]:
        """The records of a file, the latest first."""
        if not len(self._keys):
            return []
        key = np.uint64(_key(source))
        first, last = np.searchsorted(self._keys, key, "left"), np.searchsorted(self._keys, key, "right")
        records = (self._at(int(place)) for place in self._places[first:last][::-1])
        return [record for record in records if record and record["source"] == source]

    def append(self, *records: Record) -> None:
        """Raises work.Stop if the disk does not take the lines; then there is no part of them."""
        lines = "".join(f"{_json.encode(record)}\n" for record in records).encode()
        try:
            written = 0
            while written < len(lines):  # a disk that has just become full takes a part, and says why the next time
                written += os.write(self._descriptor, lines[written:])
        except OSError as error:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._end)
            raise work.Stop(reason(error)) from error
        self._end += len(lines)

    def flush(self) -> None:
        """Wait until all is on the disk. Before that a power failure costs records, which the next run makes anew."""
        if self._end > self._flushed:
            try:
                os.fsync(self._descriptor)
            except OSError as error:
                raise work.Stop(reason(error)) from error
            self._flushed = self._end

    def close(self) -> None:
        for descriptor in self._read:
            os.close(descriptor)

    def _index(self, paths: list[str]) -> None:
        keys, places = array("Q"), array("Q")
        for number, path in enumerate(paths):
            for offset, record in _records(path):
                keys.append(_key(record["source"]))
                places.append(number << _OFFSET_BITS | offset)
        self._end = _length_of_whole_lines(self._descriptor)
        if self._end < os.fstat(self._descriptor).st_size:
            os.ftruncate(self._descriptor, self._end)
        order = np.argsort(keys, kind="stable")  # of one file's records, the later stay behind
        self._keys, self._places = np.array(keys, np.uint64)[order], np.array(places, np.uint64)[order]

    def _at(self, place: int) -> Record | None:
        descriptor, offset = self._read[place >> _OFFSET_BITS], place & ((1 << _OFFSET_BITS) - 1)
        size = 1024
        while b"\n" not in (text := os.pread(descriptor, size, offset)) and len(text) == size:
            size *= 4
        try:
            record = json.loads(text.partition(b"\n")[0])
        except ValueError:  # another shard has begun its manifest anew since
            return None
        return record if isinstance(record, dict) and "source" in record else None


def settings_of(settings: work.Settings) -> Record:
    """What decides on the pixels, the bytes and the names of the results."""
    return {
        "filter": settings.filter,
        "parameters": dict(settings.parameters),
        "format": settings.format,
        "quality": settings.quality,
        "metadata": settings.metadata,
        "backend": settings.backend,
        "device": settings.device.partition(":")[0],
    }


def _manifests(folder: str) -> dict[str, int]:
    """By name: into how many shards that run, or the one that it was part of, has divided the source."""
    with os.scandir(folder) as entries:
        matches = (_NAME.fullmatch(entry.name) for entry in entries)
        return {match[0]: int(match[2] or 1) for match in matches if match}


def _fits(path: str, settings: Record, overwrite: bool) -> bool:
    """Whether a manifest is of these settings, or has none yet; others are refused unless they may be set aside."""
    with open(path, "rb") as file:
        line = file.readline()
    if not line.endswith(b"\n"):
        return True
    try:
        header = json.loads(line)
        if header["manifest"] != VERSION:
            raise Refused(f"{shown(path)} is of version {header['manifest']}, which this texfilters cannot read")
        differences = _differences(header["settings"], settings)
    except (ValueError, TypeError, KeyError, RecursionError):
        raise Refused(f"{shown(path)} is no manifest of texfilters; move it away") from None
    if differences and not overwrite:
        changes = ", ".join(differences)
        raise Refused(f"{shown(path)}: {changes}; --overwrite starts anew, or choose another DST")
    return not differences


def _differences(before: Record, now: Record) -> list[str]:
    """Each setting that is another, in words; of another filter, the parameters say nothing."""
    before, now = ({**settings.pop("parameters"), **settings} for settings in ({**before}, {**now}))
    names = dict.fromkeys([*now, *before]) if before["filter"] == now["filter"] else ["filter"]
    return [
        f"{name} was {_written(before.get(name))}, now {_written(now.get(name))}"
        for name in names
        if before.get(name) != now.get(name)
    ]


def _written(value: Any) -> str:
    return "none" if value is None else str(value)


def _records(path: str) -> Iterator[tuple[int, Record]]:
    """The records of a manifest and where they begin, up to a line that is being written or was torn."""
    offset = 0
    with open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            if number > 1:
                try:
                    record = json.loads(line)
                    sound = isinstance(record["source"], str) and record["status"] in ("done", "failed")
                except (ValueError, TypeError, KeyError, RecursionError):
                    sound = False
                if not sound:
                    raise Refused(f"line {number} of {shown(path)} is damaged; remove the line")
                yield offset, record
            offset += len(line)


def _length_of_whole_lines(descriptor: int) -> int:
    end = os.fstat(descriptor).st_size
    while end:
        start = max(0, end - 65536)
        newline = os.pread(descriptor, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def _key(source: str) -> int:
    name = source.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "little")

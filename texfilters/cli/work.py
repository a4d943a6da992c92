"""What a worker of `texfilters suppress` does with the files it is handed: read, filter, write, and account for it."""

import functools
import hashlib
import itertools
import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

from texfilters.cli import atomic, image_files, stages, tar_shards
from texfilters.cli.atomic import Stop
from texfilters.cli.listing import is_tar
from texfilters.cli.messages import reason
from texfilters.cli.stages import Settings

__all__ = ["Item", "Settings", "Stop", "do", "holds"]

Record = dict[str, Any]

_EXISTS = "exists; --overwrite replaces it"


class Item(NamedTuple):
    """A file to be done."""

    name: str  # of the source, relative to the job's
    source: str
    target: str
    resuming: bool = False  # a target that is there already may be the one that this item would write


def do(items: Sequence[Item], settings: Settings, temporary: str, threads: int = 1) -> Iterator[Record]:
    """Do the work, yielding what the manifest says of each item, in order, when its target is in place.

    Targets are written to `temporary`, in the job's target folder, and then renamed; a tar shard is done by `threads`
    threads. What is wrong with a file goes into its record; Stop is raised for what would go wrong with every file.
    """
    for are_shards, several in itertools.groupby(items, lambda item: is_tar(item.source)):
        if are_shards:
            for item in several:
                yield _do_shard(item, settings, temporary, threads)
        else:
            yield from _do_images(several, settings, temporary)


def _do_images(items: Iterable[Item], settings: Settings, temporary: str) -> Iterator[Record]:
    at_work: deque[tuple[Item, Record]] = deque()

    def contents() -> Iterator[stages.Content]:
        for item in items:
            record: Record = {"source": item.name}
            at_work.append((item, record))
            suffix = image_files.suffix_of(item.target)
            yield stages.Content(item.source, suffix, _content(item, settings, record))

    for changed in stages.change(contents(), settings):
        item, record = at_work.popleft()
        try:
            if isinstance(changed, Exception):
                raise changed
            with atomic.Temporary(temporary) as file:
                file.write(changed.data)
                sha256 = hashlib.sha256(changed.data).hexdigest()
                record |= _placed(file, item, settings, len(changed.data), sha256)
            if changed.note:
                record["note"] = changed.note
        except Stop:
            raise
        except Exception as error:
            record |= {"status": "failed", "reason": reason(error)}
        yield record


def _content(item: Item, settings: Settings, record: Record) -> bytes | Exception:
    try:
        data, status = image_files.load(item.source, settings.max_bytes)
        record |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        _require_room(item, settings, status)
    except Exception as error:
        return error
    return data


def _do_shard(item: Item, settings: Settings, temporary: str, threads: int) -> Record:
    record: Record = {"source": item.name}
    try:
        with image_files.opened(item.source) as (descriptor, status), ThreadPoolExecutor(1) as aside:
            shard = tar_shards.Shard(descriptor, status)
            sha256 = aside.submit(shard.sha256)
            try:
                _require_room(item, settings, status)
                record |= _convert(shard, item, settings, temporary, threads)
            finally:
                record |= {"bytes": status.st_size, "sha256": sha256.result()}
    except Stop:
        raise
    except Exception as error:
        record |= {"status": "failed", "reason": reason(error)}
    return record


def _convert(shard: tar_shards.Shard, item: Item, settings: Settings, temporary: str, threads: int) -> Record:
    with atomic.Temporary(temporary) as file:
        result = tar_shards.convert(
            shard,
            file,
            functools.partial(stages.change, settings=settings),
            suffix=settings.format,
            max_bytes=settings.max_bytes,
            threads=threads,
            batch=stages.images_together(settings),
        )
        record = _placed(file, item, settings, result.size, result.sha256)
    return {**record, "images": result.images, "left_out": result.left_out}


def _require_room(item: Item, settings: Settings, source: os.stat_result) -> None:
    """Refuse a target that is there and must stay before anything is computed."""
    if not os.path.lexists(item.target):
        return
    if os.path.exists(item.target) and os.path.samestat(source, os.stat(item.target)):
        raise ValueError("the output would overwrite its input")
    if not (settings.overwrite or item.resuming):
        raise ValueError(_EXISTS)


def _placed(file: atomic.Temporary, item: Item, settings: Settings, size: int, sha256: str) -> Record:
    try:
        file.place(item.target, replace=settings.overwrite)
    except atomic.Occupied:
        if not (item.resuming and holds(item.target, size, sha256)):
            raise ValueError(_EXISTS) from None
    target = item.target.removeprefix(os.path.join(os.path.dirname(file.name), ""))
    return {"status": "done", "target": target, "target_bytes": size, "target_sha256": sha256}


def holds(path: str, size: int, sha256: str | None) -> bool:
    """Whether a file has this content."""
    try:
        with image_files.opened(path) as (descriptor, status):
            return status.st_size == size and tar_shards.sha256(descriptor) == sha256
    except (OSError, ValueError):
        return False

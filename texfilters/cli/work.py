"""What a worker of `texfilters suppress` does with the files it is handed: read, filter, write, and account for it."""

import functools
import hashlib
import itertools
import os
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from texfilters.cli import atomic, filters, image_files, tar_shards
from texfilters.cli.atomic import Stop
from texfilters.cli.image_files import Picture
from texfilters.cli.messages import reason

__all__ = ["Item", "Settings", "Stop", "do"]

Record = dict[str, Any]

# How many images are decoded before one call filters those of them that have a mode and a size in common; and after
# how many pixels, so that large images do not fill the memory.
_TOGETHER = {"cpu": 1, "cuda": 32}
_MOST_PIXELS = 1 << 25

_EXISTS = "exists; --overwrite replaces it"


@dataclass(frozen=True)
class Settings:
    """How every file of a job is treated."""

    filter: str
    parameters: Mapping[str, Any] = field(default_factory=dict, hash=False)  # None, or none: the filter's default
    backend: str | None = None
    device: str = "cpu"
    format: str | None = None  # the suffix of what is written, ".png"; None: that of the source
    quality: int = 95
    metadata: str = "keep"  # or "drop": the pixels are turned as EXIF says, then EXIF and color profile are left out
    max_pixels: int | None = image_files.MAX_PIXELS  # None: no limit
    overwrite: bool = False


@dataclass(frozen=True)
class Item:
    """A file to be done."""

    name: str  # of the source, relative to the job's
    source: str
    target: str
    resuming: bool = False  # a target that is there already may be the one that this item would write


class _Waiting(NamedTuple):
    """An image that is to be filtered with others, unless it could not be decoded."""

    name: str
    suffix: str  # of what it becomes
    picture: Picture | Exception


class _Changed(NamedTuple):
    """The new content of an image's file."""

    data: bytes
    note: str | None


def do(items: Sequence[Item], settings: Settings, temporary: str, threads: int = 1) -> Iterator[Record]:
    """Do the work, yielding what the manifest says of each item, in order, when its target is in place.

    Targets are written to `temporary`, in the job's target folder, and then renamed; a tar shard is done by `threads`
    threads. What is wrong with a file goes into its record; Stop is raised for what would go wrong with every file.
    """
    for are_shards, several in itertools.groupby(items, lambda item: tar_shards.is_shard(item.source)):
        if are_shards:
            for item in several:
                yield _do_shard(item, settings, temporary, threads)
        else:
            yield from _do_images(several, settings, temporary)


def _do_images(items: Iterable[Item], settings: Settings, temporary: str) -> Iterator[Record]:
    at_work: deque[tuple[Item, Record]] = deque()

    def contents() -> Iterator[tar_shards.Content]:
        for item in items:
            record: Record = {"source": item.name}
            at_work.append((item, record))
            yield item.source, image_files.suffix_of(item.target), _content(item, settings, record)

    for changed in _change(contents(), settings):
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
        _require_room(item, settings)
        data, status = image_files.load(item.source, image_files.most_bytes(settings.max_pixels))
        record |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
        _require_another(item, status)
    except Exception as error:
        return error
    return data


def _do_shard(item: Item, settings: Settings, temporary: str, threads: int) -> Record:
    record: Record = {"source": item.name}
    try:
        _require_room(item, settings)
        with image_files.opened(item.source) as (descriptor, status), ThreadPoolExecutor(1) as aside:
            _require_another(item, status)
            shard = tar_shards.Shard(descriptor, status)
            sha256 = aside.submit(shard.sha256)
            try:
                record |= _convert(shard, item, settings, temporary, threads)
            finally:
                record |= {"bytes": status.st_size, "sha256": sha256.result()}
    except Stop:
        raise
    except Exception as error:
        record |= {"status": "failed", "reason": reason(error)}
    return record


def _convert(shard: tar_shards.Shard, item: Item, settings: Settings, temporary: str, threads: int) -> Record:
    def change(contents: Iterable[tar_shards.Content]) -> Iterator[bytes | Exception]:
        for changed in _change(contents, settings):
            yield changed if isinstance(changed, Exception) else changed.data

    with atomic.Temporary(temporary) as file:
        result = tar_shards.convert(
            shard,
            file,
            change,
            suffix=settings.format,
            max_bytes=image_files.most_bytes(settings.max_pixels),
            threads=threads,
            batch=_TOGETHER[settings.device.partition(":")[0]],
        )
        record = _placed(file, item, settings, result.size, result.sha256)
    return {**record, "images": result.images, "left_out": result.left_out}


def _require_room(item: Item, settings: Settings) -> None:
    if not (settings.overwrite or item.resuming) and os.path.lexists(item.target):
        raise ValueError(_EXISTS)


def _require_another(item: Item, source: os.stat_result) -> None:
    """A target that is the source, by whatever name, must not be replaced."""
    try:
        target = os.stat(item.target)
    except OSError:
        return
    if os.path.samestat(source, target):
        raise ValueError("the output would overwrite its input")


def _placed(file: atomic.Temporary, item: Item, settings: Settings, size: int, sha256: str) -> Record:
    if settings.overwrite or not os.path.lexists(item.target):
        file.place(item.target)
    elif not item.resuming or not _holds(item.target, size, sha256):
        raise ValueError(_EXISTS)
    target = item.target.removeprefix(os.path.join(os.path.dirname(file.name), ""))
    return {"status": "done", "target": target, "target_bytes": size, "target_sha256": sha256}


def _holds(path: str, size: int, sha256: str) -> bool:
    try:
        with image_files.opened(path) as (descriptor, status):
            return status.st_size == size and tar_shards.sha256(descriptor) == sha256
    except (OSError, ValueError):
        return False


def _change(contents: Iterable[tar_shards.Content], settings: Settings) -> Iterator[_Changed | Exception]:
    """Decode, filter and encode, in order; what could not be read is passed on."""
    most = _TOGETHER[settings.device.partition(":")[0]]
    waiting: list[_Waiting] = []
    pixels = 0
    for name, suffix, content in contents:
        picture = _decoded(content, settings)
        waiting.append(_Waiting(name, suffix, picture))
        if isinstance(picture, Picture):
            pixels += picture.image.width * picture.image.height
        if len(waiting) == most or pixels >= _MOST_PIXELS:
            yield from _filtered_and_encoded(waiting, settings)
            waiting, pixels = [], 0
    yield from _filtered_and_encoded(waiting, settings)


def _decoded(content: bytes | Exception, settings: Settings) -> Picture | Exception:
    if isinstance(content, Exception):
        return content
    try:
        picture = image_files.decode(content, max_pixels=settings.max_pixels)
        return picture.without_metadata() if settings.metadata == "drop" else picture
    except Exception as error:
        return error


def _filtered_and_encoded(waiting: Sequence[_Waiting], settings: Settings) -> Iterator[_Changed | Exception]:
    groups: dict[Any, list[Picture]] = defaultdict(list)
    for _, _, picture in waiting:
        if isinstance(picture, Picture):
            groups[picture.image.mode, picture.image.size].append(picture)
    results = {key: iter(_filtered([picture.image for picture in group], settings)) for key, group in groups.items()}
    for name, suffix, picture in waiting:
        if isinstance(picture, Exception):
            yield picture
            continue
        image = next(results[picture.image.mode, picture.image.size])
        try:
            if isinstance(image, Exception):
                raise image
            data = image_files.encode(replace(picture, image=image), suffix, quality=settings.quality)
            changed: _Changed | Exception = _Changed(data, image_files.misnamed(name, picture))
        except Exception as error:
            changed = error
        yield changed


def _filtered(images: Sequence[Image.Image], settings: Settings) -> Sequence[Image.Image | Exception]:
    try:
        return filters.apply_to_all(_function(settings), images, settings.device)
    except torch.AcceleratorError as error:  # after which a GPU computes nothing more in this process
        raise Stop(reason(error)) from error
    except Exception as error:
        if len(images) == 1:
            return [error]
        return [result for image in images for result in _filtered([image], settings)]  # memory may do for one


@functools.cache
def _function(settings: Settings) -> Callable[[Tensor], Tensor]:
    return filters.choose(settings.filter, settings.parameters, settings.backend, settings.device)

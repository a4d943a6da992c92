"""WebDataset shards: a tar of images and what belongs to them, mirrored member by member."""

import contextlib
import copy
import hashlib
import os
import tarfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from texfilters.cli import atomic, image_files
from texfilters.cli.messages import reason, shown
from texfilters.cli.stages import Changed, Content

_PIECE = 1 << 18  # bytes that are read at a time, where not a whole image is wanted
_MOST_MEMBERS = 64  # of a portion
_ZEROS = bytes(tarfile.RECORDSIZE)
_KINDS = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
}


@dataclass
class Result:
    """What has been written."""

    images: int = 0
    left_out: dict[str, str] = field(default_factory=dict)  # images that failed, whose samples are missing, and why
    size: int = 0
    sha256: str = ""


@dataclass(frozen=True)
class Shard:
    """A tar file that is open for reading."""

    descriptor: int
    status: os.stat_result

    def members(self) -> Iterator[tarfile.TarInfo]:
        """Every member in turn. Raises ValueError for a damaged file, and for members that are not to be unpacked."""
        with open(self.descriptor, "rb", closefd=False) as file:
            with _parsing():
                # Not r|, which could not go back for the content; names are bytes, whatever the locale.
                tar = tarfile.open(fileobj=file, mode="r:", encoding="utf-8", errors="surrogateescape")  # noqa: SIM115
            while True:
                with _parsing():
                    member = tar.next()
                if member is None:
                    break
                tar.members.clear()  # type: ignore[attr-defined]  # it would keep them all
                self._require_harmless(member)
                yield member
            self._require_end(tar.offset)

    def read(self, member: tarfile.TarInfo, max_bytes: int | None) -> bytes:
        image_files.require_size(member.size, max_bytes)
        return b"".join(self.pieces(member, member.size))

    def pieces(self, member: tarfile.TarInfo, size: int = _PIECE) -> Iterator[bytes]:
        at, end = member.offset_data, member.offset_data + member.size
        while at < end:
            piece = os.pread(self.descriptor, min(size, end - at), at)
            if not piece:
                raise ValueError(f"truncated within {shown(member.name)}")
            at += len(piece)
            yield piece

    def sha256(self) -> str:
        """Of the whole file."""
        return sha256(self.descriptor)

    def require_unchanged(self) -> None:
        now = os.fstat(self.descriptor)
        if (now.st_size, now.st_mtime_ns) != (self.status.st_size, self.status.st_mtime_ns):
            raise ValueError("it changed while it was read")

    def _require_harmless(self, member: tarfile.TarInfo) -> None:
        name = shown(member.name)
        if member.size < 0 or member.offset_data + member.size > self.status.st_size:
            raise ValueError(f"truncated within {name}")
        if member.name.startswith("/"):
            raise ValueError(f"member {name} has an absolute name")
        if ".." in member.name.split("/"):
            raise ValueError(f"member {name} leads out of the folder it would be unpacked in")
        if member.issparse() or not (member.isreg() or member.isdir()):
            kind = "a sparse file" if member.issparse() else _KINDS.get(member.type, f"of the type {member.type!r}")
            raise ValueError(f"member {name} is {kind}; shards hold files and folders")

    def _require_end(self, at: int) -> None:
        """tarfile takes whatever is no header for the end; a whole file ends in blocks of zeros."""
        end = os.pread(self.descriptor, tarfile.BLOCKSIZE, at)
        if len(end) < tarfile.BLOCKSIZE:
            raise ValueError("truncated: the end of the archive is missing")
        while piece := os.pread(self.descriptor, _PIECE, at):
            if piece.count(0) < len(piece):
                raise ValueError(f"damaged: neither a member nor the end of the archive at byte {at}")
            at += len(piece)


@contextlib.contextmanager
def _parsing() -> Iterator[None]:
    try:
        yield
    except OSError:
        raise
    except Exception as error:  # TarError, or whatever comes of sizes and numbers that lie
        raise ValueError(f"not a tar file, or a damaged one: {reason(error)}") from None


def sha256(descriptor: int) -> str:
    digest, at = hashlib.sha256(), 0
    while piece := os.pread(descriptor, _PIECE, at):
        digest.update(piece)
        at += len(piece)
    return digest.hexdigest()


def convert(
    shard: Shard,
    target: atomic.Temporary,
    change: Callable[[Iterable[Content]], Iterator[Changed | Exception]],
    *,
    suffix: str | None = None,
    max_bytes: int | None = None,
    threads: int = 1,
    batch: int = 1,
) -> Result:
    """Write a shard with changed images. An image that cannot be changed leaves its whole sample out.

    Args:
        change: turns the contents of images into new ones, or into the reasons why not.
        suffix: of the images written; None: each keeps its own.
        threads: that many portions of the shard are at work at once, and as many are waiting to be written.
        batch: images of a portion, which are handed to `change` together.

    Raises ValueError where the whole shard must be refused, and atomic.Stop.
    """

    def work(portion: list[tarfile.TarInfo]) -> list[tuple[tarfile.TarInfo, Changed | Exception | None]]:
        def contents() -> Iterator[Content]:
            for member in portion:
                if _is_image(member):
                    becomes = suffix or image_files.suffix_of(member.name)
                    yield Content(member.name, becomes, _content(shard, member, max_bytes))

        changed = change(contents())
        return [(member, next(changed) if _is_image(member) else None) for member in portion]

    writer = _Writer(target, suffix)
    for portion in _in_order(work, _portions(shard.members(), batch), threads):
        for member, content in portion:
            writer.add(member, shard.pieces(member) if content is None else content)
    shard.require_unchanged()
    return writer.finish()


class _Writer:
    def __init__(self, target: atomic.Temporary, suffix: str | None) -> None:
        self._target, self._suffix = target, suffix
        self._digest = hashlib.sha256()
        self._result = Result()
        self._key: str | None = None
        self._begin_sample(None)

    def add(self, member: tarfile.TarInfo, content: Changed | Exception | Iterable[bytes]) -> None:
        key = _key(member)
        if key is None or key != self._key:
            self._begin_sample(key)
        name = image_files.renamed(member.name, self._suffix) if _is_image(member) else member.name
        if not isinstance(content, Exception) and self._names.setdefault(name, member.name) != member.name:
            content = ValueError(f"{shown(self._names[name])} of its sample becomes {shown(name)}, too")
        if isinstance(content, Exception):
            self._result.left_out[member.name] = reason(content)
            if not self._dropped:
                self._drop_sample()
        elif self._dropped:
            pass
        elif isinstance(content, Changed):
            size = len(content.data)
            self._write(_header(member, name, size) + content.data + _padding(size))
            self._result.images += 1
        else:
            self._write(_header(member, name, member.size))
            for piece in content:
                self._write(piece)
            self._write(_padding(member.size))

    def finish(self) -> Result:
        self._write(_ZEROS[: 2 * tarfile.BLOCKSIZE])
        self._write(_ZEROS[: -self._result.size % tarfile.RECORDSIZE])
        self._result.sha256 = self._digest.hexdigest()
        return self._result

    def _begin_sample(self, key: str | None) -> None:
        self._key = key
        self._names: dict[str, str] = {}
        self._dropped = False
        self._before = self._result.size, self._digest.copy(), self._result.images

    def _drop_sample(self) -> None:
        self._dropped = True
        self._result.size, self._digest, self._result.images = self._before
        self._target.truncate(self._result.size)

    def _write(self, data: bytes) -> None:
        self._target.write(data)
        self._digest.update(data)
        self._result.size += len(data)


def _is_image(member: tarfile.TarInfo) -> bool:
    return member.isreg() and image_files.is_image(member.name)


def _key(member: tarfile.TarInfo) -> str | None:
    """What the members of a sample share: the name up to the first dot after the last slash."""
    folder, slash, name = member.name.rpartition("/")
    first = name.partition(".")[0]
    return folder + slash + first if member.isreg() and first else None


def _content(shard: Shard, member: tarfile.TarInfo, max_bytes: int | None) -> bytes | Exception:
    try:
        return shard.read(member, max_bytes)
    except (OSError, ValueError) as error:
        return error


def _header(member: tarfile.TarInfo, name: str, size: int) -> bytes:
    """As it was, times, owners and extended attributes included, except for the name and the size."""
    header = copy.copy(member)
    header.name, header.size = name, size
    # tarfile writes these where they are needed, but would rather believe the old ones.
    header.pax_headers = {k: v for k, v in member.pax_headers.items() if k not in ("path", "size", "hdrcharset")}
    return header.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _padding(size: int) -> bytes:
    return _ZEROS[: -size % tarfile.BLOCKSIZE]


def _portions(members: Iterable[tarfile.TarInfo], batch: int) -> Iterator[list[tarfile.TarInfo]]:
    portion: list[tarfile.TarInfo] = []
    images = 0
    for member in members:
        portion.append(member)
        images += _is_image(member)
        if images == batch or len(portion) == _MOST_MEMBERS:
            yield portion
            portion, images = [], 0
    yield portion


def _in_order(function: Callable[[Any], Any], arguments: Iterable[Any], threads: int) -> Iterator[Any]:
    """As `map`, in threads; at most twice as many calls as threads are made ahead."""
    if threads == 1:
        yield from map(function, arguments)
        return
    ahead: deque[Future[Any]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for argument in arguments:
            ahead.append(pool.submit(function, argument))
            if len(ahead) == 2 * threads:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)

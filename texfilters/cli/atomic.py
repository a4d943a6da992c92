"""Files that appear under their name complete, or not at all."""

import contextlib
import errno
import os
import secrets
import threading
from types import TracebackType
from typing import Self

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
_NO_LINKS = (errno.EPERM, errno.EXDEV, errno.ENOTSUP, errno.ENOSYS)  # on FAT, between subvolumes of Btrfs, on some FUSE

_lock = threading.Lock()
_temporaries: set[str] = set()
_abandoned = False


class Stop(OSError):
    """What has failed for one file will fail for all that come after it: the disk takes nothing more."""


class Occupied(FileExistsError):
    """The name that a file was to have is taken."""


class _Stopping:
    """Errors of a disk that takes nothing more become Stop; others stay as they are."""

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, OSError) and error.errno in _FULL:
            raise Stop(error.errno, error.strerror) from error


_stopping = _Stopping()


class Temporary:
    """A new file, open for writing, which goes away at the end of the `with` block unless it is given a place.

    Raises Stop where the disk is full, broken or read-only, and OSError for what concerns this file alone.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self._descriptor = -1
        self._is_placed = False

    def __enter__(self) -> Self:
        with _lock, _stopping:
            if _abandoned:
                raise InterruptedError("interrupted")
            self._descriptor = _create(self.name)
            _temporaries.add(self.name)
        return self

    def write(self, data: bytes | memoryview) -> None:
        rest = memoryview(data)
        with _stopping:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]

    def truncate(self, size: int) -> None:
        """Forget what was written beyond `size` bytes, and go on from there."""
        with _stopping:
            os.ftruncate(self._descriptor, size)
            os.lseek(self._descriptor, size, os.SEEK_SET)

    def flush(self) -> None:
        """Wait until the content is on the disk."""
        with _stopping:
            os.fsync(self._descriptor)

    def place(self, path: str, *, replace: bool = True) -> None:
        """Give the file its name, in place of what bears it; folders are made where they are missing.

        Without `replace`, raises Occupied if anything bears the name.
        """
        move = os.replace if replace else _move_to_a_free_name
        with _stopping:
            self._close()  # a network's file system may hold errors back until then
            try:
                move(self.name, path)
            except FileNotFoundError:
                os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
                move(self.name, path)
        self._is_placed = True

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._is_placed:
            with contextlib.suppress(OSError):
                self._close()
            with contextlib.suppress(OSError):
                os.unlink(self.name)
        with _lock:
            _temporaries.discard(self.name)


def _move_to_a_free_name(name: str, path: str) -> None:
    # The system itself sees that the name is free. Between folders a second name is also cheaper than a new one, for
    # which processes wait for each other.
    try:
        os.link(name, path)
    except FileExistsError as error:
        raise Occupied(error.errno, error.strerror) from None
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if os.path.lexists(path):
            raise Occupied(errno.EEXIST, os.strerror(errno.EEXIST)) from None
        os.replace(name, path)
    else:
        os.unlink(name)


def write(path: str, data: bytes | memoryview) -> None:
    """Write `data` to a temporary file beside `path`, flush it to the disk, then give it its name."""
    folder = os.path.dirname(path)
    os.makedirs(folder or ".", exist_ok=True)
    # The name is short, because one built on a long file name could pass the file system's limit, and random, because
    # other processes may write the same file.
    with Temporary(os.path.join(folder, f".texfilters-{secrets.token_hex(8)}.tmp")) as temporary:
        temporary.write(data)
        temporary.flush()
        temporary.place(path)


def abandon() -> None:
    """Remove what is half-written and start nothing new, before the process ends with its threads at work."""
    global _abandoned
    with _lock:
        _abandoned = True
        for temporary in _temporaries:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def _create(name: str) -> int:
    # os.open leaves the permissions to the umask; tempfile would make them 0600.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        return os.open(name, flags, 0o666)
    except FileExistsError:  # of a process that was killed
        os.unlink(name)
        return os.open(name, flags, 0o666)

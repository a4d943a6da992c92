"""One run at a time on a target, and nothing left of one that was killed.

A run goes by a name: of a folder's shard "1-of-1", so that several shards may be at work on one folder.
"""

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator

from texfilters.cli.messages import Refused, reason, say, shown

_PATIENCE = 2.0  # seconds that the workers of a run that was just killed may take to end: they share its lock


def temporary(folder: str, run: str, slot: int) -> str:
    """Where a worker writes, at the root of the target, before a file gets its name."""
    return os.path.join(folder, f".texfilters-{run}-{slot}.tmp")


@contextlib.contextmanager
def hold(folder: str, run: str) -> Iterator[None]:
    """Keep others of this run's name away from `folder`, and remove its temporaries before and after."""
    path = os.path.join(folder, f".texfilters-{run}.lock")
    try:
        descriptor = _locked(path)
    except OSError as error:
        raise Refused(f"cannot write to {shown(folder)}: {reason(error)}", code=1) from error
    try:
        _sweep(folder, run)
        yield
    finally:
        _sweep(folder, run)
        with contextlib.suppress(OSError):
            os.unlink(path)
        os.close(descriptor)


def _locked(path: str) -> int:
    end = time.monotonic() + _PATIENCE
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(path, descriptor):  # the run before may have removed the file between the two calls
                return descriptor
        except BlockingIOError:
            if time.monotonic() > end:
                os.close(descriptor)
                raise Refused(f"another run is at work on this target; it holds {shown(path)}") from None
            time.sleep(0.05)
        except OSError as error:
            if error.errno not in (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK):
                os.close(descriptor)
                raise
            say(
                f"texfilters: {shown(os.path.dirname(path))} cannot be locked ({reason(error)}): "
                "see that no other run is at work on it",
                error=True,
            )
            return descriptor
        os.close(descriptor)


def _is_at(path: str, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _sweep(folder: str, run: str) -> None:
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(f".texfilters-{run}-") and entry.name.endswith(".tmp"):
                with contextlib.suppress(OSError):
                    os.unlink(entry.path)

"""Files that appear under their name complete, or not at all."""

import contextlib
import os
import secrets
import threading

_lock = threading.Lock()
_temporaries: set[str] = set()
_abandoned = False


def write(path: str, data: bytes | memoryview) -> None:
    """Write `data` to a temporary file beside `path`, flush it to the disk, then give it its name."""
    # The name is short, because one built on a long file name could pass the file system's limit, and random, because
    # other processes may write the same file.
    temporary = os.path.join(os.path.dirname(path), f".texfilters-{secrets.token_hex(8)}.tmp")
    with _lock:
        if _abandoned:
            raise InterruptedError("interrupted")
        # os.open leaves the permissions to the umask; tempfile would make them 0600.
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        _temporaries.add(temporary)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
    finally:
        with _lock:
            _temporaries.discard(temporary)


def abandon() -> None:
    """Remove what is half-written and start nothing new, before the process ends with its threads at work."""
    global _abandoned
    with _lock:
        _abandoned = True
        for temporary in _temporaries:
            with contextlib.suppress(OSError):
                os.unlink(temporary)

"""How the command line speaks of paths and errors: always on one line."""

import os
import sys


class Refused(Exception):
    """The command cannot be carried out as it was given; nothing has been written."""

    def __init__(self, message: str, code: int = 2) -> None:
        super().__init__(message)
        self.code = code


def shown(path: str) -> str:
    """A path as it is, or quoted with escapes if it holds line breaks, control characters or bytes that are no text."""
    return path if path.isprintable() else repr(path)


def reason(error: BaseException) -> str:
    """Why something failed, without a path that the reader has seen already."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def say(text: str, *, error: bool = False) -> None:
    stream = sys.stderr if error else sys.stdout
    if stream is None:  # closed before the start
        return
    # A terminal that cannot show a character is no reason to lose the message.
    encoding = stream.encoding or "utf-8"
    try:
        print(text.encode(encoding, "backslashreplace").decode(encoding), file=stream, flush=True)
    except BrokenPipeError:  # the reader has seen enough
        raise
    except (
        OSError
    ):  # of a log on a full disk, say: what becomes of the files, and of the exit status, does not hang on it
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())

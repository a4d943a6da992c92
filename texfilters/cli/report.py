"""`--report`: a job's settings, counts and failures as JSON."""

import errno
import json
import os
import secrets
import tempfile
from collections.abc import Mapping
from typing import Any

from texfilters.cli import atomic
from texfilters.cli.messages import Refused, shown

_FIRST = '{"texfilters": '  # by which a report is known that may be replaced by the next
_PIECE = 1 << 20  # bytes


class Report:
    """Failures go to a temporary file as they come, so that a million of them take no memory."""

    def __init__(self, path: str) -> None:
        self.path = path
        folder = os.path.dirname(path) or "."
        if not os.path.isdir(folder) or not os.access(folder, os.W_OK | os.X_OK):
            raise Refused(f"report cannot be written to {shown(folder)}: it is no folder, or read-only")
        if os.path.lexists(path) and not _is_report(path):
            raise Refused(f"report would replace {shown(path)}, which is no report")
        self._failures = tempfile.SpooledTemporaryFile(_PIECE)  # noqa: SIM115

    def failure(self, source: str, why: str) -> None:
        if self._failures.closed:  # it is the report that has failed
            return
        separator = "\n" if self._failures.tell() == 0 else ",\n"
        self._failures.write((separator + json.dumps({"source": source, "reason": why})).encode())

    def write(self, version: str, facts: Mapping[str, Any]) -> None:
        """Raises OSError."""
        temporary = os.path.join(os.path.dirname(self.path), f".texfilters-{secrets.token_hex(8)}.tmp")
        with self._failures, atomic.Temporary(temporary) as file:
            file.write(f"{_FIRST}{json.dumps(version)}".encode())
            for name, value in facts.items():
                file.write(f",\n{json.dumps(name)}: {json.dumps(value)}".encode())
            file.write(b',\n"failures": [')
            self._failures.seek(0)
            while piece := self._failures.read(_PIECE):
                file.write(piece)
            file.write(b"\n]}\n")
            if os.path.lexists(self.path) and not _is_report(self.path):  # one of the job's own files, if nobody else's
                raise FileExistsError(errno.EEXIST, "it would replace what is no report")
            file.place(self.path)


def _is_report(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(len(_FIRST)) == _FIRST.encode()
    except OSError:  # a folder, for one
        return False

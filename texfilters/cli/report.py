"""`--report`: a job's settings, counts and failures as JSON."""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from typing import Any

from texfilters.cli.messages import Refused, shown

_FIRST = '{"texfilters": '  # by which a report is known that may be replaced by the next


class Report:
    """Failures go to a temporary file as they come, so that a million of them take no memory."""

    def __init__(self, path: str) -> None:
        self.path = path
        folder = os.path.dirname(path) or "."
        if not os.path.isdir(folder) or not os.access(folder, os.W_OK | os.X_OK):
            raise Refused(f"report cannot be written to {shown(folder)}: it is no folder, or read-only")
        if os.path.lexists(path) and not _is_report(path):
            raise Refused(f"report would replace {shown(path)}, which is no report")
        self._failures = tempfile.SpooledTemporaryFile(1 << 20, mode="w+", encoding="ascii")  # noqa: SIM115

    def failure(self, source: str, why: str) -> None:
        separator = "\n" if self._failures.tell() == 0 else ",\n"
        self._failures.write(separator + json.dumps({"source": source, "reason": why}))

    def write(self, version: str, facts: Mapping[str, Any]) -> None:
        """Raises OSError."""
        temporary = f"{self.path}.tmp"
        try:
            with open(temporary, "w", encoding="ascii") as file:
                file.write(f"{_FIRST}{json.dumps(version)}")
                for name, value in facts.items():
                    file.write(f",\n{json.dumps(name)}: {json.dumps(value)}")
                file.write(',\n"failures": [')
                self._failures.seek(0)
                shutil.copyfileobj(self._failures, file)
                file.write("\n]}\n")
            os.replace(temporary, self.path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise
        finally:
            self._failures.close()


def _is_report(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(len(_FIRST)) == _FIRST.encode()
    except OSError:  # a folder, for one
        return False

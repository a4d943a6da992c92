"""What a job shows while it runs and when it is done."""

import re
import time
from collections import Counter
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from texfilters.cli.messages import say, shown
from texfilters.cli.report import Report

_SHOWN = 1000  # failures on the terminal
_KINDS = 8  # of failures in the table
_REFRESH = 0.25  # seconds


class Tally:
    """Counts what becomes of each file; a context that draws a bar on stderr if that is a terminal."""

    def __init__(self, total: int, report: Report | None = None) -> None:
        self.done = self.images = self.already = self.failed = 0
        self._total, self._report = total, report
        self._files = 0  # that the bar has passed
        self._kinds: Counter[str] = Counter()
        self._wordings: dict[str, str] = {}  # of a kind: the reason if there is but one, else without what differs
        self._failures: list[tuple[str, str]] = []
        self._start = self._refreshed = time.perf_counter()
        self._seconds = 1e-9
        self._progress: Progress | None = None

    def __enter__(self) -> "Tally":
        console = Console(stderr=True)
        if console.is_terminal:
            columns = (TextColumn("suppress"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
            # Without the thread that draws by itself: workers are forked beside it.
            self._progress = Progress(
                *columns, TimeRemainingColumn(), console=console, transient=True, auto_refresh=False
            )
            self._progress.add_task("", total=self._total)
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._look_at_the_clock()
        if self._progress is not None:
            self._draw(self._progress)
            self._progress.stop()

    def add(self, source: str, record: dict[str, Any]) -> None:
        """A file that has been worked on; `source` is its path as it is to be shown."""
        if record["status"] == "done":
            self.done += 1
            self.images += record.get("images", 1)
        self._failures_of(source, record)
        self._advanced()

    def add_already(self, source: str, record: dict[str, Any]) -> None:
        """A file that was done before; what a shard left out then is still missing."""
        self.already += 1
        self._failures_of(source, record)
        self._advanced()

    def add_failure(self, source: str, why: str) -> None:
        """A file of which there is no record, or a folder."""
        self._fail(source, why)
        self._advanced()

    def counts(self) -> dict[str, Any]:
        return {
            "done": self.done,
            "images": self.images,
            "already_done": self.already,
            "failed": self.failed,
            "seconds": round(self._seconds, 3),
            "images_per_second": round(self.images / self._seconds, 1),
        }

    def show(self, left_out: int, more: str) -> None:
        """Print the table and the failures; `more` says where those are that are not shown."""
        done = f"{_count(self.images, 'image')} in {self._seconds:.1f} s ({self.images / self._seconds:.1f} images/s)"
        lines = [
            f"done          {done}",
            f"already done  {self.already}",
            f"failed        {self.failed}",
            *(f"              {number} {self._wordings[kind]}" for kind, number in self._kinds.most_common(_KINDS)),
        ]
        if len(self._kinds) > _KINDS:
            rest = sum(sorted(self._kinds.values(), reverse=True)[_KINDS:])
            lines.append(f"              {rest} of other kinds")
        lines.append(f"left out      {_count(left_out, 'other file')}")
        say("\n".join(lines))
        for source, why in sorted(self._failures):
            say(f"{shown(source)}: {why}", error=True)
        if self.failed > len(self._failures):
            say(f"and {self.failed - len(self._failures)} more: {more}", error=True)

    def _fail(self, source: str, why: str) -> None:
        self.failed += 1
        kind = re.sub(r"\s*\(.*\)|'.*'", "", re.sub(r"\d+", "N", why))
        kind = kind if len(self._kinds) < 100 or kind in self._kinds else "of other kinds"
        self._kinds[kind] += 1
        if self._wordings.setdefault(kind, why) != why:
            self._wordings[kind] = kind
        if len(self._failures) < _SHOWN:
            self._failures.append((source, why))
        if self._report is not None:
            self._report.failure(source, why)

    def _failures_of(self, source: str, record: dict[str, Any]) -> None:
        if record["status"] == "failed":
            self._fail(source, record["reason"])
        for member, why in record.get("left_out", {}).items():
            self._fail(f"{source}/{member}", why)

    def _advanced(self) -> None:
        self._files += 1
        if self._progress is not None and time.perf_counter() - self._refreshed > _REFRESH:
            self._draw(self._progress)

    def _draw(self, progress: Progress) -> None:
        self._look_at_the_clock()
        counts = f"{self.images / self._seconds:.1f} images/s"
        counts += f", {self.already} already done" if self.already else ""
        counts += f", {self.failed} failed" if self.failed else ""
        progress.update(progress.task_ids[0], completed=self._files, description=counts)
        progress.refresh()

    def _look_at_the_clock(self) -> None:
        self._refreshed = time.perf_counter()
        self._seconds = max(self._refreshed - self._start, 1e-9)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"

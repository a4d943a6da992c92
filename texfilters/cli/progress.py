"""What a job shows while it runs and when it is done."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from texfilters.cli.messages import say, shown


class _ImagesPerSecond(ProgressColumn):
    def render(self, task: Task) -> Text:
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.1f} images/s", style="progress.data.speed")


def watch(results: Iterable[tuple[str, str | None]], total: int, left_out: int, failures: list[tuple[str, str]]) -> int:
    """Follow a job to its end, print the summary and what failed; returns the number of failures.

    The bar is drawn on stderr, and only if that is a terminal; `failures` are those that were known beforehand.
    """
    failures = list(failures)
    start, done = time.perf_counter(), 0
    with _bar(total) as advance:
        for path, why in results:
            advance()
            if why is None:
                done += 1
            else:
                failures.append((path, why))
    seconds = time.perf_counter() - start
    say(
        f"{_count(done, 'image')} in {seconds:.1f} s ({done / seconds:.1f} images/s), {len(failures)} failed, "
        f"{_count(left_out, 'other file')} left out"
    )
    for path, why in sorted(failures):
        say(f"{shown(path)}: {why}", error=True)
    return len(failures)


@contextlib.contextmanager
def _bar(total: int) -> Iterator[Callable[[], None]]:
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda: None
        return
    columns = (TextColumn("suppress"), BarColumn(), MofNCompleteColumn(), _ImagesPerSecond(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=total)
        yield lambda: progress.advance(task)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"

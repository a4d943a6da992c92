"""`texfilters suppress` as a process that is looked at while it runs: its pace, its memory, its processor time."""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MANIFEST = "texfilters-manifest.jsonl"


@dataclass
class Watch:
    """What was seen of a job so far."""

    counts: list[tuple[float, int]] = field(default_factory=list)  # (seconds since its start, files recorded)
    parent_mb: float = 0.0  # the most memory that the first process had, the libraries' included
    worker_mb: float = 0.0  # that any of its workers had to itself
    together_mb: float = 0.0  # that all of them had, where what they share counts once

    def reached(self, files: float) -> float:
        """When so many were recorded, between two looks."""
        before = (0.0, 0)
        for now in self.counts:
            if now[1] >= files:
                return before[0] + (now[0] - before[0]) * (files - before[1]) / (now[1] - before[1])
            before = now
        raise ValueError(f"{before[1]} files were recorded, fewer than {files}")


def run(source: Path, target: Path, images: int, flags: Sequence[str]) -> dict[str, Any]:
    """The whole command; `steady_s` is what all images take at its pace between the tenth and the last tenth."""
    command = [sys.executable, "-m", "texfilters.cli", "suppress", os.fspath(source), os.fspath(target), *flags]
    watch, begun = Watch(), time.perf_counter()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        usage = _follow(process.pid, target / MANIFEST, 0.9 * images, watch, begun)
        wall = time.perf_counter() - begun
        process.returncode = usage[0]
        if usage[0]:
            output.seek(0)
            raise SystemExit(f"the job ended with {usage[0]}: {output.read().decode(errors='replace')[-2000:]}")
    facts = {"wall_s": wall, "cpu_s": usage[1]}
    if watch.counts and watch.counts[-1][1] >= images:
        first, last = watch.reached(0.1 * images), watch.reached(0.9 * images)
        facts |= {"steady_s": (last - first) / 0.8, "first_s": watch.counts[0][0]}
    return facts | {name: getattr(watch, name) for name in ("parent_mb", "worker_mb", "together_mb")}


def _follow(pid: int, manifest: Path, timed: float, watch: Watch, begun: float) -> tuple[int, float]:
    """Look until the process ends; its exit status, and the processor time of it and its workers.

    Their memory is looked at when so many files are recorded that the pace is no longer taken: a look takes each
    process some 10 ms, in which it may wait.
    """
    lines, position, looks = 0, 0, 0
    while True:
        ended, status, usage = os.wait4(pid, os.WNOHANG)
        with contextlib.suppress(FileNotFoundError), open(manifest, "rb") as file:
            file.seek(position)
            new = file.read()
            lines, position = lines + new.count(b"\n"), position + len(new)
            if lines > 1 + (watch.counts[-1][1] if watch.counts else 0):
                watch.counts.append((time.perf_counter() - begun, lines - 1))  # the first line is none of a file
        if ended:
            return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime
        if lines > timed:
            if looks % 4 == 0:
                _look_at_memory(pid, watch)
            looks += 1
        time.sleep(0.05)


def _look_at_memory(pid: int, watch: Watch) -> None:
    with contextlib.suppress(OSError):  # one of them has just ended
        workers = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        first, *others = (_megabytes(one) for one in (pid, *workers))
        watch.parent_mb = max(watch.parent_mb, first["Rss"])
        watch.worker_mb = max([watch.worker_mb, *(one["Private_Clean"] + one["Private_Dirty"] for one in others)])
        watch.together_mb = max(watch.together_mb, first["Pss"] + sum(one["Pss"] for one in others))


def _megabytes(pid: int | str) -> dict[str, float]:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {name: int(value.split()[0]) * 1.024e-3 for name, _, value in (line.partition(":") for line in lines)}

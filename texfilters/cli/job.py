"""What `texfilters suppress` is asked for, and how it begins and ends."""

import os
from dataclasses import dataclass, field

import texfilters
from texfilters.cli import manifest, work
from texfilters.cli.listing import Shard
from texfilters.cli.messages import Refused, reason, say, shown
from texfilters.cli.progress import Tally
from texfilters.cli.report import Report

AT_A_FAILURE = "at the first failure"


@dataclass(frozen=True)
class Job:
    source: str
    target: str
    settings: work.Settings
    workers: int | None = None
    stop_at_failure: bool = False
    shard: Shard = field(default_factory=Shard)
    report: str | None = None


def prepare(folder: str) -> None:
    """Refuse a destination that cannot be written before hours are spent on computing what goes there."""
    try:
        os.makedirs(folder, exist_ok=True)
        writable = os.access(folder, os.W_OK | os.X_OK)
    except OSError as error:
        raise Refused(f"cannot write to {shown(folder)}: {reason(error)}", code=1) from error
    if not writable:
        raise Refused(f"cannot write to {shown(folder)}: it is read-only", code=1)


def finish(job: Job, tally: Tally, report: Report | None, stopped: str | None, left_out: int, more: str) -> int:
    """Write the report, print the summary, and return the exit status; `more` is where failures are recorded."""
    if report is not None:
        facts = {
            "source": job.source,
            "target": job.target,
            "shard": str(job.shard),
            "settings": manifest.settings_of(job.settings),
            **tally.counts(),
            "left_out": left_out,
            "stopped": stopped,
        }
        try:
            report.write(texfilters.__version__, facts)
        except OSError as error:
            tally.add_failure(report.path, f"the report cannot be written: {reason(error)}")
    tally.show(left_out, f"see {shown(more if report is None else report.path)}")
    if stopped is not None:
        stopped = f"{stopped[:1].lower()}{stopped[1:]}"
        goes_on = "the same command goes on from here"
        if stopped == AT_A_FAILURE:  # a file that still fails would stop it again
            goes_on = f"when that is mended, {goes_on}; --on-error skip goes past it"
        say(f"texfilters: stopped: {stopped}; {goes_on}", error=True)
    return 1 if tally.failed or stopped is not None else 0

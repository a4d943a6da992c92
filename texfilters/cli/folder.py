"""A folder tree that is mirrored by workers, and accounted for in a manifest."""

import os
from collections.abc import Iterator
from contextlib import closing

from texfilters.cli import lock, manifest, work
from texfilters.cli.job import AT_A_FAILURE, Job, finish, prepare
from texfilters.cli.listing import Tree
from texfilters.cli.manifest import Manifest, Record
from texfilters.cli.messages import Refused, reason, shown
from texfilters.cli.pool import Pool
from texfilters.cli.progress import Tally
from texfilters.cli.report import Report

_CPU_CHUNK = 8  # files a task, at most
_GPU_CHUNK = 32  # of which a worker filters those of one size in one call
_GPU_WORKERS = 16  # unless told otherwise: each one takes half a gigabyte of the GPU before its first image


def run(job: Job) -> int:
    """Do a job on a folder; returns the exit status."""
    source, target = job.source, job.target.rstrip(os.sep) or os.sep
    if os.path.exists(target) and not os.path.isdir(target):
        raise Refused(f"SRC is a folder, so DST must be one, or not exist yet: {shown(target)} is a file")
    if os.path.realpath(source) == os.path.realpath(target):
        raise Refused(f"DST is SRC: the images of {shown(source)} would be overwritten")
    report = None if job.report is None else Report(job.report)
    tree = Tree(source, target, job.settings.format, job.shard)
    tree.count()
    prepare(target)
    with lock.hold(target, str(job.shard)):
        settings = manifest.settings_of(job.settings)
        try:
            records = Manifest(target, job.shard, settings, overwrite=job.settings.overwrite)
        except OSError as error:
            raise Refused(f"cannot write to {shown(target)}: {reason(error)}", code=1) from error
        with closing(records):
            return _Mirror(job, tree, records, report).run()


class _Mirror:
    """The work on a target that is locked."""

    def __init__(self, job: Job, tree: Tree, records: Manifest, report: Report | None) -> None:
        self._job, self._tree, self._manifest, self._report = job, tree, records, report
        self._left = tree.images + tree.tars  # files that are not looked at yet
        self._tally = Tally(self._left, report)
        self._tried_again: dict[str, Record] = {}  # what is known of files at work that have failed before

    def run(self) -> int:
        tree, files = self._tree, self._left
        wanted = self._job.workers or _default_workers(self._job.settings)
        pool = Pool(
            self._job.settings,
            max(1, min(wanted, files)),  # more of them may have come since they were counted
            lambda slot: lock.temporary(tree.target, str(tree.shard), slot),
            chunk=_CPU_CHUNK if self._job.settings.device == "cpu" else _GPU_CHUNK,
            left=lambda: self._left,
            threads=max(1, wanted // max(1, files)),
        )
        stopped = None
        with self._tally, pool:
            try:
                if tree.failures:
                    self._stop_if_asked()
                for records in pool.records(self._items()):
                    self._account_for(records)
                self._manifest.flush()
            except work.Stop as stop:
                stopped = reason(stop)
        for folder, why in tree.failures.items():
            self._tally.add_failure(folder, why)
        return finish(self._job, self._tally, self._report, stopped, tree.left_out, self._manifest.path)

    def _items(self) -> Iterator[work.Item]:
        """What is left to be done. What is not to be done is accounted for on the way."""
        for name in self._tree.names():
            self._left -= 1
            source, target = self._tree.paths(name)
            records = self._manifest.find(name)
            if records and records[0]["status"] == "failed":
                self._tried_again[name] = records[0]
            if (why := self._tree.refusal(source, target)) is not None:
                self._account_for([{"source": name, "status": "failed", "reason": why}])
                continue
            if records:
                if (record := _as_it_is(records, source, target)) is not None:
                    self._tried_again.pop(name, None)
                    self._tally.add_already(source, record)
                    continue
                if records[0]["status"] == "done" and os.path.exists(target) and not self._job.settings.overwrite:
                    # No record: the one that is there still says what the target holds, and of which source.
                    self._tally.add_failure(source, "changed since it was done; --overwrite does it again")
                    self._stop_if_asked()
                    continue
            yield work.Item(name, source, target, self._manifest.resuming)

    def _account_for(self, records: list[Record]) -> None:
        news = [record for record in records if self._tried_again.pop(record["source"], None) != record]
        self._manifest.append(*news)
        failed = self._tally.failed
        for record in records:
            self._tally.add(os.path.join(self._tree.source, record["source"]), record)
        if self._tally.failed > failed:
            self._stop_if_asked()

    def _stop_if_asked(self) -> None:
        if self._job.stop_at_failure:
            raise work.Stop(AT_A_FAILURE)


def _as_it_is(records: list[Record], source: str, target: str) -> Record | None:
    """The record by which a file is done, if source and target are still those that it tells of."""
    try:
        before, after = os.stat(source), os.stat(target)
    except OSError:
        return None
    sizes = before.st_size, after.st_size
    # Written after its target, a source may be another image of the same size: all BMP files of one shape have one.
    written_since = before.st_mtime_ns > after.st_mtime_ns
    for record in records:
        fits = record["status"] == "done" and (record.get("bytes"), record.get("target_bytes")) == sizes
        if fits and (not written_since or _is_of(record, source, target)):
            return record
    return None


def _is_of(record: Record, source: str, target: str) -> bool:
    """Whether source and target have the contents that a record tells of."""
    return work.holds(source, record["bytes"], record.get("sha256")) and work.holds(
        target, record["target_bytes"], record.get("target_sha256")
    )


def _default_workers(settings: work.Settings) -> int:
    cores = len(os.sched_getaffinity(0))
    return cores if settings.device == "cpu" else min(cores, _GPU_WORKERS)

"""`texfilters suppress`: a file, or a folder tree that is mirrored by workers and accounted for in a manifest."""

import os
import secrets
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import torch
from PIL import Image

import texfilters
from texfilters.cli import image_files, interrupts, lock, manifest, work
from texfilters.cli.listing import Shard, Tree, is_tar, target_name
from texfilters.cli.messages import Refused, reason, say, shown
from texfilters.cli.pool import Pool
from texfilters.cli.progress import Tally
from texfilters.cli.report import Report

_GPU_CHUNK = 32  # files a task, which a worker filters in one call for each size among them
_GPU_WORKERS = 16  # unless told otherwise: each one takes half a gigabyte of the GPU before its first image

Record = dict[str, Any]


@dataclass(frozen=True)
class Job:
    """What the command line asks for."""

    source: str
    target: str
    settings: work.Settings
    workers: int | None = None
    stop_at_failure: bool = False
    shard: Shard = field(default_factory=Shard)
    report: str | None = None


def run(job: Job) -> int:
    """Do the job; returns the exit status. What cannot end well is refused before anything is written."""
    if not os.path.exists(job.source):
        raise Refused(f"SRC does not exist: {shown(job.source)}")
    if not job.target:
        raise Refused("DST must name a file or a folder, got nothing")
    Image.init()  # once, and not again in every worker
    return _run_folder(job) if os.path.isdir(job.source) else _run_file(job)


def _run_folder(job: Job) -> int:
    source, target = job.source, job.target.rstrip(os.sep) or os.sep
    if os.path.exists(target) and not os.path.isdir(target):
        raise Refused(f"SRC is a folder, so DST must be one, or not exist yet: {shown(target)} is a file")
    if os.path.realpath(source) == os.path.realpath(target):
        raise Refused(f"DST is SRC: the images of {shown(source)} would be overwritten")
    report = None if job.report is None else Report(job.report)
    tree = Tree(source, target, job.settings.format, job.shard)
    tree.count()
    _prepare(target)
    with lock.hold(target, job.shard):
        return _Folder(job, tree, report).run()


class _Folder:
    """A job on a folder, whose target is locked."""

    def __init__(self, job: Job, tree: Tree, report: Report | None) -> None:
        self._job, self._tree, self._report = job, tree, report
        self._tally = Tally(tree.images + tree.tars, report)
        self._tried_again: dict[str, Record] = {}  # what is known of files at work that have failed before

    def run(self) -> int:
        job, tree = self._job, self._tree
        settings = manifest.settings_of(job.settings)
        try:
            self._manifest = manifest.Manifest(tree.target, job.shard, settings, overwrite=job.settings.overwrite)
        except OSError as error:
            raise Refused(f"cannot write to {shown(tree.target)}: {reason(error)}", code=1) from error
        files = tree.images + tree.tars
        wanted = job.workers or _default_workers(job.settings)
        pool = Pool(
            job.settings,
            min(wanted, files),
            lambda slot: lock.temporary(tree.target, job.shard, slot),
            chunk=1 if job.settings.device == "cpu" else _GPU_CHUNK,
            threads=max(1, wanted // max(1, files)),
        )
        stopped = None
        with closing(self._manifest), self._tally, pool:
            try:
                if tree.failures:
                    self._stop_if_asked()
                for record in pool.records(self._items()):
                    self._account_for(record)
                self._manifest.flush()
            except work.Stop as stop:
                stopped = reason(stop)
        for folder, why in tree.failures.items():
            self._tally.fail(folder, why)
        return _finish(job, self._tally, self._report, stopped, tree.left_out, self._manifest.path)

    def _items(self) -> Iterator[work.Item]:
        """What is left to be done. What is not to be done is accounted for on the way."""
        for name in self._tree.names():
            source, target = self._tree.paths(name)
            records = self._manifest.find(name)
            if records and records[0]["status"] == "failed":
                self._tried_again[name] = records[0]
            if (why := self._tree.refusal(source, target)) is not None:
                self._account_for({"source": name, "status": "failed", "reason": why})
                continue
            if records:
                sizes = _size(source), _size(target)
                if (record := _as_it_is(records, *sizes)) is not None:
                    self._tried_again.pop(name, None)
                    self._tally.add_already(source, record)
                    continue
                if records[0]["status"] == "done" and sizes[1] is not None and not self._job.settings.overwrite:
                    # No record: the one that is there still says what the target holds, and of which source.
                    self._tally.fail(source, "changed since it was done; --overwrite does it again")
                    self._stop_if_asked()
                    continue
            yield work.Item(name, source, target, self._manifest.resuming)

    def _account_for(self, record: Record) -> None:
        if self._tried_again.pop(record["source"], None) != record:
            self._manifest.append(record)
        failed = self._tally.failed
        self._tally.add(os.path.join(self._tree.source, record["source"]), record)
        if self._tally.failed > failed:
            self._stop_if_asked()

    def _stop_if_asked(self) -> None:
        if self._job.stop_at_failure:
            raise work.Stop("at the first failure")


def _as_it_is(records: list[Record], size: int | None, target_size: int | None) -> Record | None:
    """The record by which a file is done, if source and target are still those that it tells of."""
    for record in records:
        if record["status"] == "done" and (record.get("bytes"), record.get("target_bytes")) == (size, target_size):
            return record
    return None


def _run_file(job: Job) -> int:
    source, target = job.source, job.target
    if job.shard.count > 1:
        raise Refused(f"shard divides the files of a folder; SRC is a file: {shown(source)}")
    if source.lower().endswith((".tar.gz", ".tgz")):
        raise Refused(f"SRC must be an uncompressed .tar, got {shown(source)}; gzip -d makes it one")
    if os.path.isdir(target) or target.endswith(os.sep):
        target = os.path.join(target, target_name(os.path.basename(source), job.settings.format))
    suffixes = [".tar"] if is_tar(source) else list(image_files.SUFFIXES)
    for name, path, allowed in (("SRC", source, [*image_files.SUFFIXES, ".tar"]), ("DST", target, suffixes)):
        if image_files.suffix_of(path) not in allowed:
            raise Refused(f"{name} must end in one of {' '.join(allowed)}, got {shown(path)}")
    if job.settings.format not in (None, image_files.suffix_of(target)) and not is_tar(source):
        raise Refused(f"format is {job.settings.format}, but DST is {shown(target)}")
    if os.path.exists(target) and os.path.samefile(source, target):
        raise Refused(f"DST is SRC: {shown(source)} would be overwritten")
    if os.path.lexists(target) and not job.settings.overwrite:
        raise Refused(f"DST exists: {shown(target)}; --overwrite replaces it")
    report = None if job.report is None else Report(job.report)
    folder = os.path.dirname(target) or "."
    _prepare(folder)
    # In this process: torch has all the cores for an image, and threads have them for the samples of a shard.
    workers = job.workers or len(os.sched_getaffinity(0))
    threads = torch.get_num_threads()
    torch.set_num_threads(1 if is_tar(source) else workers)
    item = work.Item(os.path.basename(source), source, target)
    temporary = os.path.join(folder, f".texfilters-{secrets.token_hex(8)}.tmp")
    stopped = None
    with Tally(1, report) as tally:
        try:
            (record,) = interrupts.aside(lambda: list(work.do([item], job.settings, temporary, workers)))
            tally.add(source, record)
        except work.Stop as stop:
            stopped = reason(stop)
    torch.set_num_threads(threads)
    return _finish(job, tally, report, stopped, 0, "")


def _finish(job: Job, tally: Tally, report: Report | None, stopped: str | None, left_out: int, more: str) -> int:
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
            tally.fail(report.path, f"the report cannot be written: {reason(error)}")
    tally.show(left_out, f"see {shown(more if report is None else report.path)}")
    if stopped is not None:
        stopped = f"{stopped[:1].lower()}{stopped[1:]}"
        say(f"texfilters: stopped: {stopped}; the same command goes on from here", error=True)
    return 1 if tally.failed or stopped is not None else 0


def _prepare(folder: str) -> None:
    """Refuse a destination that cannot be written before hours are spent on computing what goes there."""
    try:
        os.makedirs(folder, exist_ok=True)
        writable = os.access(folder, os.W_OK | os.X_OK)
    except OSError as error:
        raise Refused(f"cannot write to {shown(folder)}: {reason(error)}", code=1) from error
    if not writable:
        raise Refused(f"cannot write to {shown(folder)}: it is read-only", code=1)


def _default_workers(settings: work.Settings) -> int:
    cores = len(os.sched_getaffinity(0))
    return cores if settings.device == "cpu" else min(cores, _GPU_WORKERS)


def _size(path: str) -> int | None:
    try:
        return os.stat(path).st_size
    except OSError:
        return None

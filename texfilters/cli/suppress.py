"""`texfilters suppress`: a folder, or a file by itself."""

import hashlib
import os

import torch
from PIL import Image

from texfilters.cli import folder, image_files, interrupts, lock, work
from texfilters.cli.job import Job, finish, prepare
from texfilters.cli.listing import is_tar, target_name
from texfilters.cli.messages import Refused, reason, shown
from texfilters.cli.progress import Tally
from texfilters.cli.report import Report


def run(job: Job) -> int:
    """Do the job; returns the exit status. What cannot end well is refused before anything is written."""
    if not os.path.exists(job.source):
        raise Refused(f"SRC does not exist: {shown(job.source)}")
    if not job.target:
        raise Refused("DST must name a file or a folder, got nothing")
    Image.init()  # once, and not again in every worker
    return folder.run(job) if os.path.isdir(job.source) else _run_file(job)


def _run_file(job: Job) -> int:
    target = _target_of_file(job)
    report = None if job.report is None else Report(job.report)
    into = os.path.dirname(target) or "."
    prepare(into)
    # In this process: torch has all the cores for an image, and threads have them for the samples of a shard.
    workers = job.workers or len(os.sched_getaffinity(0))
    torch.set_num_threads(1 if is_tar(job.source) else workers)
    item = work.Item(os.path.basename(job.source), job.source, target)
    run = hashlib.sha256(os.fsencode(os.path.basename(target))).hexdigest()[:16]
    stopped = None
    with lock.hold(into, run), Tally(1, report) as tally:
        temporary = lock.temporary(into, run, 0)
        try:
            (record,) = interrupts.aside(lambda: list(work.do([item], job.settings, temporary, workers)))
            tally.add(job.source, record)
        except work.Stop as stop:
            stopped = reason(stop)
    return finish(job, tally, report, stopped, 0, "")


def _target_of_file(job: Job) -> str:
    """Where the result of a file goes, if it may."""
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
    return target

"""`texfilters suppress`: which files are read, where each one goes, and the threads that do the work."""

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

import torch
from PIL import Image
from torch import Tensor

from texfilters.cli import filters, image_files
from texfilters.cli.messages import Refused, reason, shown

Identity = tuple[int, int]  # of a folder, whatever path it is reached by: device and inode


@dataclass
class Plan:
    """What is to be done; nothing has been written yet."""

    source: str
    target: str
    names: list[str] = field(default_factory=list)  # relative to both; "" is a file given as such
    left_out: int = 0  # files of other kinds
    failures: list[tuple[str, str]] = field(default_factory=list)  # (path, reason): folders that cannot be read
    folders: set[Identity] = field(default_factory=set)  # that images are read from and nothing may be written to

    def paths(self, name: str) -> tuple[str, str]:
        if not name:
            return self.source, self.target
        return os.path.join(self.source, name), os.path.join(self.target, name)


def plan(source: str, target: str) -> Plan:
    """List the images of a file or a folder tree, and refuse what cannot end well. A million names take 100 MB."""
    if not os.path.exists(source):
        raise Refused(f"SRC does not exist: {shown(source)}")
    if not target:
        raise Refused("DST must name a file or a folder, got nothing")
    if not os.path.isdir(source):
        return _plan_file(source, target)
    if os.path.exists(target) and not os.path.isdir(target):
        raise Refused(f"SRC is a folder, so DST must be one, or not exist yet: {shown(target)} is a file")
    if os.path.realpath(source) == os.path.realpath(target):
        raise Refused(f"DST is SRC: the images of {shown(source)} would be overwritten")
    planned = Plan(source, target)
    _walk(planned)
    if not planned.names and not planned.failures:
        raise Refused(f"no images in {shown(source)}; suffixes read are {' '.join(image_files.SUFFIXES)}")
    return planned


def _plan_file(source: str, target: str) -> Plan:
    if os.path.isdir(target) or target.endswith(os.sep):
        target = os.path.join(target, os.path.basename(source))
    for name, path in (("SRC", source), ("DST", target)):
        if not image_files.is_image(path):
            raise Refused(f"{name} must end in one of {' '.join(image_files.SUFFIXES)}, got {shown(path)}")
    if os.path.exists(target) and os.path.samefile(source, target):
        raise Refused(f"DST is SRC: {shown(source)} would be overwritten")
    return Plan(source, target, [""])


def _walk(plan: Plan) -> None:
    target = os.path.realpath(plan.target)
    root = os.path.realpath(plan.source)
    # A destination inside the source is not read; one around the source cannot be left out.
    skip = None if _is_within(root, target) else target
    pending: list[tuple[str, str, frozenset[Identity]]] = [("", root, frozenset())]
    while pending:
        folder, real, above = pending.pop()
        if skip is not None and _is_within(real, skip):
            continue
        try:
            here = _identity(real)
            if here in above:  # a symbolic link to a folder that contains it
                continue
            with os.scandir(real) as listing:
                entries = list(listing)
        except OSError as error:
            plan.failures.append((os.path.join(plan.source, folder), reason(error)))
            continue
        for entry in entries:
            name = os.path.join(folder, entry.name)
            if os.path.isdir(entry.path):
                below = os.path.realpath(entry.path) if entry.is_symlink() else entry.path
                pending.append((name, below, above | {here}))
            elif not image_files.is_image(entry.name):
                plan.left_out += 1
            else:
                plan.names.append(name)
                plan.folders.add(here)
                if entry.is_symlink():
                    plan.folders.add(_identity_if_any(os.path.dirname(os.path.realpath(entry.path))) or here)
    plan.names.sort()


def prepare(plan: Plan) -> None:
    """Refuse a destination that cannot be written before hours are spent on computing what goes there."""
    folder = plan.target if plan.names != [""] else os.path.dirname(plan.target) or "."
    try:
        os.makedirs(folder, exist_ok=True)
        writable = os.access(folder, os.W_OK | os.X_OK)
    except OSError as error:
        raise Refused(f"cannot write to {shown(folder)}: {reason(error)}", code=1) from error
    if not writable:
        raise Refused(f"cannot write to {shown(folder)}: it is read-only", code=1)


def run(
    plan: Plan, function: Callable[[Tensor], Tensor], quality: int, workers: int | None
) -> Iterator[tuple[str, str | None]]:
    """Do the work, yielding (path of an input, None or why it failed) as the images are done."""
    cores = len(os.sched_getaffinity(0))
    workers = min(workers or cores, len(plan.names) or 1)

    def one(name: str) -> tuple[str, str | None]:
        source, target = plan.paths(name)
        try:
            _refuse_to_overwrite(plan, source, target)
            picture = image_files.read(source)
            image = filters.apply(function, picture.image)
            image_files.write(image_files.Picture(image, picture.exif, picture.icc_profile), target, quality)
        except Exception as error:  # decoders raise whatever they like; a broken file must not stop the others
            return source, reason(error)
        return source, None

    Image.init()  # once, before threads would do it together
    # The workers are the parallelism: torch gets the cores that are left, which is all of them for a single file. In
    # torch a new thread starts from the number that was set last, and keeps its own under OpenMP.
    pool = ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(max(1, cores // workers),))
    # Without `with`: an interrupt must not wait for the images at work.
    yield from _bounded_map(pool, one, plan.names, ahead=2 * workers)
    pool.shutdown()


def _bounded_map(
    pool: ThreadPoolExecutor, function: Callable[[str], tuple[str, str | None]], names: Iterable[str], ahead: int
) -> Iterator[tuple[str, str | None]]:
    """Results as they come, with at most `ahead` calls submitted and not yet taken back."""
    pending: set[Future[tuple[str, str | None]]] = set()
    for name in names:
        pending.add(pool.submit(function, name))
        if len(pending) >= ahead:
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    while pending:
        done, pending = wait(pending, return_when=FIRST_COMPLETED)
        yield from (future.result() for future in done)


def _refuse_to_overwrite(plan: Plan, source: str, target: str) -> None:
    if os.path.exists(target) and os.path.samefile(source, target):
        raise ValueError("the output would overwrite its input")
    if plan.folders and _identity_if_any(os.path.dirname(target)) in plan.folders:
        raise ValueError("the output would go into a folder that images are read from")


def _identity(folder: str) -> Identity:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def _identity_if_any(folder: str) -> Identity | None:
    try:
        return _identity(folder)
    except OSError:
        return None


def _is_within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip(os.sep) + os.sep)

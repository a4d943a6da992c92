"""Worker processes: tasks out, records back, and a file that kills the worker is the only one that is lost.

A task is a list of files, and fewer of them towards the end, so that all workers end together. A few tasks lie ready at
each worker, so that none waits for the parent. A worker tells of several files at once where they take it a moment
only: each message costs the parent, and the worker whose core it takes, as much as the accounts of five files.

What a worker had at work when it died is tried again, file by file, as what is resumed: some of it may be done, and not
told of. The second death is that of the file.

Neither side can block the other: the tasks at a worker fit into the 200 kB that a pipe holds, so the parent never waits
to send, and always comes back to listen.
"""

import contextlib
import ctypes
import os
import signal
import sys
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from selectors import EVENT_READ, DefaultSelector
from typing import Any

import torch

from texfilters.cli import work
from texfilters.cli.interrupts import SIGNALS
from texfilters.cli.listing import is_tar
from texfilters.cli.messages import reason

_AHEAD = 2  # tasks at a worker: one at work, one that bridges the time in which the parent is busy with others
_SHARE = 4  # a task is at most this part of what would be left for each worker
_SOON = 0.025  # seconds that a worker may keep a record to itself
_TASK = 8 * 1024  # characters, of three bytes at most, of the paths in a task of several; one more path may follow
_DEATHS = 32  # in a row, and two a worker, without an answer between them: the fault is not that of the files

_PR_SET_PDEATHSIG = 1
_prctl = ctypes.CDLL(None).prctl

Task = deque[work.Item]
Records = list[dict[str, Any]]


@dataclass(eq=False)
class _Worker:
    slot: int
    process: BaseProcess
    pipe: Connection
    tasks: deque[Task] = field(default_factory=deque)  # their files not answered yet


class Pool:
    """A context; at its end the workers are killed, which harms nothing: files appear complete or not at all."""

    def __init__(
        self,
        settings: work.Settings,
        workers: int,
        temporary: Callable[[int], str],
        *,
        chunk: int = 1,
        left: Callable[[], int] = lambda: sys.maxsize,
        threads: int = 1,
    ) -> None:
        """`chunk`: files a task, at most; `left`: tells how many files are still to come, more or less; `threads`: of a
        worker for the samples of a tar shard."""
        # A forked worker starts at once and shares the memory of what is imported; CUDA does not survive a fork.
        self._context: Any = get_context("fork" if settings.device == "cpu" else "spawn")
        self._settings, self._temporary, self._threads = settings, temporary, threads
        self._count, self._chunk, self._left = workers, chunk, left
        self._selector = DefaultSelector()
        self._workers: set[_Worker] = set()
        self._returned: deque[Task] = deque()  # of workers that died, or too large to lie ready behind another
        self._suspects: set[str] = set()  # files of which one may have killed a worker, to be tried by themselves
        self._exhausted = False
        self._under_way = 0  # files at the workers
        self._deaths = 0

    def __enter__(self) -> "Pool":
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers:
            worker.process.kill()
        for worker in self._workers:
            worker.process.join()
            worker.pipe.close()
        self._selector.close()

    def records(self, items: Iterable[work.Item]) -> Iterator[Records]:
        """The records of files that are done, in any order. Raises work.Stop, a worker's or for dying workers."""
        self._items: Iterator[work.Item] = iter(items)
        first = next(self._items, None)
        if first is None:  # a target that is finished starts no process
            return
        self._returned.append(deque([first]))
        for slot in range(self._count):
            if self._exhausted and not self._returned:
                break
            self._start(slot)
            for key, _ in self._selector.select(0):  # a fork takes so long that those before it are at work
                yield from self._hear(key.data)
        while self._returned or not self._exhausted or self._under_way:
            for key, _ in self._selector.select():
                yield from self._hear(key.data)

    def _start(self, slot: int) -> None:
        try:
            self._fork(slot)
        except OSError as error:  # too many open files or processes for this user
            raise work.Stop(f"a process cannot be started ({reason(error)}); --workers takes fewer") from error

    def _fork(self, slot: int) -> None:
        ours, theirs = self._context.Pipe()
        arguments = (theirs, os.getpid(), self._settings, self._temporary(slot), self._threads)
        process = self._context.Process(target=_serve, args=arguments, daemon=True)
        # A signal waits until the process is one that the end of this context kills.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            process.start()
            worker = _Worker(slot, process, ours)
            self._workers.add(worker)
            self._selector.register(ours, EVENT_READ, worker)
        finally:
            theirs.close()  # before another is forked: the worker's is to be the only one, so that its death closes it
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    def _hear(self, worker: _Worker) -> Iterator[Records]:
        try:
            message = worker.pipe.recv()
        except (EOFError, OSError):  # what it had sent before it died has been read
            yield from self._bury(worker)
            return
        if isinstance(message, str):
            raise work.Stop(message)
        if message is None:
            self._feed(worker)
            return
        task = worker.tasks[0]
        for _ in message:
            self._suspects.discard(task.popleft().name)
        self._under_way -= len(message)
        if not task:
            worker.tasks.popleft()
            self._feed(worker)
        self._deaths = 0
        yield message

    def _feed(self, worker: _Worker) -> None:
        while len(worker.tasks) < _AHEAD and (task := self._take()) is not None:
            if worker.tasks and (_is_long(task) or _is_long(worker.tasks[-1])):
                self._returned.appendleft(task)
                return
            try:
                worker.pipe.send(list(task))
            except OSError:  # it is dead, which the next look at its pipe tells
                self._returned.appendleft(task)
                return
            worker.tasks.append(task)
            self._under_way += len(task)

    def _take(self) -> Task | None:
        """The next files."""
        if self._returned:
            return self._returned.popleft()
        task: Task = deque()
        size, most = 0, max(1, min(self._chunk, self._left() // (_SHARE * self._count)))
        while len(task) < most and size < _TASK:
            item = next(self._items, None)
            if item is None:
                self._exhausted = True
                break
            if task and is_tar(item.name):
                self._returned.append(deque([item]))
                break
            task.append(item)
            size += len(item.name) + len(item.source) + len(item.target)
            if is_tar(item.name):
                break
        return task or None

    def _bury(self, worker: _Worker) -> Iterator[Records]:
        self._selector.unregister(worker.pipe)
        self._workers.remove(worker)
        worker.pipe.close()
        worker.process.join()
        with contextlib.suppress(OSError):
            os.unlink(self._temporary(worker.slot))
        ended = _ended(worker.process.exitcode)
        self._deaths += 1
        if self._deaths > _DEATHS + 2 * self._count:
            raise work.Stop(f"the last {self._deaths} processes {ended} before they had done anything")
        self._under_way -= sum(map(len, worker.tasks))
        blamed: Records = []
        if worker.tasks:
            suspects = worker.tasks.popleft()
            self._returned.extendleft(reversed(worker.tasks))
            if len(suspects) == 1 and suspects[0].name in self._suspects:
                name = suspects[0].name
                self._suspects.discard(name)
                blamed = [{"source": name, "status": "failed", "reason": f"the process that read it {ended}"}]
            else:
                # Any of them may be at fault, or none. Some may be done, and the worker had not said so yet.
                self._suspects.update(item.name for item in suspects)
                self._returned.extendleft(deque([item._replace(resuming=True)]) for item in reversed(suspects))
        if self._returned or not self._exhausted:
            self._start(worker.slot)
        if blamed:
            yield blamed


def _is_long(task: Task) -> bool:
    """Whether a worker is busy with a task so long that none may wait behind it, nor this one behind others."""
    return is_tar(task[0].name)


def _ended(status: int | None) -> str:
    if status is None or status >= 0:
        return f"ended with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:  # a real-time signal
        return f"was killed by signal {-status}"


def _serve(pipe: Connection, parent: int, settings: work.Settings, temporary: str, threads: int) -> None:
    """The life of a worker."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before that
        return
    for number in SIGNALS:  # of a terminal, or of a batch system, go to all processes
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    warnings.filterwarnings("ignore", module="PIL")  # where nothing is inherited
    torch.set_num_threads(1)
    pipe.send(None)
    with contextlib.suppress(work.Stop):
        while True:
            _do(pipe.recv(), pipe, settings, temporary, threads)


def _do(task: list[work.Item], pipe: Connection, settings: work.Settings, temporary: str, threads: int) -> None:
    """Do the files of a task and tell of them. Raises work.Stop when that is told, too."""
    records: Records = []
    said = time.monotonic()
    while task:
        answered = 0
        try:
            for record in work.do(task, settings, temporary, threads):
                records.append(record)
                answered += 1
                if (now := time.monotonic()) - said > _SOON:
                    pipe.send(records)
                    records, said = [], now
        except work.Stop as stop:
            if records:
                pipe.send(records)
            pipe.send(reason(stop))
            raise
        except Exception as error:  # no file's error, those are records; all the same it must not end the job
            records.append({"source": task[answered].name, "status": "failed", "reason": reason(error)})
            answered += 1
        task = task[answered:]
    if records:
        pipe.send(records)

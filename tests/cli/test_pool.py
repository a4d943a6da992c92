"""Worker processes: every file is answered once, whatever becomes of the process that had it."""

import contextlib
import errno
import faulthandler
import os
import signal
import subprocess
import sys
import time
from itertools import chain
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch

from texfilters.cli import pool as pools
from texfilters.cli import work
from texfilters.cli.pool import Pool


def items(*names: str) -> list[work.Item]:
    return [work.Item(name, f"source/{name}", f"target/{name}") for name in names]


def done(item: work.Item, **facts) -> dict:
    return {"source": item.name, "status": "done", **facts}


@pytest.fixture
def make(monkeypatch, tmp_path):
    """A pool whose workers call `one` for each file, in place of the work itself."""

    def make(one, workers=2, **options) -> Pool:
        def do(items, settings, temporary, threads):
            for item in items:
                yield one(item)

        monkeypatch.setattr(work, "do", do)
        return Pool(work.Settings("median"), workers, lambda slot: str(tmp_path / f"{slot}.tmp"), **options)

    return make


def all_of(pool: Pool, *names: str) -> list[dict]:
    return list(chain.from_iterable(pool.records(items(*names))))


def outcome(pool: Pool, names: list[str]) -> dict[str, str | None]:
    """By name: why it failed, or None."""
    with pool:
        records = all_of(pool, *names)
    assert len(records) == len(names)
    return {record["source"]: record.get("reason") for record in records}


@pytest.mark.parametrize(("workers", "chunk"), [(1, 1), (2, 1), (3, 4), (2, 100)])
def test_every_file_is_done_once(make, workers, chunk):
    names = [str(i) for i in range(50)]
    pool = make(lambda item: done(item, process=os.getpid(), threads=torch.get_num_threads()), workers, chunk=chunk)
    with pool:
        records = all_of(pool, *names)
    assert sorted(record["source"] for record in records) == sorted(names)
    assert os.getpid() not in {record["process"] for record in records}
    assert len({record["process"] for record in records}) <= workers
    assert {record["threads"] for record in records} == {1}


def test_several_files_of_a_task_are_handed_on_together_and_no_more_than_their_paths_allow(make):
    names = [str(i) for i in range(20)] + ["x" * 4000 + str(i) for i in range(6)]
    pool = make(done, 1, chunk=8)
    with pool:
        taken = []
        pool._items = iter(items(*names))
        while (task := pool._take()) is not None:
            taken.append(len(task))
    assert taken == [8, 8, 5, 1, 1, 1, 1, 1]


def test_tasks_grow_shorter_towards_the_end(make):
    """No worker is to have files before it when none are left for the others."""
    files, taken = 100, []
    with make(done, 3, chunk=8, left=lambda: files - sum(taken)) as pool:
        pool._items = iter(items(*map(str, range(files))))
        while (task := pool._take()) is not None:
            taken.append(len(task))
    assert sum(taken) == files
    assert taken == sorted(taken, reverse=True)
    assert (taken[0], taken[-20:]) == (8, [1] * 20)


@pytest.mark.parametrize(("soon", "messages"), [(60, 6), (0, 41)])
def test_files_that_take_a_moment_are_told_of_together_and_others_at_once(make, monkeypatch, soon, messages):
    monkeypatch.setattr(pools, "_SOON", soon)

    def one(item):
        time.sleep(1e-4)
        return done(item)

    with make(one, 1, chunk=8) as pool:
        lengths = list(map(len, pool.records(items(*map(str, range(41))))))  # the first one, then five tasks
    assert (sum(lengths), len(lengths)) == (41, messages)


@pytest.mark.parametrize("chunk", [1, 5])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV])
def test_a_worker_that_dies_takes_one_file_with_it(make, chunk, number):
    names = [f"{i}" for i in range(20)] + ["bad 1", "20", "bad 2"] + [f"{i}" for i in range(21, 40)]

    def one(item):
        if item.name.startswith("bad"):
            faulthandler.disable()
            os.kill(os.getpid(), number)
        return done(item)

    why = f"the process that read it was killed by {number.name}"
    expected = {name: why if name.startswith("bad") else None for name in names}
    assert outcome(make(one, chunk=chunk), names) == expected


@pytest.mark.parametrize("chunk", [1, 5])
def test_a_death_that_is_no_files_fault_costs_none(make, tmp_path, chunk):
    """What the dead one may have done is tried again as what is resumed: its target may be there."""
    names = [str(i) for i in range(20)]

    def one(item):
        if item.name == "12" and not (tmp_path / "dead").exists():
            (tmp_path / "dead").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return done(item, resuming=item.resuming)

    with make(one, chunk=chunk) as pool:
        records = all_of(pool, *names)
    assert sorted(record["source"] for record in records) == sorted(names)
    assert {record["status"] for record in records} == {"done"}
    again = {record["source"] for record in records if record["resuming"]}
    assert "12" in again
    assert len(again) <= chunk


def test_what_a_dead_worker_was_writing_is_removed(make, tmp_path):
    def one(item):
        if item.name == "bad":
            (tmp_path / "0.tmp").touch()
            os._exit(3)
        return done(item)

    assert outcome(make(one, 1), ["bad", "good"]) == {
        "bad": "the process that read it ended with status 3",
        "good": None,
    }
    assert list(tmp_path.iterdir()) == []


def test_workers_that_die_at_their_start_end_the_job(make, monkeypatch):
    monkeypatch.setattr(pools, "_DEATHS", 2)
    monkeypatch.setattr(torch, "set_num_threads", lambda number: os._exit(7))
    with make(done) as pool, pytest.raises(work.Stop, match=r"^the last \d+ processes ended with status 7 before"):
        all_of(pool, "a", "b")


def test_workers_that_die_of_every_file_end_the_job(make, monkeypatch):
    monkeypatch.setattr(pools, "_DEATHS", 2)
    with make(lambda item: os.kill(os.getpid(), signal.SIGKILL)) as pool, pytest.raises(work.Stop, match="SIGKILL"):
        all_of(pool, *map(str, range(1000)))


def test_a_process_that_cannot_be_started_ends_the_job(make, monkeypatch):
    def fork():
        raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", fork)
    with make(done) as pool, pytest.raises(work.Stop, match=r"cannot be started \(Resource temporarily unavailable\)"):
        all_of(pool, "a", "b")


def test_deaths_with_work_done_between_them_do_not(make, monkeypatch):
    monkeypatch.setattr(pools, "_DEATHS", 6)

    def one(item):
        if int(item.name) % 2:
            os._exit(1)
        return done(item)

    reasons = outcome(make(one), [str(i) for i in range(40)])
    assert [name for name, why in reasons.items() if why] == [name for name in reasons if int(name) % 2]


def test_an_unforeseen_error_is_that_of_one_file(make):
    def one(item):
        if item.name == "3":
            raise LookupError("never mind")
        return done(item)

    reasons = outcome(make(one, chunk=4), [str(i) for i in range(8)])
    assert {name for name, why in reasons.items() if why == "never mind"} == {"3"}


def test_a_full_disk_ends_the_job(make):
    def one(item):
        if item.name == "3":
            raise work.Stop(28, "No space left on device")
        return done(item)

    with make(one) as pool, pytest.raises(work.Stop, match=r"^No space left on device$"):
        all_of(pool, *map(str, range(8)))


def test_without_work_no_process_is_started(make, monkeypatch):
    monkeypatch.setattr(Pool, "_start", lambda self, slot: pytest.fail("started"))
    with make(done) as pool:
        assert list(pool.records([])) == []


def test_only_a_few_files_are_taken_ahead(make):
    taken = 0

    def names():
        nonlocal taken
        for item in items(*map(str, range(200))):
            taken += 1
            yield item

    answered = 0
    with make(done) as pool:
        for records in pool.records(names()):
            answered += len(records)
            assert taken <= answered + 2 * pools._AHEAD
    assert answered == 200


def test_the_pipes_never_block_each_other(make):
    """Records larger than a pipe holds while tasks of the longest paths there are come the other way."""
    names = [f"{i:03}" + "x" * 4000 for i in range(150)]
    long = [work.Item(name, name, name) for name in names]
    with make(lambda item: done(item, left_out={"member": "y" * 300_000}), chunk=32) as pool:
        assert sorted(record["source"] for record in chain.from_iterable(pool.records(long))) == names


def test_nothing_waits_behind_a_tar(make, tmp_path):
    """Two shards that end only when all images are done, though they come first."""
    images = [f"{i}.png" for i in range(30)]

    def one(item):
        if item.name.endswith(".tar"):
            end = time.monotonic() + 20
            while sum(1 for _ in tmp_path.iterdir()) < len(images):
                assert time.monotonic() < end
                time.sleep(0.01)
        else:
            (tmp_path / item.name).touch()
        return done(item)

    names = ["0.png", "a.tar", "B.TAR", *images[1:]]
    assert set(outcome(make(one, 3), names).values()) == {None}


def test_a_spawned_worker_does_the_real_work(tmp_path, small):
    small.save(tmp_path / "a.png")
    item = work.Item("a.png", str(tmp_path / "a.png"), str(tmp_path / "b.png"))
    with Pool(work.Settings("median"), 1, lambda slot: str(tmp_path / f"{slot}.tmp")) as pool:
        pool._context = get_context("spawn")
        ((record,),) = pool.records([item])
    assert record["status"] == "done"
    assert {path.name for path in tmp_path.iterdir()} == {"a.png", "b.png"}


def processes_below(parent: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]


def is_alive(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


BUSY = """
import time
from texfilters.cli import pool, work

def do(items, settings, temporary, threads):
    print("at work", flush=True)
    time.sleep(60)
    yield

work.do = do
with pool.Pool(work.Settings("median"), 3, lambda slot: f"/nowhere/{slot}") as pool:
    list(pool.records(work.Item(str(i), "s", "t") for i in range(9)))
"""


def test_workers_end_when_the_parent_is_killed_and_do_not_hear_what_is_for_it():
    with subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE) as parent:
        for _ in range(3):
            assert parent.stdout.readline() == b"at work\n"
        workers = processes_below(parent.pid)
        assert len(workers) == 3
        for number in pools.SIGNALS:
            for worker in workers:
                os.kill(worker, number)
        time.sleep(0.2)
        assert all(map(is_alive, workers))
        parent.kill()
        parent.wait()
        end = time.monotonic() + 1
        while any(map(is_alive, workers)):
            assert time.monotonic() < end
            time.sleep(0.01)


def test_workers_are_gone_after_an_error_of_the_caller(make):
    workers = []

    def interrupted():
        yield from items(*map(str, range(30)))
        workers.extend(worker.process for worker in pool._workers)
        raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt), make(done, 3) as pool:
        list(pool.records(interrupted()))
    assert len(workers) == 3
    assert not any(worker.is_alive() for worker in workers)

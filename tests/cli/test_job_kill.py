"""A folder job that is killed at any moment goes on where it was, and ends as if nothing had happened."""

import fcntl
import os
import random
import signal
import time

import pytest

from job_corpus import photos
from job_helpers import (
    Job,
    assert_does_nothing,
    assert_true_records,
    contents,
    done,
    lines,
    record_lines,
    records,
    touched,
    wait_until,
)
from texfilters.cli import folder, pool

IMAGES = 60
WORKERS = 3
IN_FLIGHT = WORKERS * pool._AHEAD * folder._CPU_CHUNK  # files, at most
# Some milliseconds an image, so that a job of small ones is caught at work.
FLAGS = ("--niter", "1500", "--workers", WORKERS)


class Undisturbed:
    def __init__(self, folder, call, images=IMAGES, flags=FLAGS) -> None:
        self.source, self.flags = folder / "source", flags
        photos(self.source, images)
        target = folder / "undisturbed"
        assert call("suppress", self.source, target, *flags).code == 0
        self.contents, self.records, self.lines = contents(target), records(target), record_lines(target)
        assert len(self.contents) == len(self.records) == len(self.lines) == images


@pytest.fixture
def undisturbed(tmp_path, call) -> Undisturbed:
    return Undisturbed(tmp_path, call)


def disturb(
    source, target, flags, after_lines: int, number: int, *, a_worker: bool = False, delay: float = 0.0, fresh=False
):
    """Start the job and send a signal once it has written so many lines; its code and stderr when it has ended."""
    enough = lines(target) + after_lines
    with Job(source, target, *flags, fresh=fresh) as job:
        if wait_until(lambda: lines(target) >= enough, job):
            time.sleep(delay)
            os.kill(min(job.workers()) if a_worker else job.pid, number)
        outcome = job.finish()
    return outcome.code, outcome.err


def assert_as_undisturbed(undisturbed: Undisturbed, target) -> None:
    """The same bytes and no file besides, so neither a temporary nor a lock; the same records, and true ones."""
    assert contents(target) == undisturbed.contents
    assert records(target) == undisturbed.records
    assert record_lines(target) == undisturbed.lines
    assert_true_records(undisturbed.source, target)


def killed_rounds(undisturbed: Undisturbed, target, rounds: int, most_lines: int, seed: int) -> int:
    """Kill the job so many times; what was recorded as done is never touched again. Returns how many were in time."""
    rng, killed = random.Random(seed), 0
    for number in range(rounds):
        finished = {name: touched(target)[name] for name in done(target)}
        after = 0 if number % 5 == 4 else rng.randint(3, most_lines)  # 0: while it starts, lists or resumes
        delay = rng.uniform(0, 0.5 if after == 0 else 0.01)
        fresh = number == 0
        code, _ = disturb(
            undisturbed.source, target, undisturbed.flags, after, signal.SIGKILL, delay=delay, fresh=fresh
        )
        now = touched(target)
        assert {name: now[name] for name in finished} == finished
        unrecorded = {name for name in contents(target) if not name.startswith(".texfilters-")} - done(target)
        assert len(unrecorded) <= IN_FLIGHT, "more files than those in flight would be done twice"
        if code == 0:
            break
        assert code == -signal.SIGKILL
        killed += 1
    return killed


def test_kill_9_of_the_parent(tmp_path, call, undisturbed):
    target = tmp_path / "target"
    assert killed_rounds(undisturbed, target, rounds=2, most_lines=IMAGES // 6, seed=0) == 2
    finished = {name: touched(target)[name] for name in done(target)}
    assert finished
    outcome = call("suppress", undisturbed.source, target, *FLAGS)
    assert (outcome.code, outcome.err) == (0, "")
    now = touched(target)
    assert {name: now[name] for name in finished} == finished
    assert_as_undisturbed(undisturbed, target)
    assert_does_nothing(call, undisturbed.source, target, *FLAGS)


@pytest.mark.slow
def test_kill_9_many_times(tmp_path, call):
    undisturbed = Undisturbed(tmp_path, call, images=400)
    for seed in range(4):
        target = tmp_path / f"target {seed}"
        assert killed_rounds(undisturbed, target, rounds=15, most_lines=40, seed=seed) >= 8
        assert call("suppress", undisturbed.source, target, *FLAGS).code == 0
        assert_as_undisturbed(undisturbed, target)
        assert_does_nothing(call, undisturbed.source, target, *FLAGS)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupts(tmp_path, call, undisturbed, number):
    target = tmp_path / "target"
    code, err = disturb(undisturbed.source, target, FLAGS, IMAGES // 3, number)
    assert (code, err) == (128 + number, "texfilters: interrupted\n")
    # What is there is whole, and no temporary and no lock is among it.
    assert contents(target).items() <= undisturbed.contents.items()
    assert IMAGES // 3 <= len(records(target)) + 1 < IMAGES
    finished = {name: touched(target)[name] for name in done(target)}
    assert call("suppress", undisturbed.source, target, *FLAGS).code == 0
    now = touched(target)
    assert {name: now[name] for name in finished} == finished
    assert_as_undisturbed(undisturbed, target)


def test_a_worker_that_is_killed_costs_no_file(tmp_path, call, undisturbed):
    """What it had not told of is tried again, and what is there of it is recognized."""
    target = tmp_path / "target"
    code, err = disturb(undisturbed.source, target, FLAGS, IMAGES // 3, signal.SIGKILL, a_worker=True)
    assert (code, err) == (0, "")
    assert_as_undisturbed(undisturbed, target)


def test_two_jobs_on_one_target(tmp_path, call, small):
    """The second one leaves; a lock that nobody holds any more keeps nobody out."""
    (tmp_path / "source").mkdir()
    small.save(tmp_path / "source" / "a.png")
    target = tmp_path / "target"
    target.mkdir()
    with open(target / ".texfilters-1-of-1.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # as a job at work holds it
        before = touched(target)
        outcome = call("suppress", tmp_path / "source", target)
        assert (outcome.code, outcome.out) == (2, "")
        assert outcome.err.startswith("texfilters: another run is at work on this target")
        assert touched(target) == before
        # Another shard is no other run of this one.
        assert call("suppress", tmp_path / "source", tmp_path / "target", "--shard", "1/2").code == 0
    assert call("suppress", tmp_path / "source", target).code == 0
    assert contents(target).keys() == {"a.png"}

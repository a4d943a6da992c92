"""`--shard i/n`: the parts of a folder job make the whole, byte for byte, in any order and at the same time."""

import contextlib
import json
import signal

import pytest

from job_corpus import mixed, photos
from job_helpers import (
    Job,
    assert_does_nothing,
    assert_true_records,
    contents,
    headers,
    manifests,
    record_lines,
    records,
    touched,
    wait_until,
)

FLAGS = ("--niter", "5", "--workers", "2")


@pytest.fixture
def source(tmp_path):
    photos(tmp_path / "source", 40, size=(40, 31))
    (tmp_path / "source" / "empty").mkdir()
    return tmp_path / "source"


@pytest.fixture
def single(tmp_path, source, call):
    """What one run makes of it."""
    assert call("suppress", source, tmp_path / "single", *FLAGS).code == 0
    return tmp_path / "single"


def test_the_union_of_the_shards_is_the_single_run(tmp_path, call, source, single):
    target = tmp_path / "target"
    seen: set[str] = set()
    for shard in (2, 3, 1):
        outcome = call("suppress", source, target, *FLAGS, "--shard", f"{shard}/3")
        assert (outcome.code, outcome.err) == (0, "")
        new = set(contents(target)) - seen
        assert 4 <= len(new) <= 24  # a third of 40, by chance
        seen |= new
        assert_does_nothing(call, source, target, *FLAGS, "--shard", f"{shard}/3")
    assert [path.name for path in manifests(target)] == [f"texfilters-manifest-{i}-of-3.jsonl" for i in (1, 2, 3)]
    assert contents(target) == contents(single)
    assert record_lines(target) == record_lines(single)
    assert all(header == headers(single)[0] for header in headers(target))
    assert_true_records(source, target)


def test_shards_at_the_same_time(tmp_path, call, source, single):
    """One of them is killed, which is no business of the others."""
    target = tmp_path / "target"
    with contextlib.ExitStack() as jobs:
        first, *others = (
            jobs.enter_context(Job(source, target, *FLAGS, "--shard", f"{shard}/3")) for shard in (1, 2, 3)
        )
        assert wait_until(lambda: (target / "texfilters-manifest-1-of-3.jsonl").exists(), first)
        first.kill()
        assert [job.finish().code for job in (first, *others)] == [-signal.SIGKILL, 0, 0]
    # The same command does what is left, and then neither a run of the whole nor any other division finds work.
    for flags in (("--shard", "1/3"), (), (), ("--shard", "2/3"), ("--shard", "1/2"), ("--shard", "2/2")):
        before = touched(target)
        assert call("suppress", source, target, *FLAGS, *flags).code == 0
        now = touched(target)
        assert all(now[name] == before[name] for name in contents(target).keys() & before.keys())
        assert contents(target) == contents(single)
        assert record_lines(target) == record_lines(single)


def test_a_killed_shard_leaves_the_others_alone(tmp_path, call, source, single):
    """The temporaries and locks of one shard are none of another's business."""
    target = tmp_path / "target"
    target.mkdir()
    # Of a job that had more workers than the next one has.
    stale = [target / f".texfilters-{shard}-of-3-7.tmp" for shard in (1, 2)]
    for path in stale:
        path.write_text("half of an image")
    assert call("suppress", source, target, *FLAGS, "--shard", "1/3").code == 0
    assert not stale[0].exists()
    assert stale[1].read_text() == "half of an image"
    for shard in (2, 3):
        assert call("suppress", source, target, *FLAGS, "--shard", f"{shard}/3").code == 0
    assert contents(target) == contents(single)


def test_one_whole_is_a_shard_too(tmp_path, call, source, single):
    """`--shard 1/1`, as a scheduler writes it that was given one machine."""
    assert call("suppress", source, tmp_path / "target", *FLAGS, "--shard", "1/1").code == 0
    assert contents(tmp_path / "target") == contents(single)
    assert record_lines(tmp_path / "target") == record_lines(single)


def test_more_shards_than_files(tmp_path, call):
    photos(tmp_path / "source", 2, size=(20, 20))
    for shard in range(1, 6):
        outcome = call("suppress", tmp_path / "source", tmp_path / "target", "--shard", f"{shard}/5")
        assert (outcome.code, outcome.err) == (0, "")
    assert len(contents(tmp_path / "target")) == 2


@pytest.mark.parametrize("shard", ["0/3", "4/3", "-1/3", "1/0", "1", "a/b", "1/3/5", "", "1.0/2"])
def test_wrong_shards_are_refused(tmp_path, call, source, shard):
    outcome = call("suppress", source, tmp_path / "target", f"--shard={shard}")
    assert outcome.code == 2
    assert "shard" in outcome.err
    assert not (tmp_path / "target").exists()


def test_shards_of_a_mixed_folder_with_failures(tmp_path, call):
    corpus = mixed(tmp_path / "source", 64, share_bad=0.1, largest=48)
    flags = (*FLAGS, "--on-error", "skip")
    assert call("suppress", tmp_path / "source", tmp_path / "single", *flags).code == 1
    failed = set()
    for shard in (1, 2):
        report = tmp_path / f"{shard}.json"
        outcome = call(
            "suppress", tmp_path / "source", tmp_path / "target", *flags, "--shard", f"{shard}/2", "--report", report
        )
        failed |= {line.partition(": ")[0] for line in outcome.err.splitlines()}
        assert json.loads(report.read_text())
    assert failed == {str(tmp_path / "source" / name) for name in corpus.bad}
    assert contents(tmp_path / "target") == contents(tmp_path / "single")
    assert record_lines(tmp_path / "target") == record_lines(tmp_path / "single")
    assert {name for name, record in records(tmp_path / "target").items() if "note" in record} == corpus.noted

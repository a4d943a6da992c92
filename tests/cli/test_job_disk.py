"""A disk that is full, or that cannot be written: the job stops with one line, and goes on when there is room."""

import contextlib
import os
import subprocess

import pytest

from job_corpus import photos
from job_helpers import assert_does_nothing, assert_true_records, contents, record_lines, records, touched


@pytest.fixture
def small_disk(tmp_path):
    """A file system in memory, of a size that can be set; only root can mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def resize(options: str, *, again: bool = False) -> None:
        command = ["mount", "-t", "tmpfs", "-o", ("remount," if again else "") + options, "none", os.fspath(folder)]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            pytest.skip(f"mounting a small file system: {result.stderr.strip()}")

    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    resize("size=400k")
    try:
        yield folder, resize
    finally:
        with contextlib.suppress(OSError):
            subprocess.run(["umount", "--lazy", os.fspath(folder)], check=False)


@pytest.fixture
def source(tmp_path):
    photos(tmp_path / "source", 60, size=(80, 60), suffix=".bmp")  # 14,454 bytes each: 870 kB
    return tmp_path / "source"


@pytest.mark.parametrize("limit", ["size=400k", "nr_inodes=30"])
def test_a_full_disk(tmp_path, call, source, small_disk, limit):
    disk, resize = small_disk
    resize(limit, again=True)
    target = disk / "target"
    assert call("suppress", source, tmp_path / "elsewhere").code == 0
    for _ in range(2):
        outcome = call("suppress", source, target)
        assert outcome.code == 1
        assert outcome.err.count("\n") == 1
        assert "stopped: no space left on device" in outcome.err.lower()
        assert "the same command goes on from here" in outcome.err
        # Nothing half-written under any name, and nothing recorded of the file that had no room.
        assert not any(name.startswith(".texfilters-") for name in contents(target))
        assert contents(target).items() <= contents(tmp_path / "elsewhere").items()
        assert all(record["status"] == "done" for record in records(target).values())
        assert 10 <= len(records(target)) < 60
        assert_true_records(source, target)
    before = touched(target)
    resize("size=10m,nr_inodes=1000", again=True)
    outcome = call("suppress", source, target)
    assert (outcome.code, outcome.err) == (0, "")
    now = touched(target)
    assert all(now[name] == before[name] for name in before if "manifest" not in name)
    assert contents(target) == contents(tmp_path / "elsewhere")
    assert record_lines(target) == record_lines(tmp_path / "elsewhere")
    assert_does_nothing(call, source, target)


def test_a_disk_that_is_full_from_the_start(call, source, small_disk):
    disk, _ = small_disk
    with contextlib.suppress(OSError), open(disk / "ballast", "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    outcome = call("suppress", source, disk / "target")
    assert outcome.code == 1
    assert outcome.err.count("\n") == 1
    assert "no space left on device" in outcome.err.lower()
    (disk / "ballast").unlink()
    assert call("suppress", source, disk / "target").code == 1  # too small for all, but it begins
    assert len(contents(disk / "target")) > 10


def test_a_disk_that_cannot_be_written(call, source, small_disk):
    disk, resize = small_disk
    (disk / "target").mkdir()
    resize("ro", again=True)
    for target in (disk / "target", disk / "new", disk / "target" / "new"):
        outcome = call("suppress", source, target)
        assert outcome.code == 1
        assert outcome.out == ""
        assert outcome.err.count("\n") == 1
        assert "read-only" in outcome.err.lower()
    resize("rw", again=True)
    assert not contents(disk)


def test_a_finished_target_on_a_disk_that_cannot_be_written(tmp_path, call, small_disk):
    """There is nothing to write, but a lock cannot be had either: a refusal is as good as doing nothing."""
    disk, resize = small_disk
    photos(tmp_path / "few", 4, size=(20, 20))
    assert call("suppress", tmp_path / "few", disk / "target").code == 0
    before = touched(disk)
    resize("ro", again=True)
    outcome = call("suppress", tmp_path / "few", disk / "target")
    assert outcome.code in (0, 1)
    assert outcome.err.count("\n") == outcome.code
    assert touched(disk) == before


def test_a_report_that_cannot_be_written(tmp_path, call):
    """It is known before hours are spent."""
    photos(tmp_path / "few", 4, size=(20, 20))
    for report in (tmp_path / "nowhere" / "report.json", tmp_path / "few"):
        outcome = call("suppress", tmp_path / "few", tmp_path / "target", "--report", report)
        assert outcome.code in (1, 2)
        assert outcome.err.count("\n") == 1
        assert not (tmp_path / "target").exists() or not contents(tmp_path / "target")

"""One run of a shard at a time, and no temporaries after it."""

import errno
import fcntl
import os

import pytest

from texfilters.cli import lock
from texfilters.cli.listing import Shard
from texfilters.cli.messages import Refused


def names(folder) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_lock_is_there_for_as_long_as_it_is_held(tmp_path):
    with lock.hold(str(tmp_path), str(Shard(2, 3))):
        assert names(tmp_path) == {".texfilters-2-of-3.lock"}
    assert names(tmp_path) == set()


def test_another_run_is_refused_and_another_shard_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "_PATIENCE", 0.2)
    with lock.hold(str(tmp_path), str(Shard(1, 2))):
        with (
            pytest.raises(Refused, match=r"^another run is at work on this target; it holds .*-1-of-2\.lock$"),
            lock.hold(str(tmp_path), str(Shard(1, 2))),
        ):
            pytest.fail("two at once")
        with lock.hold(str(tmp_path), str(Shard(2, 2))):
            assert names(tmp_path) == {".texfilters-1-of-2.lock", ".texfilters-2-of-2.lock"}
        assert names(tmp_path) == {".texfilters-1-of-2.lock"}  # the refused one has not removed it


def test_the_workers_of_a_run_that_was_killed_are_waited_for(tmp_path):
    path = tmp_path / ".texfilters-1-of-1.lock"
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    child = os.fork()
    if child == 0:  # what shares the lock ends somewhat later
        import time

        time.sleep(0.3)
        os._exit(0)
    os.close(descriptor)
    with lock.hold(str(tmp_path), str(Shard())):
        assert os.waitpid(child, os.WNOHANG)[0] == child
    assert names(tmp_path) == set()


def test_a_lock_that_is_removed_in_between_is_none(tmp_path, monkeypatch):
    """The run before removes the file after this one has opened it: both its and the next's would be held."""
    path = str(tmp_path / ".texfilters-1-of-1.lock")
    flock, calls = fcntl.flock, []

    def late(descriptor, flags):
        calls.append(descriptor)
        if len(calls) == 1:
            os.unlink(path)
        flock(descriptor, flags)

    monkeypatch.setattr(fcntl, "flock", late)
    with lock.hold(str(tmp_path), str(Shard())):
        assert len(calls) == 2
        assert os.path.exists(path)


def test_temporaries_of_this_shard_alone_are_removed(tmp_path):
    mine = {os.path.basename(lock.temporary("", "1-of-1", slot)) for slot in (0, 12)} | {".texfilters-1-of-1-0.x.tmp"}
    others = {".texfilters-1-of-10-0.tmp", ".texfilters-2-of-2-0.tmp", ".texfilters-1-of-1-notes", "a.tmp"}
    for name in mine | others:
        (tmp_path / name).touch()
    with lock.hold(str(tmp_path), str(Shard())):
        assert names(tmp_path) == others | {".texfilters-1-of-1.lock"}
        (tmp_path / ".texfilters-1-of-1-3.tmp").touch()
    assert names(tmp_path) == others


def test_a_file_system_without_locks(tmp_path, monkeypatch, capsys):
    def missing(descriptor, flags):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", missing)
    with lock.hold(str(tmp_path), str(Shard())):
        pass
    assert "cannot be locked (Function not implemented): see that no other run" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    held = lock.hold(str(tmp_path / "file"), "1-of-1")
    with pytest.raises(Refused, match=r"^cannot write to .*: Not a directory$") as refused:
        held.__enter__()
    assert refused.value.code == 1

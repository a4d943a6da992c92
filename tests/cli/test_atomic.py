"""Files are written whole or not at all."""

import errno
import os

import pytest

from cli_helpers import files_in
from texfilters.cli import atomic


class TestAtomicWriting:
    def test_permissions_follow_the_umask(self, tmp_path):
        before = os.umask(0o027)
        try:
            atomic.write(str(tmp_path / "a.png"), b"data")
        finally:
            os.umask(before)
        assert (tmp_path / "a.png").stat().st_mode & 0o777 == 0o640
        assert files_in(tmp_path) == {"a.png"}

    @pytest.mark.parametrize("step", ["fsync", "replace"])
    def test_a_full_disk_leaves_the_old_file(self, tmp_path, monkeypatch, step):
        def fails(*arguments):
            assert len(files_in(tmp_path)) == 2  # the temporary file lies beside its destination
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        (tmp_path / "a.png").write_bytes(b"old")
        monkeypatch.setattr(os, step, fails)
        with pytest.raises(OSError, match="No space left"):
            atomic.write(str(tmp_path / "a.png"), b"new")
        assert (tmp_path / "a.png").read_bytes() == b"old"
        assert files_in(tmp_path) == {"a.png"}

    def test_flushed_before_it_gets_its_name(self, tmp_path, monkeypatch):
        steps = []
        fsync, replace = os.fsync, os.replace
        monkeypatch.setattr(os, "fsync", lambda file: (steps.append("fsync"), fsync(file)))
        monkeypatch.setattr(os, "replace", lambda *paths: (steps.append("replace"), replace(*paths)))
        atomic.write(str(tmp_path / "a.png"), b"data")
        assert steps == ["fsync", "replace"]

    def test_a_name_as_long_as_the_file_system_allows(self, tmp_path):
        name = "n" * 251 + ".png"
        atomic.write(str(tmp_path / name), b"data")
        assert files_in(tmp_path) == {name}

    def test_abandoned_while_writing(self, tmp_path, monkeypatch):
        monkeypatch.setattr(atomic, "_abandoned", False)
        monkeypatch.setattr(os, "fsync", lambda file: atomic.abandon())
        with pytest.raises(FileNotFoundError):
            atomic.write(str(tmp_path / "a.png"), b"data")
        with pytest.raises(InterruptedError):
            atomic.write(str(tmp_path / "b.png"), b"data")
        assert files_in(tmp_path) == set()

    def test_stop_is_raised_where_every_file_would_fail(self, tmp_path, monkeypatch):
        for step in ("write", "replace", "open"):
            for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES):

                def fails(*arguments, number=number):
                    raise OSError(number, os.strerror(number))

                with monkeypatch.context() as patch:
                    patch.setattr(os, step, fails)
                    with pytest.raises(OSError, match=os.strerror(number)) as raised:
                        atomic.write(str(tmp_path / "a.png"), b"data")
                assert isinstance(raised.value, atomic.Stop) == (number != errno.EACCES)
                assert raised.value.errno == number
                assert files_in(tmp_path) == set()

    def test_a_disk_that_takes_a_part_at_a_time(self, tmp_path, monkeypatch):
        write = os.write
        monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:3]))
        atomic.write(str(tmp_path / "a.png"), b"0123456789")
        assert (tmp_path / "a.png").read_bytes() == b"0123456789"

    def test_without_a_place_nothing_is_left(self, tmp_path):
        with atomic.Temporary(str(tmp_path / "t.tmp")) as temporary:
            temporary.write(b"data")
            assert files_in(tmp_path) == {"t.tmp"}
        assert files_in(tmp_path) == set()

    def test_what_a_killed_process_left_is_replaced_and_not_written_into(self, tmp_path):
        (tmp_path / "old").write_bytes(b"precious")
        os.link(tmp_path / "old", tmp_path / "t.tmp")
        with atomic.Temporary(str(tmp_path / "t.tmp")) as temporary:
            temporary.write(b"new")
            temporary.place(str(tmp_path / "deep" / "er" / "a.png"))
        assert (tmp_path / "deep" / "er" / "a.png").read_bytes() == b"new"
        assert (tmp_path / "old").read_bytes() == b"precious"
        assert files_in(tmp_path) == {"old", "deep/er/a.png"}

    def test_what_is_cut_off_is_gone(self, tmp_path):
        with atomic.Temporary(str(tmp_path / "t.tmp")) as temporary:
            temporary.write(b"0123456789")
            temporary.truncate(4)
            temporary.write(b"ab")
            temporary.place(str(tmp_path / "a"))
        assert (tmp_path / "a").read_bytes() == b"0123ab"

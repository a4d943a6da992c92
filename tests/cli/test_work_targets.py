"""Targets that exist, appear meanwhile or are the source itself, and disks that take no more."""

import errno
import os

import pytest

from cli_helpers import files_in, pixels
from texfilters.cli import image_files, work
from texfilters.cli.work import Settings, Stop
from work_cases import DIFFUSION


class TestExistingTargets:
    @pytest.fixture(autouse=True)
    def _files(self, job, small):
        small.save(job.source / "a.png")
        (job.target / "a.png").write_bytes(b"precious")

    def test_are_left_alone(self, job, monkeypatch):
        monkeypatch.setattr(image_files, "decode", lambda *a, **k: pytest.fail("computed for nothing"))
        assert job.reason("a.png") == "exists; --overwrite replaces it"
        assert (job.target / "a.png").read_bytes() == b"precious"

    def test_are_replaced_if_that_is_asked_for(self, job, small):
        os.link(job.target / "a.png", job.target / "b.png")
        (record,) = job.do("a.png", settings=Settings("median", overwrite=True))
        assert record["status"] == "done"
        assert pixels(job.target / "a.png").shape == (53, 77, 3)
        assert (job.target / "b.png").read_bytes() == b"precious"  # not written into

    def test_of_an_interrupted_run_are_recognized(self, job):
        os.unlink(job.target / "a.png")
        (first,) = job.do("a.png")
        before = os.stat(job.target / "a.png")
        assert job.do("a.png", resuming=True) == [first]
        after = os.stat(job.target / "a.png")
        assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
        content = bytearray((job.target / "a.png").read_bytes())
        content[-1] ^= 1
        (job.target / "a.png").write_bytes(content)
        assert job.reason("a.png", resuming=True) == "exists; --overwrite replaces it"
        assert (job.target / "a.png").read_bytes() == content

    def test_have_the_same_record_each_time(self, job):
        assert job.do("a.png") == job.do("a.png", resuming=True)

    def test_that_appear_meanwhile_are_left_alone(self, job, monkeypatch):
        os.unlink(job.target / "a.png")
        encode = image_files.encode

        def slow(*arguments, **options):
            (job.target / "a.png").write_bytes(b"of another process")
            return encode(*arguments, **options)

        monkeypatch.setattr(image_files, "encode", slow)
        (record,) = job.do("a.png")
        assert record["reason"] == "exists; --overwrite replaces it"
        assert (job.target / "a.png").read_bytes() == b"of another process"

    def test_that_appear_at_the_last_moment_are_left_alone(self, job, monkeypatch):
        os.unlink(job.target / "a.png")
        link = os.link

        def late(name, path):
            (job.target / "a.png").write_bytes(b"of another process")
            link(name, path)

        monkeypatch.setattr(os, "link", late)
        assert job.do("a.png")[0]["reason"] == "exists; --overwrite replaces it"
        assert (job.target / "a.png").read_bytes() == b"of another process"
        assert files_in(job.target) == {"a.png"}

    @pytest.mark.parametrize("number", [errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EXDEV])
    def test_are_left_alone_where_there_are_no_hard_links(self, job, monkeypatch, number):
        def no_link(*names):
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "link", no_link)
        with monkeypatch.context() as patch:
            patch.setattr(work, "_require_room", lambda *arguments: None)
            assert job.reason("a.png") == "exists; --overwrite replaces it"
        assert (job.target / "a.png").read_bytes() == b"precious"
        os.unlink(job.target / "a.png")
        assert job.do("a.png")[0]["status"] == "done"
        assert files_in(job.target) == {"a.png"}

    def test_that_dangle_are_left_alone(self, job):
        os.unlink(job.target / "a.png")
        os.symlink("nowhere", job.target / "a.png")
        assert job.reason("a.png") == "exists; --overwrite replaces it"

    @pytest.mark.parametrize("link", [os.link, os.symlink])
    @pytest.mark.parametrize("resuming", [False, True])
    @pytest.mark.parametrize("overwrite", [False, True])
    def test_that_are_the_source_by_another_name(self, job, link, resuming, overwrite):
        os.unlink(job.target / "a.png")
        link(job.source / "a.png", job.target / "a.png")
        settings = Settings("median", overwrite=overwrite)
        reason = job.reason("a.png", resuming=resuming, settings=settings)
        assert reason == "the output would overwrite its input"


@pytest.mark.parametrize("step", ["write", "link", "mkdir"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
def test_a_disk_that_takes_no_more_stops_the_job(job, small, monkeypatch, step, number):
    os.mkdir(job.source / "b")
    for name in ("a.png", "b/b.png", "c.png"):
        small.save(job.source / name)
    real = getattr(os, step)

    def full(*arguments, **options):
        if step == "mkdir" or (job.target / "a.png").exists():
            raise OSError(number, os.strerror(number))
        return real(*arguments, **options)

    monkeypatch.setattr(os, step, full)
    records = work.do(job.items("a.png", "b/b.png", "c.png"), DIFFUSION, str(job.target / ".tmp"))
    assert next(records)["status"] == "done"
    with pytest.raises(Stop) as stop:
        next(records)
    assert stop.value.strerror == os.strerror(number)
    assert files_in(job.target) == {"a.png"}


def test_a_folder_that_is_a_file_fails_its_files_only(job, small):
    os.mkdir(job.source / "b")
    for name in ("b/b.png", "c.png"):
        small.save(job.source / name)
    (job.target / "b").write_text("a file where a folder should be")
    bad, good = job.do("b/b.png", "c.png")
    assert (bad["status"], bad["reason"], good["status"]) == ("failed", "Not a directory", "done")

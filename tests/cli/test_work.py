"""What a worker makes of the files it is handed, and what it says of them."""

import errno
import hashlib
import os
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

import texfilters
from cli_helpers import SCIKIT_IMAGES, files_in, pixels
from cuda_cases import MARKS
from texfilters.cli import filters, image_files, stages, work
from texfilters.cli.work import Item, Settings, Stop

DIFFUSION = Settings("anisotropic-diffusion", {"niter": 5, "kappa": None})


def diffused(image: Image.Image) -> np.ndarray:
    planes = torch.from_numpy(np.atleast_3d(np.asarray(image)).copy()).movedim(-1, 0)
    return np.squeeze(texfilters.anisotropic_diffusion(planes, 5, 20.0, 0.1).movedim(0, -1).numpy())


def sha256(path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.fixture
def job(tmp_path):
    """A job in which every file of SRC goes to DST under its own name, or a name that is given."""

    class Job:
        source, target = tmp_path / "SRC", tmp_path / "DST"

        def items(self, *names: str, resuming: bool = False, **targets: str) -> list[Item]:
            return [
                Item(name, str(self.source / name), str(self.target / targets.get(name, name)), resuming)
                for name in names
            ]

        def do(self, *names: str, settings: Settings = DIFFUSION, resuming: bool = False) -> list[dict]:
            items = self.items(*names, resuming=resuming)
            records = list(work.do(items, settings, str(self.target / ".tmp")))
            assert ".tmp" not in files_in(self.target)
            return records

        def reason(self, name: str, **options) -> str:
            before = files_in(self.target)
            (record,) = self.do(name, **options)
            assert (record["source"], record["status"]) == (name, "failed")
            assert set(record) <= {"source", "status", "reason", "bytes", "sha256"}
            assert files_in(self.target) == before
            return record["reason"]

    Job.source.mkdir()
    Job.target.mkdir()
    return Job()


def test_a_record_says_what_was_done(job, small):
    os.mkdir(job.source / "Ünï code")
    small.save(job.source / "Ünï code" / "a.png")
    records = job.do("Ünï code/a.png")
    source, target = job.source / "Ünï code" / "a.png", job.target / "Ünï code" / "a.png"
    assert records == [
        {
            "source": "Ünï code/a.png",
            "status": "done",
            "bytes": source.stat().st_size,
            "sha256": sha256(source),
            "target": "Ünï code/a.png",
            "target_bytes": target.stat().st_size,
            "target_sha256": sha256(target),
        }
    ]
    assert np.array_equal(pixels(target), diffused(small))
    assert files_in(job.target) == {"Ünï code/a.png"}


def test_records_come_in_order_and_a_bad_file_stops_nothing(job, small):
    names = [f"{i}.png" for i in range(7)]
    for name in names:
        small.save(job.source / name)
    (job.source / "3.png").write_bytes(b"no image")
    (job.source / "5.png").unlink()
    records = job.do(*names)
    assert [record["source"] for record in records] == names
    assert {r["source"]: r["reason"] for r in records if r["status"] == "failed"} == {
        "3.png": "not an image, or one that is damaged at its beginning",
        "5.png": "No such file or directory",
    }
    assert records[3]["sha256"] == hashlib.sha256(b"no image").hexdigest()
    assert not {"bytes", "sha256"} & set(records[5])
    assert files_in(job.target) == {name for name in names if name[0] not in "35"}


def test_each_record_is_there_when_its_file_is(job, small):
    for name in ("a.png", "b.png"):
        small.save(job.source / name)
    for record in work.do(job.items("a.png", "b.png"), DIFFUSION, str(job.target / ".tmp")):
        assert (job.target / record["target"]).stat().st_size == record["target_bytes"]
        assert files_in(job.target) == {"a.png", "b.png"} if record["source"] == "b.png" else {"a.png"}


def test_what_is_wrong_with_a_file_is_its_reason(job, small, monkeypatch):
    photo = (SCIKIT_IMAGES / "rocket.jpg").read_bytes()
    (job.source / "cut.jpg").write_bytes(photo[:20_000])
    (job.source / "empty.jpg").touch()
    (job.source / "text.jpg").write_text("a text")
    (job.source / "folder.jpg").mkdir()
    os.mkfifo(job.source / "pipe.jpg")
    os.symlink("nowhere", job.source / "dangling.jpg")
    small.save(job.source / "frames.webp", save_all=True, append_images=[small.rotate(90)])
    small.convert("CMYK").save(job.source / "four.jpg")
    assert job.reason("cut.jpg").startswith("image file is truncated")
    assert job.reason("empty.jpg") == "an empty file"
    assert job.reason("text.jpg") == "not an image, or one that is damaged at its beginning"
    assert job.reason("folder.jpg") == "a folder"
    assert job.reason("pipe.jpg") == "not a regular file"
    assert job.reason("dangling.jpg") == "No such file or directory"
    assert job.reason("frames.webp") == "2 frames; only files of one frame can be written back whole"
    cartoon = Settings("cartoon")
    assert job.reason("four.jpg", settings=cartoon) == "cartoon takes gray and RGB images, got CMYK"
    small_only = Settings("median", max_pixels=100)
    too_many = "77 x 53 pixels, more than the limit of 100 (--max-pixels)"
    small.save(job.source / "large.png")
    assert job.reason("large.png", settings=small_only) == too_many
    assert job.do("large.png", settings=Settings("median", max_pixels=None))[0]["status"] == "done"
    opened = os.open

    def closed(path, *arguments):  # root may read everything
        if path.endswith("large.png"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return opened(path, *arguments)

    monkeypatch.setattr(os, "open", closed)
    assert job.reason("large.png") == "Permission denied"


def test_the_content_counts_and_is_remarked_on(job, small):
    small.save(job.source / "a.jpg", format="PNG")
    (record,) = job.do("a.jpg")
    assert (record["status"], record["note"]) == ("done", "a PNG under the name of a JPEG")
    with Image.open(job.target / "a.jpg") as image:
        assert image.format == "JPEG"
    small.convert("RGBA").save(job.source / "b.jpg", format="PNG")
    assert job.reason("b.jpg") == ".jpg cannot hold an image of mode RGBA"


def test_format_quality_and_metadata_reach_the_file(job, small):
    exif = Image.Exif()
    exif[0x0112] = 6
    small.save(job.source / "a.png", exif=exif)
    temporary = str(job.target / ".tmp")

    def result(name: str, **changes) -> Image.Image:
        settings = Settings("median", {}, **changes)
        (record,) = work.do(job.items("a.png", **{"a.png": name}), settings, temporary)
        assert record["target"] == name
        with Image.open(job.target / name) as image:
            image.load()
        return image

    fine, coarse = result("fine.jpg"), result("coarse.jpg", quality=10)
    assert (fine.format, fine.size, fine.getexif()[0x0112]) == ("JPEG", small.size, 6)
    assert fine.quantization != coarse.quantization
    dropped = result("dropped.png", metadata="drop")
    assert (dropped.size, dict(dropped.getexif())) == (small.size[::-1], {})


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


class TestTogether:
    """As on a GPU: several images are decoded, then filtered in one call for each mode and size."""

    @pytest.fixture(autouse=True)
    def calls(self, monkeypatch) -> list[tuple]:
        calls, apply_to_all = [], filters.apply_to_all

        def counted(function, images, device):
            calls.append((images[0].mode, images[0].size, len(images)))
            return apply_to_all(function, images, device)

        monkeypatch.setattr(filters, "apply_to_all", counted)
        monkeypatch.setattr(stages, "images_together", lambda settings: 8)
        return calls

    @pytest.fixture
    def names(self, job, small) -> list[str]:
        """Twelve images of two sizes and two modes, and two files that are none."""
        names = [f"{i:02}.png" for i in range(14)]
        for i, name in enumerate(names):
            image = small.rotate(i)
            image = image.crop((0, 0, 30, 20)) if i % 3 == 0 else image
            (image.convert("L") if i % 4 == 0 else image).save(job.source / name)
        (job.source / "05.png").write_bytes(b"no image")
        (job.source / "08.png").unlink()
        return names

    def test_one_call_for_each_mode_and_size(self, job, names, calls):
        records = job.do(*names)
        assert [record["source"] for record in records] == names
        assert [r["source"] for r in records if r["status"] == "failed"] == ["05.png", "08.png"]
        for name in set(names) - {"05.png", "08.png"}:
            assert np.array_equal(pixels(job.target / name), diffused(Image.open(job.source / name)))
        # Of the first eight, 0 to 7, and the rest.
        first = [("L", (30, 20), 1), ("RGB", (77, 53), 3), ("RGB", (30, 20), 2), ("L", (77, 53), 1)]
        rest = [("RGB", (30, 20), 1), ("RGB", (77, 53), 3), ("L", (30, 20), 1)]
        assert calls == first + rest

    def test_the_files_are_those_of_one_at_a_time(self, job, names, monkeypatch):
        together = job.do(*names)
        for name in files_in(job.target):
            (job.target / name).unlink()
        monkeypatch.setattr(stages, "images_together", lambda settings: 1)
        assert job.do(*names) == together

    def test_large_images_do_not_pile_up(self, job, names, calls, monkeypatch):
        monkeypatch.setattr(stages, "_MOST_PIXELS", 5000)
        job.do(*names)
        assert max(width * height * count for _, (width, height), count in calls) == 2 * 77 * 53  # the first above 5000

    def test_where_memory_does_not_do_for_all_it_may_do_for_each(self, job, names, calls, monkeypatch):
        apply_to_all, too_much = filters.apply_to_all, pixels(job.source / "02.png")

        def short(function, images, device):
            result = apply_to_all(function, images, device)
            if len(images) > 1 or np.array_equal(np.asarray(images[0]), too_much):
                raise torch.OutOfMemoryError("out of memory")
            return result

        monkeypatch.setattr(filters, "apply_to_all", short)
        records = job.do("01.png", "02.png", "07.png")
        assert [record.get("reason") for record in records] == [None, "out of memory", None]
        assert [count for *_, count in calls] == [3, 1, 1, 1]

    def test_a_gpu_that_has_failed_stops_the_job(self, job, names, monkeypatch):
        def broken(*arguments):
            raise torch.AcceleratorError("an illegal memory access\nwas encountered")

        monkeypatch.setattr(filters, "apply_to_all", broken)
        with pytest.raises(Stop, match=r"^an illegal memory access\nwas encountered|^an illegal memory access was"):
            job.do(*names)


class TestOnAGpu:
    pytestmark = MARKS

    def test_files_are_filtered_together(self, job, small, monkeypatch):
        names = [f"{i}.png" for i in range(40)]
        for i, name in enumerate(names):
            (small.rotate(i) if i % 2 else small.rotate(i).crop((0, 0, 40, 30))).save(job.source / name)
        calls, apply_to_all = [], filters.apply_to_all
        monkeypatch.setattr(filters, "apply_to_all", lambda *a: (calls.append(len(a[1])), apply_to_all(*a))[1])
        records = job.do(*names, settings=Settings("anisotropic-diffusion", {"niter": 5}, device="cuda"))
        assert all(record["status"] == "done" for record in records)
        assert calls == [16, 16, 4, 4]
        for name in names:
            apart = pixels(job.target / name).astype(int) - diffused(Image.open(job.source / name))
            assert np.abs(apart).max() <= 1


def test_settings_can_be_sent_and_choose_the_filter_once(monkeypatch):
    assert pickle.loads(pickle.dumps(DIFFUSION)) == DIFFUSION
    chosen, choose = [], filters.choose
    monkeypatch.setattr(filters, "choose", lambda *arguments: (chosen.append(arguments), choose(*arguments))[1])
    first = Settings("median", {"ksize": 3}, quality=77)
    assert stages._function(first) is stages._function(pickle.loads(pickle.dumps(first)))
    assert stages._function(first) is not stages._function(Settings("median", {"ksize": 5}, quality=77))
    assert chosen == [("median", {"ksize": 3}, None, "cpu"), ("median", {"ksize": 5}, None, "cpu")]


def test_no_items(job):
    assert job.do() == []

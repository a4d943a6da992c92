"""What a worker makes of the files it is handed, and what it says of them."""

import errno
import hashlib
import os
import pickle

import numpy as np
from PIL import Image

from cli_helpers import SCIKIT_IMAGES, files_in, pixels
from texfilters.cli import filters, stages, work
from texfilters.cli.work import Settings
from work_cases import DIFFUSION, diffused, sha256


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

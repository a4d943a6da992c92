"""WebDataset shards: what is filtered, what is copied and what is left out."""

import io
import os
import tarfile
import threading
import tracemalloc

import numpy as np
import pytest

from cli_helpers import files_in
from tar_cases import contents, filtered, member, png, write
from texfilters.cli import stages, tar_shards, work
from texfilters.cli.image_files import decode
from texfilters.cli.work import Settings


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("together", [1, 4])
def test_images_are_filtered_and_the_rest_is_copied(shard, samples, small, monkeypatch, threads, together):
    monkeypatch.setattr(stages, "images_together", lambda settings: together)
    write(shard.source, samples)
    record = shard.do(threads=threads)
    assert (record["status"], record["target"], record["images"], record["left_out"]) == ("done", "b.tar", 9, {})
    after = contents(shard.target)
    assert [name for name, _ in after] == [name for name, _ in samples]
    for (name, before), (_, content) in zip(samples, after, strict=True):
        if name.endswith(".png"):
            assert np.array_equal(np.asarray(decode(content).image), filtered(decode(before).image))
        else:
            assert content == before
    assert shard.target.stat().st_size == record["target_bytes"]
    assert shard.target.stat().st_size % tarfile.RECORDSIZE == 0


def test_the_bytes_are_the_same_whatever_the_threads(shard, samples, monkeypatch, tmp_path):
    (bad := list(samples))[12] = ("train/004.png", b"no image")
    write(shard.source, bad)
    records = []
    for threads, together in ((1, 1), (4, 1), (1, 8), (2, 3)):
        monkeypatch.setattr(stages, "images_together", lambda settings, together=together: together)
        records.append(shard.do(Settings("median", {"ksize": 3}, overwrite=True), threads))
    assert all(record == records[0] for record in records)
    assert records[0]["images"] == 8
    with open(shard.target, "rb") as file:
        assert tar_shards.sha256(file.fileno()) == records[0]["target_sha256"]


@pytest.mark.parametrize("at", [0, 4, 8])
@pytest.mark.parametrize("position", ["first", "last"])
def test_a_bad_image_leaves_its_sample_out(shard, samples, at, position):
    bad = {**dict(samples), f"train/{at:03}.png": b"no image"}
    members = list(bad.items())
    if position == "last":  # after the other members, which have been written by then
        members = [m for i in range(0, 27, 3) for m in (members[i + 1], members[i + 2], members[i])]
    write(shard.source, members)
    record = shard.do()
    assert record["status"] == "done"
    assert record["images"] == 8
    assert record["left_out"] == {f"train/{at:03}.png": "not an image, or one that is damaged at its beginning"}
    kept = [name for name, _ in members if not name.startswith(f"train/{at:03}.")]
    assert [name for name, _ in contents(shard.target)] == kept
    # As if the sample had never been there.
    there = shard.target.read_bytes()
    write(shard.source, [(name, content) for name, content in members if name in kept])
    shard.do(Settings("median", {"ksize": 3}, overwrite=True))
    assert shard.target.read_bytes() == there


def test_every_bad_image_of_a_sample_is_named(shard, small):
    good, cut = png(small), png(small)[:200]
    write(
        shard.source,
        [
            ("a.left.png", good),
            ("a.right.png", cut),
            ("a.top.png", b""),
            ("a.cls", b"1"),
            ("b.png", good),
            ("b.cls", b"2"),
        ],
    )
    record = shard.do()
    assert record["images"] == 1
    assert list(record["left_out"]) == ["a.right.png", "a.top.png"]
    assert record["left_out"]["a.top.png"] == "an empty file"
    assert [name for name, _ in contents(shard.target)] == ["b.png", "b.cls"]


def test_what_belongs_to_a_sample(shard, small):
    """The name up to the first dot after the last slash, in members that follow each other."""
    good, bad = png(small), b"no image"
    members = [
        *(("x/1.png", bad), ("x/1.seg.png", good), ("y/1.png", good), ("v1.0/1.png", bad), ("v1.0/2.png", good)),
        *(("readme", b"r"), (".hidden.png", bad), (".hidden.txt", b"h"), ("x/1.txt", b"apart")),
    ]
    write(shard.source, members)
    record = shard.do()
    assert list(record["left_out"]) == ["x/1.png", "v1.0/1.png", ".hidden.png"]
    assert [name for name, _ in contents(shard.target)] == ["y/1.png", "v1.0/2.png", "readme", ".hidden.txt", "x/1.txt"]


def test_headers_are_kept(shard, small):
    with tarfile.open(shard.source, "w", format=tarfile.PAX_FORMAT, pax_headers={"comment": "of all"}) as tar:
        folder = member("data", type=tarfile.DIRTYPE, mode=0o750, mtime=1.5e9)
        tar.addfile(folder)
        details = {"mode": 0o640, "mtime": 1600000000.25, "uid": 1234, "gid": 7, "uname": "someone", "gname": "all"}
        image = member("data/a.png", len(png(small)), **details, pax_headers={"SCHILY.xattr.user.note": "kept"})
        tar.addfile(image, io.BytesIO(png(small)))
    shard.do(Settings("gaussian"))
    with tarfile.open(shard.source) as before, tarfile.open(shard.target) as after:
        for old, new in zip(before, after, strict=True):
            assert {**new.get_info(), "size": 0, "chksum": 0} == {**old.get_info(), "size": 0, "chksum": 0}
            assert new.pax_headers == old.pax_headers
        assert new.pax_headers["SCHILY.xattr.user.note"] == "kept"
        assert new.size != old.size
        assert decode(after.extractfile(new).read()).image.size == small.size


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_names_and_formats(shard, small, form):
    names = ["ascii.png", "d" * 90 + "/" + "n" * 90 + ".png", "sp ace/ü.png"]
    if form != tarfile.USTAR_FORMAT:
        names += ["long" * 60 + ".png", "lang-ä" * 40 + "/bild.png", os.fsdecode(b"no text \xff.png"), "e" * 250]
    write(shard.source, [(name, png(small)) for name in names], form, errors="surrogateescape", encoding="utf-8")
    record = shard.do()
    assert record["images"] == len(names) - (form != tarfile.USTAR_FORMAT)
    with tarfile.open(shard.target, errors="surrogateescape", encoding="utf-8") as tar:
        assert tar.getnames() == names
        assert all(tar.extractfile(info).read() for info in tar)


def test_a_size_in_an_extended_header_is_not_believed_twice(shard, small):
    """Some writers state the size there whether it is needed or not."""
    content = png(small)
    image = member("a.png", pax_headers={"size": str(len(content)), "path": "a.png"})
    write(shard.source, [(image, content), ("b.cls", b"1")])
    assert shard.do(Settings("median", format=".jpg"))["images"] == 1
    (image, changed), label = contents(shard.target)
    assert (image, label) == ("a.jpg", ("b.cls", b"1"))
    assert decode(changed).format == "JPEG"


def test_another_format(shard, small):
    members = [
        ("a.jpg", png(small)),
        ("a.cls", b"1"),
        ("b.tif", png(small)),
        ("b.png", png(small)),
        ("c.PNG", png(small)),
    ]
    write(shard.source, members)
    record = shard.do(Settings("median", {"ksize": 3}, format=".png"))
    assert record["left_out"] == {"b.png": "b.tif of its sample becomes b.png, too"}
    after = contents(shard.target)
    assert [name for name, _ in after] == ["a.png", "a.cls", "c.png"]
    assert np.array_equal(np.asarray(decode(after[0][1]).image), filtered(small))


def test_two_members_of_one_name_stay_two(shard, small):
    write(shard.source, [("a.png", png(small)), ("a.png", png(small.rotate(90))), ("a.cls", b"1"), ("a.cls", b"2")])
    assert shard.do()["images"] == 2
    after = contents(shard.target)
    assert [name for name, _ in after] == ["a.png", "a.png", "a.cls", "a.cls"]
    assert np.array_equal(np.asarray(decode(after[1][1]).image), filtered(small.rotate(90)))


def test_a_shard_without_samples(shard):
    write(shard.source, [])
    assert shard.do()["images"] == 0
    assert contents(shard.target) == []
    assert shard.target.read_bytes() == bytes(tarfile.RECORDSIZE)


def test_existing_shards(shard, samples):
    write(shard.source, samples)
    shard.target.write_bytes(b"precious")
    exists = "exists; --overwrite replaces it"
    first = shard.do()
    assert (first["status"], first["reason"]) == ("failed", exists)
    assert shard.do(resuming=True) == first
    assert shard.target.read_bytes() == b"precious"
    shard.target.unlink()
    done = shard.do()
    inode = shard.target.stat().st_ino
    assert shard.do(resuming=True) == done
    assert shard.target.stat().st_ino == inode
    assert shard.do(Settings("median", {"ksize": 3}, overwrite=True)) == done
    shard.target.unlink()
    os.link(shard.source, shard.target)
    assert shard.do(Settings("median", overwrite=True))["reason"] == "the output would overwrite its input"


def test_memory_does_not_grow_with_the_shard(shard, small):
    """A large member is copied in pieces, and neither images nor headers pile up."""
    content, large = png(small), 16 << 20
    write(shard.source, [("0.png", content)])
    assert shard.do(threads=2)["images"] == 1  # what is made once
    with tarfile.open(shard.source, "w") as tar, open("/dev/zero", "rb") as zeros:
        for i in range(200):
            tar.addfile(member(f"{i}.png", len(content)), io.BytesIO(content))
        for i in range(4000):
            tar.addfile(member(f"{i}.cls"))
        tar.addfile(member("large.mp4", large), zeros)
    tracemalloc.start()
    record = shard.do(Settings("median", {"ksize": 3}, overwrite=True), threads=2)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert (record["status"], record["images"]) == ("done", 200)
    assert record["target_bytes"] > large
    assert most < 5 << 18  # four pieces, and some; all headers would be another four


def test_threads_work_side_by_side_and_not_far_ahead(shard, small, monkeypatch):
    write(shard.source, [(f"{i:02}.png", png(small.crop((0, 0, 8, 8)))) for i in range(40)])
    together, change = threading.Barrier(3, timeout=20), stages.change
    begun, written, ahead = [], [], []

    def counted(contents, settings):
        begun.append(1)
        if len(begun) <= 3:
            together.wait()  # fails unless three are at work at once
        ahead.append(len(begun) - len(written))
        return change(contents, settings)

    add = tar_shards._Writer.add
    monkeypatch.setattr(stages, "change", counted)
    monkeypatch.setattr(tar_shards._Writer, "add", lambda *a: (written.append(1), add(*a))[1])
    assert shard.do(threads=3)["images"] == 40
    assert max(ahead) <= 2 * 3 + 1


def test_a_full_disk_stops_the_job(shard, samples, monkeypatch, tmp_path):
    write(shard.source, samples)
    os_write, written = os.write, []

    def full(descriptor, data):
        written.append(len(data))
        if len(written) > 5:
            raise OSError(28, os.strerror(28))
        return os_write(descriptor, data)

    monkeypatch.setattr(os, "write", full)
    for threads in (1, 3):
        with pytest.raises(work.Stop):
            shard.do(threads=threads)
        written.clear()
    assert files_in(tmp_path) == {"a.tar"}

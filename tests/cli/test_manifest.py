"""The manifest: what is written, what is found again, and which ones are refused."""

import errno
import json
import os

import numpy as np
import pytest

import texfilters
from texfilters.cli import manifest as manifests
from texfilters.cli import work
from texfilters.cli.listing import Shard
from texfilters.cli.manifest import Manifest, settings_of
from texfilters.cli.messages import Refused

SETTINGS = settings_of(work.Settings("median", {"ksize": 5}, "native"))
NAME = "texfilters-manifest.jsonl"


def record(name: str, status: str = "done", **facts) -> dict:
    return {"source": name, "status": status, **facts}


@pytest.fixture
def open_manifest(tmp_path):
    opened = []

    def open_manifest(shard=Shard(), settings=SETTINGS, overwrite=False) -> Manifest:  # noqa: B008
        opened.append(Manifest(str(tmp_path), shard, settings, overwrite=overwrite))
        return opened[-1]

    yield open_manifest
    for manifest in opened:
        manifest.close()


def lines(path) -> list[dict]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_settings_are_all_that_decides_on_the_results():
    settings = work.Settings("median", {"ksize": 5}, "native", "cuda:1", ".png", 90, "drop", 1000, True)
    assert settings_of(settings) == {
        "filter": "median",
        "parameters": {"ksize": 5},
        "backend": "native",
        "device": "cuda",
        "format": ".png",
        "quality": 90,
        "metadata": "drop",
    }


def test_a_header_and_a_line_for_each_record(tmp_path, open_manifest):
    manifest = open_manifest()
    assert not manifest.resuming
    records = [record("a/b.png"), record("ü\n\udcff.png", "failed", reason="é")]
    for each in records:
        manifest.append(each)
    header = {"manifest": 1, "texfilters": texfilters.__version__, "settings": SETTINGS}
    assert lines(tmp_path / NAME) == [header, *records]
    text = (tmp_path / NAME).read_text("ascii")  # whatever the names
    assert text.splitlines()[1] == '{"source": "a/b.png", "status": "done"}'


def test_records_are_found_again_the_latest_first(open_manifest):
    first = open_manifest()
    names = [*map(str, range(500)), "ü\n\udcff", "x" * 5000]
    for name in names:
        first.append(record(name, "failed", reason="first"))
    for name in names[::7]:
        first.append(record(name))
    again = open_manifest()
    assert again.resuming
    for i, name in enumerate(names):
        expected = [record(name, "failed", reason="first")]
        assert again.find(name) == ([record(name), *expected] if i % 7 == 0 else expected)
    assert again.find("unknown") == []


def test_names_with_one_hash_are_told_apart(open_manifest, monkeypatch):
    monkeypatch.setattr(manifests, "_key", lambda source: 2**64 - 1)
    first = open_manifest()
    for name in ("a", "b", "a"):
        first.append(record(name))
    again = open_manifest()
    assert again.find("a") == [record("a")] * 2
    assert again.find("b") == [record("b")]
    assert again.find("c") == []


def test_the_index_takes_16_bytes_a_record(tmp_path, open_manifest):
    manifest = open_manifest()
    for i in range(1000):
        manifest.append(record(str(i)))
    again = open_manifest()
    assert again._keys.dtype == again._places.dtype == np.uint64
    assert again._keys.nbytes + again._places.nbytes == 16_000


@pytest.mark.parametrize("torn", [b"{", b'{"source": "b", "status": "done"}', b"\0" * 100_000])
def test_a_torn_line_is_cut_off(tmp_path, open_manifest, torn):
    open_manifest().append(record("a"))
    whole = (tmp_path / NAME).read_bytes()
    (tmp_path / NAME).write_bytes(whole + torn)
    again = open_manifest()
    assert (tmp_path / NAME).read_bytes() == whole
    assert again.find("b") == []
    again.append(record("b"))
    assert [each["source"] for each in lines(tmp_path / NAME)[1:]] == ["a", "b"]


def test_a_torn_header_is_none(tmp_path, open_manifest):
    (tmp_path / NAME).write_bytes(b'{"manif')
    assert not open_manifest().resuming
    assert len(lines(tmp_path / NAME)) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("garbage\n", "is no manifest of texfilters; move it away"),
        ("[1]\n", "is no manifest of texfilters; move it away"),
        ("[" * 100_000 + "\n", "is no manifest of texfilters; move it away"),
        ('{"manifest": 1}\n', "is no manifest of texfilters; move it away"),
        ('{"manifest": 1, "settings": 3}\n', "is no manifest of texfilters; move it away"),
        ('{"manifest": 2, "more": []}\n', "is of version 2, which this texfilters cannot read"),
        (json.dumps({"manifest": 1, "settings": SETTINGS}) + "\ngarbage\n", "is damaged; remove the line"),
        (
            json.dumps({"manifest": 1, "settings": SETTINGS}) + "\n" + "[" * 100_000 + "\n",
            "is damaged; remove the line",
        ),
        (json.dumps({"manifest": 1, "settings": SETTINGS}) + '\n{"source": "a"}\n', "is damaged; remove the line"),
        (json.dumps({"manifest": 1, "settings": SETTINGS}) + '\n{"source": 1, "status": 2}\n', "is damaged; remove"),
    ],
)
@pytest.mark.parametrize("name", [NAME, "texfilters-manifest-2-of-3.jsonl"])
def test_what_is_no_manifest_is_refused_and_left_alone(tmp_path, open_manifest, name, text, message):
    (tmp_path / name).write_text(text)
    for overwrite in (False, True):
        with pytest.raises(Refused, match=message) as refused:
            open_manifest(overwrite=overwrite)
        assert name in str(refused.value)
    assert (tmp_path / name).read_text() == text


def test_other_settings_are_named(open_manifest):
    open_manifest()
    for changed, message in (
        ({"parameters": {"ksize": 3}, "quality": 90}, "ksize was 5, now 3, quality was 95, now 90; --overwrite starts"),
        ({"format": ".png"}, "format was none, now .png; "),
        ({"filter": "gaussian", "parameters": {"sigma": 2.0}}, "filter was median, now gaussian; --overwrite"),
        ({"filter": "gaussian", "quality": 90}, "filter was median, now gaussian; --overwrite"),
        ({"device": "cuda", "backend": "triton"}, "backend was native, now triton, device was cpu, now cuda; "),
    ):
        for shard in (Shard(), Shard(1, 2)):
            with pytest.raises(Refused, match=f": {message}"):
                open_manifest(shard, {**SETTINGS, **changed})


def test_overwriting_starts_anew_with_other_settings_only(tmp_path, open_manifest):
    open_manifest().append(record("a"))
    assert open_manifest(overwrite=True).find("a") == [record("a")]
    other = {**SETTINGS, "quality": 90}
    manifest = open_manifest(settings=other, overwrite=True)
    assert manifest.find("a") == []
    assert not manifest.resuming
    assert [each["settings"] for each in lines(tmp_path / NAME)] == [other]


def test_shards_are_read_together(tmp_path, open_manifest):
    for i in (1, 2, 3):
        open_manifest(Shard(i, 3)).append(record(f"of {i}"))
    single = open_manifest()
    assert single.resuming
    assert all(single.find(f"of {i}") == [record(f"of {i}")] for i in (1, 2, 3))
    assert open_manifest(Shard(2, 3)).find("of 3") == [record("of 3")]
    assert len(lines(tmp_path / NAME)) == 1


def test_overwriting_sets_other_divisions_aside(tmp_path, open_manifest):
    """A later run without --overwrite must not meet their settings; shards of one division begin anew by themselves."""
    for shard in (Shard(), Shard(1, 3), Shard(2, 3), Shard(1, 2)):
        open_manifest(shard)
    other = {**SETTINGS, "quality": 90}
    open_manifest(Shard(1, 3), other, overwrite=True)
    names = {f"texfilters-manifest-{i}-of-3.jsonl" for i in (1, 2)}
    assert {path.name for path in tmp_path.iterdir()} == names
    open_manifest(Shard(2, 3), other, overwrite=True)
    assert open_manifest(settings=other).resuming


def test_a_full_disk_stops_the_job_and_tears_no_line(tmp_path, open_manifest, monkeypatch):
    manifest = open_manifest()
    manifest.append(record("a"))
    whole = (tmp_path / NAME).read_bytes()
    write = os.write

    def half(descriptor, data):
        if len(data) < 20:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data[:-10])

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(work.Stop, match="No space left on device"):
        manifest.append(record("b"))
    assert (tmp_path / NAME).read_bytes() == whole

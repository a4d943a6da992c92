"""Names of every kind, links, and targets that come in the way of their sources."""

import json
import os
import shutil

import pytest

from cli_helpers import files_in
from job_corpus import photos
from job_helpers import Job, assert_does_nothing, assert_true_records, contents, records, touched

NAMES = [
    "plain.png",
    "with spaces .png",
    " .png",
    "Ünïcødé 画像 🐈.png",
    "new\nline.png",
    "tab\tand\x1b[31mred.png",
    "quote\"s and 'more'.png",
    "[bold]marked up[/bold].png",
    "back\\slash.png",
    "-n.png",
    "--kappa.png",
    "%s {0} $HOME ~.png",
    os.fsdecode(b"no text \xff\xfe.png"),
    "e\u0301.png",
    "\u00e9.png",
    "x" * 251 + ".png",
]


def test_names_of_every_kind(tmp_path, call, small):
    source, target = tmp_path / "source", tmp_path / "target"
    folders = [".", "new\nline", os.fsdecode(b"\x80folder"), "spaces and ünïcode", "-folder"]
    names = {os.path.normpath(os.path.join(folder, name)) for folder in folders for name in NAMES}
    for name in names:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        small.crop((0, 0, 16, 9)).save(source / name, "PNG")
    for folder in folders:
        (source / folder / "bad\nname \udcff.png").write_text("no image")
    bad = {os.path.normpath(os.path.join(folder, "bad\nname \udcff.png")) for folder in folders}
    outcome = call("suppress", source, target)
    assert outcome.code == 1
    assert len(outcome.err.splitlines()) == len(bad)  # one line each, whatever is in the names
    assert "\x1b" not in outcome.err
    assert contents(target).keys() == names
    assert records(target).keys() == names | bad
    assert_true_records(source, target)
    for name in bad:
        (source / name).unlink()
    assert_does_nothing(call, source, target)


def test_source_and_target_of_any_name(tmp_path, small):
    """As a process, whose arguments and streams are bytes, where nothing but ASCII can be shown."""
    name = "a b\nü画" + os.fsdecode(b"\xff\xfe")
    source, target, report = (tmp_path / f"{what} {name}" for what in ("source", "target", "report"))
    source.mkdir()
    small.save(source / "a.png")
    (source / "b.png").write_text("no image")
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    with Job(source, target, "--report", report, fresh=True, environment=environment) as job:
        outcome = job.finish()
    assert outcome.code == 1
    assert outcome.err.count("\n") == 1
    assert outcome.err.isascii()
    assert contents(target).keys() == {"a.png"}
    assert json.loads(report.read_text())["done"] == 1


def test_links_to_folders_and_loops(tmp_path, call, small):
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "a" / "b").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    small.save(source / "a" / "b" / "1.png")
    small.save(tmp_path / "elsewhere" / "2.png")
    (source / "a" / "b" / "up").symlink_to(source)
    (source / "a" / "b" / "self").symlink_to("self")
    (source / "round.png").symlink_to("about.png")
    (source / "about.png").symlink_to("round.png")
    (source / "linked").symlink_to(tmp_path / "elsewhere")
    (source / "again").symlink_to(tmp_path / "elsewhere")
    outcome = call("suppress", source, target)
    assert outcome.code == 1
    told = sorted(line.partition(": ")[0] for line in outcome.err.splitlines())
    assert told == [f"{source}/about.png", f"{source}/round.png"]
    assert contents(target).keys() == {"a/b/1.png", "linked/2.png", "again/2.png"}


@pytest.mark.parametrize("inside", ["target", "class 0/target", "class 0/deep/er"])
def test_a_target_inside_the_source(tmp_path, call, inside):
    source = tmp_path / "source"
    photos(source, 9, size=(20, 20))
    expected = files_in(source)
    assert call("suppress", source, source / inside).code == 0
    assert contents(source / inside).keys() == expected
    assert_does_nothing(call, source, source / inside)
    # And by another way to it.
    (tmp_path / "link").symlink_to(source)
    assert_does_nothing(call, tmp_path / "link", source / inside)


def test_a_source_inside_the_target(tmp_path, call):
    source = tmp_path / "target" / "source"
    photos(source, 6, size=(20, 20))
    before = touched(source)
    assert call("suppress", source, tmp_path / "target").code == 0
    assert touched(source) == before
    assert contents(tmp_path / "target").keys() == {f"source/{name}" for name in before} | before.keys()
    assert_does_nothing(call, source, tmp_path / "target")


def test_two_sources_with_one_target(tmp_path, call, small):
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "a").mkdir(parents=True)
    for name in ("1.png", "2.png", "a/1.jpg", "a/1.png"):
        small.save(source / name)
    outcome = call("suppress", source, target, "--format", "png")
    assert outcome.code == 2
    assert outcome.err.count("\n") == 1
    assert "a/1.jpg" in outcome.err
    assert "a/1.png" in outcome.err
    assert not target.exists() or not files_in(target)
    # Their own formats keep them apart, and so does a third one from a shard's view.
    assert call("suppress", source, target, "--format", "png", "--shard", "1/2").code == 2
    assert call("suppress", source, target).code == 0
    assert len(contents(target)) == 4
    (source / "a" / "1.jpg").unlink()
    assert call("suppress", source, tmp_path / "webp", "--format", "webp").code == 0
    assert contents(tmp_path / "webp").keys() == {"1.webp", "2.webp", "a/1.webp"}


def test_a_folder_and_a_file_with_one_target(tmp_path, call, small):
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "1.png").mkdir(parents=True)
    small.save(source / "1.jpg")
    small.save(source / "1.png" / "2.jpg")
    outcome = call("suppress", source, target, "--format", "png")
    assert outcome.code in (1, 2)
    assert outcome.err.count("\n") == 1
    assert not any(name.startswith(".texfilters") for name in files_in(tmp_path))


def test_the_target_is_a_source_by_a_link(tmp_path, call, small):
    source, target = tmp_path / "source", tmp_path / "target"
    (tmp_path / "photos").mkdir()
    small.save(tmp_path / "photos" / "1.png")
    source.mkdir()
    target.mkdir()
    (source / "x").symlink_to(tmp_path / "photos")
    (target / "x").symlink_to(tmp_path / "photos")
    before = touched(tmp_path / "photos")
    outcome = call("suppress", source, target, "--overwrite")
    assert outcome.code != 0
    assert "overwrite" in outcome.err
    assert touched(tmp_path / "photos") == before
    shutil.copy(tmp_path / "photos" / "1.png", source / "2.png")
    call("suppress", source, target, "--overwrite")
    assert touched(tmp_path / "photos") == before


def test_files_that_name_manifests_and_temporaries(tmp_path, call, small):
    """In the source they are files like others."""
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    small.save(source / ".texfilters-1-of-1-0.png")
    small.save(source / "texfilters-manifest.png")
    (source / "texfilters-manifest.jsonl").write_text("another job's")
    assert call("suppress", source, target).code == 0
    assert contents(target).keys() == {".texfilters-1-of-1-0.png", "texfilters-manifest.png"}
    # A suppressed folder may be suppressed again.
    assert call("suppress", target, tmp_path / "twice").code == 0
    assert contents(tmp_path / "twice").keys() == contents(target).keys()

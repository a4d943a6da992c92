"""What a folder job does with a target that is not empty: finished, of other parameters, or somebody else's."""

import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from cli_helpers import pixels
from job_corpus import photos
from job_helpers import (
    assert_does_nothing,
    assert_true_records,
    contents,
    headers,
    manifests,
    record_lines,
    records,
    touched,
)


@pytest.fixture
def source(tmp_path):
    photos(tmp_path / "source", 12, size=(40, 31))
    return tmp_path / "source"


@pytest.fixture
def finished(tmp_path, source, call):
    """A target that the default parameters have made."""
    assert call("suppress", source, tmp_path / "target").code == 0
    return tmp_path / "target"


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--kappa", "30"], ["kappa", "20", "30"]),
        (["--niter", "5"], ["niter", "20", "5"]),
        (["--coupling", "l2"], ["coupling", "none", "l2"]),
        (["--quality", "90"], ["quality", "95", "90"]),
        (["--backend", "reference"], ["backend", "native", "reference"]),
        (["--metadata", "drop"], ["metadata", "keep", "drop"]),
        (["--format", "png"], ["format", "png"]),
        (["--filter", "median"], ["filter", "anisotropic-diffusion", "median"]),
        (["--kappa", "30", "--gamma", "0.2"], ["kappa", "30", "gamma", "0.2"]),
        (["--niter", "5", "--shard", "1/2"], ["niter", "20", "5"]),  # whatever manifest it is that tells
    ],
)
def test_other_parameters_are_refused(call, source, finished, flags, words):
    before = touched(finished)
    outcome = call("suppress", source, finished, *flags)
    assert outcome.code == 2
    assert outcome.out == ""
    assert outcome.err.startswith("texfilters: ")
    assert outcome.err.count("\n") == 1
    assert all(word in outcome.err for word in [*words, "--overwrite"])
    assert touched(finished) == before


def test_what_does_not_change_an_image_may_change(call, source, finished, tmp_path):
    for flags in (["--workers", "1"], ["--max-pixels", "5000"], ["--on-error", "stop"], ["--kappa", "20.0"]):
        assert_does_nothing(call, source, finished, *flags)
    os.rename(source, tmp_path / "moved")
    assert_does_nothing(call, tmp_path / "moved", finished)
    os.rename(finished, tmp_path / "moved target")
    assert_does_nothing(call, tmp_path / "moved", tmp_path / "moved target")


def test_overwrite_with_other_parameters_starts_anew(tmp_path, call, source, finished):
    assert call("suppress", source, tmp_path / "fresh", "--kappa", "30").code == 0
    old = contents(finished)
    outcome = call("suppress", source, finished, "--kappa", "30", "--overwrite")
    assert (outcome.code, outcome.err) == (0, "")
    assert contents(finished) == contents(tmp_path / "fresh") != old
    assert record_lines(finished) == record_lines(tmp_path / "fresh")
    assert headers(finished) == headers(tmp_path / "fresh")
    assert_does_nothing(call, source, finished, "--kappa", "30")
    assert call("suppress", source, finished).code == 2  # what it was is over


def test_nothing_foreign_is_overwritten(tmp_path, call, source, small):
    """A target that holds files already, under the names of outputs and others, and no manifest."""
    target = tmp_path / "target"
    (target / "class 0").mkdir(parents=True)
    (target / "class 0" / "0000.png").write_text("mine")
    (target / "class 1").mkdir()
    (target / "class 1" / "0001.png").symlink_to(tmp_path / "elsewhere.png")
    (target / "notes.txt").write_text("mine too")
    (target / ".texfilters-notes").write_text("mine as well")
    outcome = call("suppress", source, target)
    assert outcome.code == 1
    failures = sorted(outcome.err.splitlines())
    assert [line.partition(": ")[0] for line in failures] == [
        str(source / "class 0" / "0000.png"),
        str(source / "class 1" / "0001.png"),
    ]
    assert all("exists" in line and "--overwrite" in line for line in failures)
    assert (target / "class 0" / "0000.png").read_text() == "mine"
    assert not (tmp_path / "elsewhere.png").exists()  # nothing was written through the link
    assert len(contents(target)) == 12 - 2 + 3
    # The same again: nothing more is computed, and it is still told.
    before = touched(target)
    again = call("suppress", source, target)
    assert (again.code, sorted(again.err.splitlines())) == (1, failures)
    assert touched(target) == before
    outcome = call("suppress", source, target, "--overwrite")
    assert (outcome.code, outcome.err) == (0, "")
    assert len(pixels(target / "class 0" / "0000.png")) == 31
    assert not (target / "class 1" / "0001.png").is_symlink()
    assert not (tmp_path / "elsewhere.png").exists()
    assert (target / "notes.txt").read_text() == "mine too"
    assert (target / ".texfilters-notes").read_text() == "mine as well"


def test_a_target_without_its_manifest_is_somebody_elses(call, source, finished):
    manifests(finished)[0].unlink()
    before = touched(finished)
    outcome = call("suppress", source, finished)
    assert outcome.code == 1
    assert outcome.err.count("exists") == 12
    now = touched(finished)
    assert {name: now[name] for name in before} == before


def test_what_has_gone_or_changed_since(call, source, finished):
    whole = contents(finished)
    (finished / "class 0" / "0000.png").unlink()
    shutil.rmtree(finished / "class 1")
    before = touched(finished)
    outcome = call("suppress", source, finished)
    assert (outcome.code, outcome.err) == (0, "")
    assert contents(finished) == whole
    now = touched(finished)
    assert all(now[name] == before[name] for name in before if "manifest" not in name)

    (finished / "class 0" / "0003.png").write_text("edited by hand")
    photos(source, 1, size=(50, 50))  # class 0/0000.png is another photo now
    for _ in range(2):
        outcome = call("suppress", source, finished)
        assert outcome.code == 1
        failures = sorted(outcome.err.splitlines())
        assert [line.partition(": ")[0] for line in failures] == [str(source / f"class 0/000{i}.png") for i in (0, 3)]
        assert all("changed since it was done" in line and "--overwrite" in line for line in failures)
        assert (finished / "class 0" / "0003.png").read_text() == "edited by hand"
        assert pixels(finished / "class 0" / "0000.png").shape == (31, 40, 3)
    before = touched(finished)
    assert call("suppress", source, finished, "--overwrite").code == 0
    assert pixels(finished / "class 0" / "0000.png").shape == (50, 50, 3)
    assert contents(finished)["class 0/0003.png"] == whole["class 0/0003.png"]
    assert_true_records(source, finished)
    assert_does_nothing(call, source, finished)


def test_a_source_of_the_same_size_with_other_pixels(tmp_path, call):
    source, target = tmp_path / "source", tmp_path / "target"
    photos(source, 3, size=(40, 30), suffix=".bmp")
    assert call("suppress", source, target).code == 0
    image = next(source.rglob("*0001.bmp"))
    made_of = contents(target)
    name = str(image.relative_to(source))
    with Image.open(image) as photo:
        turned = photo.rotate(180)
    later = (target / name).stat().st_mtime_ns + 10**9

    os.utime(image, ns=(later, later))  # touched, but what it was
    assert_does_nothing(call, source, target)

    first = image.read_bytes()
    turned.save(image)
    os.utime(image, ns=(later, later))
    outcome = call("suppress", source, target)
    assert (outcome.code, outcome.err) == (1, f"{image}: changed since it was done; --overwrite does it again\n")
    assert contents(target) == made_of
    assert call("suppress", source, target, "--overwrite").code == 0
    assert {key for key, value in contents(target).items() if value != made_of[key]} == {name}
    assert_true_records(source, target)
    assert_does_nothing(call, source, target)

    image.write_bytes(first)  # of which there is a record, but no longer a result
    os.utime(image, ns=(later, later))
    assert call("suppress", source, target).code == 1


def test_new_files_of_the_source_are_added(call, source, finished):
    before = touched(finished)
    photos(source, 15, size=(40, 31))  # three more, and the first twelve are others of the same size
    for i in range(12):
        (source / f"class {i % 3}" / f"{i:04}.png").unlink()
    outcome = call("suppress", source, finished)
    assert (outcome.code, outcome.err) == (0, "")
    now = touched(finished)
    assert len(contents(finished)) == 15
    assert all(now[name] == before[name] for name in before if "manifest" not in name)


def test_failures_are_tried_again_and_recorded_once(call, source, finished):
    good = (source / "class 0" / "0000.png").read_bytes()
    (source / "class 0" / "new.png").write_bytes(good[:200])
    codes = [call("suppress", source, finished).code for _ in range(3)]
    assert codes == [1, 1, 1]
    assert len(record_lines(finished)) == 13
    assert records(finished)["class 0/new.png"]["status"] == "failed"
    (source / "class 0" / "new.png").write_bytes(good)
    assert call("suppress", source, finished).code == 0
    assert records(finished)["class 0/new.png"]["status"] == "done"
    assert_does_nothing(call, source, finished)


def test_a_line_that_a_kill_has_torn(call, source, finished):
    (manifest,) = manifests(finished)
    whole, outputs = manifest.read_bytes(), contents(finished)
    for cut in (1, 40, len(whole.splitlines()[-1]) + 1 + 7):
        manifest.write_bytes(whole[:-cut])
        outcome = call("suppress", source, finished)
        assert (outcome.code, outcome.err) == (0, "")
        assert sorted(manifest.read_bytes().splitlines()) == sorted(whole.splitlines())
        assert contents(finished) == outputs
    manifest.write_bytes(whole.splitlines()[0][:20])  # killed with its first line
    assert call("suppress", source, finished).code in (0, 1)
    assert contents(finished) == outputs


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not a manifest\n",
        "[]\n",
        '{"manifest": 2, "settings": {}, "texfilters": "9"}\n',
        '{"manifest": 1}\n',
        "\xff\xfe\n",
    ],
)
def test_a_manifest_that_is_none(call, source, finished, text):
    """Whatever it is, nothing breaks, and no image is overwritten."""
    (manifest,) = manifests(finished)
    manifest.write_text(text, "latin-1")
    before = {name: one for name, one in touched(finished).items() if "manifest" not in name}
    outcome = call("suppress", source, finished)
    assert outcome.code in (1, 2)
    assert outcome.err
    assert "Traceback" not in outcome.err
    assert {name: one for name, one in touched(finished).items() if "manifest" not in name} == before


def test_on_error_stop(tmp_path, call, source):
    (source / "class 0" / "0003.png").write_text("no image")
    target = tmp_path / "target"
    outcome = call("suppress", source, target, "--on-error", "stop", "--workers", "1")
    assert outcome.code == 1
    assert f"{source}/class 0/0003.png: not an image" in outcome.err
    assert len(contents(target)) < 11
    assert records(target)["class 0/0003.png"]["status"] == "failed"
    assert call("suppress", source, target, "--on-error", "skip").code == 1
    assert len(contents(target)) == 11


def test_the_report(tmp_path, call, source):
    (source / "class 0" / "0003.png").write_text("no image")
    report = tmp_path / "report.json"
    call("suppress", source, tmp_path / "target", "--kappa", "25", "--report", report)
    first = json.loads(report.read_text())
    text = report.read_text()
    assert "class 0/0003.png" in text
    assert "not an image" in text
    assert "class 0/0006.png" not in text
    assert first["settings"]["parameters"]["kappa"] == 25
    call("suppress", source, tmp_path / "target", "--kappa", "25", "--report", report)
    second = json.loads(report.read_text())
    assert second != first  # eleven are done already


def test_metadata_kept_and_dropped(tmp_path, call, astronaut):
    source = tmp_path / "source"
    source.mkdir()
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "of a person"
    astronaut.crop((100, 40, 180, 100)).save(source / "a.png", exif=exif)
    flags = ("--niter", "0")
    assert call("suppress", source, tmp_path / "kept", *flags).code == 0
    assert call("suppress", source, tmp_path / "dropped", *flags, "--metadata", "drop").code == 0
    with Image.open(tmp_path / "kept" / "a.png") as kept, Image.open(tmp_path / "dropped" / "a.png") as dropped:
        assert dict(kept.getexif()) == dict(exif)
        assert not dropped.getexif()
        assert np.array_equal(np.rot90(np.asarray(kept), -1), np.asarray(dropped))  # 6: a quarter turn clockwise

"""What `texfilters suppress` says of a job: on a terminal, in a log, in its report."""

import json
import os
import pty
import shutil
import sys

import numpy as np
import pytest

import texfilters
from cli_helpers import MANIFEST, diffused, files_in, pixels, start
from texfilters._backends import resolve
from texfilters.cli import main, progress


def on_a_terminal(*arguments: object) -> tuple[int, str]:
    """The exit status of the command line, and what a terminal shows."""
    process, terminal = pty.fork()
    if process == 0:
        os.environ.update(TERM="xterm", COLUMNS="120")
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
        sys.argv = ["texfilters", *map(str, arguments)]
        try:
            main()
        except SystemExit as stop:
            os._exit(stop.code)
    shown = b""
    while True:
        try:
            shown += os.read(terminal, 4096)
        except OSError:  # the other end is closed
            break
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), shown.decode()


def test_a_terminal_shows_progress_and_a_pipe_does_not(tmp_path, small, call):
    (tmp_path / "source").mkdir()
    for i in range(4):
        small.save(tmp_path / "source" / f"{i}.png")
    (tmp_path / "source" / "bad.png").touch()
    for already in (0, 4):
        code, shown = on_a_terminal("suppress", tmp_path / "source", tmp_path / "target")
        assert code == 1
        assert "5/5" in shown
        assert " images/s, " in shown
        assert ", 1 failed" in shown
        assert (", 4 already done" in shown) == bool(already)
        assert f"done          {4 - already} images in " in shown
    assert (
        call("suppress", tmp_path / "source", tmp_path / "target").err == f"{tmp_path}/source/bad.png: an empty file\n"
    )


def test_many_failures_are_summed_up_on_the_terminal_and_all_in_the_report(tmp_path, call, monkeypatch):
    monkeypatch.setattr(progress, "_SHOWN", 3)
    source, target, report = tmp_path / "source", tmp_path / "target", tmp_path / "report.json"
    source.mkdir()
    for i in range(5):
        (source / f"empty {i}.png").touch()
        (source / f"text {i}.png").write_text("no image")
    outcome = call("suppress", source, target)
    assert outcome.code == 1
    lines = outcome.err.splitlines()
    assert len(lines) == 4
    assert lines[-1] == f"and 7 more: see {target}/{MANIFEST}"
    assert "failed        10\n" in outcome.out
    assert "              5 an empty file\n" in outcome.out
    outcome = call("suppress", source, target, "--report", report)
    assert outcome.err.splitlines()[-1] == f"and 7 more: see {report}"
    failures = json.loads(report.read_text("ascii"))["failures"]
    assert [failure["source"] for failure in sorted(failures, key=lambda failure: failure["source"])] == [
        f"{source}/{kind} {i}.png" for kind in ("empty", "text") for i in range(5)
    ]


def test_the_report(tmp_path, tree, call):
    report = tmp_path / "report.json"
    shutil.rmtree(tree / "class a")
    for done, already in ((7, 0), (0, 7)):
        assert call("suppress", tree, tmp_path / "target", "--report", report, "--format", "png").code == 1
        facts = json.loads(report.read_text("ascii"))
        assert facts.pop("seconds") > 0
        assert (facts.pop("images_per_second") > 0) == (done > 0)
        assert facts == {
            "texfilters": texfilters.__version__,
            "source": str(tree),
            "target": str(tmp_path / "target"),
            "shard": "1-of-1",
            "settings": {
                "filter": "anisotropic-diffusion",
                "parameters": {"niter": 20, "kappa": 20.0, "gamma": 0.1, "option": 1, "coupling": "none"},
                "format": ".png",
                "quality": 95,
                "metadata": "keep",
                "backend": resolve(None, "cpu"),
                "device": "cpu",
            },
            "done": done,
            "images": done,
            "already_done": already,
            "failed": 1,
            "left_out": 1,
            "stopped": None,
            "failures": [
                {
                    "source": f"{tree}/text.png",
                    "reason": "not an image, or one that is damaged at its beginning",
                }
            ],
        }


def test_the_report_replaces_nothing_but_a_report(tmp_path, small, call):
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    small.save(source / "a.png")
    (tmp_path / "report.json.tmp").write_text("somebody else's")
    assert call("suppress", source, target, "--report", tmp_path / "report.json").code == 0
    assert files_in(tmp_path) >= {"report.json", "report.json.tmp"}
    assert (tmp_path / "report.json.tmp").read_text() == "somebody else's"
    for own in ("a.png", MANIFEST):  # not there yet when the job begins
        shutil.rmtree(target)
        target.mkdir()
        outcome = call("suppress", source, target, "--report", target / own)
        assert outcome.code == 1
        assert outcome.err == f"{target}/{own}: the report cannot be written: it would replace what is no report\n"
        assert files_in(target) == {"a.png", MANIFEST}
        assert np.array_equal(pixels(target / "a.png").T, diffused(source / "a.png").T)
        assert call("suppress", source, target).out.splitlines()[1] == "already done  1"


def test_failures_of_one_kind_differ_in_numbers_only(tmp_path, small, call):
    source = tmp_path / "source"
    source.mkdir()
    small.convert("F").save(source / "float.tif")
    small.save(source / "a.png")
    small.crop((0, 0, 40, 30)).save(source / "b.png")
    out = call("suppress", source, tmp_path / "target", "--max-pixels", "1000").out
    assert "              3 N x N pixels, more than the limit of N\n" in out
    (source / "b.png").unlink()
    out = call("suppress", source, tmp_path / "target", "--max-pixels", "4080").out
    assert "              2 77 x 53 pixels, more than the limit of 4080 (--max-pixels)\n" in out
    (source / "a.png").unlink()
    out = call("suppress", source, tmp_path / "target").out
    assert "              1 mode F is not among 1, P, L, LA, RGB, RGBA, CMYK and 16-bit gray\n" in out


def test_a_reader_that_has_gone_costs_no_image(tmp_path, tree, call):
    reading, writing = os.pipe()
    os.close(reading)
    process = start("suppress", tree, tmp_path / "target", stdout=writing)
    os.close(writing)
    _, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    assert len(files_in(tmp_path / "target")) == 12
    assert call("suppress", tree, tmp_path / "target").out.splitlines()[1] == "already done  11"


@pytest.mark.parametrize("state", ["closed", "full"])
def test_a_log_that_takes_nothing_hides_no_outcome(tmp_path, tree, state):
    if state == "full":
        with open("/dev/full", "wb") as full:
            process = start("suppress", tree, tmp_path / "target", stdout=full)
    else:  # what Python makes of >&-
        process = start("suppress", tree, tmp_path / "target", before="import sys; sys.stdout = None")
    err = process.communicate(timeout=60)[1]
    assert sorted(line.rpartition(": ")[0] for line in err.splitlines()) == [
        f"{tree}/class a/cut.jpg",
        f"{tree}/text.png",
    ]
    assert process.returncode == 1
    assert len(files_in(tmp_path / "target")) == 12

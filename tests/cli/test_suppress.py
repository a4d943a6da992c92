"""`texfilters suppress` on files and folder trees, as a process and in this one."""

import json
import os
import pty
import shutil
import signal
import sys
import tarfile

import numpy as np
import pytest
import torch
from PIL import Image, JpegImagePlugin

import texfilters
from cli_helpers import SCIKIT_IMAGES, files_in, pixels, run, start
from cuda_cases import MARKS
from texfilters._backends import resolve
from texfilters.cli import lock, main, progress
from texfilters.cli.listing import Shard, Tree

MANIFEST = "texfilters-manifest.jsonl"


def diffused(path, **parameters) -> np.ndarray:
    planes = torch.from_numpy(np.array(Image.open(path))).movedim(-1, 0)
    values = {"niter": 20, "kappa": 20.0, "gamma": 0.1, "option": 1, **parameters}
    return texfilters.anisotropic_diffusion(planes, **values).movedim(0, -1).numpy()


@pytest.fixture
def tree(tmp_path, small):
    """A tree of images of several kinds, two that are damaged, and files that are none."""
    source = tmp_path / "source"
    for folder in ("", "class a/deep", "[red]b"):
        (source / folder).mkdir(parents=True, exist_ok=True)
        small.save(source / folder / "color.png")
        small.save(source / folder / "photo.JPG", quality=90)
    see_through = small.copy()
    see_through.putalpha(100)
    see_through.save(source / "class a" / "Ünï [bold].webp")
    small.convert("L").save(source / "gray.TIFF")
    small.convert("P").save(source / "palette.bmp")
    small.save(source / "class a" / os.fsdecode(b"no text \xff.ppm"))
    shutil.copy(SCIKIT_IMAGES / "rocket.jpg", source / "rocket.jpeg")
    (source / "class a" / "cut.jpg").write_bytes((SCIKIT_IMAGES / "rocket.jpg").read_bytes()[:20_000])
    (source / "text.png").write_text("no image")
    (source / "notes.txt").write_text("left out")
    (source / "class a" / "anim.gif").write_bytes(b"left out")
    return source


def test_a_tree_as_a_process(tmp_path, tree):
    target = tmp_path / "new" / "target"
    outcome = run("suppress", tree, target, "--kappa", "25", "--niter", "7", "--gamma", "0.2", "--option", "2")
    assert outcome.code == 1
    lines = outcome.out.splitlines()
    assert lines[0].startswith("done          11 images in ")
    assert lines[1:3] == ["already done  0", "failed        2"]
    assert sorted(line.partition(" (")[0] for line in lines[3:5]) == [
        "              1 image file is truncated",
        "              1 not an image, or one that is damaged at its beginning",
    ]
    assert lines[5:] == ["left out      2 other files"]
    failed = outcome.err.splitlines()
    assert [line.split(": ")[0] for line in failed] == [f"{tree}/class a/cut.jpg", f"{tree}/text.png"]
    assert "truncated" in failed[0]
    left_out = {"class a/cut.jpg", "text.png", "notes.txt", "class a/anim.gif"}
    assert files_in(target) == files_in(tree) - left_out | {MANIFEST}
    parameters = {"kappa": 25, "niter": 7, "gamma": 0.2, "option": 2}
    for folder in ("", "class a/deep", "[red]b"):
        assert np.array_equal(
            pixels(target / folder / "color.png"), diffused(tree / folder / "color.png", **parameters)
        )
        with Image.open(target / folder / "photo.JPG") as image:
            assert image.format == "JPEG"
            assert JpegImagePlugin.get_sampling(image) == 0
            error = np.asarray(image).astype(int) - diffused(tree / folder / "photo.JPG", **parameters)
            assert np.abs(error).mean() < 2  # what JPEG costs at quality 95
    modes = {name: Image.open(target / name).mode for name in ("gray.TIFF", "palette.bmp", "class a/Ünï [bold].webp")}
    assert modes == {"gray.TIFF": "L", "palette.bmp": "RGB", "class a/Ünï [bold].webp": "RGBA"}


def test_one_file_may_change_its_format(tmp_path, astronaut, call, monkeypatch):
    astronaut.save(tmp_path / "a.png")
    monkeypatch.chdir(tmp_path)
    assert call("suppress", "a.png", "b.jpg").code == 0
    with Image.open(tmp_path / "b.jpg") as image:
        assert image.format == "JPEG"
        assert np.abs(np.asarray(image).astype(int) - diffused(tmp_path / "a.png")).mean() < 2
    outcome = call("suppress", tmp_path / "a.png", tmp_path / "c.JPEG", "--quality", "30")
    assert outcome.code == 0
    assert outcome.err == ""
    assert (tmp_path / "c.JPEG").stat().st_size < (tmp_path / "b.jpg").stat().st_size / 2


def test_one_file_into_a_folder(tmp_path, small, call):
    small.save(tmp_path / "a.png")
    (tmp_path / "there").mkdir()
    assert call("suppress", tmp_path / "a.png", tmp_path / "there").code == 0
    assert call("suppress", tmp_path / "a.png", f"{tmp_path}/new/").code == 0
    expected = diffused(tmp_path / "a.png")
    assert np.array_equal(pixels(tmp_path / "there" / "a.png"), expected)
    assert np.array_equal(pixels(tmp_path / "new" / "a.png"), expected)


def test_every_flag_reaches_the_function(tmp_path, small, call):
    small.save(tmp_path / "a.png")
    seen = set()
    for parameters in (
        {},
        *({"niter": 5}, {"kappa": 40.0}, {"gamma": 0.2}, {"option": 3}, {"coupling": "l2"}, {"backend": "reference"}),
    ):
        flags = [text for name, value in parameters.items() for text in (f"--{name}", value)]
        assert call("suppress", tmp_path / "a.png", tmp_path / "b.png", "--overwrite", *flags).code == 0
        result = pixels(tmp_path / "b.png")
        assert np.array_equal(result, diffused(tmp_path / "a.png", **parameters))
        seen.add(result.tobytes())
    assert len(seen) >= 6  # the reference may agree with the native backend


def test_existing_outputs_are_replaced_on_demand_only(tmp_path, small, call):
    small.save(tmp_path / "a.png")
    (tmp_path / "b.png").write_text("old")
    os.link(tmp_path / "b.png", tmp_path / "old.png")
    assert call("suppress", tmp_path / "a.png", tmp_path / "b.png").code == 2
    assert (tmp_path / "b.png").read_text() == "old"
    assert call("suppress", tmp_path / "a.png", tmp_path / "b.png", "--overwrite").code == 0
    assert np.array_equal(pixels(tmp_path / "b.png"), diffused(tmp_path / "a.png"))
    assert (tmp_path / "old.png").read_text() == "old"  # the old file was not written into


def test_a_destination_inside_the_source_is_no_source(tmp_path, tree, call):
    target = tree / "class a" / "out"
    assert call("suppress", tree, target).out.startswith("done          11 images ")
    assert call("suppress", tree, target).out.startswith("done          0 images ")
    assert "class a/out/class a/deep/color.png" in files_in(tree)
    assert not (target / "class a" / "out").exists()


def test_links_to_folders_are_followed_once(tmp_path, small, call):
    (tmp_path / "data").mkdir()
    small.save(tmp_path / "data" / "a.png")
    source = tmp_path / "source"
    source.mkdir()
    (source / "linked").symlink_to(tmp_path / "data")
    (source / "around").symlink_to(source)
    (source / "linked.png").symlink_to(tmp_path / "data" / "a.png")
    (source / "dangling.png").symlink_to(tmp_path / "nowhere.png")
    outcome = call("suppress", source, tmp_path / "target")
    assert files_in(tmp_path / "target") == {"linked/a.png", "linked.png", MANIFEST}
    assert outcome.err == f"{source}/dangling.png: No such file or directory\n"
    assert not (tmp_path / "target" / "linked.png").is_symlink()


def test_a_failing_output_does_not_stop_the_others(tmp_path, tree, call):
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "class a").write_text("a file where a folder should be")
    outcome = call("suppress", tree, tmp_path / "target")
    assert outcome.code == 1
    assert outcome.out.startswith("done          7 images ")
    assert f"{tree}/class a/deep/color.png: Not a directory\n" in outcome.err
    assert (tmp_path / "target" / "class a").read_text() == "a file where a folder should be"
    assert not any(".tmp" in name for name in files_in(tmp_path))


def test_a_folder_that_cannot_be_listed(tmp_path, tree, call, monkeypatch):
    scandir = os.scandir

    def listing(path):
        if os.fspath(path).endswith("deep"):
            raise PermissionError(13, os.strerror(13))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", listing)
    outcome = call("suppress", tree, tmp_path / "target")
    assert outcome.code == 1
    assert f"{tree}/class a/deep: Permission denied\n" in outcome.err
    assert outcome.out.startswith("done          9 images ")


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


def test_a_second_run_at_the_same_time_is_refused(tmp_path, tree, call, monkeypatch):
    monkeypatch.setattr(lock, "_PATIENCE", 0.1)
    (tmp_path / "target").mkdir()
    with lock.hold(str(tmp_path / "target"), str(Shard())):
        outcome = call("suppress", tree, tmp_path / "target")
        assert outcome.code == 2
        assert outcome.err.startswith("texfilters: another run is at work on this target; it holds ")
        assert call("suppress", tree, tmp_path / "target", "--shard", "1/2").code in (0, 1)
    assert call("suppress", tree, tmp_path / "target").code == 1


def test_a_file_that_would_fall_among_the_sources_is_recorded_once(tmp_path, small, call):
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "a").mkdir(parents=True)
    small.save(source / "a" / "x.png")
    target.mkdir()
    (target / "a").symlink_to(source / "a")
    for _ in range(2):
        outcome = call("suppress", source, target)
        assert (outcome.code, outcome.err) == (1, f"{source}/a/x.png: the output would overwrite its input\n")
        assert (target / MANIFEST).read_text().count("\n") == 2


def test_an_unlisted_folder_stops_the_job_that_is_to_stop(tmp_path, tree, call, monkeypatch):
    monkeypatch.setattr(Tree, "_walk", _with_a_failure(Tree._walk))
    outcome = call("suppress", tree, tmp_path / "target", "--on-error", "stop")
    assert outcome.code == 1
    assert outcome.err == (
        "nowhere: Permission denied\n"
        "texfilters: stopped: at the first failure; when that is mended, the same command goes on from here; "
        "--on-error skip goes past it\n"
    )
    assert files_in(tmp_path / "target") == {MANIFEST}


def _with_a_failure(walk):
    def failing(tree):
        tree.failures["nowhere"] = "Permission denied"
        return walk(tree)

    return failing


def test_a_tar_shard_by_itself(tmp_path, small, call):
    small.save(tmp_path / "0.png")
    (tmp_path / "0.cls").write_text("3")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        for name in ("0.cls", "0.png"):
            archive.add(tmp_path / name, name)
    assert call("suppress", tmp_path / "a.tar", tmp_path / "b.tar").out.startswith("done          1 image in ")
    assert call("suppress", tmp_path / "a.tar", tmp_path / "there").code == 2
    assert call("suppress", tmp_path / "a.tar", f"{tmp_path}/there/").code == 0
    assert (tmp_path / "there" / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    with tarfile.open(tmp_path / "b.tar") as archive:
        assert archive.getnames() == ["0.cls", "0.png"]
        assert np.array_equal(pixels(archive.extractfile("0.png")), diffused(tmp_path / "0.png"))


def test_a_file_in_another_format(tmp_path, small, call):
    small.save(tmp_path / "a.png")
    assert call("suppress", tmp_path / "a.png", f"{tmp_path}/there/", "--format", "webp").code == 0
    with Image.open(tmp_path / "there" / "a.webp") as image:
        assert image.format == "WEBP"
    outcome = call("suppress", tmp_path / "a.png", tmp_path / "b.jpg", "--format", "webp")
    assert (outcome.code, outcome.err) == (2, f"texfilters: format is .webp, but DST is {tmp_path}/b.jpg\n")
    outcome = call("suppress", tmp_path / "a.png", tmp_path / "b.png", "--shard", "1/2")
    assert outcome.code == 2
    assert "shard divides the files of a folder" in outcome.err


def test_what_a_killed_run_on_a_file_has_left_is_removed_by_the_next(tmp_path, small, call):
    small.save(tmp_path / "a.png")
    code = "import os\nfrom texfilters.cli import atomic\natomic.os.link = lambda *names: os.kill(os.getpid(), 9)"
    process = start("suppress", tmp_path / "a.png", tmp_path / "there" / "b.png", before=code)
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    assert len(files_in(tmp_path / "there")) == 2  # a temporary and a lock
    assert call("suppress", tmp_path / "a.png", tmp_path / "there" / "b.png").code == 0
    assert files_in(tmp_path / "there") == {"b.png"}


class TestOnAGpu:
    pytestmark = MARKS

    def test_a_tree(self, tmp_path, tree, call):
        """Batches of mixed sizes and modes, in workers that are spawned; and the same files as on the CPU."""
        for i in range(40):
            shutil.copy(tree / "color.png", tree / f"copy {i}.png")
        on_gpu = call("suppress", tree, tmp_path / "gpu", "--device", "cuda", "--workers", "2", "--coupling", "l2")
        on_cpu = call("suppress", tree, tmp_path / "cpu", "--coupling", "l2")
        assert (on_gpu.code, on_gpu.err) == (1, on_cpu.err)
        assert files_in(tmp_path / "gpu") == files_in(tmp_path / "cpu")
        for name in files_in(tmp_path / "gpu") - {MANIFEST}:
            lossy = name.lower().endswith((".jpg", ".jpeg", ".webp"))
            error = np.abs(pixels(tmp_path / "gpu" / name).astype(int) - pixels(tmp_path / "cpu" / name).astype(int))
            assert error.mean() < (0.5 if lossy else 0.01)
        outcome = call("suppress", tree, tmp_path / "gpu", "--coupling", "l2")
        assert (outcome.code, "device was cuda, now cpu" in outcome.err) == (2, True)
        again = call("suppress", tree, tmp_path / "gpu", "--coupling", "l2", "--device", "cuda")
        assert again.out.splitlines()[1] == "already done  51"

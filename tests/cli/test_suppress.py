"""`texfilters suppress` on folder trees, as a process and in this one."""

import os
import shutil

import numpy as np
from PIL import Image, JpegImagePlugin

from cli_helpers import MANIFEST, diffused, files_in, pixels, run
from cuda_cases import MARKS
from texfilters.cli import lock
from texfilters.cli.listing import Shard, Tree


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

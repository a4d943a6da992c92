"""`texfilters suppress` on files and folder trees, as a process and in this one."""

import os
import pty
import shutil

import numpy as np
import pytest
import torch
from PIL import Image, JpegImagePlugin

import texfilters
from cli_helpers import SCIKIT_IMAGES, files_in, pixels, run, start

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
    assert sorted(lines[3:5]) == [
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


def test_one_file_may_change_its_format(tmp_path, astronaut, call):
    astronaut.save(tmp_path / "a.png")
    assert run("suppress", tmp_path / "a.png", "b.jpg", cwd=tmp_path).code == 0
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


def test_a_terminal_shows_progress_and_a_pipe_does_not(tmp_path, small):
    (tmp_path / "source").mkdir()
    for i in range(4):
        small.save(tmp_path / "source" / f"{i}.png")
    terminal, its_end = pty.openpty()
    settings = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    process = start("suppress", tmp_path / "source", tmp_path / "target", stderr=its_end, env=settings)
    os.close(its_end)
    shown = b""
    while True:
        try:
            shown += os.read(terminal, 4096)
        except OSError:  # the other end is closed
            break
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "images/s" in shown.decode()
    assert "4/4" in shown.decode()
    assert out.startswith("done          4 images in ")
    quiet = run("suppress", tmp_path / "source", tmp_path / "target")
    assert quiet.err == ""

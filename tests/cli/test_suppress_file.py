"""`texfilters suppress` on a file alone."""

import signal
import tarfile

import numpy as np
from PIL import Image

from cli_helpers import diffused, files_in, pixels, start


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

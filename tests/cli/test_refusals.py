"""What the command line refuses: one line that says why, the right exit code, and no file touched."""

import os

import numpy as np
import pytest

from cli_helpers import Outcome, files_in, pixels, run


@pytest.fixture
def folder(tmp_path, small, monkeypatch):
    """The current folder, with one image and a tree of one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tree").mkdir()
    small.save("a.png")
    small.save("tree/b.png")
    return tmp_path


def assert_refused(outcome: Outcome, message: str, code: int = 2) -> None:
    assert outcome == (code, "", f"texfilters: {message}\n")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--kappa", "0"], "kappa must be > 0, got 0.0"),
        (["--kappa", "nan"], "kappa must be > 0, got nan"),
        (["--gamma", "0.3"], "gamma must lie in (0, 0.25] for 2-D diffusion to stay stable, got 0.3"),
        (["--niter", "-1"], "niter must be >= 0, got -1"),
        (["--option", "4"], "option must be one of 1, 2, 3, got 4"),
        (["--coupling", "l1"], "coupling must be one of 'none', 'l2', got 'l1'"),
        (["--backend", "fast"], "backend must be None or one of 'native', 'triton', 'reference', got 'fast'"),
        (["--filter", "bilateral", "--sigma-color", "-1"], "sigma_color must be >= 0, got -1.0"),
        (["--filter", "bilateral", "--d", "0", "--sigma-space", "nan"], "sigma_space must be >= 0, got nan"),
        (
            ["--filter", "bilateral", "--border", "mirror"],
            "border must be one of 'reflect101', 'reflect', 'replicate', 'wrap', 'constant', got 'mirror'",
        ),
        (["--filter", "gaussian", "--sigma", "-0.5"], "sigma must be >= 0, got -0.5"),
        (["--filter", "gaussian", "--kernel-size", "4"], "kernel_size must be odd and at least 1, got 4"),
        (["--filter", "median", "--ksize", "0"], "ksize must be odd and at least 1, got 0"),
        (["--filter", "cartoon", "--passes", "-1"], "passes must be at least 0, got -1"),
        (["--filter", "cartoon", "--block-size", "1"], "block_size must be odd and at least 3, got 1"),
        (["--filter", "cartoon", "--c", "nan"], "c must be a number, got nan"),
        (
            ["--filter", "blur"],
            "filter must be one of 'anisotropic-diffusion', 'bilateral', 'gaussian', 'median', 'cartoon', got 'blur'",
        ),
        (
            ["--ksize", "3"],
            "--ksize is no flag of anisotropic-diffusion, which takes --niter, --kappa, --gamma, --option, --coupling",
        ),
        (
            ["--filter", "gaussian", "--sigma", "3", "--sigma-color", "20"],
            "--sigma-color is no flag of gaussian, which takes --sigma, --kernel-size, --border",
        ),
        (["--quality", "0"], "--quality must lie in 1..100, got 0"),
        (["--quality", "101"], "--quality must lie in 1..100, got 101"),
        (["--workers", "0"], "--workers must be at least 1, got 0"),
        (["--max-pixels", "-1"], "--max-pixels must be at least 0, got -1"),
        (["--metadata", "lose"], "--metadata must be one of 'keep', 'drop', got 'lose'"),
        (["--on-error", "cry"], "--on-error must be one of 'skip', 'stop', got 'cry'"),
        (["--device", "tpu"], "--device must be cpu, cuda or cuda:1, got 'tpu'"),
        (
            ["--format", "gif"],
            "--format must be one of 'jpg', 'jpeg', 'png', 'webp', 'bmp', 'tif', 'tiff', 'ppm', 'pgm', got 'gif'",
        ),
        *(
            (["--shard", shard], f"--shard must be i/n with 1 <= i <= n, got {shard!r}")
            for shard in ("0/2", "3/2", "1", "-1/2", "1/2/3", "a/b")
        ),
        (["--report", "nowhere/report.json"], "report cannot be written to nowhere: it is no folder, or read-only"),
        (["--report", "a.png"], "report would replace a.png, which is no report"),
    ],
)
@pytest.mark.parametrize(("source", "target"), [("a.png", "b.png"), ("tree", "out")])
def test_parameters_are_checked_before_any_file(folder, call, flags, message, source, target):
    before = files_in(folder)
    assert_refused(call("suppress", source, target, *flags), message)
    assert files_in(folder) == before
    assert not os.path.exists(target)


def test_a_backend_that_is_absent_says_why(folder, call, monkeypatch):
    from texfilters import _backends

    monkeypatch.setattr(_backends, "_absence", lambda name, device: "it was not built")
    message = "backend 'native' is not available for device 'cpu': it was not built"
    assert_refused(call("suppress", "a.png", "b.png", "--backend", "native"), message)


def test_paths(folder, call):
    (folder / "empty").mkdir()
    (folder / "empty" / "notes.txt").touch()
    images = ".jpg .jpeg .png .webp .bmp .tif .tiff .ppm .pgm"
    (folder / "a.tar").touch()
    (folder / "a.tar.gz").touch()
    before = files_in(folder)
    for source, target, message in (
        ("nothing.png", "b.png", "SRC does not exist: nothing.png"),
        ("nothing", "out", "SRC does not exist: nothing"),
        ("a.png", "b.xyz", f"DST must end in one of {images}, got b.xyz"),
        ("a.png", "b", f"DST must end in one of {images}, got b"),
        ("empty/notes.txt", "b.png", f"SRC must end in one of {images} .tar, got empty/notes.txt"),
        ("a.png", "b.tar", f"DST must end in one of {images}, got b.tar"),
        ("a.tar", "b.png", "DST must end in one of .tar, got b.png"),
        ("a.tar.gz", "b.tar", "SRC must be an uncompressed .tar, got a.tar.gz; gzip -d makes it one"),
        ("tree", "a.png", "SRC is a folder, so DST must be one, or not exist yet: a.png is a file"),
        ("empty", "out", f"no images in empty; suffixes read are {images} .tar"),
        ("a.png", "", "DST must name a file or a folder, got nothing"),
        ("new\nline.png", "b.png", "SRC does not exist: 'new\\nline.png'"),
    ):
        assert_refused(call("suppress", source, target), message)
    assert files_in(folder) == before
    assert not os.path.exists("out")


def test_a_destination_that_cannot_be_written(folder, call, monkeypatch):
    assert_refused(call("suppress", "tree", "a.png/out"), "cannot write to a.png/out: Not a directory", code=1)
    assert_refused(call("suppress", "a.png", "a.png/b.png"), "cannot write to a.png: File exists", code=1)
    # Root may write everywhere, so that a folder without permissions would prove nothing.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert_refused(call("suppress", "tree", "out"), "cannot write to out: it is read-only", code=1)


def test_the_input_is_never_the_output(folder, call):
    original = (folder / "a.png").read_bytes()
    os.symlink("a.png", "link.png")
    os.link("a.png", "hard.png")
    os.symlink(".", "here")
    for source, target in (
        *(("a.png", "a.png"), ("a.png", "./tree/../a.png"), ("a.png", str(folder / "a.png")), ("a.png", "link.png")),
        *(("link.png", "a.png"), ("a.png", "hard.png"), ("a.png", "."), ("a.png", "here"), ("here/a.png", "a.png")),
    ):
        assert_refused(call("suppress", source, target), f"DST is SRC: {source} would be overwritten")
    os.symlink("tree", "forest")
    for source, target in (("tree", "tree"), ("tree", "forest"), ("forest", "tree/"), ("tree", "tree/../tree")):
        message = f"DST is SRC: the images of {source} would be overwritten"
        assert_refused(call("suppress", source, target), message)
    assert (folder / "a.png").read_bytes() == original
    assert (folder / "tree" / "b.png").read_bytes() == original


def test_no_input_of_a_tree_is_overwritten(folder, call, small):
    """By ways that only the walk finds: links in either tree, and a destination around the source."""

    def failing(source: str, target: str, path: str, reason: str) -> None:
        outcome = call("suppress", source, target)
        assert outcome.code == 1
        assert outcome.err == f"{path}: {reason}\n"
        assert np.array_equal(pixels("tree/b.png"), np.asarray(small))

    into_a_source = "the output would go into a folder that images are read from"
    os.mkdir("out")
    os.symlink("../tree/b.png", "out/b.png")
    failing("tree", "out", "tree/b.png", "the output would overwrite its input")
    # SRC/crossed is the tree, and DST/crossed is it as well.
    os.makedirs("source")
    os.symlink("../tree", "source/crossed")
    os.symlink("../tree", "out/crossed")
    failing("source", "out", "source/crossed/b.png", "the output would overwrite its input")
    # DST holds the folder that SRC's link points to, under another name: tree/c.png would be new, among the sources.
    os.makedirs("swapped/x")
    os.symlink("../../tree/b.png", "swapped/x/c.png")
    os.makedirs("around")
    os.symlink("../tree", "around/x")
    failing("swapped", "around", "swapped/x/c.png", into_a_source)
    assert files_in(folder / "tree") == {"b.png"}


def test_usage_errors_of_the_process(folder):
    for arguments, message in (
        (["suppress", "a.png", "b.png", "--niter", "many"], "'--niter'"),
        (["suppress", "a.png"], "DST"),
    ):
        outcome = run(*arguments)
        assert outcome.code == 2
        assert outcome.out == ""
        assert message in outcome.err
    outcome = run("suppress", "a.png", "a.png")
    assert_refused(outcome, "DST is SRC: a.png would be overwritten")
    assert files_in(folder) == {"a.png", "tree/b.png"}

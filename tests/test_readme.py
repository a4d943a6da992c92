"""What the README shows runs as it stands, and its tables are those of the committed results."""

import io
import re
import shlex
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import torch

import texfilters

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()

# Runs each command in a fork of one process that has done the imports (the program's, and those of torch when an op is
# called for the first time) and without taking the interpreter down again: either costs more than all commands.
RUNNER = """
import os, shlex, sys
import torch._dynamo
from texfilters.cli import app, main
for line in sys.stdin.read().splitlines():
    if os.fork() == 0:
        sys.argv = shlex.split(line, comments=True)
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code
        sys.stdout.flush()
        os._exit(code if isinstance(code, int) else 1)
    status = os.waitstatus_to_exitcode(os.wait()[1])
    if status != 0:
        sys.exit(f"{line} ended with {status}")
"""


def blocks(language):
    """Each block behind as many empty lines as are before it, so that errors show the README's lines."""
    for block in re.finditer(rf"```{language}\n(.*?)```", README, re.DOTALL):
        yield "\n" * README.count("\n", 0, block.start(1)) + block[1]


def commands(program):
    return [line for block in blocks("sh") for line in block.splitlines() if line.startswith(program + " ")]


@pytest.fixture
def folder(tmp_path, monkeypatch, photo):
    """The working directory: what the README's examples read, as small as it can be."""
    image = pytest.importorskip("PIL.Image", reason="needs Pillow").fromarray(
        photo[:, 60:150, 100:200].movedim(0, -1).numpy()
    )
    names = ["photo.jpg", "photos/one.jpg", "photos/more/two.png"]
    names += [
        f"train/{label}/{number}.{suffix}" for label in ("cat", "dog") for number, suffix in enumerate(("jpg", "png"))
    ]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        image.save(tmp_path / name)
    (tmp_path / "imagenet-shards").mkdir()
    for shard in range(2):
        with tarfile.open(tmp_path / f"imagenet-shards/{shard:06}.tar", "w") as tar:
            for sample in range(2):
                tar.add(tmp_path / "train/cat/1.png", f"{sample}.png")
                member = tarfile.TarInfo(f"{sample}.cls")
                member.size = 1
                tar.addfile(member, io.BytesIO(b"7"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


# Both say that there is no GPU, or few images.
@pytest.mark.filterwarnings("ignore:.*pin_memory.*:UserWarning", "ignore::UserWarning:lightning")
def test_code_runs(folder, monkeypatch):
    """In one process and one namespace, as a reader would who goes from top to bottom."""
    monkeypatch.setenv("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks the network for news when it is imported
    for package in ("torchvision", "lightning", "albumentations", "kornia", "monai"):
        pytest.importorskip(package, reason=f"needs {package}")
    namespace = {"__name__": "readme"}
    for code in blocks("python"):
        exec(compile(code, "README.md", "exec"), namespace)
    assert namespace["images"].shape[1:] == (3, 224, 224)
    assert namespace["images"].dtype == torch.float32
    assert namespace["smooth"].shape == (8, 3, 224, 224)


def test_commands_run(folder):
    result = subprocess.run(
        [sys.executable, "-c", RUNNER], input="\n".join(commands("texfilters")), capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr

    from PIL import Image
    from torchvision.transforms.v2.functional import pil_to_tensor

    def tree(name):
        return sorted(path.relative_to(name) for path in Path(name).rglob("*.*") if path.suffix in (".jpg", ".png"))

    assert tree("suppressed") == tree("drawn") == tree("photos")
    assert tree("train-suppressed") == tree("train")
    assert set(tree("train-divided")) < set(tree("train"))
    expected = texfilters.anisotropic_diffusion(pil_to_tensor(Image.open("train/cat/1.png")), 20, 20.0)
    assert torch.equal(pil_to_tensor(Image.open("train-suppressed/cat/1.png")), expected)
    assert Path("report.json").exists()
    assert Path("train-suppressed/texfilters-manifest.jsonl").exists()
    for shard in ("000000.tar", "000001.tar"):
        with tarfile.open(f"suppressed-shards/{shard}") as tar:
            assert tar.getnames() == ["0.png", "0.cls", "1.png", "1.cls"]
            assert tar.extractfile("1.cls").read() == b"7"
            assert torch.equal(pil_to_tensor(Image.open(tar.extractfile("1.png"))), expected)


def test_commands_of_make_exist():
    shown = [shlex.split(line, comments=True)[1] for line in commands("make")]
    assert shown == ["demo", "test"]
    makefile = (ROOT / "Makefile").read_text()
    for target in shown:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


@pytest.mark.parametrize("page", ["README.md", "docs/measurements.md"])
def test_pictures_and_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", (ROOT / page).read_text()):
        if not target.startswith("http"):
            assert ((ROOT / page).parent / target).exists(), target


def test_tables_are_those_of_the_committed_results():
    result = subprocess.run(
        [sys.executable, "benchmarks/tables.py", "--check"], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr

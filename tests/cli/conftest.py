import os
import shutil
import sys
from collections.abc import Callable

import pytest
import torch
from PIL import Image

from cli_helpers import SCIKIT_IMAGES, Outcome
from tar_cases import Shard, png
from work_cases import Job


@pytest.fixture
def call(monkeypatch, capsys) -> Callable[..., Outcome]:
    """The command line in this process, which spares the import of torch."""
    from texfilters.cli import main

    def call(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["texfilters", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        return Outcome(stop.value.code, captured.out, captured.err)

    return call


@pytest.fixture(autouse=True)
def _threads_of_torch():
    """A job divides the cores; the tests after it want them back."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def astronaut() -> Image.Image:
    return Image.open(SCIKIT_IMAGES / "astronaut.png").convert("RGB")


@pytest.fixture
def small(astronaut) -> Image.Image:
    """A textured color image of an odd size."""
    return astronaut.crop((120, 60, 197, 113))


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


@pytest.fixture
def job(tmp_path) -> Job:
    return Job(tmp_path)


@pytest.fixture
def shard(tmp_path) -> Shard:
    return Shard(tmp_path)


@pytest.fixture
def samples(small) -> list[tuple[str, bytes]]:
    """Nine samples of an image, a class and a text."""
    members = []
    for i in range(9):
        members += [
            (f"train/{i:03}.png", png(small.rotate(i))),
            (f"train/{i:03}.cls", str(i).encode()),
            (f"train/{i:03}.meta.json", b'{"i": %d}' % i * (200 * i)),
        ]
    return members

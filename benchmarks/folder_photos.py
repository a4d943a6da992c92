"""Folders of many different JPEGs, made from a few hundred real photos by crops and sizes drawn from a seed."""

import multiprocessing
import random
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

import photos

SHARED = Path(__file__).parent.parent.parent / "shared" / "data"
CLASSES = 50
_QUALITIES = (85, 90, 95)


def sources(folders: Sequence[Path]) -> tuple[list[Path], str]:
    """The photos of some folders, by default those of the data beside the repository, else scikit-image's; a name."""
    beside = (SHARED / "imagenet-sample", SHARED / "bsds500-train")
    folders = [folder for folder in folders or beside if folder.is_dir()]
    files = [path for folder in folders for path in sorted(folder.rglob("*.[jJ][pP]*[gG]"))]
    if files:
        return files, " and ".join(folder.name for folder in folders)
    return photos.paths(), "scikit-image's photos"


def build(folder: Path, images: int, shortest: int, longest: int, files: Sequence[Path]) -> None:
    """`images` JPEGs below `folder`, in the folders of classes; the longer side lies in `shortest..longest`."""
    for number in range(CLASSES):
        (folder / f"class{number:02}").mkdir(parents=True, exist_ok=True)
    # Before anything parallel has run in this process, so that it may fork.
    tasks = [(folder, i, shortest, longest, files[i % len(files)]) for i in range(images)]
    with multiprocessing.get_context("fork").Pool() as pool:
        pool.starmap(_write, sorted(tasks, key=lambda task: task[4]), chunksize=32)


def _write(folder: Path, i: int, shortest: int, longest: int, source: Path) -> None:
    rng = random.Random(i)
    with Image.open(source) as image:
        photo = image.convert("RGB")
    longer = rng.randint(shortest, longest)
    share = rng.uniform(0.7, 1)
    width, height = (round(share * side) for side in photo.size)
    left, top = rng.randint(0, photo.width - width), rng.randint(0, photo.height - height)
    scale = longer / max(width, height)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    crop = photo.resize(size, Image.Resampling.BICUBIC, box=(left, top, left + width, top + height))
    crop.save(folder / f"class{i % CLASSES:02}" / f"{i:06}.jpg", quality=rng.choice(_QUALITIES))

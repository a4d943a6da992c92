"""Images with the shape of one category and the texture of another, and what an observer answers to them."""

import csv
import ntpath
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from texfilters.evaluate.class_mapping import SIXTEEN_CATEGORIES, Categories, category_probabilities
from texfilters.evaluate.probes import features

# "shapeN-textureM" after a prefix such as that of a table of answers: 0001_s5n_dnn_0_airplane_00_airplane1-bicycle2.png
_NAME = re.compile(r"(?:.*_)?(?P<shape>[^\W\d_][^_-]*?)(?P<n>\d+)-(?P<texture>[^\W\d_][^_-]*?)(?P<m>\d+)(?:\.\w+)?")
_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp"}
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's pixels in [0, 1]
_NO_ANSWER = {"na", "nan"}


@dataclass(frozen=True)
class CueConflictAnswers:
    """What one observer answers to N images. Tensors are int64 `[N]` on the CPU, of places in `categories`.

    Attributes:
        images: names `shapeN-textureM`, without prefix and ending.
        shapes, textures: what the names say. Images whose shape and texture agree are here, too.
        answers: the observer's; -1 where it gave none of the categories.
    """

    categories: tuple[str, ...]
    images: tuple[str, ...]
    shapes: Tensor
    textures: Tensor
    answers: Tensor


def parse_name(name: str | os.PathLike[str]) -> tuple[str, str]:
    """The categories of shape and texture, from a name such as `airplane1-bicycle2.png`.

    Folders before it, with slashes or backslashes, and a prefix up to its last underscore, do not count.

    Raises:
        ValueError: for a name of another form.
    """
    match = _match(name)
    return match["shape"], match["texture"]


class CueConflict(Dataset[tuple[Tensor, int]]):
    """The images under a folder that are named `shapeN-textureM`: uint8 `[3, H, W]`, and the place in the folder.

    Images of the 16 categories of Geirhos et al. that `categories` leaves out are left out, so that a network is shown
    what it can answer. Needs Pillow.

    Args:
        folder: its subfolders are searched for PNG, JPEG and WebP files, too; their names do not count.
        categories: a mapping or names, as in `category_probabilities`.

    Raises:
        ValueError: for a folder without such images, a name of another form, a category that is neither in
            `categories` nor one of the 16, two images of one name; when it is read, for a damaged image.

    Source of images: Geirhos et al. 2019, arXiv:1811.12231, https://github.com/rgeirhos/texture-vs-shape.
    """

    def __init__(self, folder: str | os.PathLike[str], categories: Categories = SIXTEEN_CATEGORIES) -> None:
        files = (path for path in Path(folder).rglob("*") if path.suffix.lower() in _SUFFIXES)
        paths = sorted(path for path in files if not path.name.startswith("."))
        self.categories = tuple(categories)
        kept = _kept(paths, self.categories)
        if not kept:
            raise ValueError(
                f"folder must hold images named shapeN-textureM of {', '.join(self.categories)}, got none in {folder}"
            )
        self.paths = [paths[i] for i in kept]
        self.images, self.shapes, self.textures = _cues(self.paths, self.categories)
        first: dict[str, Path] = {}
        for name, path in zip(self.images, self.paths, strict=True):
            if first.setdefault(name, path) is not path:
                raise ValueError(f"folder must hold each image once, got {name} twice: {first[name]} and {path}")

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        try:
            from PIL import Image
        except ModuleNotFoundError as error:
            message = "image files need Pillow: pip install 'texfilters[evaluate]'"
            raise ImportError(message, name="PIL") from error
        try:
            with Image.open(self.paths[index]) as image:
                pixels = np.array(image.convert("RGB"))
        except Exception as error:  # decoders raise whatever they like
            raise ValueError(f"images must be readable, got {self.paths[index]}: {error}") from error
        return torch.from_numpy(pixels).permute(2, 0, 1), index

    def stacked(self, batch: Sequence[tuple[Tensor, int]]) -> tuple[Tensor, Tensor]:
        """Images `[B, 3, H, W]` and places `[B]`, as a DataLoader's `collate_fn`; ValueError for two sizes."""
        first, _ = batch[0]
        for pixels, index in batch:
            if pixels.shape != first.shape:
                sizes = " and ".join(f"{image.shape[2]} x {image.shape[1]}" for image in (first, pixels))
                raise ValueError(f"images must be of one size, got {sizes}, the latter for {self.paths[index]}")
        return torch.stack([pixels for pixels, _ in batch]), torch.tensor([index for _, index in batch], device="cpu")


def answers_on_folder(
    network: Callable[[Tensor], Tensor],
    folder: str | os.PathLike[str],
    categories: Categories = SIXTEEN_CATEGORIES,
    *,
    transform: Callable[[Tensor], Tensor] | None = None,
    logits: bool = True,
    batch_size: int = 64,
    num_workers: int = 0,
    device: torch.device | str | None = None,
) -> CueConflictAnswers:
    """What a network answers to the images of a folder, as `CueConflict` reads them.

    Args:
        network: from a batch of its inputs to logits `[B, C]`; in evaluation mode meanwhile.
        categories: which of the network's classes belong to which category, as in `category_probabilities`.
        transform: from a batch of uint8 images `[B, 3, H, W]`, on the device, to the network's inputs; None divides by
            255 and normalizes with ImageNet's means and deviations, and does not resize. Images of a batch are of one
            size, as the published ones are.
        logits: False for a network that returns probabilities.
        num_workers: processes that decode images.
        device: where to compute; None is where the network's parameters are.

    Raises:
        ValueError: as `CueConflict`, `category_probabilities` and, for outputs that are NaN or infinite, `features`;
            for images of several sizes in a batch.
    """
    images = CueConflict(folder, categories)
    # It draws a seed for its workers, on the default device: from a generator of its own, not from the default one.
    generator = torch.Generator(torch.get_default_device())
    loader = DataLoader(images, batch_size, num_workers=num_workers, generator=generator, collate_fn=images.stacked)
    prepare = _imagenet if transform is None else transform
    outputs, _ = features(network, loader, transform=lambda batch: prepare(batch[0]), device=device)
    answers = best(category_probabilities(outputs, categories, logits=logits))
    return CueConflictAnswers(images.categories, images.images, images.shapes, images.textures, answers.cpu())


def read_answers(path: str | os.PathLike[str], categories: Iterable[str] = SIXTEEN_CATEGORIES) -> CueConflictAnswers:
    """Read a table of one observer's answers, as Geirhos et al. publish them.

    Args:
        path: a CSV file with the columns `object_response`, a category or `na`, and `imagename`, which ends with
            `shapeN-textureM.png`. Other columns do not count.
        categories: their names. Images of others of the 16 categories are left out, as in `CueConflict`; answers with
            them are answers with none of the categories.

    Raises:
        ValueError: for what is no CSV file in UTF-8, a table without these columns or without images of the
            categories, a name of another form, an answer or an image of an unknown category, a second answer to an
            image.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file, skipinitialspace=True)
            columns = table.fieldnames or ()
            rows = [((row.get("imagename") or "").strip(), (row.get("object_response") or "").strip()) for row in table]
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"table must be a CSV file in UTF-8: {path}: {error}") from error
    for column in ("object_response", "imagename"):
        if column not in columns:
            raise ValueError(f"table must have the columns object_response and imagename, has no {column}: {path}")
    categories = tuple(categories)
    kept = _kept([name for name, _ in rows], categories)
    if not kept:
        raise ValueError(f"table must hold answers to images of {', '.join(categories)}, got none in {path}")
    place = {name: i for i, name in enumerate(categories)}
    known = place.keys() | SIXTEEN_CATEGORIES.keys()
    answers = []
    for i in kept:
        name, answer = rows[i]
        if answer not in known and answer.lower() not in _NO_ANSWER:
            raise ValueError(f"object_response must be na or one of {', '.join(categories)}, got {answer!r} for {name}")
        answers.append(place.get(answer, -1))
    images, shapes, textures = _cues([rows[i][0] for i in kept], categories)
    twice = len(images) - len(set(images))
    if twice:
        raise ValueError(f"table must hold one answer to each image, got {twice} more; split it by observer: {path}")
    return CueConflictAnswers(categories, images, shapes, textures, torch.tensor(answers, device="cpu"))


def best(probabilities: Tensor) -> Tensor:
    """The category of the highest probability, the first of equal ones; -1 where all are 0."""
    value, place = probabilities.max(1)
    return place.where(value > 0, -1)


def _kept(names: Sequence[str | Path], categories: tuple[str, ...]) -> list[int]:
    """Places of the images whose shape and texture both are in `categories`."""
    known = {*categories, *SIXTEEN_CATEGORIES}
    kept = []
    for i, name in enumerate(names):
        cues = parse_name(name)
        for cue in cues:
            if cue not in known:
                raise ValueError(f"images must be of {', '.join(categories)}, got {cue!r} in {name}")
        if cues[0] in categories and cues[1] in categories:
            kept.append(i)
    return kept


def _cues(names: Sequence[str | Path], categories: tuple[str, ...]) -> tuple[tuple[str, ...], Tensor, Tensor]:
    """Names without prefix and ending, and places of shapes and textures in `categories`."""
    place = {name: i for i, name in enumerate(categories)}
    matches = [_match(name) for name in names]
    return (
        tuple(f"{m['shape']}{m['n']}-{m['texture']}{m['m']}" for m in matches),
        torch.tensor([place[m["shape"]] for m in matches], device="cpu"),
        torch.tensor([place[m["texture"]] for m in matches], device="cpu"),
    )


def _match(name: str | os.PathLike[str]) -> re.Match[str]:
    match = _NAME.fullmatch(ntpath.basename(name))  # which knows slashes and backslashes
    if match is None:
        raise ValueError(f"names of images must be shapeN-textureM, such as airplane1-bicycle2.png, got {str(name)!r}")
    return match


def _imagenet(images: Tensor) -> Tensor:
    mean, std = (images.new_tensor(row, dtype=torch.float32).view(3, 1, 1) for row in (_MEAN, _STD))
    return (images / 255 - mean) / std

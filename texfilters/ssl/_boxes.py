"""Boxes around what photos show, against which saliency maps are judged."""

import json
import math
import os
from typing import Any

import torch
from torch import Tensor

from texfilters.evaluate.sections._numbers import spread_over
from texfilters.ssl._evaluation import Some
from texfilters.ssl._loaders import Loader
from texfilters.ssl.data import FolderData, ImageData


def read_boxes(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The boxes `[n, 4]` of each photo: left, top, right and bottom in its pixels.

    Args:
        path: JSON, `{"cat/1.jpg": [[left, top, right, bottom], ...], ...}`.

    Raises:
        OSError: for a file that cannot be read.
        ValueError: for another form, numbers that are not finite, boxes without area.
    """
    try:
        with open(path, encoding="utf-8") as file:
            found = json.load(file)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"boxes must be JSON, got {os.fspath(path)}: {error}") from error
    if not isinstance(found, dict) or not found:
        raise ValueError(f"boxes must be an object from names of photos to boxes, got {type(found).__name__} in {path}")
    return {name: _boxes(name, each) for name, each in found.items()}


def boxed(data: ImageData, split: str, batch_size: int, limit: int | None, path: str) -> tuple[Loader, list[Tensor]]:
    """Batches of those photos of a split that have boxes, and the boxes in pixels of the batches.

    Args:
        limit: of photos, evenly over those with boxes; None takes all.
        path: as `read_boxes` has it; names are relative to the folder of the split, or of the domains.

    Raises:
        OSError, ValueError: as `read_boxes`, for data that are no files, names that are no photo of the data, a split
            without boxes, photos that cannot be read.
    """
    if not isinstance(data, FolderData):
        raise ValueError(f"boxes are told by names of files: they need FolderData, got {type(data).__name__}")
    boxes = read_boxes(path)
    names = data.names(split)
    if unknown := sorted(set(boxes) - set(names)):
        raise ValueError(f"boxes must be of images such as {names[0]!r}, got {unknown[0]!r} in {path}")
    there = [place for place, name in enumerate(names) if name in boxes]
    places = [there[i] for i in spread_over(len(there), limit)]
    loader = data.loader(split, lambda _: Some(places, batch_size))
    scaled: list[Tensor] = []
    for batch in loader:
        for size, place in zip(batch.sizes, places[len(scaled) : len(scaled) + len(batch.images)], strict=True):
            height, width = size.tolist()
            side = batch.images.shape[-1]  # to which photos are squashed
            scaled.append(boxes[names[place]] * torch.tensor([side / width, side / height] * 2))
    if len(scaled) != len(places):
        raise ValueError(f"photos with boxes must be readable, got {len(scaled)} of {len(places)}")
    return loader, scaled


def _boxes(name: str, given: Any) -> Tensor:
    if not isinstance(given, list) or not given or not all(_is_box(box) for box in given):
        raise ValueError(
            f"boxes must be lists of left < right and top < bottom as [left, top, right, bottom], one at least, "
            f"got {given} for {name!r}"
        )
    return torch.tensor(given, dtype=torch.float32)


def _is_box(box: Any) -> bool:
    if not isinstance(box, list) or len(box) != 4:
        return False
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in box):
        return False
    left, top, right, bottom = box
    return left < right and top < bottom

"""What some measurements need beside images and labels: views of contrastive networks, and pictures of frost."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from texfilters.ssl._method import Batch
from texfilters.ssl.views import Views

_FROST = 5  # the authors take the first five of theirs


def plain_views(sees: Mapping[str, Any], device: torch.device) -> Callable[[Batch], Tensor]:
    """MoCo v2's random views without suppression, of a batch, for what a network sees."""
    numbers: dict[str, Any] = {name: tuple(sees[name]) for name in ("mean", "std") if sees.get(name) is not None}
    views = Views(sees["size"], suppress=None, **numbers).to(device)
    return lambda batch: views(batch[0], batch[2])


def frost_pictures(folder: str) -> list[Tensor]:
    """The first five pictures of a folder by name, uint8 `[3, h, w]`.

    Raises:
        ValueError: for a folder without pictures.
    """
    paths = sorted(path for path in Path(folder).glob("*") if path.suffix.lower() in (".png", ".jpg", ".jpeg"))
    if not paths:
        raise ValueError(f"frost must be a folder of pictures, PNG or JPEG, got none in {folder}")
    pictures = []
    for path in paths[:_FROST]:
        with Image.open(path) as image:
            pictures.append(torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1))
    return pictures

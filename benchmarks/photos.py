"""The photos that ship with scikit-image, cut to any size: real texture that anyone has at hand, without a download."""

import importlib.util
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

FILES = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")

# How much of a photo's shorter side a crop shows, as in the usual pipelines that resize to 256 and crop 224.
_CROPPED = 224 / 256


def paths() -> list[Path]:
    """The photos' files, as many as the installed scikit-image holds; its own loaders could start a download."""
    spec = importlib.util.find_spec("skimage")
    if spec is None:
        raise SystemExit("the photos come with scikit-image: pip install scikit-image")
    folder = Path(spec.submodule_search_locations[0]) / "data"
    found = [folder / name for name in FILES if (folder / name).exists()]
    if not found:
        raise SystemExit(f"the installed scikit-image holds none of {', '.join(FILES)}")
    return found


def load() -> dict[str, Image.Image]:
    """The photos by name."""
    return {path.stem: Image.open(path).convert("RGB") for path in paths()}


def batch(images: int, size: int) -> Tensor:
    """uint8 `[images, 3, size, size]`: crops of each photo in turn, enlarged only where they must be."""
    photos = list(load().values())
    crops_each = -(-images // len(photos))
    crops = []
    for i in range(images):
        photo, along = photos[i % len(photos)], (i // len(photos) + 0.5) / crops_each
        shorter = min(photo.size)
        scale = max(size / shorter, min(1, size / shorter / _CROPPED))
        width, height = (max(size, round(side * scale)) for side in photo.size)
        left, top = round((width - size) * along), round((height - size) * along)
        photo = photo.resize((width, height), Image.Resampling.LANCZOS).crop((left, top, left + size, top + size))
        crops.append(to_tensor(photo))
    return torch.stack(crops)


def mosaic(size: int, tile: int = 512) -> Tensor:
    """uint8 `[1, 3, size, size]` of crops side by side: an enlarged photo would have no texture."""
    across = -(-size // tile)
    tiles = batch(across * across, tile).unflatten(0, (across, across))  # [rows, columns, 3, tile, tile]
    return tiles.permute(2, 0, 3, 1, 4).reshape(1, 3, across * tile, across * tile)[..., :size, :size].contiguous()


def volume(size: int) -> Tensor:
    """uint8 `[size, size, size]`: a window that pans over a gray photo, so that each axis has texture."""
    gray = next(iter(load().values())).convert("L")
    shorter = min(gray.size)
    if shorter < 2 * size:
        gray = gray.resize(tuple(side * 2 * size // shorter + 1 for side in gray.size), Image.Resampling.LANCZOS)
    pixels = torch.from_numpy(np.array(gray))
    return torch.stack([pixels[z : z + size, z : z + size] for z in range(size)])


def to_tensor(image: Image.Image) -> Tensor:
    """uint8 `[3, H, W]`."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def to_image(tensor: Tensor) -> Image.Image:
    return Image.fromarray(tensor.permute(1, 2, 0).contiguous().numpy())

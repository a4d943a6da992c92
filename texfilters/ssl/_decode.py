"""Photos of any shape as squares of one side: decoded, turned upright, squashed."""

import io
import os
import warnings

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

SUFFIXES = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm", ".gif"))

# Other decoders of Pillow's, some of which start programs, stay closed, whatever a file claims to be.
_READ = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM", "GIF")
_DEEP = ("I;16", "I;16B", "I;16L", "I;16N")
_ORIENTATION = 0x0112


class Unreadable(Exception):
    """A file that holds no image, or one that is damaged; the text says why."""


def read(path: str | bytes, side: int) -> tuple[Tensor, tuple[int, int]]:
    """A file's image, squashed to uint8 RGB `[3, side, side]`, and the height and width that it had, upright.

    Gray becomes RGB, transparency is left out, 16 bits are rounded to 8, and of several frames the first is taken. A
    JPEG that is at least twice as large as `side` is decoded at a fraction of its size, which is much faster.

    Raises:
        Unreadable: for any reason.
    """
    try:
        with open(path, "rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of EXIF, mostly, and of arrays that may not be written to
            return _squashed(file.read(), side)
    except Exception as error:  # decoders raise whatever they like
        raise Unreadable(_reason(error)) from error


def _squashed(data: bytes, side: int) -> tuple[Tensor, tuple[int, int]]:
    with Image.open(io.BytesIO(data), formats=_READ) as image:
        size = image.height, image.width
        image.draft(None, (side, side))
        orientation = _orientation(image)
        pixels = torch.from_numpy(_upright(_rgb(image), orientation)).permute(2, 0, 1)
    if pixels.shape[1:] != (side, side):
        pixels = functional.interpolate(pixels[None], (side, side), mode="bilinear", antialias=True)[0]
    return pixels.contiguous(), size if orientation not in (5, 6, 7, 8) else size[::-1]


def _orientation(image: Image.Image) -> int:
    try:
        return image.getexif().get(_ORIENTATION, 1)
    except Exception:  # EXIF that cannot be read says nothing
        return 1


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """`[H, W, 3]`, turned and mirrored as one of EXIF's numbers from 1 to 8 says."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _rgb(image: Image.Image) -> np.ndarray:
    """`[H, W, 3]`, uint8."""
    if image.mode in _DEEP or (image.mode == "I" and image.format in ("PNG", "PPM")):
        levels = np.asarray(image).astype(np.float32)
        return np.repeat(np.rint(levels.clip(0, 65535) / 257).astype(np.uint8)[..., None], 3, 2)
    if image.mode.startswith(("I", "F")):
        raise ValueError(f"mode {image.mode}, whose range is unknown")
    if image.mode == "P" and image.has_transparency_data:
        image = image.convert("RGBA")
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _reason(error: Exception) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        return "not an image, or damaged at its beginning"
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno)
    return " ".join(str(error).split()) or type(error).__name__

"""Image files to images and back, without losing silently what a file holds."""

import contextlib
import io
import os
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from PIL import Image, ImageOps

from texfilters.cli import atomic
from texfilters.cli.messages import reason

MAX_PIXELS = 100_000_000

# By suffix: the format, and the modes that it holds and gives back when the file is read again.
_JPEG = ("JPEG", ("L", "RGB", "CMYK"))
_TIFF = ("TIFF", ("L", "LA", "RGB", "RGBA", "CMYK", "I;16"))
SUFFIXES = {
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".png": ("PNG", ("L", "LA", "RGB", "RGBA", "I;16")),
    ".webp": ("WEBP", ("L", "LA", "RGB", "RGBA")),
    ".bmp": ("BMP", ("L", "RGB")),
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".ppm": ("PPM", ("L", "RGB", "I;16")),
    ".pgm": ("PPM", ("L", "I;16")),
}

# A file may bear another suffix than its content calls for, GIF included; other decoders, some of which start programs,
# stay closed to it.
_READ = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "PPM", "GIF")

_WITHOUT_EXIF = ("BMP", "PPM")

_DIRECT = ("L", "LA", "RGB", "RGBA", "CMYK", "I;16")
_OPAQUE = {"1": "L", "P": "RGB"}
_TRANSPARENT = {"1": "LA", "L": "LA", "P": "RGBA", "PA": "RGBA", "RGB": "RGBA"}

# What a TIFF's directory says of how its pixels are stored (size, compression, strips, tiles, palette, JPEG tables),
# and blocks that are not EXIF (XMP, IPTC, Photoshop, ICC): no part of the EXIF that goes along.
_STORAGE_TAGS = frozenset(
    tag
    for first, last in (
        *((254, 259), (262, 266), (273, 273), (277, 281), (284, 284), (290, 293), (297, 297), (301, 301)),
        *((317, 325), (330, 330), (332, 347), (512, 521), (529, 532), (700, 700), (33723, 33723), (34377, 34377)),
        (34675, 34675),
    )
    for tag in range(first, last + 1)
)


class TooLarge(ValueError):
    """A file beyond the limit that was set."""


@dataclass(frozen=True)
class Picture:
    image: Image.Image  # L, LA, RGB, RGBA, CMYK or I;16
    exif: bytes | None = None
    icc_profile: bytes | None = None
    format: str | None = None  # what the file held, whatever its suffix said: JPEG, PNG, ...

    def upright(self) -> Self:
        """Without EXIF, and with the pixels turned as it said."""
        return replace(self, image=_turned(self.image, self.exif), exif=None)

    def without_metadata(self) -> Self:
        """Upright, without EXIF and without a color profile."""
        return replace(self.upright(), icc_profile=None)


def suffix_of(path: str) -> str:
    return os.path.splitext(path)[1].lower()


def is_image(path: str) -> bool:
    """Whether a path's suffix is one of those that are read and written."""
    return suffix_of(path) in SUFFIXES


def renamed(name: str, suffix: str | None) -> str:
    """The name of an image that is written in the format of another suffix; None: in its own."""
    return name if suffix is None else os.path.splitext(name)[0] + suffix


def misnamed(path: str, picture: Picture) -> str | None:
    """A remark on a file whose content is of another format than its suffix says."""
    expected, _ = SUFFIXES[suffix_of(path)]
    if picture.format in (expected, None) or (picture.format, expected) == ("MPO", "JPEG"):
        return None
    return f"a {picture.format} under the name of a {expected}"


def read(path: str, *, max_pixels: int | None = MAX_PIXELS) -> Picture:
    """Read and decode a file; raises as `load` and `decode`."""
    return decode(load(path, most_bytes(max_pixels))[0], max_pixels=max_pixels)


def load(path: str, max_bytes: int | None = None) -> tuple[bytes, os.stat_result]:
    """The content of a regular file; raises OSError if it cannot be read, ValueError if it is none or too large."""
    with opened(path) as (descriptor, status):
        size = status.st_size
        require_size(size, max_bytes)
        data = os.read(descriptor, size + 1)
        while len(data) < size and (more := os.read(descriptor, size + 1 - len(data))):
            data += more  # beyond 2 GB, which is the most that the system reads at once
    if len(data) != size:
        raise ValueError("its size changed while it was read")
    return data, status


@contextlib.contextmanager
def opened(path: str) -> Iterator[tuple[int, os.stat_result]]:
    """A regular file to be read; raises as `load`."""
    # Opening a pipe would wait for its other end, and looking at it beforehand would leave time to swap it.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ValueError("a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file")
        yield descriptor, status
    finally:
        os.close(descriptor)


def most_bytes(max_pixels: int | None) -> int | None:
    """What a file of so many pixels may take: 16 bits in 4 channels, and room for what is stored beside them."""
    return None if max_pixels is None else 8 * max_pixels + 2**26


def require_size(size: int, max_bytes: int | None) -> None:
    if max_bytes is not None and size > max_bytes:
        raise TooLarge(f"{size} bytes, more than the {max_bytes} that an image within the limit of pixels may take")


def decode(data: bytes, *, max_pixels: int | None = MAX_PIXELS) -> Picture:
    """The image in the content of a file.

    Raises OSError or ValueError, with a reason on one line, for what is damaged, holds more than `max_pixels` (None:
    no limit; the pixels are not decoded then), or cannot be taken without losing a part of it.
    """
    if not data:
        raise ValueError("an empty file")
    try:
        with _no_limit_but_ours(), Image.open(io.BytesIO(data), formats=_READ) as image:
            return _decoded(image, max_pixels)
    except Image.UnidentifiedImageError:
        raise ValueError("not an image, or one that is damaged at its beginning") from None
    except (OSError, ValueError, MemoryError):
        raise
    except Exception as error:  # decoders raise whatever they like
        raise ValueError(f"damaged: {reason(error)}") from error


def _decoded(image: Any, max_pixels: int | None) -> Picture:
    width, height = image.size
    if max_pixels is not None and width * height > max_pixels:
        raise TooLarge(f"{width} x {height} pixels, more than the limit of {max_pixels}")
    # The further frames of an MPO, a camera's JPEG, are previews and depth maps of the first.
    frames = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    if frames > 1:
        raise ValueError(f"{frames} frames; only files of one frame can be written back whole")
    if _has_deep_colors(image):
        raise ValueError("16 bits a channel in color, of which Pillow reads 8")
    deep_gray = _has_deep_gray(image)  # before load() forgets the layout of the file
    image.load()
    pixels = _sixteen_bits(image) if deep_gray else _in_a_direct_mode(image)
    return Picture(pixels, _exif(image), image.info.get("icc_profile"), image.format)


def write(picture: Picture, path: str, quality: int = 95) -> None:
    """Encode to the format of the suffix, then write at once; folders are made where they are missing."""
    atomic.write(path, encode(picture, suffix_of(path), quality=quality))


def encode(picture: Picture, suffix: str, *, quality: int = 95) -> bytes:
    """The content of a file of this suffix. Raises ValueError if the format cannot hold the image."""
    form, modes = SUFFIXES[suffix]
    if form in _WITHOUT_EXIF:
        picture = picture.upright()
    image, mode = picture.image, picture.image.mode
    if mode not in modes:
        raise ValueError(f"{suffix} cannot hold an image of mode {mode}")
    options: dict[str, Any] = {"quality": quality} if form in ("JPEG", "WEBP") else {}
    if form == "JPEG":
        options["subsampling"] = 0  # full chroma: half of it would be a filter of its own
    if form == "WEBP":
        options["exact"] = True  # keeps the color below alpha 0
    if picture.exif:
        options["exif"] = picture.exif
    if picture.icc_profile and not (form == "WEBP" and mode in ("L", "LA")):  # WebP would store RGB with a gray profile
        options["icc_profile"] = picture.icc_profile
    if form == "PPM" and mode == "I;16":
        image = image.convert("I")  # what Pillow before 11 writes 16 bits from
    data = io.BytesIO()
    image.save(data, form, **options)
    return data.getvalue()


_decoding = 0
_pillows_limit: int | None = None
_lock = threading.Lock()


@contextlib.contextmanager
def _no_limit_but_ours() -> Iterator[None]:
    """Pillow's limit is a global variable, and threads decode side by side: the last of them puts it back."""
    global _decoding, _pillows_limit
    with _lock:
        if not _decoding:
            _pillows_limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        _decoding += 1
    try:
        yield
    finally:
        with _lock:
            _decoding -= 1
            if not _decoding:
                Image.MAX_IMAGE_PIXELS = _pillows_limit


def _turned(image: Image.Image, exif: bytes | None) -> Image.Image:
    if not exif:
        return image
    turned = image.copy()
    turned.info["exif"] = exif
    try:
        ImageOps.exif_transpose(turned, in_place=True)
    except Exception:  # EXIF that cannot be read says nothing
        return image
    turned.info.pop("exif", None)
    return turned


def _in_a_direct_mode(image: Image.Image) -> Image.Image:
    transparent = image.has_transparency_data
    if image.mode in _DIRECT and not (transparent and image.mode in _TRANSPARENT):
        return image
    target = (_TRANSPARENT if transparent else _OPAQUE).get(image.mode)
    if target is None:
        raise ValueError(f"mode {image.mode} is not among 1, P, L, LA, RGB, RGBA, CMYK and 16-bit gray")
    return image.convert(target)


def _sixteen_bits(image: Image.Image) -> Image.Image:
    """In one byte order, from Pillow's several 16-bit modes, or the 32 bits that it reads some 16-bit files into."""
    if image.has_transparency_data:
        raise ValueError("16 bits with a transparent level, which has no meaning after filtering")
    return Image.frombytes("I;16", image.size, np.asarray(image).astype("<u2").tobytes())


def _has_deep_gray(image: Image.Image) -> bool:
    if image.mode == "I":  # 32 bits, or 16 as some versions of Pillow read them; signed ones (I;16S) do not fit
        return image.format == "PPM" or _raw_mode(image) in ("I;16", "I;16B", "I;16L", "I;16N")
    return image.mode.startswith("I;16")


def _has_deep_colors(image: Any) -> bool:
    """Whether Pillow would drop half the bits of a color file without a word."""
    if image.mode.startswith(("I", "F")):
        return False
    if image.format == "TIFF":
        return max(image.tag_v2.get(258, (1,))) > 8
    if image.format == "PPM":
        return bool(image.tile) and isinstance(image.tile[0][3], tuple) and image.tile[0][3][1] > 255
    return image.format == "PNG" and ";16" in _raw_mode(image)


def _raw_mode(image: Any) -> str:
    """Pillow's name for the layout of the samples in the file."""
    arguments = image.tile[0][3] if image.tile else ""
    return arguments if isinstance(arguments, str) else str(arguments[0])


def _exif(image: Image.Image) -> bytes | None:
    raw = image.info.get("exif")
    if not raw:
        exif = image.getexif()  # of a TIFF, or of a PNG that keeps it in a text chunk
        for tag in _STORAGE_TAGS & set(exif):
            del exif[tag]
        raw = exif.tobytes() if len(exif) else b""
    # Pillow gives a WebP's without the header and writes a JPEG's as it comes.
    return raw if not raw or raw.startswith(b"Exif\0\0") else b"Exif\0\0" + raw

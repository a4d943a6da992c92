"""Folders of images for the folder job: many sizes and modes, and files that are broken in every known way."""

import io
import os
import random
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from cli_helpers import SCIKIT_IMAGES

_PHOTOS = ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg")
_ROTATED = 6  # EXIF: to be turned by 90 degrees when shown
_ORIENTATION = 0x0112


class Corpus(NamedTuple):
    good: dict[str, tuple[tuple[int, int], str]]  # name: (size, mode) of what is expected
    noted: set[str]  # those of them whose content is not of the format that the name says
    bad: dict[str, str]  # name: what must be among the words of the reason


def photos(source: Path, images: int, size: tuple[int, int] = (77, 53), folders: int = 3, suffix: str = ".png") -> None:
    """Color crops of `size`, all different, in a few folders."""
    rng, crops = random.Random(images), _Crops()
    for i in range(images):
        path = source / f"class {i % folders}" / f"{i:04}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        crops.next(rng, *size).save(path, quality=90)


def mixed(source: Path, files: int, share_bad: float = 0.01, largest: int = 160, seed: int = 0) -> Corpus:
    """`files` files of every kind that is read, among them the share of bad ones, of every kind in turn."""
    rng, crops = random.Random(seed), _Crops()
    bad_ones = max(len(_BAD), round(files * share_bad)) if share_bad else 0
    bad_places = dict.fromkeys(sorted(rng.sample(range(files), bad_ones)))
    bad_kinds = {place: list(_BAD)[i % len(_BAD)] for i, place in enumerate(bad_places)}
    corpus = Corpus({}, set(), {})
    for i in range(files):
        folder = f"class {i % 10}"
        (source / folder).mkdir(parents=True, exist_ok=True)
        least = 64 if i in bad_kinds else 8  # a third of a small file's end leaves no complete header
        width, height = (rng.randint(least, max(least, largest)) for _ in range(2))
        crop = crops.next(rng, width, height)
        if i not in bad_kinds:
            kind = list(_GOOD)[i % len(_GOOD)]
            suffix, mode, encode = _GOOD[kind]
            name = f"{folder}/{i:05} {kind}{suffix}"
            (source / name).write_bytes(encode(crop))
            corpus.good[name] = (crop.size, mode)
            continue
        kind = bad_kinds[i]
        suffix, make, reason = _BAD[kind]
        name = f"{folder}/{i:05} {kind}{suffix}"
        make(source / name, crop)
        if reason is None:
            corpus.good[name] = (crop.size, "RGB")
            corpus.noted.add(name)
        else:
            corpus.bad[name] = reason
    return corpus


def bomb(width: int, height: int) -> bytes:
    """A valid PNG of black pixels, one bit each: 60000x60000 fit into half a megabyte.

    A deflate stream that is flushed after every block may hold the same block again, so that no gigabytes are packed.
    """
    row = 1 + (width + 7) // 8  # with the byte that names the row's filter
    block = 1 << 20
    blocks, rest = divmod(row * height, block)
    packer = zlib.compressobj(9)
    head = packer.compress(bytes(block)) + packer.flush(zlib.Z_FULL_FLUSH)  # 2 bytes of header first
    tail = zlib.compressobj(9, zlib.DEFLATED, -15)
    last = tail.compress(bytes(rest)) + tail.flush(zlib.Z_FINISH)
    checksum = struct.pack(">I", row * height % 65521 << 16 | 1)  # Adler-32 of that many zeros
    packed = head[:2] + head[2:] * blocks + last + checksum
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


class _Crops:
    """Random places of the photos that come with scikit-image."""

    def __init__(self) -> None:
        paths = [SCIKIT_IMAGES / name for name in _PHOTOS if (SCIKIT_IMAGES / name).exists()]
        self.photos = [Image.open(path).convert("RGB") for path in paths]

    def next(self, rng: random.Random, width: int, height: int) -> Image.Image:
        photo = rng.choice(self.photos)
        left, top = rng.randint(0, photo.width - width), rng.randint(0, photo.height - height)
        return photo.crop((left, top, left + width, top + height))


def _encoded(form: str, mode: str = "RGB", **options) -> Callable[[Image.Image], bytes]:
    def encode(crop: Image.Image) -> bytes:
        data = io.BytesIO()
        image = crop.convert(mode)
        if mode in ("LA", "RGBA"):
            image.putalpha(crop.convert("L"))
        image.save(data, form, **options)
        return data.getvalue()

    return encode


def _sixteen_bits(crop: Image.Image) -> bytes:
    levels = np.asarray(crop.convert("I"), np.uint16) * 257
    levels[0, 0] = 12_345  # no multiple of 257: a file of eight bits could not hold it
    data = io.BytesIO()
    Image.frombytes("I;16", crop.size, levels.tobytes()).save(data, "PNG")
    return data.getvalue()


def _rotated() -> Image.Exif:
    exif = Image.Exif()
    exif[_ORIENTATION] = _ROTATED
    return exif


# Name of the kind: suffix, mode of the output, how the file is made.
_GOOD: dict[str, tuple[str, str, Callable[[Image.Image], bytes]]] = {
    "color": (".jpg", "RGB", _encoded("JPEG", quality=90)),
    "gray": (".jpeg", "L", _encoded("JPEG", "L", quality=90)),
    "progressive": (".JPG", "RGB", _encoded("JPEG", progressive=True)),
    "rotated": (".jpg", "RGB", _encoded("JPEG", exif=_rotated())),
    "print": (".jpg", "CMYK", _encoded("JPEG", "CMYK")),
    "drawn": (".png", "RGB", _encoded("PNG")),
    "gray drawn": (".png", "L", _encoded("PNG", "L")),
    "see-through": (".png", "RGBA", _encoded("PNG", "RGBA")),
    "gray see-through": (".png", "LA", _encoded("PNG", "LA")),
    "palette": (".png", "RGB", _encoded("PNG", "P")),
    "deep": (".png", "I;16", _sixteen_bits),
    "web": (".webp", "RGB", _encoded("WEBP")),
    "web see-through": (".webp", "RGBA", _encoded("WEBP", "RGBA", lossless=True)),
    "bitmap": (".bmp", "RGB", _encoded("BMP")),
    "scan": (".tif", "CMYK", _encoded("TIFF", "CMYK")),
    "portable": (".ppm", "RGB", _encoded("PPM")),
}


def _truncated(path: Path, crop: Image.Image) -> None:
    data = _encoded("JPEG", quality=95)(crop)
    path.write_bytes(data[: len(data) * 2 // 3])


def _truncated_png(path: Path, crop: Image.Image) -> None:
    data = _encoded("PNG")(crop)
    path.write_bytes(data[: len(data) // 2])


def _without_permission(path: Path, crop: Image.Image) -> None:
    """Root may read everything, so that there a link to nothing stands in."""
    if os.geteuid() == 0:
        path.symlink_to("nothing")
    else:
        path.write_bytes(_encoded("PNG")(crop))
        path.chmod(0)


# Suffix, how the file is made, and a word of the reason; None: it is done all the same, with a note.
_BAD: dict[str, tuple[str, Callable[[Path, Image.Image], None], str | None]] = {
    "truncated": (".jpg", _truncated, "truncated"),
    "cut": (".png", _truncated_png, ""),
    "nothing": (".jpg", lambda path, crop: path.touch(), ""),
    "text": (".png", lambda path, crop: path.write_text("These are words.\n" * 20), "not an image"),
    "misnamed": (".jpg", lambda path, crop: path.write_bytes(_encoded("PNG")(crop)), None),
    "bomb": (".png", lambda path, crop: path.write_bytes(bomb(60_000, 60_000)), "pixels"),
    "unreadable": (".png", _without_permission, "No such file" if os.geteuid() == 0 else "Permission denied"),
    "pipe": (".jpg", lambda path, crop: os.mkfifo(path), "not a regular file"),
}

"""What the tests of WebDataset shards share: shards and what is in them."""

import io
import tarfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import texfilters
from texfilters.cli import work
from texfilters.cli.image_files import Picture, encode
from texfilters.cli.work import Item, Settings

MEDIAN = Settings("median", {"ksize": 3})


def filtered(image: Image.Image) -> np.ndarray:
    planes = torch.from_numpy(np.atleast_3d(np.asarray(image)).copy()).movedim(-1, 0)
    return np.squeeze(texfilters.median_blur(planes, 3).movedim(0, -1).numpy())


def png(image: Image.Image) -> bytes:
    return encode(Picture(image), ".png")


def member(name: str, size: int = 0, **changes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = size
    for key, value in changes.items():
        setattr(info, key, value)
    return info


def write(path, members, form: int = tarfile.PAX_FORMAT, **options) -> None:
    """`members`: pairs of a name, or a TarInfo, and the content."""
    with tarfile.open(path, "w", format=form, **options) as tar:
        for name, content in members:
            info = member(name) if isinstance(name, str) else name
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def contents(path) -> list[tuple[str, bytes]]:
    with tarfile.open(path) as tar:
        return [(info.name, tar.extractfile(info).read() if info.isreg() else None) for info in tar]


class Shard:
    """A shard in a folder of its own, and what a job makes of it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.source, self.target = folder, folder / "a.tar", folder / "b.tar"

    def do(self, settings: Settings = MEDIAN, threads: int = 1, resuming: bool = False) -> dict:
        item = Item("a.tar", str(self.source), str(self.target), resuming)
        (record,) = work.do([item], settings, str(self.folder / ".tmp"), threads)
        assert not (self.folder / ".tmp").exists()
        return record

    def reason(self, **options) -> str:
        record = self.do(**options)
        assert record["status"] == "failed"
        assert set(record) == {"source", "status", "reason", "bytes", "sha256"}
        assert not self.target.exists()
        return record["reason"]

"""What the tests of a worker share: a job, and what its filter makes of an image."""

import hashlib
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import texfilters
from cli_helpers import files_in
from texfilters.cli import work
from texfilters.cli.work import Item, Settings

DIFFUSION = Settings("anisotropic-diffusion", {"niter": 5, "kappa": None})


def diffused(image: Image.Image) -> np.ndarray:
    planes = torch.from_numpy(np.atleast_3d(np.asarray(image)).copy()).movedim(-1, 0)
    return np.squeeze(texfilters.anisotropic_diffusion(planes, 5, 20.0, 0.1).movedim(0, -1).numpy())


def sha256(path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Job:
    """Every file of SRC goes to DST under its own name, or a name that is given."""

    def __init__(self, folder: Path) -> None:
        self.source, self.target = folder / "SRC", folder / "DST"
        self.source.mkdir()
        self.target.mkdir()

    def items(self, *names: str, resuming: bool = False, **targets: str) -> list[Item]:
        return [
            Item(name, str(self.source / name), str(self.target / targets.get(name, name)), resuming) for name in names
        ]

    def do(self, *names: str, settings: Settings = DIFFUSION, resuming: bool = False) -> list[dict]:
        items = self.items(*names, resuming=resuming)
        records = list(work.do(items, settings, str(self.target / ".tmp")))
        assert ".tmp" not in files_in(self.target)
        return records

    def reason(self, name: str, **options) -> str:
        before = files_in(self.target)
        (record,) = self.do(name, **options)
        assert (record["source"], record["status"]) == (name, "failed")
        assert set(record) <= {"source", "status", "reason", "bytes", "sha256"}
        assert files_in(self.target) == before
        return record["reason"]

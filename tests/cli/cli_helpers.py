"""How the tests start the command line, the files they give it, and what it is to make of them."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import skimage
import torch
from PIL import Image

import texfilters
from texfilters.cli import work

SCIKIT_IMAGES = Path(skimage.__file__).parent / "data"
MANIFEST = "texfilters-manifest.jsonl"


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


def start(*arguments: object, before: str = "", **options) -> subprocess.Popen:
    """The command line as a process of its own; `before` is Python code that prepares it."""
    command = [sys.executable, "-c", f"{before}\nfrom texfilters.cli import main\nmain()", *map(os.fspath, arguments)]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, text=True, **{**streams, **options})


def finish(process: subprocess.Popen) -> Outcome:
    out, err = process.communicate(timeout=60)
    assert "Traceback" not in err
    return Outcome(process.returncode, out, err)


def run(*arguments: object, **options) -> Outcome:
    return finish(start(*arguments, **options))


def pixels(path: str | os.PathLike) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def suppress(source, target, metadata="keep", **flags) -> None:
    """One file, as a job does it."""
    settings = work.Settings("anisotropic-diffusion", flags, metadata=metadata, overwrite=True)
    (record,) = work.do([work.Item("a", str(source), str(target))], settings, f"{target}.tmp")
    assert record["status"] == "done", record


def diffused(path, **parameters) -> np.ndarray:
    """What the command's defaults make of an image."""
    planes = torch.from_numpy(np.array(Image.open(path))).movedim(-1, 0)
    values = {"niter": 20, "kappa": 20.0, "gamma": 0.1, "option": 1, **parameters}
    return texfilters.anisotropic_diffusion(planes, **values).movedim(0, -1).numpy()

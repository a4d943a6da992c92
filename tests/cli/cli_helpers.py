"""How the tests start the command line, and the files they give it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import skimage
from PIL import Image

SCIKIT_IMAGES = Path(skimage.__file__).parent / "data"


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

import sys
from collections.abc import Callable

import pytest
import torch
from PIL import Image

from cli_helpers import SCIKIT_IMAGES, Outcome


@pytest.fixture
def call(monkeypatch, capsys) -> Callable[..., Outcome]:
    """The command line in this process, which spares the import of torch."""
    from texfilters.cli import main

    def call(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["texfilters", *map(str, arguments)])
        with pytest.raises(SystemExit) as stop:
            main()
        captured = capsys.readouterr()
        return Outcome(stop.value.code, captured.out, captured.err)

    return call


@pytest.fixture(autouse=True)
def _threads_of_torch():
    """A job divides the cores; the tests after it want them back."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def astronaut() -> Image.Image:
    return Image.open(SCIKIT_IMAGES / "astronaut.png").convert("RGB")


@pytest.fixture
def small(astronaut) -> Image.Image:
    """A textured color image of an odd size."""
    return astronaut.crop((120, 60, 197, 113))

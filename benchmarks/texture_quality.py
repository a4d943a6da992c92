"""Measure what every filter takes off the boundaries that people drew on photos, and leaves of the edges on them.

    python benchmarks/texture_quality.py DATA

DATA holds photos ID.jpg and their boundaries ID_boundary.png: the 200 of BSDS500's training set (Arbelaez et al. 2011).
The result goes to benchmarks/results/evaluate/texture_bsds500.json; `tables.py` and `figures.py` read it.
"""

import argparse
import shlex
from pathlib import Path
from typing import Any

import torch

import machine
from texfilters.evaluate.report import plain
from texfilters.evaluate.sections import texture
from texfilters.evaluate.texture import Curve

RESULT = Path(__file__).resolve().parent / "results" / "evaluate" / "texture_bsds500.json"


def measured(folder: Path, count: int | None) -> dict[str, Any]:
    about = machine.describe(["torch", "numpy", "pillow"])  # first: the commit that runs
    command = ["python", "benchmarks/texture_quality.py", "DATA", *(["--count", str(count)] if count else [])]
    return {"command": shlex.join(command), **about, **plain(texture(folder, count).record)}


def curves(result: dict[str, Any]) -> list[Curve]:
    """Those of a result, without the values of single images."""
    return [
        Curve(
            each["filter"],
            each["parameter"],
            tuple(each["values"]),
            tuple(each["removed"]),
            tuple(each["kept"]),
            result["images"],
            each["fixed"],
        )
        for each in result["curves"]
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--count", type=int, help="photos, evenly spaced (default all)")
    parser.add_argument("--result", type=Path, default=RESULT)
    given = parser.parse_args()
    torch.set_num_threads(1)  # the same sums on any machine
    given.result.write_text(machine.as_json(measured(given.data, given.count)))
    print(f"wrote {given.result}")


if __name__ == "__main__":
    main()

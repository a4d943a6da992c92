"""Measure what every filter takes off the boundaries that people drew on photos, and leaves of the edges on them.

    python benchmarks/texture_quality.py DATA
    python benchmarks/texture_quality.py DATA --settings --count 20

DATA holds photos ID.jpg and their boundaries ID_boundary.png: the 200 of BSDS500's training set (Arbelaez et al. 2011).
The result goes to benchmarks/results/evaluate/texture_bsds500.json; `tables.py` and `evaluation_figures.py` read it.
With --settings some filters are measured at other tolerances and margins, to texture_bsds500_settings.json.
"""

import argparse
import shlex
from pathlib import Path
from typing import Any

import torch

import machine
from texfilters.evaluate.report import plain
from texfilters.evaluate.sections import texture
from texfilters.evaluate.texture import BLUR, FILTERS, Curve, boundary_pairs, suppression_curves

RESULTS = Path(__file__).resolve().parent / "results" / "evaluate"
RESULT, SETTINGS_RESULT = RESULTS / "texture_bsds500.json", RESULTS / "texture_bsds500_settings.json"

SETTINGS = ((2, 5), (0, 5), (1, 5), (4, 5), (2, 2), (2, 10))  # tolerance and margin, pixels
SOME = ("diffusion, exponential", "diffusion, rational", "bilateral filter", BLUR)


def measured(folder: Path, count: int | None) -> dict[str, Any]:
    about = _about([], count)  # first: the commit that runs
    return {**about, **plain(texture(folder, count).record)}


def at_other_settings(folder: Path, count: int | None) -> dict[str, Any]:
    """What some filters keep at half removed."""
    about = _about(["--settings"], count)
    pairs = list(boundary_pairs(folder, count))
    some = {name: FILTERS[name] for name in SOME}
    rows = []
    for tolerance, margin in SETTINGS:
        found = suppression_curves(pairs, some, tolerance=tolerance, margin=margin)
        kept = {curve.name: round(curve.kept_at(0.5), 5) for curve in found}
        rows.append({"tolerance": tolerance, "margin": margin, "kept": plain(kept)})
    return {**about, "images": len(pairs), "rows": rows}


def _about(options: list[str], count: int | None) -> dict[str, Any]:
    command = ["python", "benchmarks/texture_quality.py", "DATA", *options, *(["--count", str(count)] if count else [])]
    return {"command": shlex.join(command), **machine.describe(["torch", "numpy", "pillow"])}


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
    parser.add_argument("--settings", action="store_true", help="at other tolerances and margins")
    parser.add_argument("--result", type=Path, help="in place of the file in benchmarks/results/evaluate")
    given = parser.parse_args()
    torch.set_num_threads(1)  # the same sums on any machine
    measure, path = (at_other_settings, SETTINGS_RESULT) if given.settings else (measured, RESULT)
    result = measure(given.data, given.count)
    path = given.result or path
    path.write_text(machine.as_json(result))
    print(f"wrote {path}")


if __name__ == "__main__":
    main()

"""The filters beside the diffusion on the CPU, beside cv2, kornia and torch: time, error and memory, in turns.

    python benchmarks/cpu_filters.py [--only PART ...] [--sizes small large] [--rounds N] [--out FILE]

Every number of threads gets a process of its own: cv2 that was once set to one thread stays with it. A whole run is
written to benchmarks/results/cpu_filters_<cpu>.json; a part of one only where --out says.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from torch import Tensor

import filter_peers
import machine
import measure
import peers
import photos
import texfilters
from filter_peers import Case
from timed_filters import CARTOON, GRAY, PATCHES, Filter, bilateral, gaussian, median, threshold

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("torch", "numpy", "opencv-contrib-python-headless", "kornia", "scikit-image")
PARTS: dict[str, list[Filter]] = {
    "bilateral": [bilateral(d, channels, common=d == 9) for channels in (1, 3) for d in (5, 9, 15)],
    "median": [median(ksize, common=ksize == 5) for ksize in (3, 5, 7, 9, 15)],
    "threshold": [threshold(method, size, common=size == 9) for method in ("mean", "gaussian") for size in (9, 25)],
    "gray": [GRAY],
    "gaussian": [gaussian(sigma, channels, common=sigma == 2) for channels in (1, 3) for sigma in (1, 2, 5)],
    "cartoon": [CARTOON],
    "patches": [PATCHES],
}
SIZES: dict[str, Callable[[], Tensor]] = {
    "small": lambda: photos.batch(8, 224),
    "large": lambda: photos.mosaic(2048)[..., :1080, :1920].contiguous(),
}
_PLAIN: dict[str, Any] = {"box": SIMPLE_HEAD, "show_edge": False, "padding": (0, 1, 0, 0)}


def main() -> None:
    if not peers.instruction_sets():
        raise SystemExit("the native backend is not there, and nothing worth keeping without it; see `texfilters info`")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="PART", choices=PARTS, help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES), help="8 of 224x224, 1 of 1080x1920")
    parser.add_argument("--rounds", type=int, default=11, help="samples of each contender (default %(default)s)")
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    parser.add_argument("--threads", type=int, help="in this process, and rows only: how the script calls itself")
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error("--rounds must be at least 1")
    os.environ.pop("TEXFILTERS_ISA", None)
    if arguments.threads:
        found = measured(arguments.only or list(PARTS), arguments.sizes, arguments.rounds, arguments.threads)
        arguments.out.write_text(json.dumps(found))
        return

    started = time.perf_counter()
    result = {**machine.describe(PACKAGES), "threads": sorted({1, machine.cores()}), "rounds": arguments.rounds}
    result |= {"left_out": [], "rows": []}
    options = [*(["--only", *arguments.only] if arguments.only else []), "--sizes", *arguments.sizes]
    with tempfile.TemporaryDirectory() as folder:
        for threads in result["threads"]:
            out = Path(folder) / f"{threads}.json"
            command = [sys.executable, __file__, *options, "--rounds", str(arguments.rounds), "--out", str(out)]
            if subprocess.run([*command, "--threads", str(threads)]).returncode:
                raise SystemExit(f"the process with {threads} threads failed; nothing was written")
            for key, found in json.loads(out.read_text()).items():
                result[key] += found
    print(f"{time.perf_counter() - started:.0f} s in all")
    target = arguments.out
    if target is None and not arguments.only and arguments.sizes == list(SIZES):
        target = RESULTS / f"cpu_filters_{machine.slug(result['cpu'])}.json"
    if target is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(machine.as_json(result))
        print(f"wrote {target}")


def measured(parts: list[str], sizes: list[str], rounds: int, threads: int) -> dict[str, list]:
    """Those of one case take turns."""
    console, everyone = Console(), filter_peers.everyone()
    rows: list[dict[str, Any]] = []
    left_out: list[str] = []
    for name in parts:
        new: list[dict[str, Any]] = []
        for size in sizes:
            colors = SIZES[size]()
            grays = texfilters.rgb_to_gray(colors, backend="reference")
            for filter in PARTS[name]:
                image = colors if filter.channels == 3 else grays
                for case in (Case(filter, image), Case(filter, image.float())):
                    if case.image.dtype == torch.uint8 or filter_peers.suits_opencv(case):
                        entries = [(case, peer) for peer in everyone]
                        new += [{"part": name, **row} for row in measure.compare(entries, [threads], rounds, left_out)]
        console.print(table(new, threads))
        rows += new
    for line in left_out:
        console.print(f"left out: {line}", markup=False)
    return {"rows": rows, "left_out": left_out}


def table(rows: list[dict[str, Any]], threads: int) -> Table:
    """What fits 100 columns; the quartiles are shown as their distance in percent of the median."""
    grid = Table(title=f"{rows[0]['part']}, {threads} threads", title_justify="left", **_PLAIN)
    grid.add_column("", no_wrap=True)
    for heading in ("peer", "ms", "iqr %", "x first", "max err", "differ %", "from cv2 %", "MB", "n"):
        grid.add_column(heading, justify="right", no_wrap=True)
    first: dict[tuple, float] = {}
    for row in rows:
        low, high = row["quartiles"]
        key = (row["filter"], *row["shape"], row["dtype"])
        grid.add_row(
            f"{row['filter']}, {row['shape'][0]}x{row['shape'][-1]} {row['dtype']}" if key not in first else "",
            row["peer"],
            f"{row['ms']:.3g}",
            "" if low is None else f"{100 * (high - low) / row['ms']:.2g}",
            f"{first.setdefault(key, row['ms']) / row['ms']:.3g}",
            _short(row.get("error_max"), 2) + ("" if row["same_scheme"] else "*"),
            *(_percent(row.get(key)) for key in ("differing", "differing_from_cv2")),
            _short(row["peak_mb"], 3),
            str(row["rounds"] * row["calls_a_round"]),
        )
    return grid


def _short(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}g}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.3g}"


if __name__ == "__main__":
    main()

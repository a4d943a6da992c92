"""Anisotropic diffusion on the CPU beside its peers: time, error and memory, in one process and in turns.

    python benchmarks/cpu_diffusion.py [--only PART ...] [--rounds N] [--out FILE]

A whole run is written to benchmarks/results/cpu_diffusion_<cpu>.json; a part of one only where --out says.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

import machine
import measure
import overhead
import peers
import photos
from peers import Case, Peer

Entries = list[tuple[Case, Peer]]
RESULTS = Path(__file__).parent / "results"
PACKAGES = ("torch", "numpy", "MedPy", "opencv-contrib-python-headless", "scikit-image")
_PLAIN: dict[str, Any] = {"box": SIMPLE_HEAD, "show_edge": False, "padding": (0, 1, 0, 0)}


def parts() -> dict[str, Callable[[], list[Entries]]]:
    """By name, groups of entries; those of one group take turns."""
    eight = Case(photos.batch(8, 224))
    everyone = peers.everyone()
    ours = [peer for peer in everyone if peer.name == "texfilters"]
    best = [peer for peer in everyone if peer not in ours[1:]]  # ours with the best instruction set only
    eager = [peer for peer in everyone if peer.name == "torch eager"]

    def all_on(case: Case, who: list[Peer] = best) -> Entries:
        return [(case, peer) for peer in who]

    dtypes = [torch.uint8, torch.float16, torch.float32, torch.float64]
    return {
        "headline": lambda: [all_on(eight, everyone)],
        "batches": lambda: [all_on(Case(photos.batch(n, 224))) for n in (1, 32)],
        "sizes": lambda: [
            all_on(Case(image)) for image in (photos.batch(1, 512), photos.mosaic(2048), photos.volume(128))
        ],
        "niter": lambda: [all_on(replace(eight, niter=n)) for n in (10, 50)],
        "options": lambda: [all_on(replace(eight, option=option)) for option in (2, 3)],
        "dtypes": lambda: [[(replace(eight, dtype=dtype), peer) for dtype in dtypes for peer in ours[:1]]],
        "coupling": lambda: [all_on(eight, ours[:1]) + all_on(replace(eight, coupling="l2"), [*eager, *ours[:1]])],
    }


def main() -> None:
    if not peers.instruction_sets():
        raise SystemExit("the native backend is not there, and nothing worth keeping without it; see `texfilters info`")
    available = parts()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="PART", choices=[*available, "overhead"], help="some parts")
    parser.add_argument("--rounds", type=int, default=11, help="samples of each contender (default %(default)s)")
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error("--rounds must be at least 1")

    console, started = Console(), time.perf_counter()
    # Its own cache, so that the time to compile is that of a first run.
    with tempfile.TemporaryDirectory() as cache:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = cache
        result = measured(available, arguments.only, arguments.rounds, console)
    console.print(f"{time.perf_counter() - started:.0f} s in all")

    target = arguments.out
    if target is None and not arguments.only:
        target = RESULTS / f"cpu_diffusion_{machine.slug(result['cpu'])}.json"
    if target is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(machine.as_json(result))
        console.print(f"wrote {target}")


def measured(available: dict, only: list[str] | None, rounds: int, console: Console) -> dict[str, Any]:
    os.environ.pop("TEXFILTERS_ISA", None)
    result = machine.describe(PACKAGES)
    threads = sorted({1, machine.cores()})
    rows: list[dict[str, Any]] = []
    left_out: list[str] = []
    for name, groups in available.items():
        if only and name not in only:
            continue
        for entries in groups():
            new = [{"part": name, **row} for row in measure.compare(entries, threads, rounds, left_out)]
            rows += new
            console.print(table(new))
    os.environ.pop("TEXFILTERS_ISA", None)
    result |= {"threads": threads, "rounds": rounds, "left_out": left_out, "rows": rows, "overhead": []}
    if not only or "overhead" in only:
        result["overhead"] = overhead.rows()
        console.print(overhead_table(result["overhead"]))
    for line in left_out:
        console.print(f"left out: {line}", markup=False)
    return result


def table(rows: list[dict[str, Any]]) -> Table:
    """What fits 80 columns; the quartiles are shown as their distance in percent of the median."""
    shape = "x".join(map(str, rows[0]["shape"]))
    title = f"{rows[0]['part']}: {shape}, niter {rows[0]['niter']}, option {rows[0]['option']}"
    grid = Table(title=title, title_justify="left", caption=_footnote(rows), caption_justify="left", **_PLAIN)
    grid.add_column("", no_wrap=True)
    medpy = next((row["ms"] for row in rows if row["peer"] == "MedPy"), None)
    ratio = ["x MedPy"] if medpy else []
    for heading in ("thr.", "ms", "iqr %", *ratio, "max err", "mean err", "MB", "n"):
        grid.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        low, high = row["quartiles"]
        grid.add_row(
            " ".join(filter(None, [row["peer"], row["instruction_set"], *_unusual(row)])),
            str(row["threads"]),
            _short(row["ms"]),
            "" if low is None else _short(100 * (high - low) / row["ms"]),
            *([_short(medpy / row["ms"])] if medpy else []),
            f"{row['error_max']:.2g}" + ("" if row["same_scheme"] else "*"),
            f"{row['error_mean']:.2g}",
            "" if row["peak_mb"] is None else _short(row["peak_mb"]),
            str(row["rounds"]),
        )
    return grid


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _unusual(row: dict[str, Any]) -> list[str]:
    return [row[key] for key, usual in (("dtype", "float32"), ("coupling", "none")) if row[key] != usual]


def _footnote(rows: list[dict[str, Any]]) -> str:
    compiled = [f"{row['compile_s']:.1f} s" for row in rows if "compile_s" in row]
    notes = [] if all(row["same_scheme"] for row in rows) else ["* another scheme"]
    return "; ".join(notes + ([f"torch.compile compiled for {' and '.join(compiled)}"] if compiled else []))


def overhead_table(rows: list[dict[str, Any]]) -> Table:
    grid = Table(title="overhead", title_justify="left", **_PLAIN)
    for heading, justify in (("what", "left"), ("median", "right"), ("quartiles", "right")):
        grid.add_column(heading, justify=justify)
    for row in rows:
        unit = "us" if "us" in row else "ms"
        low_high = "{:.4g} {:.4g}".format(*row["quartiles"]) if "quartiles" in row else ""
        grid.add_row(row.get("call") or row["import"], f"{row[unit]:.4g} {unit}", low_high)
    return grid


if __name__ == "__main__":
    main()

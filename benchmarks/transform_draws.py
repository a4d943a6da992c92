"""What it costs on the host to draw the transforms' numbers for a batch.

    python benchmarks/transform_draws.py [--batch N] [--rounds N] [--out FILE]

In turns, on one thread. A whole run is written to benchmarks/results/transform_draws_<cpu>.json.
"""

import argparse
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

import machine
import measure
from texfilters import transforms

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("torch", "torchvision", "numpy")
BATCH, ROUNDS, CALLS = 256, 51, 20

# Every number is drawn that can be: more than most pipelines do.
TRANSFORMS: dict[str, Callable[..., Any]] = {
    "AnisotropicDiffusion": lambda **o: transforms.AnisotropicDiffusion((10, 20), (10, 30), (0.05, 0.2), p=0.5, **o),
    "BilateralFilter": lambda **o: transforms.BilateralFilter((5, 9), (30, 75), (2, 5), p=0.5, **o),
    "GaussianBlur": lambda **o: transforms.GaussianBlur((0.1, 2.0), p=0.5, **o),
    "MedianBlur": lambda **o: transforms.MedianBlur((3, 7), p=0.5, **o),
    "Cartoonize": lambda **o: transforms.Cartoonize(9, (100, 300), (5, 9), (1, 2), (5, 7), (7, 9), (5, 9), p=0.5, **o),
    "PatchNegatives": lambda **o: transforms.PatchNegatives(1, **o),
    "RandomTextureSuppression": lambda **o: transforms.RandomTextureSuppression(**o),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=BATCH, help="samples (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="samples of each time (default %(default)s)")
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    arguments = parser.parse_args()
    if arguments.rounds < 1 or arguments.batch < 1:
        parser.error("--rounds and --batch must be at least 1")
    torch.set_num_threads(1)
    result = {**machine.describe(PACKAGES), "batch": arguments.batch, "rounds": arguments.rounds}
    result["calls_a_round"] = CALLS
    result["rows"] = rows(arguments.batch, arguments.rounds)
    Console().print(table(result["rows"], arguments.batch))
    target = arguments.out
    if target is None and (arguments.batch, arguments.rounds) == (BATCH, ROUNDS):
        target = RESULTS / f"transform_draws_{machine.slug(result['cpu'])}.json"
    if target is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(machine.as_json(result))
        print(f"wrote {target}")


def rows(batch: int, rounds: int) -> list[dict[str, Any]]:
    images = torch.empty(batch, 3, 0, 0)
    calls: dict[tuple[str, str], Callable[[], Any]] = {}
    for name, build in TRANSFORMS.items():
        for source, options in (("torch's", {}), ("its own", {"generator": torch.Generator().manual_seed(0)})):
            calls[name, source] = functools.partial(build(**options).make_params, [images])
    samples: dict[tuple[str, str], list[float]] = {key: [] for key in calls}
    for number in range(rounds + 1):
        for key, call in calls.items():
            start = time.perf_counter()
            for _ in range(CALLS):
                call()
            if number:  # the first round warms up
                samples[key].append(1e6 * (time.perf_counter() - start) / CALLS)
    return [
        {"transform": name, "generator": source, **measure.spread(times, "us"), "least_us": measure.rounded(min(times))}
        for (name, source), times in samples.items()
    ]


def table(rows: list[dict[str, Any]], batch: int) -> Table:
    grid = Table(title=f"numbers for {batch} samples, us", title_justify="left", box=SIMPLE_HEAD, show_edge=False)
    for heading in ("transform", "generator"):
        grid.add_column(heading, no_wrap=True)
    for heading in ("least", "median", "quartiles"):
        grid.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        low, high = row["quartiles"]
        spread = "" if low is None else f"{low:.3g} .. {high:.3g}"
        grid.add_row(row["transform"], row["generator"], f"{row['least_us']:.3g}", f"{row['us']:.3g}", spread)
    return grid


if __name__ == "__main__":
    main()

"""A training step behind a loader, with texture suppression and without: how long it takes, and how long it waits.

    python benchmarks/loader_step.py [--device cpu|cuda] [--batch N] [--steps N] [--rounds N] [--seconds S] [--out FILE]

The step is MoCoV2's with a ResNet-50 on images of 224x224, and both views of a batch are suppressed by the papers'
mixture. Contenders take turns on the same stream of batches. Without options it writes
benchmarks/results/cpu_loader_<cpu>.json; on a GPU, where gpu_report.py starts it, only what --out names.
"""

import argparse
import itertools
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import machine
import moco_step
from gpu_job import Row, rounded
from moco_step import Views
from texfilters.loader import DeviceLoader
from texfilters.transforms import RandomTextureSuppression

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("torch", "torchvision", "numpy", "scikit-image")
SIDE = 224
WITHOUT, WITH, IN_THE_LOOP = "without suppression", "with suppression", "with suppression, in the loop"
IN_MEMORY, DECODED = "batches in memory", "JPEG files"
# On a GPU as MoCoV2 was trained; on a CPU as little as shows anything.
SETTINGS = {
    "cuda": {"batch": 256, "queue": 65536, "steps": 10, "rounds": 7},
    "cpu": {"batch": 4, "queue": 4096, "steps": 2, "rounds": 5},
}
FEWEST_ROUNDS = 2
_CALLS, _ROUNDS = 500, 21  # of the loader by itself


@dataclass
class Contender:
    name: str
    transform: Callable[[Tensor], Views]
    ahead: bool = True  # by DeviceLoader, else in the loop
    turns: list[Row] = field(default_factory=list)

    def loop(self, batches: Iterable[Tensor], device: torch.device, transform: Callable[[Any], Any]) -> Iterator[Views]:
        if self.ahead:
            return iter(DeviceLoader(batches, device, transform))
        return (transform(batch.to(device, non_blocking=True)) for batch in batches)


class Stopwatch:
    """A function, and the seconds that the host spent in it."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function, self.seconds = function, 0.0

    def __call__(self, argument: Any) -> Any:
        start = time.perf_counter()
        result = self.function(argument)
        self.seconds += time.perf_counter() - start
        return result


def turn(
    contender: Contender, batches: Iterator[Tensor], step: Callable[[Views], None], steps: int, device: torch.device
) -> Row:
    """Milliseconds a step, over `steps` of them.

    One step before them fills the pipeline, and a batch is asked for after them that nobody takes: each timed step
    pays for the preparation of one batch.
    """
    transform = Stopwatch(contender.transform)
    loop = contender.loop(itertools.islice(batches, steps + 2), device, transform)
    step(next(loop))
    transform.seconds, fetching, waits = 0.0, 0.0, []
    for _ in range(steps):
        before, start = moment(device), time.perf_counter()
        views = next(loop)
        fetching += time.perf_counter() - start
        waits.append((before, moment(device)))
        step(views)
        del views
    end = moment(device)
    return {
        "ms": milliseconds(waits[0][0], end) / steps,
        "idle_ms": sum(milliseconds(*wait) for wait in waits) / steps,
        "fetch_ms": 1e3 * (fetching - transform.seconds) / steps,
        "transform_ms": 1e3 * transform.seconds / steps,
        "transform_share": 1e3 * transform.seconds / milliseconds(waits[0][0], end),
    }


def moment(device: torch.device) -> Any:
    """Now, in the queue of the device's current stream."""
    if device.type == "cpu":
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def milliseconds(start: Any, end: Any) -> float:
    if isinstance(start, float):
        return 1e3 * (end - start)
    end.synchronize()
    return start.elapsed_time(end)


def measure(
    case: str, batches: Iterator[Tensor], step: Callable[[Views], None], settings: dict[str, int], device: torch.device,
    deadline: float,
) -> list[Row]:  # fmt: skip
    """A row for each contender; as many rounds as fit before the deadline by time.monotonic()."""
    suppressed = moco_step.views_of(RandomTextureSuppression(), device)
    contenders = [Contender(WITHOUT, moco_step.views_of(None, device)), Contender(WITH, suppressed)]
    if device.type == "cuda":
        contenders.append(Contender(IN_THE_LOOP, suppressed, ahead=False))
    for contender in contenders:
        turn(contender, batches, step, 1, device)  # tunes, compiles, and fills the allocators
    for number in range(settings["rounds"]):
        start = time.monotonic()
        for contender in contenders:
            contender.turns.append(turn(contender, batches, step, settings["steps"], device))
        now = time.monotonic()
        if number + 1 >= FEWEST_ROUNDS and now + (now - start) > deadline:
            break
    return [row(case, contender, contenders[0], settings) for contender in contenders]


def row(case: str, contender: Contender, first: Contender, settings: dict[str, int]) -> Row:
    times = [turn["ms"] for turn in contender.turns]
    low, _, high = statistics.quantiles(times, n=4, method="inclusive")
    medians = {key: rounded(statistics.median(turn[key] for turn in contender.turns)) for key in contender.turns[0]}
    # Round by round: a machine that slows down slows down both.
    ratios = [turn["ms"] / other["ms"] for turn, other in zip(contender.turns, first.turns, strict=True)]
    return {
        "case": case,
        "peer": contender.name,
        "batch": settings["batch"],
        "side": SIDE,
        **medians,
        "quartiles": [rounded(low), rounded(high)],
        "images_per_s": rounded(1e3 * settings["batch"] / statistics.median(times)),
        "added_share": None if contender is first else rounded(statistics.median(ratios) - 1),
        "rounds": len(times),
        "steps_a_round": settings["steps"],
    }


def overhead_rows(device: torch.device) -> list[Row]:
    """Microseconds of the host for a batch of one number, in turns: what the loader itself costs."""
    batches = [torch.zeros(1) for _ in range(_CALLS)]
    if device.type == "cuda":
        batches = [batch.pin_memory() for batch in batches]
    loaders: dict[str, Iterable[Tensor]] = {
        "a list": batches,
        "DeviceLoader(list)": DeviceLoader(batches, device),
        "DeviceLoader(list, transform=...)": DeviceLoader(batches, device, lambda batch: batch),
    }
    samples: dict[str, list[float]] = {name: [] for name in loaders}
    for _, (name, loader) in itertools.product(range(_ROUNDS), loaders.items()):
        start = time.perf_counter()
        for _batch in loader:
            pass
        samples[name].append(1e6 * (time.perf_counter() - start) / _CALLS)
    return [{"call": name, "us": rounded(statistics.median(times))} for name, times in samples.items()]


def run(
    settings: dict[str, int], workers: int, device: torch.device, deadline: float, write: Callable[[Row], None]
) -> list[str]:
    """The cases that failed, of all: what is known is written after each, and none takes the others along."""
    torch.set_num_threads(max(1, machine.cores() - workers))
    result: Row = {"device_type": device.type, **settings, "workers": workers, "threads": torch.get_num_threads()}
    result |= {"overhead": overhead_rows(device), "rows": []}
    pin, batch = device.type == "cuda", settings["batch"]
    step = moco_step.training_step(device, settings["queue"] // batch * batch)
    with tempfile.TemporaryDirectory() as folder:
        cases: list[tuple[str, Callable[[], Iterator[Tensor]]]] = [
            (IN_MEMORY, lambda: moco_step.in_memory(batch, SIDE, pin)),
            (DECODED, lambda: moco_step.decoded(Path(folder), batch, SIDE, workers, pin)),
        ]
        for number, (case, batches) in enumerate(cases):
            share = (deadline - time.monotonic()) / (len(cases) - number)
            try:
                result["rows"] += measure(case, batches(), step, settings, device, time.monotonic() + share)
            except Exception as error:
                why = f"{type(error).__name__}: {error}"[:500]
                result["rows"].append({"case": case, "peer": WITH, "ms": None, "why": why})
            write(result)
    return [row["case"] for row in result["rows"] if row["ms"] is None]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=SETTINGS, default="cuda" if torch.cuda.is_available() else "cpu")
    for name in ("batch", "steps", "rounds"):
        parser.add_argument(f"--{name}", type=int, help=" or ".join(f"{SETTINGS[d][name]} on {d}" for d in SETTINGS))
    parser.add_argument("--workers", type=int, default=max(1, min(12, machine.cores() - 1)), help="that decode files")
    parser.add_argument("--seconds", type=float, default=3600, help="no round is begun that would not end by then")
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    given = parser.parse_args(arguments)
    changed = {name: value for name in ("batch", "steps", "rounds") if (value := getattr(given, name)) is not None}
    settings, device = SETTINGS[given.device] | changed, DeviceLoader([], given.device).device
    target = given.out
    if target is None and not changed and given.device == "cpu":
        target = RESULTS / f"cpu_loader_{machine.slug(machine.cpu())}.json"
    described = machine.describe(PACKAGES)

    def write(result: Row) -> None:
        print(f"{len(result['rows'])} rows, the last: {result['rows'][-1]}", flush=True)
        if target is not None:  # whole at any moment: whoever started this may end it
            unfinished = target.with_name(target.name + ".unfinished")
            unfinished.write_text(machine.as_json({**described, **result}))
            os.replace(unfinished, target)

    failed = run(settings, given.workers, device, time.monotonic() + given.seconds, write)
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


if __name__ == "__main__":
    main()

"""The timings of the GPU report: a process of its own, which writes a line of JSON after every case.

    python benchmarks/gpu_timing.py --seconds 120 --out lines.jsonl [--cases NAME ...]

Started by gpu_report.py, which may kill it: what is written by then is kept.
"""

import argparse
import collections
import itertools
import json
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import gpu_clock
import gpu_filter_peers
import gpu_peers
from gpu_bounds import Rates
from gpu_cases import OURS, Case, images, libraries
from gpu_filters import ALL_CASES, FilterCase
from gpu_job import Job, Row, rounded

TURNS = 5
SAMPLED = 300.0  # ms of a contender's samples, all turns together
SAMPLES = (5, 100)  # at least and at most
SHORTEST = 1.0  # ms; quicker calls are repeated within a sample
OUT_OF_CACHE = 3  # times the L2 that inputs and results rotate through
NEEDED = {"torch.compile": 40.0}  # seconds that must be left for a contender to be started
NEEDED_AT_LEAST = 3.0


@dataclass
class Contender:
    name: str
    call: Callable[[], Any]  # on the next of its inputs
    job: Job
    facts: Row
    host_ms: float
    calls: int
    samples_a_turn: int
    samples: list[float] = field(default_factory=list)
    spans: list[tuple[float, float]] = field(default_factory=list)


def measure(
    case: Case | FilterCase, timer: Any, clock: Any, rates: Rates, left: Callable[[], float], device: str, l2: int
) -> list[Row]:
    """A row for each contender of a case, all in turns; one that cannot run has None for `ms`, and `why`."""
    who = peers_of(case)
    image, content = images(case, device)
    rows: dict[str, Row] = {name: who.described(case, name) | {"content": content} for name in case.peers}
    contenders = []
    for name in case.peers:
        why = who.absence(name, case, torch.device(device).type)
        if why is None and left() < NEEDED.get(name, NEEDED_AT_LEAST):
            why = "out of time"
        if why is not None:
            rows[name]["why"] = why
            continue
        try:
            contenders.append(_warmed_up(case, name, who.job(name, case, device), image, timer, l2))
        except Exception as error:  # a contender that fails must not take the others' numbers along
            rows[name] |= {"why": f"{type(error).__name__}: {error}"[:500], "failed": True}
    for _ in range(TURNS):
        for contender in contenders:
            start = time.monotonic()
            for _ in range(contender.samples_a_turn):
                contender.samples.append(timer.ms(contender.call, contender.calls, contender.host_ms))
            contender.spans.append((start, time.monotonic()))
    for contender in contenders:
        mhz = clock.mhz(contender.spans)
        rows[contender.name] |= timed(contender, rates, mhz)
    whole = rows.get("native, all at 20", {}).get("ms")
    if whole and rows["native"]["ms"]:
        rows["native"]["share_of_all_at_20"] = rounded(rows["native"]["ms"] / whole)
    return list(rows.values())


def peers_of(case: Case | FilterCase) -> Any:
    """The module of a case's contenders: described, absence, job."""
    return gpu_filter_peers if isinstance(case, FilterCase) else gpu_peers


def _warmed_up(case: Case | FilterCase, name: str, job: Job, image: Tensor, timer: Any, l2: int) -> Contender:
    """The calls that are not in the samples: they compile, give error and memory, and tell how long a call takes."""
    image = image[: job.images]
    facts: Row = {"images": job.images}
    start = time.perf_counter()
    facts |= job.errors(image, job.read(job.run(job.prepare(image))))
    if name == "torch.compile":
        facts["compile_s"] = rounded(time.perf_counter() - start)

    copies = max(1, min(512, math.ceil(OUT_OF_CACHE * l2 / (2 * image.nbytes))))
    inputs = itertools.cycle([job.prepare(image), *(job.prepare(image.clone()) for _ in range(copies - 1))])
    results: collections.deque[Any] = collections.deque(maxlen=copies)  # so that they, too, come from elsewhere

    def call() -> Any:
        results.append(job.run(next(inputs)))
        return results[-1]

    for _ in range(2):
        call()
    facts["buffers"] = copies
    facts["peak_mb"] = rounded(timer.peak_mb(lambda: job.run(next(inputs)))) if job.by_torch else None
    once = max(timer.ms(call, 2), 1e-3)
    calls = max(1, min(32, math.ceil(SHORTEST / once)))
    host_ms = timer.host_ms(call, min(calls, 8))
    samples = max(SAMPLES[0], min(SAMPLES[1], int(SAMPLED / (calls * (once + host_ms)))))
    facts |= {"host_ms": rounded(host_ms), "wall_ms": rounded(timer.wall_ms(call, calls)), "calls_a_sample": calls}
    if case.small and name in OURS:
        try:
            facts["graph_ms"] = rounded(timer.graph_ms(call, min(calls, copies)))
        except Exception as error:
            facts |= {"graph_ms": None, "why_no_graph": f"{type(error).__name__}: {error}"[:300]}
    return Contender(name, call, job, facts, host_ms, calls, math.ceil(samples / TURNS))


def timed(contender: Contender, rates: Rates, mhz: float | None) -> Row:
    """Median and quartiles, throughput, and the bound at the clock that was read."""
    ms = statistics.median(contender.samples)
    quartiles = statistics.quantiles(contender.samples, n=4, method="inclusive")
    rates = Rates(rates.multiprocessors, rates.capability, mhz or rates.clock_mhz, rates.copy_gb_s)
    limits = contender.job.bounds(rates)
    name = max(limits, key=limits.__getitem__) if limits else None
    return {
        **contender.facts,
        "ms": rounded(ms),
        "quartiles": [rounded(quartiles[0]), rounded(quartiles[2])],
        "samples": len(contender.samples),
        "images_per_s": rounded(1e3 * contender.job.images / ms),
        "clock_mhz": rounded(rates.clock_mhz),
        "clock_source": "the driver" if mhz else "a kernel that counts cycles",
        "bound": name,
        "bound_ms": rounded(limits[name]) if name else None,
        "share_of_bound": rounded(limits[name] / ms) if name else None,
        "bounds_ms": {key: rounded(value) for key, value in limits.items()},
        **contender.job.extra(rates),
    }


def run(
    cases: Sequence[Case | FilterCase], write: Callable[[Row], None], deadline: float, device: str = "cuda"
) -> None:
    """All cases on the current GPU, in their order, until `deadline` by time.monotonic()."""
    properties = torch.cuda.get_device_properties(torch.cuda.current_device())
    timer, clock = gpu_clock.CudaTimer(), gpu_clock.SmClock()
    l2 = getattr(properties, "L2_cache_size", 64 << 20)

    def left() -> float:
        return deadline - time.monotonic()

    try:
        capability = (properties.major, properties.minor)
        rates = Rates(properties.multi_processor_count, capability, timer.spin_mhz(), gpu_clock.copy_gb_s(timer))
        write({"copy_gb_s": rounded(rates.copy_gb_s), "spin_mhz": rounded(rates.clock_mhz), "l2_mb": rounded(l2 / 1e6)})
        for case in cases:
            if left() < NEEDED_AT_LEAST:
                who = peers_of(case)
                write({"rows": [who.described(case, name) | {"why": "out of time"} for name in case.peers]})
                continue
            write({"rows": measure(case, timer, clock, rates, left, device, l2)})
            torch.cuda.empty_cache()
        if left() > NEEDED_AT_LEAST:
            write({"libraries": libraries()})
    finally:
        clock.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120, help="what does not fit is left out")
    parser.add_argument("--out", type=Path, required=True, help="lines of JSON")
    parser.add_argument(
        "--cases", nargs="+", metavar="NAME", choices=[case.name for case in ALL_CASES], help="some cases"
    )
    arguments = parser.parse_args()
    deadline = time.monotonic() + arguments.seconds
    with arguments.out.open("w") as out:

        def write(record: Row) -> None:
            out.write(json.dumps(record) + "\n")
            out.flush()
            for row in record.get("rows", []):
                print(f"{row['case']}: {row['peer']}: {row['ms']} ms {row.get('why', '')}", flush=True)

        run([case for case in ALL_CASES if not arguments.cases or case.name in arguments.cases], write, deadline)


if __name__ == "__main__":
    main()

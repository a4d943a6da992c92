"""Times, errors and memory of peers that take turns, so that whatever slows the machine down slows all of them."""

import ctypes
import gc
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from peers import Peer, set_threads

SHORTEST_SAMPLE = 0.03  # seconds; quicker calls are repeated within a sample
FEWEST_DRAWS = 32  # calls within a sample, where each draws how much there is to do
LONGEST_TURN = 3.0  # seconds for all samples of one contender; slower ones get fewer rounds
HOPELESS = 4.0  # seconds a call; timed once, and with one thread only

_CLEAR_REFS, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


class Case(Protocol):
    """What is computed on which image; compared by identity."""

    image: Tensor

    @property
    def random(self) -> bool: ...  # whether a call draws how much there is to do

    def described(self, peer: Peer) -> dict[str, Any]: ...  # what a row says of it

    def truth(self) -> Tensor | None: ...  # in float64; None where there is none

    def errors(self, peer: Peer, output: Any, truth: Tensor | None) -> dict[str, float | None]: ...


@dataclass
class Contender:
    peer: Peer
    case: Case
    threads: int
    run: Callable[[], Any]
    facts: dict[str, Any]
    rounds: int = 1
    repeats: int = 1
    samples: list[float] = field(default_factory=list)  # seconds a call


def compare(
    entries: Sequence[tuple[Case, Peer]], threads: Sequence[int], rounds: int, left_out: list[str]
) -> list[dict[str, Any]]:
    """One row for each entry and number of threads, all measured in turns."""
    torch.compiler.reset()
    truths: dict[Case, Tensor | None] = {}
    contenders: list[Contender] = []
    for count in sorted(threads):
        for case, peer in entries:
            slow = any(c.peer is peer and c.case is case and c.facts["first_s"] > HOPELESS for c in contenders)
            if not peer.takes(case) or (count > 1 and not peer.threaded):
                continue
            if slow:
                left_out.append(
                    f"{peer.name} on {list(case.image.shape)} with {count} threads: over {HOPELESS:g} s with one"
                )
                continue
            set_threads(count)
            try:
                contender = _warmed_up(case, peer, count, truths, rounds)
            except Exception as error:
                if peer.name == "texfilters":
                    raise
                # A peer that is broken here must not take the others' numbers along.
                left_out.append(f"{peer.name} on {list(case.image.shape)}: {type(error).__name__}")
                continue
            contenders.append(contender)
    for number in range(rounds):
        for count in sorted(threads):
            set_threads(count)
            for contender in contenders:
                if contender.threads == count and number < contender.rounds:
                    contender.samples.append(_sample(contender))
    return [_row(contender) for contender in contenders]


def _warmed_up(case: Case, peer: Peer, threads: int, truths: dict[Case, Tensor | None], rounds: int) -> Contender:
    """The calls that are not in the samples: they compile, give error and memory, and tell how long a call takes."""
    run = peer.prepare(case)
    facts: dict[str, Any] = {}
    first = _seconds(run)
    if peer.compiles:
        facts["compile_s"] = first
    if peer.compiles or first < HOPELESS:
        first = min(_seconds(run) for _ in range(3 if first < SHORTEST_SAMPLE else 1))
    facts["first_s"] = first
    output, facts["peak_mb"] = peak_memory(run)
    if case not in truths:
        truths[case] = case.truth()
    facts |= case.errors(peer, output, truths[case])
    repeats = max(FEWEST_DRAWS if case.random else 1, math.ceil(SHORTEST_SAMPLE / first))
    fewest = 1 if first > HOPELESS else min(3, rounds)
    rounds = max(fewest, min(rounds, int(LONGEST_TURN / (first * repeats))))
    return Contender(peer, case, threads, run, facts, rounds, repeats)


def _sample(contender: Contender) -> float:
    return _seconds(contender.run, contender.repeats)


def _seconds(run: Callable[[], Any], calls: int = 1) -> float:
    """One of `calls` calls in a row."""
    start = time.perf_counter()
    for _ in range(calls):
        run()
    return (time.perf_counter() - start) / calls


def _row(contender: Contender) -> dict[str, Any]:
    peer = contender.peer
    facts = {key: rounded(value) for key, value in contender.facts.items() if key != "first_s"}
    return {
        "peer": peer.name,
        "instruction_set": peer.instruction_set,
        "threads": contender.threads,
        **contender.case.described(peer),
        "same_scheme": peer.same_scheme,
        **spread([1e3 * sample for sample in contender.samples], "ms"),
        "rounds": contender.rounds,
        "calls_a_round": contender.repeats,
        **facts,
    }


def spread(samples: list[float], unit: str) -> dict[str, Any]:
    """Median and quartiles; of a single sample there are no quartiles."""
    low, _, high = statistics.quantiles(samples, n=4, method="inclusive") if len(samples) > 1 else (None, None, None)
    return {unit: rounded(statistics.median(samples)), "quartiles": [rounded(low), rounded(high)]}


def rounded(value: float | None) -> float | None:
    """To four digits: more would be noise."""
    return None if value is None else float(f"{value:.4g}")


def peak_memory(run: Callable[[], Any]) -> tuple[Any, float | None]:
    """What a call returned, and by how many MB it raised the process's memory at most, its result included.

    Linux only, else None: freed memory goes back to the system, the high-water mark of the resident set is reset, and
    read again after the call. Its resolution is some hundred kB.
    """
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
        _CLEAR_REFS.write_text("5")
    except (OSError, AttributeError):
        return run(), None
    before = _status("VmRSS")
    output = run()
    return output, max(0.0, (_status("VmHWM") - before) * 1024 / 1e6)


def _status(name: str) -> int:
    """A field of /proc/self/status, in kB."""
    return next(int(line.split()[1]) for line in _STATUS.read_text().splitlines() if line.startswith(name + ":"))

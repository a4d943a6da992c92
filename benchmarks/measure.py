"""Times, errors and memory of peers that take turns, so that whatever slows the machine down slows all of them."""

import ctypes
import gc
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import texfilters
from peers import Case, Peer, as_tensor, set_threads

SHORTEST_SAMPLE = 0.03  # seconds; quicker calls are repeated within a sample
LONGEST_TURN = 3.0  # seconds for all samples of one contender; slower ones get fewer rounds
HOPELESS = 4.0  # seconds a call; timed once, and with one thread only

_CLEAR_REFS, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


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
    truths: dict[Case, Tensor] = {}
    contenders = []
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


def _warmed_up(case: Case, peer: Peer, threads: int, truths: dict[Case, Tensor], rounds: int) -> Contender:
    """The first call, which is not timed: it gives the error, the peak memory and how long the samples will take."""
    run = peer.prepare(case)
    facts: dict[str, Any] = {}
    if peer.compiles:
        start = time.perf_counter()
        run()
        facts["compile_s"] = time.perf_counter() - start
    start = time.perf_counter()
    output, facts["peak_mb"] = peak_memory(run)
    first = facts["first_s"] = time.perf_counter() - start
    if case not in truths:
        truths[case] = truth(case)
    difference = (as_tensor(output).double() - truths[case]).abs()
    if not peer.same_scheme and min(case.image.shape[-2:]) > 2 * case.niter:
        # cv2 reads stale memory beyond the border from the second iteration on, and that moves in a pixel at each.
        difference = difference[..., case.niter : -case.niter, case.niter : -case.niter]
    facts |= {"error_max": difference.max().item(), "error_mean": difference.mean().item()}
    repeats = max(1, math.ceil(SHORTEST_SAMPLE / first))
    fewest = 1 if first > HOPELESS else min(3, rounds)
    rounds = max(fewest, min(rounds, int(LONGEST_TURN / (first * repeats))))
    return Contender(peer, case, threads, run, facts, rounds, repeats)


def _sample(contender: Contender) -> float:
    start = time.perf_counter()
    for _ in range(contender.repeats):
        contender.run()
    return (time.perf_counter() - start) / contender.repeats


def _row(contender: Contender) -> dict[str, Any]:
    case, peer = contender.case, contender.peer
    facts = {key: rounded(value) for key, value in contender.facts.items() if key != "first_s"}
    return {
        "peer": peer.name,
        "instruction_set": peer.instruction_set,
        "threads": contender.threads,
        "shape": list(case.image.shape),
        "dtype": "uint8" if not peer.same_scheme else str(case.dtype).removeprefix("torch."),
        "niter": case.niter,
        "kappa": case.kappa,
        "gamma": case.gamma,
        "option": case.option,
        "coupling": case.coupling,
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


def truth(case: Case) -> Tensor:
    """The reference in float64, in bands: a step looks one row further, so `niter` more on each side make it exact."""
    image, rows = case.image.double(), 128
    if case.ndim == 3 or case.image.shape[-2] <= 2 * rows:
        bands = [(0, 0, None)]
    else:
        tops = range(0, image.shape[-2], rows)
        bands = [(max(0, top - case.niter), min(top, case.niter), rows) for top in tops]
    pieces = []
    for start, skipped, kept in bands:
        band = image if kept is None else image[..., start : start + skipped + kept + case.niter, :]
        options = {"option": case.option, "coupling": case.coupling, "ndim": case.ndim, "backend": "reference"}
        singles = [band] if case.ndim == 3 else band.split(1)
        done = [texfilters.anisotropic_diffusion(x, case.niter, case.kappa, case.gamma, **options) for x in singles]
        whole = done[0] if case.ndim == 3 else torch.cat(done)
        pieces.append(whole if kept is None else whole[..., skipped : skipped + kept, :])
    return torch.cat(pieces, dim=-2)


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

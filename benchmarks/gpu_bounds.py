"""How fast diffusion could be on a GPU: what there is to do, over the rates of the units that do it."""

from dataclasses import dataclass

SPECIAL = 16  # special functions (ex2, rcp) a clock and multiprocessor, from sm_75 on
# Threads that start an instruction, a clock and multiprocessor: four schedulers with a warp each. Those of sm_75 and
# sm_80 have half as many units for float32, which is what nearly all the instructions are.
ISSUED, ISSUED_HALF = 128, 64


@dataclass(frozen=True)
class Rates:
    """Of one GPU. The clock is what it ran at, the bandwidth that of a copy, bytes read and written."""

    multiprocessors: int
    capability: tuple[int, int]
    clock_mhz: float | None
    copy_gb_s: float | None


@dataclass(frozen=True)
class Work:
    """Of one call, as the kernel needs it at least; for each edge between two neighbors the special function once."""

    edges: float  # between pixels, times iterations; an edge that coupled channels share is one
    channels: int  # that share an edge
    special: bool  # Tukey's conductance has no special function
    pixel_steps: float  # pixels times channels times iterations
    bytes_once: int  # of image and result


def work(shape: tuple[int, ...], steps: int, *, ndim: int, option: int, coupling: str, element_size: int) -> Work:
    """Of images `[B, C, ...]` with `steps` iterations summed over the batch."""
    plane = 1
    for side in shape[2:]:
        plane *= side
    channels = shape[1] if coupling == "l2" else 1
    pixels = shape[1] * plane
    return Work(
        edges=ndim * pixels / channels * steps,
        channels=channels,
        special=option != 3,
        pixel_steps=float(pixels * steps),
        bytes_once=2 * shape[0] * pixels * element_size,
    )


def bounds(work: Work, rates: Rates) -> dict[str, float]:
    """Milliseconds by what limits; the largest of them is the bound. Empty where the clock or bandwidth is unknown.

    issue: an edge takes the difference, the sum under the conductance, the conductance, and a fused multiplication and
    addition for each of its two pixels; coupled channels share the conductance.
    """
    result = {}
    if rates.clock_mhz:
        clocks_per_ms = rates.multiprocessors * rates.clock_mhz * 1e3
        if work.special:
            result["special functions"] = work.edges / SPECIAL / clocks_per_ms
        issued = ISSUED_HALF if rates.capability in ((7, 5), (8, 0)) else ISSUED
        result["issue"] = work.edges * (4 * work.channels + 1) / issued / clocks_per_ms
    if rates.copy_gb_s:
        result["memory"] = work.bytes_once / (rates.copy_gb_s * 1e6)
    return result


def launched_bound(work: Work, rates: Rates) -> float | None:
    """Milliseconds of memory traffic with one launch an iteration, which reads and writes every pixel in float32."""
    return 8 * work.pixel_steps / (rates.copy_gb_s * 1e6) if rates.copy_gb_s else None

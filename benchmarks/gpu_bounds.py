"""How fast a filter could be on a GPU: what there is to do, over the rates of the units that do it."""

import math
from dataclasses import dataclass

from timed_filters import Filter, bilateral, median

SPECIAL = 16  # special functions (ex2, rcp) a clock and multiprocessor, from sm_75 on
# Threads that start an instruction, a clock and multiprocessor: four schedulers with a warp each. Those of sm_75 and
# sm_80 have half as many units for float32, which is what nearly all the instructions are.
ISSUED, ISSUED_HALF = 128, 64
SHARED = 32  # words out of shared memory a clock and multiprocessor
MINMAX = 64  # minima or maxima of two 16 bit pairs a clock and multiprocessor
# Minima and maxima a pixel, of networks that share what neighboring columns have in common. 3 takes so few that memory
# bounds it; 5 and 7 are what the kernels were planned with.
MEDIAN = {3: 18, 5: 90, 7: 100}


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
        clocks_per_ms = _clocks_per_ms(rates)
        if work.special:
            result["special functions"] = work.edges / SPECIAL / clocks_per_ms
        result["issue"] = work.edges * (4 * work.channels + 1) / _issued(rates) / clocks_per_ms
    if rates.copy_gb_s:
        result["memory"] = work.bytes_once / (rates.copy_gb_s * 1e6)
    return result


def launched_bound(work: Work, rates: Rates) -> float | None:
    """Milliseconds of memory traffic with one launch an iteration, which reads and writes every pixel in float32."""
    return 8 * work.pixel_steps / (rates.copy_gb_s * 1e6) if rates.copy_gb_s else None


def filter_bounds(filter: Filter, shape: tuple[int, ...], dtype: str, rates: Rates) -> dict[str, float]:
    """Milliseconds by what limits a filter on images of that shape; empty where the clock or bandwidth is unknown."""
    size = {"uint8": 1, "float16": 2, "bfloat16": 2, "float32": 4}[dtype]
    pixels = shape[0] * math.prod(shape[2:])
    written = 1 if filter.function == "rgb_to_gray" else filter.channels
    result = {}
    if rates.copy_gb_s:
        result["memory"] = size * pixels * (filter.channels + written) / (rates.copy_gb_s * 1e6)
    if rates.clock_mhz:
        rate = {"special functions": SPECIAL, "issue": _issued(rates), "shared memory": SHARED, "min and max": MINMAX}
        for unit, operations in _operations(filter, dtype).items():
            result[unit] = pixels * operations / rate[unit] / _clocks_per_ms(rates)
    return result


def _operations(filter: Filter, dtype: str) -> dict[str, float]:
    """Of a pixel, the least that the arithmetic takes by unit, where it could pass what the memory takes.

    A neighbor in the bilateral window takes, in uint8, the distance in one instruction for all channels, a weight out
    of a table in shared memory, its sum and one fused multiply-add a channel; in floating point a subtraction and a
    fused multiply-add a channel, the sum of the distances, the square, the exponent, a special function, and the sum.
    """
    if filter.function == "bilateral_filter":
        radius = filter.arguments["d"] // 2
        taps = sum(y * y + x * x <= radius**2 for y in range(-radius, radius + 1) for x in range(-radius, radius + 1))
        if dtype == "uint8":
            return {"issue": taps * (filter.channels + 3), "shared memory": taps}
        return {"issue": taps * (3 * filter.channels + 3), "special functions": taps}
    if filter.function == "median_blur" and dtype == "uint8" and filter.arguments["ksize"] in MEDIAN:
        pairs = filter.channels * MEDIAN[filter.arguments["ksize"]] / 2
        return {"issue": pairs, "min and max": pairs}
    if filter.function == "cartoonize" and dtype == "uint8":
        color, lines = (_operations(part, dtype) for part in (bilateral(9, 3), median(7)))
        return {
            "issue": color["issue"] + lines["issue"],
            "shared memory": color["shared memory"],
            "min and max": lines["min and max"],
        }
    return {}


def _clocks_per_ms(rates: Rates) -> float:
    return rates.multiprocessors * (rates.clock_mhz or 0.0) * 1e3


def _issued(rates: Rates) -> int:
    return ISSUED_HALF if rates.capability in ((7, 5), (8, 0)) else ISSUED

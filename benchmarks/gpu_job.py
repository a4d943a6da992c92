"""What a contender does on a case of the GPU report, whatever it computes."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gpu_bounds import Rates

Row = dict[str, Any]


def as_it_is(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class Job:
    run: Callable[[Any], Any]  # what is timed
    images: int  # of the case's, as many as fit into memory
    errors: Callable[[Tensor, Tensor], Row]  # of images and results, with `error_ok`
    bounds: Callable[[Rates], dict[str, float]]  # milliseconds by what limits
    extra: Callable[[Rates], Row] = lambda rates: {}
    prepare: Callable[[Tensor], Any] = as_it_is  # images to what the contender takes, outside the time
    read: Callable[[Any], Tensor] = as_it_is  # what it gives back, as the images' layout
    by_torch: bool = True  # allocates by torch, which can be asked for the peak


def images_that_fit(images: int, bytes_each: float, device: str) -> int:
    """In half of the memory that is free, at least one."""
    if device == "cpu":
        return images
    torch.cuda.empty_cache()  # what torch keeps for later counts as taken
    return max(1, min(images, int(0.5 * torch.cuda.mem_get_info()[0] / bytes_each)))


def some(images: int) -> list[int]:
    """The first, the middle and the last."""
    return sorted({0, images // 2, images - 1})


def rounded(value: float | None) -> float | None:
    """To four digits: more would be noise."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.4g}")

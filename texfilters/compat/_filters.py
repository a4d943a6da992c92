"""What the adapters of augmentation libraries share: filters whose parameters are numbers or ranges of them."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from texfilters import functional

Range = tuple[float, float]  # both ends included

GREY_LEVELS = ("kappa", "sigma_color", "c")


@dataclass(frozen=True)
class Filter:
    """One of the public functions."""

    function: Callable[..., Tensor]
    drawn: Mapping[str, type]  # the parameters that may be ranges, and their type
    identity: str | None  # the one of them whose 0 leaves an image as it is

    def split(self, given: Mapping[str, Any]) -> tuple[dict[str, Range], dict[str, Any]]:
        """The ranges and the other parameters, all tried on an image without pixels, so that a wrong value shows."""
        ranges = {name: _range(name, given[name]) for name in self.drawn}
        fixed = {name: value for name, value in given.items() if name not in self.drawn}
        nothing = torch.zeros(3, 0, 0)
        for end in (0, 1):
            self.function(nothing, **{name: ends[end] for name, ends in ranges.items()}, **fixed)
        for name, (low, high) in ranges.items():
            if low > high:
                raise ValueError(f"{name} must be a range from a smaller to a larger number, got ({low}, {high})")
            ranges[name] = self.drawn[name](low), self.drawn[name](high)
        return ranges, fixed

    def in_levels(self, image: Tensor, parameters: Mapping[str, Any]) -> Tensor:
        """The filtered image, where kappa, sigma_color and c are in grey levels: floating point is taken as 0..1."""
        level = 1 if image.dtype == torch.uint8 else 255
        return self.function(
            image, **{name: value / level if name in GREY_LEVELS else value for name, value in parameters.items()}
        )


def _range(name: str, value: Any) -> tuple[Any, Any]:
    """A number n is the range (n, n)."""
    if isinstance(value, str) or not isinstance(value, Sequence | np.ndarray):
        value = (value, value)
    if len(value) != 2:
        raise ValueError(f"{name} must be a number or a pair of them, got {len(value)} numbers")
    for end in value:
        if isinstance(end, float) and not math.isfinite(end):
            raise ValueError(f"{name} must be finite, got {end}")
    return value[0], value[1]


DIFFUSION = Filter(functional.anisotropic_diffusion, {"niter": int, "kappa": float, "gamma": float}, "niter")
BILATERAL = Filter(functional.bilateral_filter, {"sigma_color": float, "sigma_space": float}, "sigma_color")
CARTOON = Filter(functional.cartoonize, {"sigma_color": float, "sigma_space": float, "c": float}, None)

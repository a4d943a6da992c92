"""What the adapters of augmentation libraries share: filters whose parameters are numbers or ranges of them."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from texfilters import _check, functional

Range = tuple[float, float]  # both ends included; of whole numbers where these are

GREY_LEVELS = ("kappa", "sigma_color", "c")


@dataclass(frozen=True)
class Filter:
    """One of the public functions."""

    function: Callable[..., Tensor]
    drawn: tuple[str, ...]  # the parameters that may be ranges
    identity: str | None  # the one of them whose 0 leaves an image as it is

    def split(self, given: Mapping[str, Any]) -> tuple[dict[str, Range], dict[str, Any]]:
        """The ranges, a number n being (n, n), and the other parameters.

        They are tried on an image without pixels, so that a wrong value shows.
        """
        ranges = {name: _range(name, given[name]) for name in self.drawn}
        fixed = {name: value for name, value in given.items() if name not in self.drawn}
        empty = torch.zeros(3, 0, 0, device="cpu")
        for end in (0, 1):
            self.function(empty, **{name: ends[end] for name, ends in ranges.items()}, **fixed)
        return ranges, fixed

    def in_levels(self, image: Tensor, parameters: Mapping[str, Any]) -> Tensor:
        """The filtered image, where kappa, sigma_color and c are in grey levels: floating point is taken as 0..1."""
        level = 1 if image.dtype == torch.uint8 else 255
        return self.function(
            image, **{name: value / level if name in GREY_LEVELS else value for name, value in parameters.items()}
        )


def _range(name: str, value: Any) -> Range:
    span = _check.span(name, value, _check.whole) if name == "niter" else _check.span(name, value)
    low, high = span if isinstance(span, tuple) else (span, span)
    if not math.isfinite(low):  # of a pair the check has seen to it
        raise ValueError(f"{name} must be finite, got {low}")
    return low, high


DIFFUSION = Filter(functional.anisotropic_diffusion, ("niter", "kappa", "gamma"), "niter")
BILATERAL = Filter(functional.bilateral_filter, ("sigma_color", "sigma_space"), "sigma_color")
CARTOON = Filter(functional.cartoonize, ("sigma_color", "sigma_space", "c"), None)

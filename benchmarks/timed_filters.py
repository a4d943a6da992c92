"""The filters that are timed, on the CPU and on GPUs: which function with which arguments, and what is right."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

import texfilters


@dataclass(frozen=True)
class Filter:
    """A public function and its arguments, called on `[B, channels, H, W]` in 0..255."""

    name: str
    function: str
    arguments: dict[str, Any] = field(default_factory=dict)
    channels: int = 1
    common: bool = False  # what most users would ask for; slow peers are timed on these alone

    def __call__(self, image: Tensor, backend: str | None = None) -> Tensor:
        return self.bound(backend)(image)

    def bound(self, backend: str | None) -> Callable[[Tensor], Tensor]:
        """The call as a user would write it: the look-ups are none of its time."""
        function, arguments = getattr(texfilters, self.function), {**self.arguments, "backend": backend}
        return lambda image: function(image, **arguments)

    @property
    def random(self) -> bool:
        return self.function == "patch_negatives"

    def truth(self, image: Tensor) -> Tensor | None:
        """The definition in float64, on the image's device, and for what is an average not rounded to uint8.

        Gray and thresholds of uint8 are defined in whole numbers. Where everyone draws for himself there is none.
        """
        if self.random:
            return None
        if self.function == "cartoonize" and image.dtype == torch.uint8:
            color = texfilters.bilateral_filter(image.double(), 9, 300.0, 300.0, backend="reference")
            median = texfilters.median_blur(texfilters.rgb_to_gray(image, backend="reference"), 7, backend="reference")
            return torch.where(texfilters.adaptive_threshold(median, 9, 9, backend="reference") > 0, color, 0)
        whole = self.function in ("rgb_to_gray", "adaptive_threshold", "median_blur") and image.dtype == torch.uint8
        return self(image if whole else image.double(), "reference").double()


def bilateral(d: int, channels: int, common: bool = False) -> Filter:
    name = f"bilateral d={d}, {'RGB' if channels == 3 else 'gray'}"
    arguments = {"d": d, "sigma_color": 75.0, "sigma_space": 75.0}
    return Filter(name, "bilateral_filter", arguments, channels, common)


def median(ksize: int, common: bool = False) -> Filter:
    return Filter(f"median {ksize}", "median_blur", {"ksize": ksize}, common=common)


def threshold(method: str, block_size: int, common: bool = False) -> Filter:
    arguments = {"block_size": block_size, "c": 2.0, "method": method}
    return Filter(f"adaptive {method} {block_size}", "adaptive_threshold", arguments, common=common)


def gaussian(sigma: float, channels: int, common: bool = False) -> Filter:
    name = f"Gaussian sigma {sigma:g}, {'RGB' if channels == 3 else 'gray'}"
    return Filter(name, "gaussian_blur", {"sigma": sigma}, channels, common)


GRAY = Filter("RGB to gray", "rgb_to_gray", channels=3, common=True)
CARTOON = Filter("cartoon", "cartoonize", channels=3, common=True)
PATCHES = Filter("patch negatives", "patch_negatives", {"patch_size": (16, 72)}, channels=3, common=True)

"""The filters that the command line offers, and how one is applied to an image."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

import texfilters
from texfilters.cli.messages import Refused, reason


@dataclass(frozen=True)
class Filter:
    function: Callable[..., Tensor]
    flags: Mapping[str, Any]  # the function's parameters that the command line offers, with its defaults for 0..255


FILTERS = {
    "anisotropic-diffusion": Filter(
        texfilters.anisotropic_diffusion,
        {"niter": 20, "kappa": 20.0, "gamma": 0.1, "option": 1, "coupling": "none"},
    ),
}


def choose(name: str, given: Mapping[str, Any], backend: str | None = None) -> Callable[[Tensor], Tensor]:
    """The filter with the flags that were given (None: its default), tried on one pixel so that a wrong value shows."""
    if name not in FILTERS:
        raise Refused(f"filter must be one of {', '.join(map(repr, FILTERS))}, got {name!r}")
    flags = FILTERS[name].flags
    given = {flag: value for flag, value in given.items() if value is not None}
    for flag in given:
        if flag not in flags:
            raise Refused(f"{flag} is no parameter of {name}, which takes {', '.join(flags)}")
    chosen = functools.partial(FILTERS[name].function, **{**flags, **given}, backend=backend)
    try:
        chosen(torch.zeros(1, 1, 1, dtype=torch.uint8))
    except (TypeError, ValueError, RuntimeError) as error:
        raise Refused(reason(error)) from error
    return chosen


def apply(function: Callable[[Tensor], Tensor], image: Image.Image) -> Image.Image:
    """A filter on the color channels of an L, LA, RGB, RGBA, CMYK or I;16 image; alpha stays as it is.

    16 bits are computed in float32 in grey levels of 0..255, so that kappa means the same as for 8 bits.
    """
    pixels = np.array(image)
    if image.mode == "I;16":
        levels = function(torch.from_numpy(pixels.astype(np.float32) / 257)[None])[0]
        pixels = (levels * 257).round().clamp(0, 65535).numpy().astype("<u2")
    else:
        planes = torch.from_numpy(pixels.reshape(*pixels.shape[:2], -1)).movedim(-1, 0)
        colors = planes[: len(planes) - (image.mode in ("LA", "RGBA"))]
        colors.copy_(function(colors))  # into `pixels`, whose alpha is left alone
    return Image.frombytes(image.mode, image.size, pixels.tobytes())

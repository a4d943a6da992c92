"""The filters that the command line offers, and how one is applied to an image."""

import functools
import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
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
    function: Callable[..., Tensor]  # on [..., C, H, W]
    flags: Mapping[str, Any]  # the function's parameters that the command line offers, with its defaults for 0..255
    strength: tuple[str, tuple[Any, ...]]  # the flag that `compare` varies unless it is told another, and its values


class WrongColors(ValueError):
    """The filter has no meaning for images of these colors."""


def _cartoon(image: Tensor, **parameters: Any) -> Tensor:
    """A gray image is taken as R = G = B, and is gray afterwards."""
    channels = image.shape[-3]
    if channels not in (1, 3):
        raise WrongColors(f"cartoon takes gray and RGB images, got {'CMYK' if channels == 4 else channels}")
    colors = image.expand(*image.shape[:-3], 3, -1, -1)
    return texfilters.cartoonize(colors, **parameters)[..., :channels, :, :]


FILTERS = {
    "anisotropic-diffusion": Filter(
        texfilters.anisotropic_diffusion,
        {"niter": 20, "kappa": 20.0, "gamma": 0.1, "option": 1, "coupling": "none"},
        ("kappa", (10.0, 20.0, 40.0)),
    ),
    "bilateral": Filter(
        texfilters.bilateral_filter,
        {"d": 9, "sigma_color": 75.0, "sigma_space": 75.0, "border": "reflect101"},
        ("sigma_color", (40.0, 75.0, 150.0)),
    ),
    "gaussian": Filter(
        texfilters.gaussian_blur,
        {"sigma": 2.0, "kernel_size": None, "border": "reflect101"},
        ("sigma", (1.0, 2.0, 4.0)),
    ),
    "median": Filter(texfilters.median_blur, {"ksize": 5}, ("ksize", (3, 5, 9))),
    "cartoon": Filter(
        _cartoon,
        # sigma_color and c in so many words: the function's own defaults for 16 bits, in float32, are for 0..1.
        {"d": 9, "sigma_color": 300.0, "sigma_space": 300.0, "passes": 1, "ksize": 7, "block_size": 9, "c": 9.0},
        ("c", (5.0, 9.0, 15.0)),
    ),
}


def flag(name: str) -> str:
    """How a parameter is spelled on the command line."""
    return "--" + name.replace("_", "-")


def written(value: Any) -> str:
    """A parameter's value, as short as it can be read."""
    return "auto" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def in_lines(words: Iterable[str], width: int) -> list[str]:
    """Words such as `kappa 20`, in lines between them."""
    text = " ".join(word.replace(" ", "~") for word in words)
    return [line.replace("~", " ") for line in textwrap.wrap(text, width, break_on_hyphens=False)]


def named(name: str) -> Filter:
    if name not in FILTERS:
        raise Refused(f"filter must be one of {', '.join(map(repr, FILTERS))}, got {name!r}")
    return FILTERS[name]


def choose(
    name: str, given: Mapping[str, Any], backend: str | None = None, device: str = "cpu"
) -> Callable[[Tensor], Tensor]:
    """The filter with the flags that were given (None: its default), tried on one pixel so that a wrong value shows."""
    flags = named(name).flags
    given = {parameter: value for parameter, value in given.items() if value is not None}
    for parameter in given:
        if parameter not in flags:
            raise Refused(f"{flag(parameter)} is no flag of {name}, which takes {', '.join(map(flag, flags))}")
    chosen = functools.partial(FILTERS[name].function, **{**flags, **given}, backend=backend)
    try:
        chosen(torch.zeros(1, 1, 1, dtype=torch.uint8, device=device))
    except (TypeError, ValueError, RuntimeError) as error:
        raise Refused(reason(error)) from error
    return chosen


def apply(function: Callable[[Tensor], Tensor], image: Image.Image) -> Image.Image:
    """A filter on the color channels of an L, LA, RGB, RGBA, CMYK or I;16 image; alpha stays as it is.

    16 bits are computed in float32 in grey levels of 0..255, so that kappa means the same as for 8 bits.
    """
    return apply_to_all(function, [image])[0]


def apply_to_all(
    function: Callable[[Tensor], Tensor], images: Sequence[Image.Image], device: str = "cpu"
) -> list[Image.Image]:
    """As `apply`, for images of one mode and one size in a single call."""
    mode, (width, height) = images[0].mode, images[0].size
    packed = [plane for image in images for plane in _planes(image)]
    batch = (len(images), len(packed) // len(images), height, width)
    if mode == "I;16":
        deep = torch.frombuffer(bytearray().join(packed), dtype=torch.uint16).view(batch).to(device)
        results = (function(deep.to(torch.float32) / 257) * 257).round().clamp(0, 65535).to(torch.uint16)
    else:
        results = function(torch.frombuffer(bytearray().join(packed), dtype=torch.uint8).view(batch).to(device))
    return [_merged(image, planes) for image, planes in zip(images, results.cpu().contiguous().numpy(), strict=True)]


def _planes(image: Image.Image) -> list[bytes]:
    """The colors one after the other: the kernels are faster on them than on interleaved pixels."""
    if image.mode == "LA":
        return [image.getchannel("L").tobytes()]
    if image.mode in ("L", "I;16"):
        return [image.tobytes()]
    return [image.tobytes("raw", band) for band in image.getbands() if band != "A"]


def _merged(image: Image.Image, planes: np.ndarray) -> Image.Image:
    """Other colors below the alpha of an image."""
    mode = "I;16" if image.mode == "I;16" else "L"
    bands = [Image.frombuffer(mode, image.size, plane, "raw", mode, 0, 1) for plane in planes]
    if image.mode in ("LA", "RGBA"):
        bands.append(image.getchannel("A"))
    return Image.merge(image.mode, bands)

"""The 15 corruptions of ImageNet-C at 5 severities, and the errors that they cause.

They are written here, on batches and for any device. `imagecorruptions` does not import beside today's setuptools and
NumPy; it and its successor `imagecorruptions-imaug` take images one by one, on the CPU, and their elastic transform and
frost are not those of ImageNet-C.
"""

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from texfilters import _check
from texfilters.evaluate import _corrupt_blur, _corrupt_noise, _corrupt_weather
from texfilters.evaluate._corrupt_constants import CONSTANTS as _CONSTANTS
from texfilters.evaluate._corruption_errors import ALEXNET, SEVERITIES, CorruptionErrors, corruption_table
from texfilters.evaluate._corruption_figure import corruption_figure
from texfilters.evaluate._counting import RightAnswers
from texfilters.evaluate._training import evaluating
from texfilters.evaluate.probes import _device
from texfilters.loader import DeviceLoader

_CORRUPT: dict[str, Callable[..., Tensor]] = {
    "gaussian_noise": _corrupt_noise.gaussian_noise,
    "shot_noise": _corrupt_noise.shot_noise,
    "impulse_noise": _corrupt_noise.impulse_noise,
    "defocus_blur": _corrupt_blur.defocus_blur,
    "glass_blur": _corrupt_blur.glass_blur,
    "motion_blur": _corrupt_blur.motion_blur,
    "zoom_blur": _corrupt_blur.zoom_blur,
    "snow": _corrupt_weather.snow,
    "frost": _corrupt_weather.frost,
    "fog": _corrupt_weather.fog,
    "brightness": _corrupt_noise.brightness,
    "contrast": _corrupt_noise.contrast,
    "elastic_transform": _corrupt_blur.elastic_transform,
    "pixelate": _corrupt_noise.pixelate,
    "jpeg_compression": _corrupt_noise.jpeg_compression,
}
CORRUPTIONS = tuple(_CORRUPT)
CONSTANTS = tuple(_CONSTANTS)
# What defocus blur mirrors at a border.
_LEAST = 16

__all__ = [
    "ALEXNET",
    "CONSTANTS",
    "CORRUPTIONS",
    "SEVERITIES",
    "CorruptionErrors",
    "corrupt",
    "corruption_errors",
    "corruption_figure",
    "corruption_table",
]


def corrupt(
    images: Tensor,
    name: str,
    severity: int,
    *,
    constants: str = "imagenet-c",
    generator: torch.Generator | None = None,
    frost: Sequence[Tensor] | None = None,
) -> Tensor:
    """Corrupt each image of a batch for itself, on its device.

    Written from the formulas and constants of the authors' code. Those of ImageNet-C are for 224 x 224 pixels: their
    distances are in pixels, and hardly anything is left of 32 x 32; those of CIFAR-10-C are for 32 x 32. Only
    `elastic_transform` moves by shares of the image, which tears small ones with the constants of ImageNet-C. The
    results depart from the authors' in three ways: ImageNet-C was stored as JPEG of quality 85, which is left out;
    values are rounded, not cut off; and frost is drawn unless its pictures are given.

    Args:
        images: RGB, `[B, 3, H, W]` of at least 16 x 16 pixels, uint8, or floating point in [0, 1].
        name: one of `CORRUPTIONS`.
        severity: 1 to 5.
        constants: `"imagenet-c"` or `"cifar-10-c"`.
        generator: where it draws, on the device of the images; None is torch's own.
        frost: pictures of frost, RGB `[3, h, w]` as `images`, at least as large as those. The authors take the first
            five of theirs; for CIFAR-10-C they, and this function, shrink them to a fifth before. None draws frost of
            like brightness and roughness, which is not the authors'.

    Returns: a new tensor of the shape and dtype of `images`; uint8 is rounded half to even.

    Raises:
        TypeError: for images of another dtype.
        ValueError: for images of another shape, an unknown name or constants, a severity out of its range, frost that
            is too small.

    Source: Hendrycks and Dietterich 2019, arXiv:1903.12261.
    """
    x = _unit(images)
    constants = _check.choice("constants", constants, CONSTANTS)
    pictures = _frost(frost, images.device, constants)
    _fits(pictures, images)
    return _like(_corrupted(x, name, severity, constants, generator, pictures), images)


@torch.no_grad()
def corruption_errors(
    network: Callable[[Tensor], Tensor],
    batches: Iterable[Any],
    *,
    corruptions: Sequence[str] = CORRUPTIONS,
    severities: Sequence[int] = SEVERITIES,
    constants: str = "imagenet-c",
    transform: Callable[[Any], Tensor] | None = None,
    device: torch.device | str | None = None,
    frost: Sequence[Tensor] | None = None,
    seed: int = 0,
) -> CorruptionErrors:
    """The errors of a network under each corruption at each severity.

    One pass over the images; each batch is corrupted on the device in every way, one after the other. What a corruption
    draws does not depend on which others are measured, but on the batches and on the kind of device.

    Args:
        network: from a batch of its inputs to scores `[B, C]`. It is in evaluation mode meanwhile.
        batches: tuples that begin with images as `corrupt` takes them and labels `[B]`.
        corruptions, severities: those to measure.
        constants: as `corrupt` has them; for images of 32 x 32 pixels `"cifar-10-c"`.
        transform: from such a batch, its images corrupted, to the network's inputs, as a normalization; None takes the
            images as they are.
        device: None is where the network's parameters are.
        frost: as `corrupt` has it.
        seed: of all that is drawn.

    Raises:
        ValueError: for no image, corruption or severity, unknown ones, images that are NaN or beyond [0, 1], scores of
            another shape or that are not finite, labels outside of `[0, C)`.
    """
    corruptions = tuple(dict.fromkeys(_check.choice("corruptions", name, CORRUPTIONS) for name in corruptions))
    severities = tuple(dict.fromkeys(_check.choice("severities", value, SEVERITIES) for value in severities))
    if not corruptions or not severities:
        raise ValueError(f"corruptions and severities must hold at least one, got {corruptions} and {severities}")
    constants = _check.choice("constants", constants, CONSTANTS)
    device = _device(network, device)
    cells = [(name, severity) for name in corruptions for severity in severities]
    counts = RightAnswers(
        ["as they are", *(f"under {name} at severity {severity}" for name, severity in cells)], device
    )
    generators = {
        (name, severity): torch.Generator(device).manual_seed((seed << 16) + 8 * CORRUPTIONS.index(name) + severity)
        for name, severity in cells
    }
    pictures = _frost(frost, device, constants)
    with evaluating(network):
        for images, labels, *rest in DeviceLoader(batches, device):
            x = _unit(images)
            _fits(pictures, images)
            counts.check(images)
            for cell, key in enumerate((None, *cells)):
                given = images
                if key is not None:
                    given = _like(_corrupted(x, *key, constants, generators[key], pictures), images)
                counts.add(cell, network(given if transform is None else transform((given, labels, *rest))), labels)
    clean, *shares = counts.shares()
    size = len(severities)
    errors = {
        name: tuple(1 - share for share in shares[i * size : (i + 1) * size]) for i, name in enumerate(corruptions)
    }
    return CorruptionErrors(1 - clean, errors, severities, frost is None and "frost" in errors, constants)


def _corrupted(
    x: Tensor,
    name: str,
    severity: int,
    constants: str,
    generator: torch.Generator | None,
    frost: _corrupt_weather.Pictures | None,
) -> Tensor:
    function = _CORRUPT[_check.choice("name", name, CORRUPTIONS)]
    if name == "frost":
        function = functools.partial(function, pictures=frost)
    strength = _CONSTANTS[constants][name][_check.choice("severity", severity, SEVERITIES) - 1]
    with torch.autocast(x.device.type, enabled=False):
        return function(x, strength, generator)


def _unit(images: Tensor) -> Tensor:
    """As float32 in [0, 1]."""
    _check.rgb("corrupt", images)
    if images.ndim != 4 or min(images.shape[-2:]) < _LEAST:
        raise ValueError(
            f"images must have shape [B, 3, H, W] with H and W of at least {_LEAST}, got {tuple(images.shape)}"
        )
    return _scaled(images)


def _scaled(images: Tensor) -> Tensor:
    return images.float() / 255 if images.dtype == torch.uint8 else images.float()


def _like(x: Tensor, images: Tensor) -> Tensor:
    """Clamped, in the dtype of the images."""
    x = x.clamp(0, 1)
    return (x * 255).round().to(torch.uint8) if images.dtype == torch.uint8 else x.to(images.dtype)


def _frost(frost: Sequence[Tensor] | None, device: torch.device, constants: str) -> _corrupt_weather.Pictures | None:
    if frost is None:
        return None
    if not len(frost):
        raise ValueError("frost must be None or hold at least one picture, got none")
    for picture in frost:
        if _check.rgb("frost", picture).ndim != 3:
            raise ValueError(f"frost must hold pictures [3, h, w], got shape {tuple(picture.shape)}")
    pictures = [_scaled(picture.to(device)) for picture in frost]
    if constants == "cifar-10-c":
        pictures = [_shrunk(picture) for picture in pictures]
    return _corrupt_weather.Pictures.of(pictures)


def _shrunk(picture: Tensor) -> Tensor:
    """To a fifth, bilinear without smoothing, as OpenCV does by default."""
    size = [max(1, round(side / 5)) for side in picture.shape[1:]]
    return functional.interpolate(picture[None], size, mode="bilinear", align_corners=False)[0]


def _fits(frost: _corrupt_weather.Pictures | None, images: Tensor) -> None:
    for height, width in () if frost is None else frost.sizes:
        if height < images.shape[2] or width < images.shape[3]:
            raise ValueError(
                f"frost must hold pictures at least as large as the images, {tuple(images.shape[2:])}, "
                f"got one of {(height, width)}"
            )

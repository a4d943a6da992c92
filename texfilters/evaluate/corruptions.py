"""The 15 corruptions of ImageNet-C at 5 severities, and the errors that they cause."""

import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from texfilters import _check
from texfilters.evaluate import _corrupt_blur, _corrupt_noise, _corrupt_weather
from texfilters.evaluate._counting import RightAnswers
from texfilters.evaluate._training import evaluating
from texfilters.evaluate.figures import _COLORS, _GRID, _INK, _PALE, _figure, _titled
from texfilters.evaluate.probes import _device
from texfilters.loader import DeviceLoader

if TYPE_CHECKING:
    from matplotlib.figure import Figure

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
SEVERITIES = (1, 2, 3, 4, 5)

# What defocus blur mirrors at a border.
_LEAST = 16


@dataclass(frozen=True)
class CorruptionErrors:
    """Shares of wrong answers.

    Attributes:
        clean: on images as they are.
        errors: by corruption and, in order, by severity.
        severities: those measured.
        drawn_frost: whether the pictures of frost were missing, so that frost and mCE are not those of ImageNet-C.
    """

    clean: float
    errors: Mapping[str, tuple[float, ...]]
    severities: tuple[int, ...] = SEVERITIES
    drawn_frost: bool = False

    def mean(self, name: str) -> float:
        """The error under one corruption, over its severities."""
        return sum(self.errors[name]) / len(self.severities)

    def corruption_error(self, name: str, baseline: "CorruptionErrors | None" = None) -> float:
        """The error under one corruption in units of a baseline's, None being `ALEXNET`; its severities are the same.

        Raises:
            ValueError: for a baseline without this corruption or one of its severities, or without an error there.
        """
        own, other = self._sums(name, ALEXNET if baseline is None else baseline)
        if not other > 0:
            raise ValueError(f"baseline must have an error above 0 for {name}, got {other}")
        return own / other

    def relative_corruption_error(self, name: str, baseline: "CorruptionErrors | None" = None) -> float:
        """As `corruption_error`, of what is added to the error on clean images; NaN where the baseline adds none."""
        baseline = ALEXNET if baseline is None else baseline
        own, other = self._sums(name, baseline)
        own, other = own - len(self.severities) * self.clean, other - len(self.severities) * baseline.clean
        return own / other if other > 0 else math.nan

    def mce(self, baseline: "CorruptionErrors | None" = None) -> float:
        """The mean of `corruption_error` over the corruptions measured; 1 is as bad as the baseline.

        The papers give it in percent, for all 15 corruptions and 5 severities and AlexNet as the baseline.
        """
        return sum(self.corruption_error(name, baseline) for name in self.errors) / len(self.errors)

    def relative_mce(self, baseline: "CorruptionErrors | None" = None) -> float:
        """The mean of `relative_corruption_error`."""
        return sum(self.relative_corruption_error(name, baseline) for name in self.errors) / len(self.errors)

    def _sums(self, name: str, baseline: "CorruptionErrors") -> tuple[float, float]:
        """Errors under a corruption over the severities measured, and those of a baseline."""
        missing = sorted(set(self.severities) - set(baseline.severities))
        if name not in baseline.errors or missing:
            raise ValueError(f"baseline must have errors for {name}, severities {self.severities}, but lacks them")
        other = dict(zip(baseline.severities, baseline.errors[name], strict=True))
        return sum(self.errors[name]), sum(other[severity] for severity in self.severities)


ALEXNET = CorruptionErrors(
    clean=0.435,
    errors={
        "gaussian_noise": (0.69528, 0.82542, 0.93554, 0.98138, 0.99452),
        "shot_noise": (0.71224, 0.85108, 0.93574, 0.98182, 0.99146),
        "impulse_noise": (0.78374, 0.89808, 0.94870, 0.98720, 0.99548),
        "defocus_blur": (0.65624, 0.73202, 0.85036, 0.91364, 0.94714),
        "glass_blur": (0.64308, 0.75054, 0.88806, 0.91622, 0.93344),
        "motion_blur": (0.58430, 0.70048, 0.82108, 0.89750, 0.92638),
        "zoom_blur": (0.70008, 0.76992, 0.80784, 0.84198, 0.87198),
        "snow": (0.71726, 0.88392, 0.86468, 0.91870, 0.94952),
        "frost": (0.61390, 0.79734, 0.88790, 0.89942, 0.93430),
        "fog": (0.67474, 0.76050, 0.84378, 0.87260, 0.94500),
        "brightness": (0.45140, 0.48502, 0.54048, 0.62166, 0.72440),
        "contrast": (0.64548, 0.76150, 0.88874, 0.97760, 0.99270),
        "elastic_transform": (0.52596, 0.70116, 0.55686, 0.64076, 0.80554),
        "pixelate": (0.52218, 0.54620, 0.73728, 0.87092, 0.91262),
        "jpeg_compression": (0.51002, 0.54718, 0.57294, 0.65458, 0.74778),
    },
)
"""AlexNet's on ImageNet-C, as its authors publish them beside their code, for Hendrycks and Dietterich 2019."""


def corrupt(
    images: Tensor,
    name: str,
    severity: int,
    *,
    generator: torch.Generator | None = None,
    frost: Sequence[Tensor] | None = None,
) -> Tensor:
    """Corrupt each image of a batch for itself, on its device.

    Written from the formulas and constants of the authors' code, whose images are 224 x 224. Other sizes have the same
    distances in pixels, which are harsh for small images (CIFAR-10-C has constants of its own, which these are not);
    those of `elastic_transform` alone grow with the image. It departs from ImageNet-C in three ways: that was stored
    as JPEG of quality 85, which is left out; values are rounded, not cut off; and frost is drawn unless its pictures
    are given.

    Args:
        images: RGB, `[B, 3, H, W]` of at least 16 x 16 pixels, uint8, or floating point in [0, 1].
        name: one of `CORRUPTIONS`.
        severity: 1 to 5.
        generator: where it draws, on the device of the images; None is torch's own.
        frost: pictures of frost, RGB `[3, h, w]` as `images`, at least as large as those. The authors take the first
            five of theirs. None draws frost of like brightness and roughness, which is not that of ImageNet-C.

    Returns: a new tensor of the shape and dtype of `images`; uint8 is rounded half to even.

    Raises:
        TypeError: for images of another dtype.
        ValueError: for images of another shape, an unknown name, a severity out of its range, frost that is too small.

    Source: Hendrycks and Dietterich 2019, arXiv:1903.12261.
    """
    x = _unit(images)
    pictures = _frost(frost, images.device)
    _fits(frost, images)
    return _like(_corrupted(x, name, severity, generator, pictures), images)


@torch.no_grad()
def corruption_errors(
    network: Callable[[Tensor], Tensor],
    batches: Iterable[Any],
    *,
    corruptions: Sequence[str] = CORRUPTIONS,
    severities: Sequence[int] = SEVERITIES,
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
        transform: from such a batch, its images corrupted, to the network's inputs, as a normalization; None takes the
            images as they are.
        device: None is where the network's parameters are.
        frost: as `corrupt` has it.
        seed: of all that is drawn.

    Raises:
        ValueError: for no image, corruption or severity, unknown ones, scores of another shape or that are not finite,
            labels outside of `[0, C)`.
    """
    corruptions = tuple(dict.fromkeys(_check.choice("corruptions", name, CORRUPTIONS) for name in corruptions))
    severities = tuple(dict.fromkeys(_check.choice("severities", value, SEVERITIES) for value in severities))
    if not corruptions or not severities:
        raise ValueError(f"corruptions and severities must hold at least one, got {corruptions} and {severities}")
    device = _device(network, device)
    cells = [(name, severity) for name in corruptions for severity in severities]
    counts = RightAnswers(
        ["as they are", *(f"under {name} at severity {severity}" for name, severity in cells)], device
    )
    generators = {
        (name, severity): torch.Generator(device).manual_seed((seed << 16) + 8 * CORRUPTIONS.index(name) + severity)
        for name, severity in cells
    }
    pictures = _frost(frost, device)
    with evaluating(network):
        for images, labels, *rest in DeviceLoader(batches, device):
            x = _unit(images)
            _fits(frost, images)
            for cell, key in enumerate((None, *cells)):
                given = images if key is None else _like(_corrupted(x, *key, generators[key], pictures), images)
                counts.add(cell, network(given if transform is None else transform((given, labels, *rest))), labels)
    clean, *shares = counts.shares()
    size = len(severities)
    errors = {
        name: tuple(1 - share for share in shares[i * size : (i + 1) * size]) for i, name in enumerate(corruptions)
    }
    return CorruptionErrors(1 - clean, errors, severities, frost is None and "frost" in errors)


def corruption_table(
    models: Mapping[str, CorruptionErrors], baseline: CorruptionErrors | None = None
) -> list[tuple[str, ...]]:
    """A table in percent: a head, clean error and mCE, then corruption errors, a row a corruption and a column a model.

    Args:
        models: by name, measured under the same corruptions.
        baseline: of the corruption errors; None is `ALEXNET`.

    Raises:
        ValueError: for no model, models measured under others, or a baseline that lacks what they have.
    """
    corruptions = _shared(models)
    rows = [("", *models), ("clean error", *(f"{100 * model.clean:.1f}" for model in models.values()))]
    rows.append(("mCE", *(f"{100 * model.mce(baseline):.1f}" for model in models.values())))
    for name in corruptions:
        errors = (f"{100 * model.corruption_error(name, baseline):.1f}" for model in models.values())
        rows.append((_title(name, models), *errors))
    return rows


def corruption_figure(models: Mapping[str, CorruptionErrors], title: str = "") -> "Figure":
    """Draw the error against severity, 0 being the clean images, a panel a corruption and a line a model.

    Raises:
        ValueError: for no model, or models measured under different corruptions.
    """
    corruptions = _shared(models)
    columns = min(5, len(corruptions))
    rows = -(-len(corruptions) // columns)
    figure = _figure((2.1 * columns + 0.5, 1.75 * rows + 0.8))
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes, name in zip(panels.flat, corruptions, strict=False):
        for i, (model, errors) in enumerate(models.items()):
            severities = (0, *errors.severities)
            shares = [100 * share for share in (errors.clean, *errors.errors[name])]
            axes.plot(severities, shares, "-o", ms=3, lw=1.4, color=_COLORS[i % len(_COLORS)], label=model)
        axes.set_title(_title(name, models), fontsize=9, color=_INK)
        axes.set_ylim(0, 103)
        axes.set_xticks(range(6))
        axes.grid(axis="y", color=_GRID, lw=0.7)
        axes.set_axisbelow(True)
        axes.tick_params(labelsize=8, labelcolor=_INK, color=_PALE)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["left", "bottom"]].set_color(_PALE)
    for axes in panels.flat[len(corruptions) :]:
        axes.set_visible(False)
    figure.supxlabel("severity", fontsize=9, color=_INK)
    figure.supylabel("error, %", fontsize=9, color=_INK)
    handles, labels = panels.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper right", ncols=len(labels), frameon=False, fontsize=9)
    _titled(figure, title)
    return figure


def _title(name: str, models: Mapping[str, CorruptionErrors]) -> str:
    drawn = name == "frost" and any(model.drawn_frost for model in models.values())
    return name.replace("_", " ") + " (drawn)" * drawn


def _shared(models: Mapping[str, CorruptionErrors]) -> tuple[str, ...]:
    if not models:
        raise ValueError("models must hold at least one model, got none")
    measured = {name: tuple(model.errors) for name, model in models.items()}
    first, *others = measured.items()
    for name, corruptions in others:
        if set(corruptions) != set(first[1]):
            raise ValueError(f"models must be measured under the same corruptions, unlike {first[0]!r} and {name!r}")
    return first[1]


def _corrupted(
    x: Tensor, name: str, severity: int, generator: torch.Generator | None, frost: _corrupt_weather.Pictures | None
) -> Tensor:
    function = _CORRUPT[_check.choice("name", name, CORRUPTIONS)]
    if name == "frost":
        function = functools.partial(function, pictures=frost)
    place = _check.choice("severity", severity, SEVERITIES) - 1
    with torch.autocast(x.device.type, enabled=False):
        return function(x, place, generator)


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


def _frost(frost: Sequence[Tensor] | None, device: torch.device) -> _corrupt_weather.Pictures | None:
    if frost is None:
        return None
    if not len(frost):
        raise ValueError("frost must be None or hold at least one picture, got none")
    for picture in frost:
        if _check.rgb("frost", picture).ndim != 3:
            raise ValueError(f"frost must hold pictures [3, h, w], got shape {tuple(picture.shape)}")
    pictures = [picture.to(device) for picture in frost]
    return _corrupt_weather.Pictures.of([_scaled(picture) for picture in pictures])


def _fits(frost: Sequence[Tensor] | None, images: Tensor) -> None:
    for picture in frost or ():
        if picture.shape[1] < images.shape[2] or picture.shape[2] < images.shape[3]:
            raise ValueError(
                f"frost must hold pictures at least as large as the images, {tuple(images.shape[2:])}, "
                f"got one of {tuple(picture.shape[1:])}"
            )

"""Errors under corruption, in units of a baseline's: mCE, its relative, and a table of them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

SEVERITIES = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class CorruptionErrors:
    """Shares of wrong answers.

    Attributes:
        clean: on images as they are.
        errors: by corruption and, in order, by severity.
        severities: those measured.
        drawn_frost: whether the pictures of frost were missing, so that frost and mCE are not those of ImageNet-C.
        constants: whose images were made, `"imagenet-c"` or `"cifar-10-c"`.
    """

    clean: float
    errors: Mapping[str, tuple[float, ...]]
    severities: tuple[int, ...] = SEVERITIES
    drawn_frost: bool = False
    constants: str = "imagenet-c"

    def mean(self, name: str) -> float:
        """The error under one corruption, over its severities."""
        return sum(self.errors[name]) / len(self.severities)

    def mean_error(self) -> float:
        """The mean over corruptions and severities, which is what is customary for CIFAR-10-C."""
        return sum(self.mean(name) for name in self.errors) / len(self.errors)

    def corruption_error(self, name: str, baseline: "CorruptionErrors | None" = None) -> float:
        """The error under one corruption in units of a baseline's; None is `ALEXNET`, for ImageNet's classes.

        Raises:
            ValueError: for a baseline without this corruption or one of its severities, or without an error there, or
                of other constants.
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
        if self.constants != baseline.constants:
            raise ValueError(
                f"baseline must be measured with the same constants, {self.constants}, got {baseline.constants}"
            )
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
"""AlexNet's on ImageNet-C, for its 1,000 classes.

The errors by severity are those that its authors gave in issue 10 of github.com/hendrycks/robustness; the error on
clean images is that of the network that they took, torchvision's, whose accuracy is given as 56.52 %.
"""


def corruption_table(
    models: Mapping[str, CorruptionErrors], baseline: CorruptionErrors | None = None
) -> list[tuple[str, ...]]:
    """A table in percent: a head, clean error and mCE, then corruption errors, a row a corruption and a column a model.

    With the constants of CIFAR-10-C and no baseline, mean errors take the places of mCE and corruption errors.

    Args:
        models: by name, measured under the same corruptions.
        baseline: of the corruption errors; None is `ALEXNET`.

    Raises:
        ValueError: for no model, models measured under others, or a baseline that lacks what they have.
    """
    corruptions = measured(models)
    plain = baseline is None and next(iter(models.values())).constants != ALEXNET.constants
    rows = [("", *models), ("clean error", *(f"{100 * model.clean:.1f}" for model in models.values()))]
    totals = (model.mean_error() if plain else model.mce(baseline) for model in models.values())
    rows.append(("mean error" if plain else "mCE", *(f"{100 * total:.1f}" for total in totals)))
    for name in corruptions:
        errors = (model.mean(name) if plain else model.corruption_error(name, baseline) for model in models.values())
        rows.append((shown(name, models), *(f"{100 * error:.1f}" for error in errors)))
    return rows


def shown(name: str, models: Mapping[str, CorruptionErrors]) -> str:
    """A corruption's name for a reader, who is told where frost is drawn."""
    drawn = name == "frost" and any(model.drawn_frost for model in models.values())
    return name.replace("_", " ") + " (drawn)" * drawn


def measured(models: Mapping[str, CorruptionErrors]) -> tuple[str, ...]:
    """The corruptions under which all models are measured."""
    if not models:
        raise ValueError("models must hold at least one model, got none")
    first, *others = models
    for name in others:
        if set(models[name].errors) != set(models[first].errors):
            raise ValueError(f"models must be measured under the same corruptions, unlike {first!r} and {name!r}")
        if models[name].constants != models[first].constants:
            raise ValueError(f"models must be measured with the same constants, unlike {first!r} and {name!r}")
    return tuple(models[first].errors)

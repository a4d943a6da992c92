"""What the results of suppression_runs.py come to: variants over seeds, and their differences, seed by seed."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev

import numpy as np

from suppression_studies import STUDIES, VARIANTS
from table_cells import Result

# Half widths of 95 % intervals of Student's t in standard errors, by the number of values.
_STUDENT = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36, 9: 2.31, 10: 2.26}
_RESAMPLES = 10_000
SHAPE_BIAS = "shape bias"  # compared as a test is


@dataclass(frozen=True)
class Difference:
    """Between two variants, in points. It is clear where an interval of 95 % excludes 0."""

    value: float
    clear: bool


@dataclass(frozen=True)
class Bias:
    """A share of shape decisions and its 95 % bootstrap interval over seeds and stimuli; NaN where there is none."""

    value: float
    interval: tuple[float, float]


class Summary:
    """The results of one study, of one number of epochs, by variant and seed."""

    def __init__(self, study: str, folder: Path) -> None:
        self.study = study
        files = sorted(folder.glob(f"suppression_{study}_*.json"))
        self.found: list[Result] = [json.loads(path.read_text()) for path in files]
        if len(epochs := {result["epochs"] for result in self.found}) > 1:
            raise ValueError(f"results of {study} must be of one number of epochs, got {sorted(epochs)}")
        self._runs = {(result["variant"], result["seed"]): result for result in self.found}
        self.variants = [name for name in VARIANTS if any(variant == name for variant, _ in self._runs)]
        self.tests = list(self.found[0]["tests"]) if self.found else []
        self.has_conflict = bool(self.found) and "conflict" in self.found[0]

    def seeds(self, *variants: str) -> list[int]:
        """Those that have a result for all of these variants."""
        return [s for s in range(STUDIES[self.study].seeds) if all((name, s) in self._runs for name in variants)]

    def accuracies(self, variant: str, test: str, kind: str = "accuracy") -> list[float]:
        """In percent, by seed."""
        return [100 * self._runs[variant, seed]["tests"][test][kind] for seed in self.seeds(variant)]

    def difference(self, variant: str, test: str, other: str = "plain") -> Difference | None:
        """Over the seeds that both have; None without one, or without the test, which may be `SHAPE_BIAS`.

        The interval is Student's t over seeds. That of a shape bias has to exclude 0 over the stimuli as well: they
        are few, and with two or three seeds the bootstrap alone would find too much.
        """
        seeds = self.seeds(variant, other)
        if not seeds or not (test in self.tests or (test == SHAPE_BIAS and self.has_conflict)):
            return None
        values = [a - b for a, b in zip(*(self._values(name, test, seeds) for name in (variant, other)), strict=True)]
        found = compared(values)
        if test != SHAPE_BIAS:
            return found
        value, (lower, upper) = self._bias_difference(variant, other)
        return Difference(value, clear=found.clear and (lower > 0 or upper < 0))

    def _values(self, variant: str, test: str, seeds: list[int]) -> list[float]:
        runs = [self._runs[variant, seed] for seed in seeds]
        if test == SHAPE_BIAS:
            return [_percent(run["conflict"]["shape_bias"]) for run in runs]
        return [_percent(run["tests"][test]["accuracy"]) for run in runs]

    def biases(self, variant: str) -> list[float]:
        """In percent, by seed; NaN where no answer is of the shape's or the texture's category."""
        return self._values(variant, SHAPE_BIAS, self.seeds(variant))

    def bias(self, variant: str) -> Bias:
        """In percent, of the answers of all seeds."""
        counts = self._counts(variant, self.seeds(variant))
        value = 100 * float(_share(counts.sum((0, 1))))
        if not counts.any((0, 1)).all():  # all for one cue, and so in every resample, which would look like certainty
            return Bias(value, (math.nan, math.nan))
        return Bias(value, _interval(100 * _resampled(counts)))

    def _bias_difference(self, variant: str, other: str) -> tuple[float, tuple[float, float]]:
        """Of the answers of all seeds, and its bootstrap interval: both of the same seeds and stimuli in a resample."""
        ours, theirs = (self._counts(name, self.seeds(variant, other)) for name in (variant, other))
        value = 100 * float(_share(ours.sum((0, 1))) - _share(theirs.sum((0, 1))))
        return value, _interval(100 * (_resampled(ours) - _resampled(theirs)))

    def _counts(self, variant: str, seeds: list[int]) -> np.ndarray:
        """Decisions for shape and for texture by seed and stimulus, `[S, N, 2]`."""
        answers = np.array([list(self._runs[variant, seed]["conflict"]["decisions"]) for seed in seeds])
        return np.stack([answers == kind for kind in "st"], axis=2)


def compared(values: list[float]) -> Difference:
    """The mean of differences, one a seed, and whether Student's interval of 95 % about it excludes 0."""
    value = mean(values)
    if len(values) == 1 or not math.isfinite(value):
        return Difference(value, clear=False)
    half = _STUDENT[min(len(values), max(_STUDENT))] * stdev(values) / math.sqrt(len(values))
    return Difference(value, clear=abs(value) > half)


def _percent(share: float | None) -> float:
    return math.nan if share is None else 100 * share


def _resampled(counts: np.ndarray) -> np.ndarray:
    """Shape biases of resamples of both seeds and stimuli, `[resamples]`; the same draws for every variant.

    Not of single answers: a stimulus that is hard for one seed is so for the others. Source: Owen 2007, The pigeonhole
    bootstrap, doi:10.1214/07-AOAS122.
    """
    draws = np.random.default_rng(0)
    seeds, stimuli = (draws.multinomial(n, np.full(n, 1 / n), size=_RESAMPLES) for n in counts.shape[:2])
    return _share(np.einsum("rs,rn,snk->rk", seeds, stimuli, counts.astype(np.int64), optimize=True))


def _share(decisions: np.ndarray) -> np.ndarray:
    """Of the decisions for shape among those for either; NaN where there are none."""
    with np.errstate(invalid="ignore"):
        return decisions[..., 0] / decisions.sum(-1)


def _interval(values: np.ndarray) -> tuple[float, float]:
    if np.isnan(values).all():
        return math.nan, math.nan
    lower, upper = np.nanquantile(values, [0.025, 0.975])
    return float(lower), float(upper)

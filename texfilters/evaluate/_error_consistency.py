"""Whether two observers err on the same images."""

import math
import os
from dataclasses import dataclass

import torch
from torch import Tensor

from texfilters.evaluate.class_mapping import SIXTEEN_CATEGORIES
from texfilters.evaluate.cue_conflict import CueConflictAnswers, read_answers


@dataclass(frozen=True)
class ErrorConsistency:
    """How far two observers agree on which images they answer right, beyond what their accuracies explain.

    Attributes:
        kappa: Cohen's, `(observed - expected) / (1 - expected)`: 1 for the same errors, 0 for independent ones, below
            0 for fewer in common than by chance; NaN where both are always right, or both always wrong.
        observed: the share of images that both answer right, or both wrong.
        expected: the same for independent observers of these accuracies.
        images: how many both have answered.
    """

    kappa: float
    observed: float
    expected: float
    images: int


@torch.no_grad()
def error_consistency(right: Tensor, other_right: Tensor) -> ErrorConsistency:
    """Compare two observers.

    Args:
        right, other_right: bool `[N]` on one device, whether each answers an image right, for the same images.

    Raises:
        ValueError: for no image, another shape or dtype, different devices.

    Source: Geirhos, Meding and Wichmann 2020, arXiv:2006.16736, equations 1 to 3.
    """
    for name, values in (("right", right), ("other_right", other_right)):
        if values.dtype != torch.bool or values.shape != right.shape or values.ndim != 1 or not len(values):
            dtype = str(values.dtype).removeprefix("torch.")
            raise ValueError(
                f"{name} must be bool [N], N at least 1 and the same for both, got {dtype} {[*values.shape]}"
            )
    if right.device != other_right.device:
        raise ValueError(f"right and other_right must be on one device, got {right.device} and {other_right.device}")
    n = len(right)
    both, first, second = torch.stack([right & other_right, right, other_right]).sum(1).tolist()
    observed = n - first - second + 2 * both  # of n
    expected = first * second + (n - first) * (n - second)  # of n^2, in whole numbers: no rounding on the way to 0 / 0
    kappa = (n * observed - expected) / (n * n - expected) if expected < n * n else math.nan
    return ErrorConsistency(kappa, observed / n, expected / n**2, n)


def error_consistency_from_answers(
    first: CueConflictAnswers | str | os.PathLike[str], second: CueConflictAnswers | str | os.PathLike[str]
) -> ErrorConsistency:
    """Compare the answers of two observers to cue-conflict images, where the category of the shape is the right one.

    Images whose shape and texture agree count, too, as in the authors' code. Rows may be in any order.

    Args:
        first, second: CSV files as `read_answers` takes them, or `CueConflictAnswers`.

    Raises:
        ValueError: for different images, and as `read_answers`.
    """
    pair = [a if isinstance(a, CueConflictAnswers) else read_answers(a, SIXTEEN_CATEGORIES) for a in (first, second)]
    rights = [dict(zip(a.images, (a.answers == a.shapes).tolist(), strict=True)) for a in pair]
    if rights[0].keys() != rights[1].keys():
        alone = sorted(rights[0].keys() ^ rights[1].keys())
        raise ValueError(f"both must answer to the same images, got {len(alone)} of one alone, such as {alone[0]}")
    return error_consistency(*(torch.tensor([right[image] for image in rights[0]], device="cpu") for right in rights))

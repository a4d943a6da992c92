"""Error consistency against Cohen's kappa from a table of counts."""

import math

import numpy as np
import pytest
import torch

from texfilters.evaluate import error_consistency


def test_consistency_is_cohens_kappa():
    right = torch.rand(500) < 0.7
    other = torch.where(torch.rand(500) < 0.4, right, torch.rand(500) < 0.5)
    measured = error_consistency(right, other)
    table = np.histogram2d(right.float(), other.float(), bins=2)[0] / 500
    chance = table.sum(0) @ table.sum(1)
    assert measured.observed == pytest.approx(np.trace(table), abs=1e-12)
    assert measured.expected == pytest.approx(chance, abs=1e-12)
    assert measured.kappa == pytest.approx((np.trace(table) - chance) / (1 - chance), abs=1e-12)
    assert measured.images == 500


@pytest.mark.parametrize(
    ("right", "other", "kappa"),
    [
        ("1100", "1100", 1),
        ("1100", "0011", -1),
        ("1100", "1010", 0),
        ("1111", "1100", 0),
        ("1111", "1111", math.nan),
        ("00", "00", math.nan),
    ],
)
def test_consistency_by_hand(right, other, kappa):
    measured = error_consistency(*(torch.tensor([c == "1" for c in row]) for row in (right, other)))
    assert measured.kappa == pytest.approx(kappa, nan_ok=True)


@pytest.mark.parametrize("other", [torch.ones(3), torch.ones(4, dtype=torch.bool), torch.ones(3, 1, dtype=torch.bool)])
def test_consistency_refuses_what_does_not_match(other):
    with pytest.raises(ValueError, match=r"other_right must be bool \[N\]"):
        error_consistency(torch.ones(3, dtype=torch.bool), other)

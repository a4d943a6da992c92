"""Numbers as tables show them."""

import math
from collections.abc import Sequence

import torch

from texfilters import _check
from texfilters.evaluate.report import Cell


def percent(share: float) -> float:
    """A share in percent, to a hundredth."""
    return round(100 * share, 2)


def difference(rows: Sequence[Sequence[Cell]], title: str = "difference") -> tuple[Cell, ...]:
    """The second of two rows less the first, cell by cell; nothing where a number is missing."""
    first, second = rows
    return (title, *(_less(b, a) for a, b in zip(first[1:], second[1:], strict=True)))


def spread_over(count: int, limit: int | None) -> list[int]:
    """At most `limit` of `count` places, evenly over them; all for None.

    Raises:
        ValueError: for a limit below 1.
    """
    if limit is None or _check.whole("limit", limit, least=1) >= count:
        return list(range(count))
    return torch.linspace(0, count - 1, limit, dtype=torch.float64).round().long().tolist()


def _less(b: Cell, a: Cell) -> Cell:
    if isinstance(a, str) or isinstance(b, str) or a is None or b is None:
        return None
    value = b - a
    return value if isinstance(value, int) or math.isnan(value) else round(value, 4)

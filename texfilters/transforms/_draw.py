"""Numbers for `n` samples: on the CPU, whatever torch's default device is, in one call a parameter."""

from typing import Any

import torch
from torch import Tensor

Number = float | tuple[float, float]  # a pair is a range
Whole = int | tuple[int, int]


def floats(span: Number, n: int, generator: torch.Generator | None) -> Tensor:
    """float64, uniform in the range."""
    if not isinstance(span, tuple):
        return torch.full((n,), span, dtype=torch.float64, device="cpu")
    least, most = span
    return torch.rand(n, **_options(generator, torch.float64)).mul_(most - least).add_(least)


def wholes(
    span: Whole, n: int, generator: torch.Generator | None, *, step: int = 1, dtype: torch.dtype = torch.int64
) -> Tensor:
    """The range's first number and what lies whole steps from it, both ends included, all alike probable."""
    if not isinstance(span, tuple):
        return torch.full((n,), span, dtype=dtype, device="cpu")
    least, most = span
    drawn = torch.randint((most - least) // step + 1, (n,), **_options(generator, dtype))
    return drawn.mul_(step).add_(least)


def left_out(p: float, n: int, generator: torch.Generator | None) -> Tensor:
    """Which samples a transform of probability `p` leaves as they are."""
    return torch.rand(n, **_options(generator, torch.float64)) >= p


def categories(weights: tuple[float, ...], n: int, generator: torch.Generator | None) -> Tensor:
    """Numbers of weights, drawn in proportion to them; never one whose weight is 0."""
    ends = torch.tensor(weights, dtype=torch.float64, device="cpu").cumsum(0)
    return torch.bucketize(torch.rand(n, **_options(generator, torch.float64)), ends / ends[-1], right=True)


def seed(generator: torch.Generator | None) -> Tensor:
    return torch.randint(2**63 - 1, (), **_options(generator, torch.int64))


def _options(generator: torch.Generator | None, dtype: torch.dtype) -> dict[str, Any]:
    # No generator at all in place of None, with which torch.compile knows no sizes but fixed ones.
    options: dict[str, Any] = {"dtype": dtype, "device": "cpu"}
    return options if generator is None else options | {"generator": generator}

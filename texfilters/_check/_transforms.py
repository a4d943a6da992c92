"""What the transforms are built with: ranges, chances, weights and generators."""

import math
from collections.abc import Callable
from typing import Any

import torch

from texfilters._check._numbers import is_number, is_sequence, number, type_name

Rule = Callable[[str, Any], Any]


def real(name: str, value: Any) -> float:
    """A number, and no tensor."""
    if not is_number(value):
        raise TypeError(f"{name} must be a number, got {type_name(value)}")
    return number(name, value)


def span(name: str, value: Any, rule: Rule = real) -> Any:
    """A number, or a pair that is a range with both ends; `rule` checks them."""
    if not is_sequence(value):
        return rule(name, value)
    if len(value) != 2:
        raise ValueError(f"{name} must be a number or a pair of them, got {len(value)} numbers")
    least, most = (rule(name, end) for end in value)
    if least > most:
        raise ValueError(f"{name} must be a range from a smaller to a larger number, got ({least}, {most})")
    if math.inf in (-least, most):
        raise ValueError(f"{name} must be a range between finite numbers, got ({least}, {most})")
    return least, most


def probability(name: str, value: Any) -> float:
    if not 0 <= (value := real(name, value)) <= 1:
        raise ValueError(f"{name} must lie in [0, 1], got {value}")
    return value


def amount(name: str, value: Any, *, below: float = math.inf) -> float:
    """A number from 0 on, less than a bound."""
    if not 0 <= (value := real(name, value)) < below:
        rule = "be finite and >= 0" if below == math.inf else f"lie in [0, {below})"
        raise ValueError(f"{name} must {rule}, got {value}")
    return value


def weights(value: Any, count: int) -> tuple[float, ...]:
    """One for each of `count` filters; they need not sum to 1."""
    if not is_sequence(value):
        raise TypeError(f"weights must be a sequence of numbers, got {type_name(value)}")
    if len(value) != count:
        raise ValueError(f"weights must have one number for each of the {count} filters, got {len(value)}")
    given = tuple(real("weights", weight) for weight in value)
    for weight in given:
        if not 0 <= weight < math.inf:
            raise ValueError(f"weights must be finite and >= 0, got {weight}")
    if not 0 < sum(given) < math.inf:
        raise ValueError(f"weights must have a sum that is finite and > 0, got {given}")
    return given


def generator(value: Any) -> torch.Generator | None:
    if value is not None and not isinstance(value, torch.Generator):
        raise TypeError(f"generator must be a torch.Generator, got {type_name(value)}")
    return value


def cpu_generator(value: Any) -> torch.Generator | None:
    if generator(value) is not None and value.device.type != "cpu":
        raise ValueError(f"generator must be on the CPU, where transforms draw, got {value.device}")
    return value

"""The diffusion's parameters."""

import math
from typing import Any

import torch
from torch import Tensor

from texfilters._check._numbers import (
    dtype_name,
    floating_tensor,
    is_number,
    is_sequence,
    number,
    parameter_tensor,
    positive,
    type_name,
    values,
)

# The bound on gamma may be met in float32 (1/6 rounds up), so it gives way by float32's rounding.
_SLACK = 1 + 1e-6


def spacing(value: Any, ndim: int, name: str = "spacing") -> list[float]:
    if value is None:
        return [1.0] * ndim
    if not is_sequence(value):
        raise TypeError(f"{name} must be None or a sequence of {ndim} numbers, got {type_name(value)}")
    if len(value) != ndim:
        raise ValueError(f"{name} must have one number for each of the {ndim} axes, got {len(value)}")
    distances = []
    for s in value:
        if not is_number(s):
            raise TypeError(f"{name} must hold numbers, got {type_name(s)}")
        distances.append(positive(name, s, finite=True))
    return distances


def niter(value: Any, image: Tensor, ndim: int) -> Tensor:
    """An int32 or int64 tensor, `[]` or `[B]`, on the CPU or on the image's device."""
    if isinstance(value, Tensor):
        if value.dtype not in (torch.int32, torch.int64):
            raise TypeError(f"niter must be an int32 or int64 tensor, got {dtype_name(value.dtype)}")
        return parameter_tensor("niter", value, image, ndim)
    if not is_number(value):
        raise TypeError(f"niter must be a whole number or an integer tensor, got {type_name(value)}")
    if not isinstance(value, int) and not (math.isfinite(value) and value == int(value)):
        raise ValueError(f"niter must be a whole number, got {value}")
    _niter_value(value)
    return torch.scalar_tensor(int(value), dtype=torch.int32, device="cpu")


def gamma_limit(spacing: list[float]) -> float:
    """The largest step for which the explicit scheme is stable."""
    return 0.5 / sum(1 / s for s in spacing)


def kappa(value: Any, image: Tensor, ndim: int) -> Tensor:
    """A floating point tensor, `[]` or `[B]`, on the CPU or on the image's device."""
    if isinstance(value, Tensor):
        return floating_tensor("kappa", value, image, ndim)
    return torch.scalar_tensor(positive("kappa", value), dtype=torch.float64, device="cpu")


def gamma(value: Any, image: Tensor, spacing: list[float]) -> Tensor:
    """A floating point tensor, `[]` or `[B]`, on the CPU or on the image's device."""
    if isinstance(value, Tensor):
        return floating_tensor("gamma", value, image, len(spacing))
    return torch.scalar_tensor(_gamma_value(number("gamma", value), spacing), dtype=torch.float64, device="cpu")


def diffusion_values(niter: Tensor, kappa: Tensor, gamma: Tensor, spacing: list[float]) -> None:
    """The values of parameter tensors that live on the CPU; on a device they are left alone."""
    for value in values(niter):
        _niter_value(value)
    for value in values(kappa):
        positive("kappa", value)
    for value in values(gamma):
        _gamma_value(value, spacing)


def _niter_value(value: float) -> None:
    if value < 0:
        raise ValueError(f"niter must be >= 0, got {value}")
    if value > 2**31 - 1:
        raise ValueError(f"niter must be at most 2147483647, got {value}")


def _gamma_value(value: float, spacing: list[float]) -> float:
    limit = gamma_limit(spacing)
    if not 0 < value <= limit * _SLACK:
        scale = f" with spacing {spacing}" if set(spacing) != {1.0} else ""
        raise ValueError(
            f"gamma must lie in (0, {limit:.6g}] for {len(spacing)}-D diffusion{scale} to stay stable, got {value}"
        )
    return value

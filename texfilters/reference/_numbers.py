"""Parameters of each image, and the dtype that an image is computed in."""

import functools
from collections.abc import Iterable

import torch
from torch import Tensor


def per_image(parameter: Tensor, u: Tensor) -> Tensor:
    """A parameter on the image's device, `[B]` shaped to broadcast against `[B, C, ...]`."""
    parameter = parameter.to(u.device, u.dtype if parameter.is_floating_point() else None)
    return parameter.reshape(-1, *[1] * (u.ndim - 1)) if parameter.ndim else parameter


def positive_or_nan(parameter: Tensor) -> Tensor:
    """What the host may not read, it cannot refuse: a value out of range on a device yields NaN."""
    return torch.where(parameter > 0, parameter, torch.nan)


def nonnegative_or_nan(parameter: Tensor) -> Tensor:
    return torch.where(parameter >= 0, parameter, torch.nan)


def total(terms: Iterable[Tensor]) -> Tensor:
    return functools.reduce(torch.add, terms)


def compute_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def from_compute_dtype(u: Tensor, dtype: torch.dtype) -> Tensor:
    """Back to the image's dtype; to uint8 by rounding half to even, saturated, NaN as 0."""
    if dtype == torch.uint8:
        return u.nan_to_num(nan=0.0).round().clamp(0, 255).to(dtype)
    return u.to(dtype)


def in_layout_of(image: Tensor, u: Tensor) -> Tensor:
    """In the strides that the fakes of the ops promise."""
    return torch.empty_like(image).copy_(u)

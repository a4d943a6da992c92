"""Numbers, windows and parameter tensors."""

import math
import numbers
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

LARGEST_RADIUS = 2**15 - 1  # of a window: what keeps sizes and sums of them within 32 bits
LARGEST_WINDOW = 2 * LARGEST_RADIUS + 1


def choice(name: str, value: Any, allowed: Sequence[Any]) -> Any:
    """The member of `allowed` that equals the value: 1 for NumPy's 1 and for 1.0, too."""
    if isinstance(value, str) or is_number(value):
        for member in allowed:
            if value == member:
                return member
    raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")


def flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be a bool, got {type_name(value)}")
    return bool(value)


def whole(name: str, value: Any, least: int | None = None, most: int | None = None) -> int:
    """A whole number, and no tensor: 3 for NumPy's 3 and for 3.0, too."""
    if not is_number(value):
        raise TypeError(f"{name} must be a whole number, got {type_name(value)}")
    if not isinstance(value, int) and not (math.isfinite(value) and value == int(value)):
        raise ValueError(f"{name} must be a whole number, got {value}")
    if (least is not None and value < least) or (most is not None and value > most):
        rule = f"be at least {least}" if most is None else f"be at most {most}" if least is None else None
        raise ValueError(f"{name} must {rule or f'lie in [{least}, {most}]'}, got {value}")
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"{name} must fit into 64 bits, got {value}")
    return int(value)


def window(name: str, value: Any, least: int = 1) -> int:
    """The width of a window with a pixel in its middle."""
    value = whole(name, value)
    if value < least or value % 2 == 0:
        raise ValueError(f"{name} must be odd and at least {least}, got {value}")
    return whole(name, value, most=LARGEST_WINDOW)


def positive(name: str, value: Any, *, finite: bool = False) -> float:
    """A Python number above 0."""
    if not (value := number(name, value)) > 0 or (finite and value == math.inf):
        raise ValueError(f"{name} must be {'positive and finite' if finite else '> 0'}, got {value}")
    return value


def no_tensor(name: str, value: Any) -> None:
    if isinstance(value, Tensor):
        raise TypeError(f"{name} must be a number, got {type_name(value)}")


def parameter(name: str, value: Any, image: Tensor) -> Tensor:
    """A floating point tensor, `[]` or `[B]`, on the CPU or on the image's device."""
    if isinstance(value, Tensor):
        return floating_tensor(name, value, image, 2)
    given = number(name, value)
    no_nan(name, given)
    return torch.scalar_tensor(given, dtype=torch.float64, device="cpu")


def nonnegative_parameter(name: str, value: Any, image: Tensor) -> Tensor:
    """As `parameter`, at least 0."""
    if isinstance(value, Tensor):
        return floating_tensor(name, value, image, 2)
    return torch.scalar_tensor(nonnegative(name, number(name, value)), dtype=torch.float64, device="cpu")


def nonnegative(name: str, value: float) -> float:
    if not value >= 0:
        raise ValueError(f"{name} must be >= 0, got {value}")
    return value


def no_nan(name: str, value: float) -> None:
    if not value <= math.inf:  # math.isnan() would break a traced graph
        raise ValueError(f"{name} must be a number, got nan")


def values(parameter: Tensor) -> list[float]:
    return parameter.reshape(-1).tolist() if parameter.device.type == "cpu" else []


def number(name: str, value: Any) -> float:
    if not is_number(value):
        raise TypeError(f"{name} must be a number or a floating point tensor, got {type_name(value)}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{name} must fit into a float, got a number beyond {sys.float_info.max:.2g}") from None


def floating_tensor(name: str, value: Tensor, image: Tensor, ndim: int) -> Tensor:
    if not value.is_floating_point():
        raise TypeError(f"{name} must be a floating point tensor, got {dtype_name(value.dtype)}")
    return parameter_tensor(name, value, image, ndim)


def parameter_tensor(name: str, value: Tensor, image: Tensor, ndim: int) -> Tensor:
    if value.device.type != "cpu" and value.device != image.device:
        raise ValueError(f"{name} must be on the CPU or on the image's device {image.device}, got {value.device}")
    if value.ndim > 1:
        raise ValueError(f"{name} must have shape [] or [B], got {tuple(value.shape)}")
    if value.ndim == 1:
        if image.ndim != ndim + 2:
            axes = "[B, C, H, W]" if ndim == 2 else "[B, C, D, H, W]"
            raise ValueError(f"{name} with one value an image needs an image of shape {axes}, got {tuple(image.shape)}")
        if value.shape[0] != image.shape[0]:  # not len(), which would fix the size of a traced batch
            raise ValueError(
                f"{name} must have one value for each of the {image.shape[0]} images, got {value.shape[0]}"
            )
    return value


def is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def is_sequence(value: Any) -> bool:
    """Whether the value may be several numbers: no text, and no NumPy array without a dimension."""
    if isinstance(value, np.ndarray):
        return value.ndim > 0
    return isinstance(value, Sequence) and not isinstance(value, str)


def type_name(value: Any) -> str:
    module, name = type(value).__module__, type(value).__qualname__
    return name if module == "builtins" else f"{module}.{name}"


def dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")

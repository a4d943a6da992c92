"""The other filters' parameters."""

from typing import Any

import torch
from torch import Tensor

from texfilters._check._numbers import LARGEST_RADIUS, LARGEST_WINDOW, no_nan, nonnegative, values, whole
from texfilters._check._transforms import generator, real, span


def diameter(value: Any) -> int:
    """Of the bilateral filter's window: of any sign, and even, as in OpenCV."""
    return whole("d", value, most=LARGEST_WINDOW)


def diameters(value: Any) -> int | tuple[int, int]:
    """A diameter, or a range of them from 1 on."""
    given = span("d", value, lambda _, d: diameter(d))
    if isinstance(given, tuple):
        whole("d", given[0], least=1)
    return given


def max_value(value: Any, image: Tensor) -> float:
    """Rounded for uint8."""
    if value is None:
        return 255.0 if image.dtype == torch.uint8 else 1.0
    value = real("max_value", value)
    if image.dtype != torch.uint8:
        no_nan("max_value", value)
        return value
    if not 0 <= value <= 255:
        raise ValueError(f"max_value must lie in [0, 255] for a uint8 image, got {value}")
    return float(round(value))


def patch_range(value: Any, image: Tensor) -> tuple[int, int]:
    """The smallest and the largest size of a patch."""
    side = min(image.shape[-2:])
    if value is None:
        return max(1, round(16 * side / 224)), max(1, round(72 * side / 224))
    given = span("patch_size", value, whole)
    least, most = given if isinstance(given, tuple) else (given, given)
    if least < 1 or most > side:
        raise ValueError(f"patch_size must lie in [1, {side}], the smaller side of the image, got {value}")
    return least, most


def generator_device(value: Any, image: Tensor) -> torch.device:
    """Where numbers are drawn: on the generator's device, without one on the CPU."""
    if generator(value) is None:
        return torch.device("cpu")
    if value.device.type != "cpu" and value.device != image.device:
        raise ValueError(f"generator must be on the CPU or on the image's device {image.device}, got {value.device}")
    return value.device


def bilateral_values(d: int, sigma_color: Tensor, sigma_space: Tensor) -> None:
    for value in values(sigma_color):
        nonnegative("sigma_color", value)
    for value in values(sigma_space):
        nonnegative("sigma_space", value)
        if d <= 0 and value > LARGEST_RADIUS / 1.5:
            raise ValueError(f"sigma_space must be at most {LARGEST_RADIUS / 1.5:.6g} where d <= 0, got {value}")


def gaussian_values(sigma: Tensor, kernel_size: int) -> None:
    for value in values(sigma):
        nonnegative("sigma", value)
        if kernel_size == 0 and value > LARGEST_RADIUS / 3:
            raise ValueError(f"sigma must be at most {LARGEST_RADIUS / 3:.6g} without a kernel_size, got {value}")


def threshold_values(c: Tensor) -> None:
    for value in values(c):
        no_nan("c", value)

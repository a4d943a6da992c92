"""One small function per rule; every error message of the library is written here, once.

A message names the thing, the rule and the value. Types, shapes and Python numbers are checked before an op is called;
`*_values` run inside an op's body, which torch.compile does not trace, and never read a value on a device.
"""

import math
import numbers
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import forward_ad

DTYPES = (torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64)
BORDERS = ("reflect101", "reflect", "replicate", "wrap", "constant")
_LARGEST_RADIUS = 2**15 - 1  # of a window: what keeps sizes and sums of them within 32 bits
LARGEST_WINDOW = 2 * _LARGEST_RADIUS + 1
# The bound on gamma may be met in float32 (1/6 rounds up), so it gives way by float32's rounding.
_SLACK = 1 + 1e-6


def image(value: Any, ndim: int) -> Tensor:
    if not isinstance(value, Tensor):
        raise TypeError(f"image must be a torch.Tensor, got {_type_name(value)}{_conversion(value)}")
    if value.dtype not in DTYPES:
        raise TypeError(f"image must be uint8, float16, bfloat16, float32 or float64, got {_dtype_name(value.dtype)}")
    if value.layout != torch.strided or value.is_nested:
        kind = "nested" if value.is_nested else f"layout {value.layout}"
        raise TypeError(f"image must be a dense (strided) tensor, got {kind}")
    if value.ndim < ndim:
        axes = "[..., H, W]" if ndim == 2 else "[..., D, H, W]"
        raise ValueError(f"image must have at least {ndim} dimensions, {axes}, got shape {tuple(value.shape)}")
    return value


def rgb(function: str, value: Any) -> Tensor:
    image(value, 2)
    if value.ndim < 3 or value.shape[-3] != 3:
        raise ValueError(f"{function} needs an image of 3 channels, [..., 3, H, W], got shape {tuple(value.shape)}")
    return value


def image_batch(value: Any) -> Tensor:
    """[B, C, H, W] or [C, H, W], of at least one pixel."""
    image(value, 2)
    if value.ndim not in (3, 4):
        raise ValueError(f"image must have the shape [B, C, H, W] or [C, H, W], got {tuple(value.shape)}")
    if min(value.shape[-2:]) < 1:
        raise ValueError(f"image must be at least 1 x 1 pixels, got shape {tuple(value.shape)}")
    return value


def plain_autograd(function: str, *arguments: Any) -> None:
    """Without this, torch.func would fail with a message about torch's insides, and forward mode would yield zero."""
    if torch._C._are_functorch_transforms_active():
        raise RuntimeError(
            f"{function} does not run under torch.func transforms (grad, jvp, vmap, ...): "
            "use torch.autograd, and a batch dimension in place of vmap"
        )
    if forward_ad._current_level >= 0:
        for value in arguments:
            if isinstance(value, Tensor) and forward_ad.unpack_dual(value).tangent is not None:
                raise RuntimeError(f"{function} has no forward-mode derivative: use torch.autograd's reverse mode")


def choice(name: str, value: Any, allowed: Sequence[Any]) -> Any:
    """The member of `allowed` that equals the value: 1 for NumPy's 1 and for 1.0, too."""
    if isinstance(value, str) or _is_number(value):
        for member in allowed:
            if value == member:
                return member
    raise ValueError(f"{name} must be one of {', '.join(map(repr, allowed))}, got {value!r}")


def flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be a bool, got {_type_name(value)}")
    return bool(value)


def border(value: Any) -> str:
    return choice("border", value, BORDERS)


def whole(name: str, value: Any, least: int | None = None, most: int | None = None) -> int:
    """A whole number, and no tensor: 3 for NumPy's 3 and for 3.0, too."""
    if not _is_number(value):
        raise TypeError(f"{name} must be a whole number, got {_type_name(value)}")
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


def diameter(value: Any) -> int:
    """Of the bilateral filter's window: of any sign, and even, as in OpenCV."""
    return whole("d", value, most=LARGEST_WINDOW)


def max_value(value: Any, image: Tensor) -> float:
    """Rounded for uint8."""
    if value is None:
        return 255.0 if image.dtype == torch.uint8 else 1.0
    if not _is_number(value):
        raise TypeError(f"max_value must be a number, got {_type_name(value)}")
    value = _number("max_value", value)
    if image.dtype != torch.uint8:
        _no_nan("max_value", value)
        return value
    if not 0 <= value <= 255:
        raise ValueError(f"max_value must lie in [0, 255] for a uint8 image, got {value}")
    return float(round(value))


def patch_range(value: Any, image: Tensor) -> tuple[int, int]:
    """The smallest and the largest size of a patch."""
    side = min(image.shape[-2:])
    if value is None:
        return max(1, round(16 * side / 224)), max(1, round(72 * side / 224))
    if isinstance(value, Sequence | np.ndarray) and not isinstance(value, str):
        if len(value) != 2:
            raise ValueError(f"patch_size must be a number or a pair of them, got {len(value)} numbers")
        least, most = (whole("patch_size", v) for v in value)
    else:
        least = most = whole("patch_size", value)
    if least > most:
        raise ValueError(f"patch_size must be a range from a smaller to a larger number, got ({least}, {most})")
    if least < 1 or most > side:
        raise ValueError(f"patch_size must lie in [1, {side}], the smaller side of the image, got {value}")
    return least, most


def generator_device(generator: Any, image: Tensor) -> torch.device:
    """Where numbers are drawn: on the generator's device, without one on the CPU."""
    if generator is None:
        return torch.device("cpu")
    if not isinstance(generator, torch.Generator):
        raise TypeError(f"generator must be a torch.Generator, got {_type_name(generator)}")
    if generator.device.type != "cpu" and generator.device != image.device:
        raise ValueError(
            f"generator must be on the CPU or on the image's device {image.device}, got {generator.device}"
        )
    return generator.device


def spacing(value: Any, ndim: int, name: str = "spacing") -> list[float]:
    if value is None:
        return [1.0] * ndim
    if isinstance(value, str) or not isinstance(value, Sequence | np.ndarray):
        raise TypeError(f"{name} must be None or a sequence of {ndim} numbers, got {_type_name(value)}")
    if len(value) != ndim:
        raise ValueError(f"{name} must have one number for each of the {ndim} axes, got {len(value)}")
    distances = []
    for s in value:
        if not _is_number(s):
            raise TypeError(f"{name} must hold numbers, got {_type_name(s)}")
        distances.append(positive(name, s, finite=True))
    return distances


def niter(value: Any, image: Tensor, ndim: int) -> Tensor:
    """An int32 or int64 tensor, `[]` or `[B]`, on the CPU or on the image's device."""
    if isinstance(value, Tensor):
        if value.dtype not in (torch.int32, torch.int64):
            raise TypeError(f"niter must be an int32 or int64 tensor, got {_dtype_name(value.dtype)}")
        return _parameter_tensor("niter", value, image, ndim)
    if not _is_number(value):
        raise TypeError(f"niter must be a whole number or an integer tensor, got {_type_name(value)}")
    if not isinstance(value, int) and not (math.isfinite(value) and value == int(value)):
        raise ValueError(f"niter must be a whole number, got {value}")
    _niter_value(value)
    return torch.scalar_tensor(int(value), dtype=torch.int32)


def positive(name: str, value: Any, *, finite: bool = False) -> float:
    """A Python number above 0."""
    if not (value := _number(name, value)) > 0 or (finite and value == math.inf):
        raise ValueError(f"{name} must be {'positive and finite' if finite else '> 0'}, got {value}")
    return value


def no_tensor(name: str, value: Any) -> None:
    if isinstance(value, Tensor):
        raise TypeError(f"{name} must be a number, got {_type_name(value)}")


def gamma_limit(spacing: list[float]) -> float:
    """The largest step for which the explicit scheme is stable."""
    return 0.5 / sum(1 / s for s in spacing)


def kappa(value: Any, image: Tensor, ndim: int) -> Tensor:
    """A floating point tensor, `[]` or `[B]`, on the CPU or on the image's device."""
    if isinstance(value, Tensor):
        return _floating_tensor("kappa", value, image, ndim)
    return torch.scalar_tensor(positive("kappa", value), dtype=torch.float64)


def gamma(value: Any, image: Tensor, spacing: list[float]) -> Tensor:
    """A floating point tensor, `[]` or `[B]`, on the CPU or on the image's device."""
    if isinstance(value, Tensor):
        return _floating_tensor("gamma", value, image, len(spacing))
    return torch.scalar_tensor(_gamma_value(_number("gamma", value), spacing), dtype=torch.float64)


def parameter(name: str, value: Any, image: Tensor) -> Tensor:
    """A floating point tensor, `[]` or `[B]`, on the CPU or on the image's device."""
    if isinstance(value, Tensor):
        return _floating_tensor(name, value, image, 2)
    number = _number(name, value)
    _no_nan(name, number)
    return torch.scalar_tensor(number, dtype=torch.float64)


def nonnegative_parameter(name: str, value: Any, image: Tensor) -> Tensor:
    """As `parameter`, at least 0."""
    if isinstance(value, Tensor):
        return _floating_tensor(name, value, image, 2)
    return torch.scalar_tensor(_nonnegative(name, _number(name, value)), dtype=torch.float64)


def bilateral_values(d: int, sigma_color: Tensor, sigma_space: Tensor) -> None:
    for value in _values(sigma_color):
        _nonnegative("sigma_color", value)
    for value in _values(sigma_space):
        _nonnegative("sigma_space", value)
        if d <= 0 and value > _LARGEST_RADIUS / 1.5:
            raise ValueError(f"sigma_space must be at most {_LARGEST_RADIUS / 1.5:.6g} where d <= 0, got {value}")


def gaussian_values(sigma: Tensor, kernel_size: int) -> None:
    for value in _values(sigma):
        _nonnegative("sigma", value)
        if kernel_size == 0 and value > _LARGEST_RADIUS / 3:
            raise ValueError(f"sigma must be at most {_LARGEST_RADIUS / 3:.6g} without a kernel_size, got {value}")


def threshold_values(c: Tensor) -> None:
    for value in _values(c):
        _no_nan("c", value)


def _nonnegative(name: str, value: float) -> float:
    if not value >= 0:
        raise ValueError(f"{name} must be >= 0, got {value}")
    return value


def _no_nan(name: str, value: float) -> None:
    if not value <= math.inf:  # math.isnan() would break a traced graph
        raise ValueError(f"{name} must be a number, got nan")


def diffusion_values(niter: Tensor, kappa: Tensor, gamma: Tensor, spacing: list[float]) -> None:
    """The values of parameter tensors that live on the CPU; on a device they are left alone."""
    for value in _values(niter):
        _niter_value(value)
    for value in _values(kappa):
        positive("kappa", value)
    for value in _values(gamma):
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


def _values(parameter: Tensor) -> list[float]:
    return parameter.reshape(-1).tolist() if parameter.device.type == "cpu" else []


def _number(name: str, value: Any) -> float:
    if not _is_number(value):
        raise TypeError(f"{name} must be a number or a floating point tensor, got {_type_name(value)}")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"{name} must fit into a float, got a number beyond {sys.float_info.max:.2g}") from None


def _floating_tensor(name: str, value: Tensor, image: Tensor, ndim: int) -> Tensor:
    if not value.is_floating_point():
        raise TypeError(f"{name} must be a floating point tensor, got {_dtype_name(value.dtype)}")
    return _parameter_tensor(name, value, image, ndim)


def _parameter_tensor(name: str, value: Tensor, image: Tensor, ndim: int) -> Tensor:
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


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _conversion(value: Any) -> str:
    """How to turn what users of NumPy and Pillow have at hand into a tensor."""
    kind = f"{type(value).__module__}.{type(value).__name__}"
    if kind == "numpy.ndarray":
        if value.ndim == 3 and value.shape[-1] in (1, 3, 4):
            return "; convert it with torch.from_numpy(image).movedim(-1, 0)"
        return "; convert it with torch.from_numpy(image)"
    if kind.startswith("PIL."):
        return "; convert it with torchvision.transforms.v2.functional.pil_to_tensor(image)"
    return ""


def _type_name(value: Any) -> str:
    module, name = type(value).__module__, type(value).__qualname__
    return name if module == "builtins" else f"{module}.{name}"


def _dtype_name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")

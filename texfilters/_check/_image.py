"""Images."""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from texfilters._check._numbers import choice, dtype_name, type_name

DTYPES = (torch.uint8, torch.float16, torch.bfloat16, torch.float32, torch.float64)
BORDERS = ("reflect101", "reflect", "replicate", "wrap", "constant")


def image(value: Any, ndim: int) -> Tensor:
    if not isinstance(value, Tensor):
        raise TypeError(f"image must be a torch.Tensor, got {type_name(value)}{_conversion(value)}")
    if value.dtype not in DTYPES:
        raise TypeError(f"image must be uint8, float16, bfloat16, float32 or float64, got {dtype_name(value.dtype)}")
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


def border(value: Any) -> str:
    return choice("border", value, BORDERS)


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

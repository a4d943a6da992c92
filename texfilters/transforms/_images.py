"""Whatever torchvision takes for an image or a video, as batches `[N, C, H, W]` and back."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import PIL.Image
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2.functional import is_pure_tensor, pil_to_tensor, to_pil_image

from texfilters import _check

TYPES = (is_pure_tensor, PIL.Image.Image, tv_tensors.Image, tv_tensors.Video)

_COLORS = {"L": 1, "LA": 1, "RGB": 3, "RGBA": 3, "CMYK": 4}  # planes of a mode that are no alpha


def samples(images: Sequence[Any]) -> int:
    """How many samples images of one call hold: every one of them the same number."""
    counts = [_samples(image) for image in images]
    for count in counts:
        if count != counts[0]:
            raise ValueError(
                f"images of one call share a draw: their samples must be as many, got {counts[0]}, {count}"
            )
    return counts[0] if counts else 0


def _samples(image: Any) -> int:
    return 1 if isinstance(image, PIL.Image.Image) else math.prod(image.shape[: -_axes(image)])


def _axes(image: Tensor) -> int:
    """How many of the last axes make up a sample: T, C, H, W of a video, else C, H, W."""
    return 4 if isinstance(image, tv_tensors.Video) else 3


def batched(image: Tensor) -> Tensor:
    """A plain `[N, C, H, W]`, or of a video `[N, T, C, H, W]`."""
    axes = _axes(image)
    plain = _check.image(image.as_subclass(Tensor) if isinstance(image, tv_tensors.TVTensor) else image, 2)
    return plain.flatten(0, -axes - 1) if plain.ndim > axes + 1 else plain[(None,) * (axes + 1 - plain.ndim)]


def like(result: Tensor, image: Tensor) -> Tensor:
    return tv_tensors.wrap(result, like=image) if isinstance(image, tv_tensors.TVTensor) else result


def planes(image: PIL.Image.Image) -> Tensor:
    """`[C, H, W]`, alpha included."""
    if image.mode not in _COLORS:
        deep = image.mode.startswith(("I", "F"))
        way = "v2.functional.pil_to_tensor(image), scaled to floats in [0, 1]" if deep else "image.convert('RGB')"
        raise ValueError(f"a PIL image must be of the mode {', '.join(_COLORS)}, got {image.mode}; convert it: {way}")
    return pil_to_tensor(image)


def filtered_pil(image: PIL.Image.Image, function: Callable[[Tensor], Tensor]) -> PIL.Image.Image:
    """By a function of `[1, C, H, W]`, which does not see alpha."""
    colors, alpha = planes(image).tensor_split((_COLORS[image.mode],))
    result = function(colors[None])[0]
    return to_pil_image(torch.cat([result, alpha]) if len(alpha) else result, image.mode)

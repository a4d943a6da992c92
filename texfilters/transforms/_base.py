"""What the transforms share: one draw a sample, kept for a replay, and a filter for all samples at once."""

import inspect
from collections.abc import Mapping
from typing import Any

import numpy as np
import PIL.Image
import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten
from torchvision import tv_tensors
from torchvision.transforms.v2 import Transform

from texfilters import _backends, _check
from texfilters.transforms import _images
from texfilters.transforms._draw import Number, Whole
from texfilters.transforms._generators import Own, own

Draw = Mapping[str, Tensor]


class DrawingTransform(Transform):
    """A transform of which every sample draws its own numbers.

    `last_draw` holds those of the last call, on the CPU, `replay` applies them to other images.
    """

    _transformed_types = _images.TYPES

    def __init__(self, generator: torch.Generator | None) -> None:
        super().__init__()
        self.generator = generator
        self.last_draw: Draw | None = None

    @property
    def generator(self) -> torch.Generator | None:
        """Where numbers are drawn; None is torch's own, which a DataLoader seeds in its workers."""
        return None if self._own is None else self._own.generator

    @generator.setter
    def generator(self, generator: torch.Generator | None) -> None:
        generator = _check.cpu_generator(generator)
        self._own = None if generator is None else own(generator)

    def make_params(self, flat_inputs: list[Any]) -> dict[str, Any]:
        n = _images.samples(flat_inputs)
        self.last_draw = drawn = self._draw(n, None) if self._own is None else self._draw_by_own(self._own, n)
        return drawn

    def replay(self, *inputs: Any, draw: Draw | None = None) -> Any:
        """What a call does, with the numbers of the last one, or with those of a `last_draw` that was kept.

        Args:
            inputs: as in a call; their images must have as many samples as those that the numbers were drawn for.
            draw: None is `last_draw`.

        Raises:
            RuntimeError: if there was no call yet and no draw is given.
            ValueError: for another number of samples, or a draw of another transform.
        """
        if draw is not None and not torch.compiler.is_compiling():  # a generator cannot be traced
            names = self._draw(1, torch.Generator()).keys()
            if not names <= draw.keys():
                raise ValueError(f"draw must hold {', '.join(names)}, got {', '.join(draw) or 'nothing'}")
        draw = self.last_draw if draw is None else draw
        if draw is None:
            raise RuntimeError("nothing has been drawn that could be replayed: call the transform first, or pass draw")
        flat, spec = tree_flatten(inputs if len(inputs) > 1 else inputs[0])
        changes = self._needs_transform_list(flat)
        if images := [image for image, changed in zip(flat, changes, strict=True) if changed]:
            count = _images.samples(images)
            for name, numbers in draw.items():
                if numbers.ndim and len(numbers) != count:
                    raise ValueError(f"draw must be of {count} samples, as the images, got {len(numbers)} of {name}")
        pairs = zip(flat, changes, strict=True)
        return tree_unflatten([self.transform(value, draw) if changed else value for value, changed in pairs], spec)

    def transform(self, inpt: Any, params: Draw) -> Any:
        if isinstance(inpt, PIL.Image.Image):
            return _images.filtered_pil(inpt, lambda image: self._filtered(image, params))
        images = _images.batched(inpt)
        if isinstance(inpt, tv_tensors.Video):
            frames = images.shape[1]
            images = images.flatten(0, 1)
            params = {name: numbers.repeat_interleave(frames) for name, numbers in params.items()}
        return _images.like(self._filtered(images, params).reshape(inpt.shape), inpt)

    def extra_repr(self) -> str:
        """The parameters as they are given to the class, None left out."""
        names = [name for name in inspect.signature(type(self)).parameters if name != "generator"]
        values = {name: getattr(self, name, None) for name in names}
        return ", ".join(f"{name}={value!r}" for name, value in values.items() if value is not None)

    def _draw(self, n: int, generator: torch.Generator | None) -> dict[str, Tensor]:
        """What `_filtered` takes for `n` samples: tensors `[n]`, or of no dimension where they share a number."""
        raise NotImplementedError

    def _filtered(self, images: Tensor, draw: Draw) -> Tensor:
        """A new tensor from `[N, C, H, W]`."""
        raise NotImplementedError

    @torch.compiler.disable(reason="a generator of one's own cannot be traced")
    def _draw_by_own(self, own: Own, n: int) -> dict[str, Tensor]:
        return self._draw(n, own.seeded())


class FilterTransform(DrawingTransform):
    """One of the library's filters, applied to a sample with the probability `p`."""

    def __init__(self, p: float, generator: torch.Generator | None, backend: str | None) -> None:
        super().__init__(generator)
        self.p = _check.probability("p", p)
        self.backend = _backends.known(backend)


def ends(span: Number) -> Tensor:
    """A number or the two of a range, as what checks them takes it: in float64 or int64."""
    return torch.from_numpy(np.array(span))


def window_and_sigmas(d: Whole, sigma_color: Number, sigma_space: Number) -> tuple[Whole, Number, Number]:
    """Of a bilateral filter, checked."""
    d, color, space = (
        _check.diameters(d),
        _check.span("sigma_color", sigma_color),
        _check.span("sigma_space", sigma_space),
    )
    _check.bilateral_values(1 if isinstance(d, tuple) else d, ends(color), ends(space))
    return d, color, space


def in_units_of(images: Tensor, levels: Tensor) -> Tensor:
    """Grey levels of 0..255 in the units of uint8 images, or of floating point images in [0, 1]."""
    return levels if images.dtype == torch.uint8 else levels / 255

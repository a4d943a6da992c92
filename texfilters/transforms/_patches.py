"""Patch negatives."""

import functools
from typing import Any

import PIL.Image
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.transforms.v2.functional import to_pil_image

from texfilters import _backends, _check
from texfilters.functional import patch_negatives
from texfilters.transforms import _draw, _images
from texfilters.transforms._base import Draw, DrawingTransform
from texfilters.transforms._draw import Whole


class PatchNegatives(DrawingTransform):
    """`patch_negatives`: every image becomes n images tiled with squares of itself, each drawn for itself.

    Images `[..., C, H, W]` become `[..., n, C, H, W]` of the same type, videos `[..., T, C, H, W]` become
    `[..., n, T, C, H, W]`, every frame with the squares at the same places, and a PIL image (L, LA, RGB, RGBA, CMYK)
    becomes a list of n, alpha moving along. Whatever else a sample holds passes.

    Args:
        patch_size: side of the squares in pixels; a pair is a range, both ends included. None is 16..72 for images of
            224 pixels and in proportion to min(H, W) for others.
        n: results for each image.
        generator, backend: as in `AnisotropicDiffusion`.

    `last_draw` has the seed that the call's sizes and places are drawn from: images of one call, and of a replay, have
    the same ones if they have the same shape.

    Raises:
        TypeError, ValueError: as `patch_negatives`.
    """

    def __init__(
        self,
        patch_size: Whole | None = None,
        n: int = 1,
        *,
        generator: torch.Generator | None = None,
        backend: str | None = None,
    ) -> None:
        super().__init__(generator)
        whole = functools.partial(_check.whole, least=1)
        self.patch_size = None if patch_size is None else _check.span("patch_size", patch_size, whole)
        self.n = whole("n", n)
        self.backend = _backends.known(backend)

    def _draw(self, n: int, generator: torch.Generator | None) -> dict[str, Tensor]:
        return {"seed": _draw.seed(generator)}

    def transform(self, inpt: Any, params: Draw) -> Any:
        if isinstance(inpt, PIL.Image.Image):
            negatives = self._filtered(_images.planes(inpt)[None], params)[0]
            return [to_pil_image(negative, inpt.mode) for negative in negatives]
        images = _images.batched(inpt)
        # The channels of an image are cut at the same places, and so are all frames once they are channels.
        negatives = self._filtered(images.flatten(1, -3), params).unflatten(2, images.shape[1:-2])
        axes = 4 if isinstance(inpt, tv_tensors.Video) else 3
        return _images.like(negatives.reshape(*inpt.shape[:-axes], self.n, *negatives.shape[2:]), inpt)

    @torch.compiler.disable(reason="a generator is made of the seed that was drawn")
    def _filtered(self, images: Tensor, draw: Draw) -> Tensor:
        generator = torch.Generator().manual_seed(int(draw["seed"]))
        return patch_negatives(images, self.patch_size, self.n, generator=generator, backend=self.backend)

"""The papers' mixture of textures suppressed in one way or another, and any other mixture."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from texfilters import _check
from texfilters.transforms import _draw
from texfilters.transforms._base import Draw, DrawingTransform, FilterTransform
from texfilters.transforms._filters import AnisotropicDiffusion, GaussianBlur
from texfilters.transforms._groups import in_groups


class RandomTextureSuppression(DrawingTransform):
    """One filter of several, or none, for every sample; images as in `AnisotropicDiffusion`.

    By default half of the samples are diffused, a quarter is blurred, and a quarter is left as it is. In a batch the
    samples of each filter are gathered, filtered in one launch and put back; nothing is computed for the others.

    Args:
        filters: transforms of this package (`PatchNegatives` apart), mixtures among them, or None for a sample that is
            left as it is. They draw from the mixture's generator and must have none of their own. None is
            `[AnisotropicDiffusion(niter=(10, 20)), GaussianBlur(sigma=(0.1, 2.0)), None]`.
        weights: one for each filter, in proportion to which they are drawn; they need not sum to 1. None is
            `[0.5, 0.25, 0.25]` for the default filters, and equal ones for others.
        generator: as in `AnisotropicDiffusion`.

    `last_draw` has filter, the number of each sample's filter, and under `"0.niter"` and so on what filter 0 would do
    to every sample.

    Raises:
        TypeError: for filters that are no such transforms, or weights that are no numbers.
        ValueError: for no filter at all, a filter with a generator of its own, weights of another number than the
            filters, negative, not finite or all 0.

    Source: Mishra et al. 2020, "Learning Visual Representations for Transfer Learning by Suppressing Texture",
    arXiv:2011.01901: its views for MoCoV2 and DenseCL.
    """

    def __init__(
        self,
        filters: Sequence[DrawingTransform | None] | None = None,
        weights: Sequence[float] | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(generator)
        if filters is None:
            filters = [AnisotropicDiffusion(niter=(10, 20)), GaussianBlur(sigma=(0.1, 2.0)), None]
            weights = [0.5, 0.25, 0.25] if weights is None else weights
        self.filters = _filters(filters)
        self.weights = _check.weights([1.0] * len(filters) if weights is None else weights, len(filters))

    def extra_repr(self) -> str:
        return "\n".join(f"{weight:g}: {filter}" for weight, filter in zip(self.weights, self.filters, strict=True))

    def _draw(self, n: int, generator: torch.Generator | None) -> dict[str, Tensor]:
        drawn = {"filter": _draw.categories(self.weights, n, generator)}
        for number, filter in enumerate(self.filters):
            if filter is not None:
                own = filter._draw(n, generator)
                drawn |= {f"{number}.{name}": values for name, values in own.items()}
        return drawn

    def _filtered(self, images: Tensor, draw: Draw) -> Tensor:
        none = torch.tensor([filter is None for filter in self.filters], device="cpu")

        def apply(some: Tensor, index: Tensor, number: int) -> Tensor:
            prefix = f"{number}."
            own = {name.removeprefix(prefix): v[index] for name, v in draw.items() if name.startswith(prefix)}
            filter: Any = self.filters[number]
            return filter._filtered(some, own)

        return in_groups(images, draw["filter"].masked_fill(none[draw["filter"]], -1), apply)


def _filters(given: Sequence[DrawingTransform | None]) -> list[DrawingTransform | None]:
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise TypeError(f"filters must be a sequence of transforms, got {type(given).__name__}")
    if not given:
        raise ValueError("filters must hold at least one transform, got none")
    for filter in given:
        if filter is not None and not isinstance(filter, FilterTransform | RandomTextureSuppression):
            raise TypeError(
                "filters must hold filters of texfilters.transforms, RandomTextureSuppression or None, "
                f"got {type(filter).__name__}"
            )
        if filter is not None and filter.generator is not None:
            raise ValueError(f"filters draw from the mixture's generator, got one with its own: {filter}")
    return list(given)

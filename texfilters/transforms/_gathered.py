"""Filters that leave no sample as it is: those that are to be filtered are gathered and scattered back."""

import functools

import torch
from torch import Tensor

from texfilters import _check
from texfilters.functional import cartoonize, median_blur
from texfilters.transforms import _draw
from texfilters.transforms._base import Draw, FilterTransform, ends, in_units_of, window_and_sigmas
from texfilters.transforms._draw import Number, Whole
from texfilters.transforms._groups import in_groups


class MedianBlur(FilterTransform):
    """`median_blur` of a window that every sample draws for itself; images as in `AnisotropicDiffusion`.

    Args:
        ksize: width of the window, odd; a pair is a range of odd numbers, both ends included, and takes one launch for
            each number that was drawn.
        p, generator, backend: as in `AnisotropicDiffusion`.

    `last_draw` has ksize, 1 for a sample that is left as it is.

    Raises:
        TypeError, ValueError: as `AnisotropicDiffusion`.
    """

    def __init__(
        self,
        ksize: Whole = 5,
        *,
        p: float = 1.0,
        generator: torch.Generator | None = None,
        backend: str | None = None,
    ) -> None:
        super().__init__(p, generator, backend)
        self.ksize = _check.span("ksize", ksize, _check.window)

    def _draw(self, n: int, generator: torch.Generator | None) -> dict[str, Tensor]:
        ksize = _draw.wholes(self.ksize, n, generator, step=2)
        return {"ksize": ksize.masked_fill_(_draw.left_out(self.p, n, generator), 1)}

    def _filtered(self, images: Tensor, draw: Draw) -> Tensor:
        ksize = draw["ksize"]
        return in_groups(
            images,
            ksize.where(ksize > 1, -1),
            lambda some, _, ksize: median_blur(some, ksize, backend=self.backend),
        )


class Cartoonize(FilterTransform):
    """`cartoonize` with parameters that every sample draws for itself; images as in `AnisotropicDiffusion`.

    An image of one channel is taken as R = G = B, and keeps its one channel. Any other number than 1 or 3 is an error.

    Args:
        d, passes, ksize, block_size: as in `cartoonize`; a pair is a range, of odd numbers for ksize and block_size,
            both ends included, and takes one launch for each combination that was drawn.
        sigma_color, c: in grey levels of 0..255, divided by 255 for floating point images; a pair is a range.
        sigma_space: in pixels; a pair is a range.
        p, generator, backend: as in `AnisotropicDiffusion`.

    `last_draw` has applied (False for a sample that is left as it is), sigma_color and c in grey levels, sigma_space
    and those of d, passes, ksize and block_size that are ranges.

    Raises:
        TypeError, ValueError: as `AnisotropicDiffusion`.
    """

    def __init__(
        self,
        d: Whole = 9,
        sigma_color: Number = 300.0,
        sigma_space: Number = 300.0,
        passes: Whole = 1,
        ksize: Whole = 7,
        block_size: Whole = 9,
        c: Number = 9.0,
        *,
        p: float = 1.0,
        generator: torch.Generator | None = None,
        backend: str | None = None,
    ) -> None:
        super().__init__(p, generator, backend)
        self.d, self.sigma_color, self.sigma_space = window_and_sigmas(d, sigma_color, sigma_space)
        self.passes = _check.span("passes", passes, functools.partial(_check.whole, least=0))
        self.ksize = _check.span("ksize", ksize, _check.window)
        self.block_size = _check.span("block_size", block_size, functools.partial(_check.window, least=3))
        self.c = _check.span("c", c)
        _check.threshold_values(ends(self.c))

    def _draw(self, n: int, generator: torch.Generator | None) -> dict[str, Tensor]:
        drawn = {
            "applied": ~_draw.left_out(self.p, n, generator),
            "sigma_color": _draw.floats(self.sigma_color, n, generator),
            "sigma_space": _draw.floats(self.sigma_space, n, generator),
            "c": _draw.floats(self.c, n, generator),
        }
        for name, step in _WINDOWS.items():
            if isinstance(span := getattr(self, name), tuple):
                drawn[name] = _draw.wholes(span, n, generator, step=step)
        return drawn

    def _filtered(self, images: Tensor, draw: Draw) -> Tensor:
        sigma_color, sigma_space = in_units_of(images, draw["sigma_color"]), draw["sigma_space"]
        c = in_units_of(images, draw["c"])
        windows = {name: getattr(self, name) for name in _WINDOWS}
        ranges = [name for name in _WINDOWS if name in draw]
        rows, keys = [()], torch.zeros(len(images), dtype=torch.int64, device="cpu")
        if ranges:
            distinct, keys = torch.stack([draw[name] for name in ranges], 1).unique(dim=0, return_inverse=True)
            rows = distinct.tolist()

        def apply(some: Tensor, index: Tensor, key: int) -> Tensor:
            chosen = windows | dict(zip(ranges, rows[key], strict=True))
            chosen |= {"sigma_color": sigma_color[index], "sigma_space": sigma_space[index], "c": c[index]}
            if some.shape[-3] != 1:
                return cartoonize(some, **chosen, backend=self.backend)
            return cartoonize(some.expand(-1, 3, -1, -1), **chosen, backend=self.backend)[:, :1].contiguous()

        return in_groups(images, keys.where(draw["applied"], -1), apply)


_WINDOWS = {"d": 1, "passes": 1, "ksize": 2, "block_size": 2}  # what a launch has one of, and the steps of a range

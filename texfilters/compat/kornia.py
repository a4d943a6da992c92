"""The filters as augmentations of kornia, which has none like them: every image of a batch draws its own parameters.

    AugmentationSequential(RandomAnisotropicDiffusion(), RandomHorizontalFlip(), data_keys=["input", "mask"])

Images are floating point in [0, 1], `[B, C, H, W]`, `[C, H, W]` or `[H, W]`, on any device; masks, boxes and keypoints
pass through, and gradients flow. `kappa`, `sigma_color` and `c` are in grey levels of 0..255 all the same and divided
by 255, so that kappa=20 is the 20 of the papers. Every drawn parameter is a number, or a pair that is a range with both
ends included; other than in kornia's own augmentations, a number n means n, not a range around it. `_params` holds a
value for each image, in these units. A batch takes one launch, in which the images that `p` leaves out cost a copy.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from texfilters.compat._filters import BILATERAL, CARTOON, DIFFUSION, Filter, Range

try:
    from kornia.augmentation import IntensityAugmentationBase2D
    from kornia.augmentation.random_generator import RandomGeneratorBase
except ModuleNotFoundError as error:
    raise ImportError("texfilters.compat.kornia needs kornia: pip install kornia") from error

__all__ = ["RandomAnisotropicDiffusion", "RandomBilateralFilter", "RandomCartoonize"]


class _Ranges(RandomGeneratorBase):
    """Uniform draws from kornia's source of randomness, torch's global generator."""

    def __init__(self, ranges: Mapping[str, Range]) -> None:
        super().__init__()
        self.ranges = dict(ranges)

    def __repr__(self) -> str:
        return ", ".join(f"{name}={ends}" for name, ends in self.ranges.items())

    def make_samplers(self, device: torch.device, dtype: torch.dtype) -> None:
        pass  # ends of ranges are all there is

    def forward(self, batch_shape: tuple[int, ...], same_on_batch: bool = False) -> dict[str, Tensor]:
        count = min(1, batch_shape[0]) if same_on_batch else batch_shape[0]
        drawn = {}
        for name, (low, high) in self.ranges.items():
            if isinstance(low, int):
                # On the CPU wherever the others are: the launch is planned from it.
                value = torch.randint(low, int(high) + 1, (count,), dtype=torch.int32, device="cpu")
            else:
                value = torch.empty(count, device=self.device, dtype=self.dtype).uniform_(low, high)
            drawn[name] = value.expand(batch_shape[0]).clone() if same_on_batch else value
        return drawn


class _Augmentation(IntensityAugmentationBase2D):
    filter: ClassVar[Filter]

    def __init__(self, parameters: Mapping[str, Any], same_on_batch: bool, p: float, keepdim: bool) -> None:
        super().__init__(p=p, same_on_batch=same_on_batch, keepdim=keepdim)
        ranges, self.flags = self.filter.split(parameters)
        self._param_generator = _Ranges(ranges)

    def apply_transform(
        self, input: Tensor, params: dict[str, Tensor], flags: dict[str, Any], transform: Tensor | None = None
    ) -> Tensor:
        """Of a batch with images to be left out, which kornia puts back afterwards, these are not computed."""
        drawn = {name: params[name] for name in self.filter.drawn}
        flags = {name: flags[name] for name in self.flags}  # containers add some of their own
        if self.p == 1 and self.p_batch == 1:
            return self.filter.in_levels(input, {**drawn, **flags})
        chosen = torch.atleast_1d(params["batch_prob"] > 0.5).expand(input.shape[0])
        identity = self.filter.identity
        if identity is None:
            index = chosen.nonzero().flatten()
            some = {name: value[index.to(value.device)] for name, value in drawn.items()}
            index = index.to(input.device)
            return input.index_copy(0, index, self.filter.in_levels(input[index], {**some, **flags}))
        if drawn[identity].device == chosen.device:
            drawn[identity] = drawn[identity] * chosen
        return self.filter.in_levels(input, {**drawn, **flags})


class RandomAnisotropicDiffusion(_Augmentation):
    """Smooth an image while edges stronger than `kappa` survive; any number of channels.

    Args:
        niter, kappa, gamma: numbers or ranges; see `texfilters.anisotropic_diffusion`, as for the others.
        option, coupling: not drawn.
        same_on_batch, p, keepdim: kornia's.
    """

    filter = DIFFUSION

    def __init__(
        self,
        niter: int | tuple[int, int] = (10, 20),
        kappa: float | tuple[float, float] = 20.0,
        gamma: float | tuple[float, float] = 0.1,
        option: int = 1,
        coupling: str = "none",
        same_on_batch: bool = False,
        p: float = 0.5,
        keepdim: bool = False,
    ) -> None:
        parameters = {"niter": niter, "kappa": kappa, "gamma": gamma, "option": option, "coupling": coupling}
        super().__init__(parameters, same_on_batch, p, keepdim)


class RandomBilateralFilter(_Augmentation):
    """Average the neighbors that are close in space and in color; any number of channels.

    Args:
        d, border: not drawn; see `texfilters.bilateral_filter`, as for the others.
        sigma_color, sigma_space: numbers or ranges.
        same_on_batch, p, keepdim: kornia's.
    """

    filter = BILATERAL

    def __init__(
        self,
        d: int = 9,
        sigma_color: float | tuple[float, float] = 75.0,
        sigma_space: float | tuple[float, float] = 75.0,
        border: str = "reflect101",
        same_on_batch: bool = False,
        p: float = 0.5,
        keepdim: bool = False,
    ) -> None:
        parameters = {"d": d, "sigma_color": sigma_color, "sigma_space": sigma_space, "border": border}
        super().__init__(parameters, same_on_batch, p, keepdim)


class RandomCartoonize(_Augmentation):
    """Flat colors between black lines; RGB images.

    Args:
        d, passes, ksize, block_size: not drawn; see `texfilters.cartoonize`, as for the others.
        sigma_color, sigma_space, c: numbers or ranges.
        same_on_batch, p, keepdim: kornia's.
    """

    filter = CARTOON

    def __init__(
        self,
        d: int = 9,
        sigma_color: float | tuple[float, float] = 300.0,
        sigma_space: float | tuple[float, float] = 300.0,
        passes: int = 1,
        ksize: int = 7,
        block_size: int = 9,
        c: float | tuple[float, float] = 9.0,
        same_on_batch: bool = False,
        p: float = 0.5,
        keepdim: bool = False,
    ) -> None:
        drawn = {"sigma_color": sigma_color, "sigma_space": sigma_space, "c": c}
        fixed = {"d": d, "passes": passes, "ksize": ksize, "block_size": block_size}
        super().__init__({**drawn, **fixed}, same_on_batch, p, keepdim)

"""The filters as transforms of Albumentations 2, which has none like them.

    A.Compose([A.RandomResizedCrop((224, 224)), AnisotropicDiffusion(niter=(10, 20)), A.Normalize(), ToTensorV2()])

Images are NumPy arrays, H x W or H x W x C; uint8, or floating point with values in [0, 1]. `kappa`, `sigma_color` and
`c` are in grey levels of 0..255 for both. Every drawn parameter is a number, or a pair that is a range with both ends
included; other than in Albumentations' own transforms, a number n means n, not a range up to it. A batch (`images`) and
the slices of a `volume` share one draw and are filtered in one call. Draws come from the random state that
`A.Compose(seed=...)` sets. For `A.from_dict` to know these classes, this module must have been imported.
"""

from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from texfilters.compat._filters import BILATERAL, CARTOON, DIFFUSION, Filter

try:
    import albumentations as A
    from albumentations.core.transforms_interface import BaseTransformInitSchema
    from pydantic import model_validator
except ModuleNotFoundError as error:
    raise ImportError("texfilters.compat.albumentations needs Albumentations: pip install albumentations") from error

__all__ = ["AnisotropicDiffusion", "BilateralFilter", "Cartoonize"]

Whole = int | tuple[int, int]
Real = float | tuple[float, float]


class _Schema(BaseTransformInitSchema):
    filter: ClassVar[Filter]

    @model_validator(mode="after")
    def _numbers_become_ranges(self) -> "_Schema":
        ranges, _ = self.filter.split(self.model_dump(exclude={"p", "strict"}))
        for name, ends in ranges.items():
            setattr(self, name, ends)
        return self


class _Transform(A.ImageOnlyTransform):
    filter: ClassVar[Filter]
    fixed: ClassVar[tuple[str, ...]]

    def get_params(self) -> dict[str, Any]:
        drawn = {}
        for name in self.filter.drawn:
            low, high = getattr(self, name)
            drawn[name] = (self.py_random.randint if isinstance(low, int) else self.py_random.uniform)(low, high)
        return drawn

    def apply(self, img: NDArray[Any], **params: Any) -> NDArray[Any]:
        return self._filtered(img, img.ndim == 2, params)

    def apply_to_images(self, images: NDArray[Any], *args: Any, **params: Any) -> NDArray[Any]:
        images = np.asarray(images)
        return self._filtered(images, images.ndim == 3, params)

    def _filtered(self, images: NDArray[Any], gray: bool, params: dict[str, Any]) -> NDArray[Any]:
        """[..., H, W] if gray, else [..., H, W, C]."""
        # torch warns of arrays that are read-only, as those of np.asarray(PIL.Image) are.
        pixels = torch.from_numpy(images if images.flags.writeable else images.copy())
        planes = pixels.unsqueeze(-3) if gray else pixels.movedim(-1, -3)
        parameters = {name: params[name] for name in self.filter.drawn} | {n: getattr(self, n) for n in self.fixed}
        result = self.filter.in_levels(planes, parameters)
        return (result.squeeze(-3) if gray else result.movedim(-3, -1)).numpy()


class AnisotropicDiffusion(_Transform):
    """Smooth an image while edges stronger than `kappa` survive; any number of channels.

    Args:
        niter, kappa, gamma: numbers or ranges; see `texfilters.anisotropic_diffusion`, as for the others.
        option, coupling: not drawn.
        p: probability of being applied.
    """

    filter = DIFFUSION
    fixed = ("option", "coupling")

    class InitSchema(_Schema):
        filter = DIFFUSION
        niter: Whole
        kappa: Real
        gamma: Real
        option: int
        coupling: str

    def __init__(
        self,
        niter: Whole = (10, 20),
        kappa: Real = 20.0,
        gamma: Real = 0.1,
        option: int = 1,
        coupling: str = "none",
        p: float = 0.5,
    ):
        super().__init__(p=p)
        self.niter, self.kappa, self.gamma = niter, kappa, gamma
        self.option, self.coupling = option, coupling


class BilateralFilter(_Transform):
    """Average the neighbors that are close in space and in color; any number of channels.

    Args:
        d, border: not drawn; see `texfilters.bilateral_filter`, as for the others.
        sigma_color, sigma_space: numbers or ranges.
        p: probability of being applied.
    """

    filter = BILATERAL
    fixed = ("d", "border")

    class InitSchema(_Schema):
        filter = BILATERAL
        d: int
        sigma_color: Real
        sigma_space: Real
        border: str

    def __init__(
        self,
        d: int = 9,
        sigma_color: Real = 75.0,
        sigma_space: Real = 75.0,
        border: str = "reflect101",
        p: float = 0.5,
    ):
        super().__init__(p=p)
        self.d, self.sigma_color, self.sigma_space, self.border = d, sigma_color, sigma_space, border


class Cartoonize(_Transform):
    """Flat colors between black lines; RGB images.

    Args:
        d, passes, ksize, block_size: not drawn; see `texfilters.cartoonize`, as for the others.
        sigma_color, sigma_space, c: numbers or ranges.
        p: probability of being applied.
    """

    filter = CARTOON
    fixed = ("d", "passes", "ksize", "block_size")

    class InitSchema(_Schema):
        filter = CARTOON
        d: int
        sigma_color: Real
        sigma_space: Real
        passes: int
        ksize: int
        block_size: int
        c: Real

    def __init__(
        self,
        d: int = 9,
        sigma_color: Real = 300.0,
        sigma_space: Real = 300.0,
        passes: int = 1,
        ksize: int = 7,
        block_size: int = 9,
        c: Real = 9.0,
        p: float = 0.5,
    ):
        super().__init__(p=p)
        self.d, self.sigma_color, self.sigma_space = d, sigma_color, sigma_space
        self.passes, self.ksize, self.block_size, self.c = passes, ksize, block_size, c

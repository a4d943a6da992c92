"""The filters as transforms of MONAI: plain and random, for arrays and, with a `d` at the end, for dictionaries.

    Compose([LoadImaged("image"), EnsureChannelFirstd("image"), RandAnisotropicDiffusiond("image", (5, 10), 50)])

Images are channel first and without a batch: `[C, H, W]`, and for the diffusion also `[C, D, H, W]`, diffused along all
three axes. `kappa` and `sigma_color` are in the units of the image, be they Hounsfield units or the 0..1 that
`ScaleIntensity` yields; nothing is scaled by dtype, and so they have no defaults. Integers become float32, as MONAI's
own smoothing makes them; floating point keeps its dtype. The result is a `MetaTensor` with the metadata of the image,
or a tensor after `set_track_meta(False)`.

Every drawn parameter of a `Rand...` class is a number, or a pair that is a range with both ends included. Draws come
from the state that `set_random_state` sets; all keys of a dictionary share one.
"""

import functools
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from texfilters.compat._filters import BILATERAL, DIFFUSION, Filter

try:
    from monai.config import KeysCollection, NdarrayOrTensor
    from monai.data.meta_obj import get_track_meta
    from monai.data.meta_tensor import MetaTensor
    from monai.transforms import GaussianSmooth, MapTransform, Randomizable, RandomizableTransform, Transform
    from monai.utils import convert_data_type, convert_to_dst_type, convert_to_tensor
except ModuleNotFoundError as error:
    raise ImportError("texfilters.compat.monai needs MONAI: pip install monai") from error

__all__ = [
    "AnisotropicDiffusion",
    "AnisotropicDiffusiond",
    "BilateralFilter",
    "BilateralFilterd",
    "RandAnisotropicDiffusion",
    "RandAnisotropicDiffusiond",
    "RandBilateralFilter",
    "RandBilateralFilterd",
]


class _Filter(Transform):
    backend = GaussianSmooth.backend  # torch
    filter: ClassVar[Filter]

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        self.filter.function(torch.zeros(3, 0, 0, device="cpu"), **parameters)  # so that a wrong value shows
        self.parameters = dict(parameters)

    def __call__(self, img: NdarrayOrTensor) -> Tensor:
        axes = self.axes(img)
        tracked = convert_to_tensor(img, track_meta=get_track_meta())
        pixels, *_ = convert_data_type(tracked, torch.Tensor)
        if not pixels.is_floating_point():
            pixels = pixels.float()
        result = self.filter.function(pixels, **self.parameters, **axes)
        return convert_to_dst_type(result, dst=tracked, dtype=result.dtype)[0]

    def check(self, img: NdarrayOrTensor) -> None:
        """What the image itself forbids: a gamma for images is too large for volumes."""
        empty = torch.zeros(3, *[0] * (img.ndim - 1), device="cpu")
        self.filter.function(empty, **self.parameters, **self.axes(img))

    def axes(self, img: NdarrayOrTensor) -> dict[str, Any]:
        """The parameters that depend on the image."""
        raise NotImplementedError


class AnisotropicDiffusion(_Filter):
    """Smooth an image or a volume while edges stronger than `kappa` survive.

    Args:
        niter, gamma, option, coupling: see `texfilters.anisotropic_diffusion`; for volumes gamma is at most 1/6.
        kappa: in the units of the image: 50 keeps edges of some 50 HU, after scaling to [0, 1] 0.1 those of a tenth.
        spacing: None takes all axes as equal; a sequence has a distance for each axis; "pixdim" takes those of the
            `MetaTensor`. Where distances are small gamma has to be small as well, and is checked.
    """

    filter = DIFFUSION

    def __init__(
        self,
        niter: int,
        kappa: float,
        gamma: float = 0.1,
        option: int = 1,
        coupling: str = "none",
        spacing: Sequence[float] | str | None = None,
    ) -> None:
        super().__init__({"niter": niter, "kappa": kappa, "gamma": gamma, "option": option, "coupling": coupling})
        if isinstance(spacing, str) and spacing != "pixdim":
            raise ValueError(f"spacing must be None, a sequence of numbers or 'pixdim', got {spacing!r}")
        self.spacing = spacing

    def axes(self, img: NdarrayOrTensor) -> dict[str, Any]:
        if img.ndim not in (3, 4):
            raise ValueError(f"image must have the shape [C, H, W] or [C, D, H, W], got {tuple(img.shape)}")
        if self.spacing != "pixdim":
            return {"spacing": self.spacing, "ndim": img.ndim - 1}
        if not isinstance(img, MetaTensor):
            raise ValueError(f"spacing='pixdim' needs a MetaTensor, got {type(img).__name__}")
        return {"spacing": img.pixdim.tolist(), "ndim": img.ndim - 1}


class BilateralFilter(_Filter):
    """Average the neighbors that are close in space and in value; images, not volumes.

    Args:
        sigma_color: in the units of the image.
        sigma_space, d, border: see `texfilters.bilateral_filter`.
    """

    filter = BILATERAL

    def __init__(self, sigma_color: float, sigma_space: float = 75.0, d: int = 9, border: str = "reflect101") -> None:
        super().__init__({"sigma_color": sigma_color, "sigma_space": sigma_space, "d": d, "border": border})

    def axes(self, img: NdarrayOrTensor) -> dict[str, Any]:
        if img.ndim != 3:
            raise ValueError(f"image must have the shape [C, H, W], got {tuple(img.shape)}")
        return {}


class _RandFilter(RandomizableTransform):
    backend = _Filter.backend
    plain: ClassVar[type[Any]]

    def __init__(self, prob: float, parameters: Mapping[str, Any], **others: Any) -> None:
        RandomizableTransform.__init__(self, prob)
        self.ranges, self.fixed = self.plain.filter.split(parameters)
        self.fixed.update(others)
        self.drawn: dict[str, Any] = {name: low for name, (low, _) in self.ranges.items()}
        self._filter()

    def randomize(self, data: Any = None) -> None:
        super().randomize(data)
        if self._do_transform:
            for name, (low, high) in self.ranges.items():
                whole = isinstance(low, int)
                self.drawn[name] = self.R.randint(low, int(high) + 1) if whole else self.R.uniform(low, high)

    def __call__(self, img: NdarrayOrTensor, randomize: bool = True) -> Tensor:
        if randomize:
            self.randomize()
        if not self._do_transform:
            return convert_to_tensor(img, track_meta=get_track_meta())
        # All of the range, else a rare draw would end an epoch.
        self.plain(**{name: high for name, (_, high) in self.ranges.items()}, **self.fixed).check(img)
        return self._filter()(img)

    def _filter(self) -> _Filter:
        return self.plain(**self.drawn, **self.fixed)


class RandAnisotropicDiffusion(_RandFilter):
    """`AnisotropicDiffusion` with the probability `prob`; niter, kappa and gamma are numbers or ranges."""

    plain = AnisotropicDiffusion

    def __init__(
        self,
        niter: int | tuple[int, int],
        kappa: float | tuple[float, float],
        gamma: float | tuple[float, float] = 0.1,
        option: int = 1,
        coupling: str = "none",
        spacing: Sequence[float] | str | None = None,
        prob: float = 0.1,
    ) -> None:
        parameters = {"niter": niter, "kappa": kappa, "gamma": gamma, "option": option, "coupling": coupling}
        super().__init__(prob, parameters, spacing=spacing)


class RandBilateralFilter(_RandFilter):
    """`BilateralFilter` with the probability `prob`; the sigmas are numbers or ranges."""

    plain = BilateralFilter

    def __init__(
        self,
        sigma_color: float | tuple[float, float],
        sigma_space: float | tuple[float, float] = 75.0,
        d: int = 9,
        border: str = "reflect101",
        prob: float = 0.1,
    ) -> None:
        super().__init__(prob, {"sigma_color": sigma_color, "sigma_space": sigma_space, "d": d, "border": border})


class _Dictionary(MapTransform):
    array: ClassVar[type[_Filter] | type[_RandFilter]]

    def __init__(self, keys: KeysCollection, *args: Any, allow_missing_keys: bool = False, **kwargs: Any) -> None:
        super().__init__(keys, allow_missing_keys)
        self.transform = self.array(*args, **kwargs)

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, NdarrayOrTensor]:
        return {**data, **{key: self.transform(data[key]) for key in self.key_iterator(data)}}


class _RandDictionary(Randomizable, _Dictionary):
    array: ClassVar[type[_RandFilter]]
    transform: _RandFilter

    def set_random_state(
        self, seed: int | None = None, state: np.random.RandomState | None = None
    ) -> "_RandDictionary":
        self.transform.set_random_state(seed, state)
        return self

    def randomize(self, data: Any = None) -> None:
        self.transform.randomize(data)

    def __call__(self, data: Mapping[Hashable, NdarrayOrTensor]) -> dict[Hashable, NdarrayOrTensor]:
        self.randomize()
        drawn = functools.partial(self.transform, randomize=False)
        return {**data, **{key: drawn(data[key]) for key in self.key_iterator(data)}}


class AnisotropicDiffusiond(_Dictionary):
    """`AnisotropicDiffusion` of the images under `keys`; the other arguments are those of it."""

    array = AnisotropicDiffusion


class BilateralFilterd(_Dictionary):
    """`BilateralFilter` of the images under `keys`; the other arguments are those of it."""

    array = BilateralFilter


class RandAnisotropicDiffusiond(_RandDictionary):
    """`RandAnisotropicDiffusion` of the images under `keys`; the other arguments are those of it."""

    array = RandAnisotropicDiffusion


class RandBilateralFilterd(_RandDictionary):
    """`RandBilateralFilter` of the images under `keys`; the other arguments are those of it."""

    array = RandBilateralFilter

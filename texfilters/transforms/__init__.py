"""The filters for torchvision.transforms.v2: what changes from sample to sample is drawn, one draw a sample."""

try:
    import torchvision  # noqa: F401
except ModuleNotFoundError as error:
    raise ImportError(
        "texfilters.transforms needs torchvision: pip install 'texfilters[transforms]'", name="torchvision"
    ) from error

from texfilters.transforms._filters import AnisotropicDiffusion, BilateralFilter, GaussianBlur
from texfilters.transforms._gathered import Cartoonize, MedianBlur
from texfilters.transforms._mixture import RandomTextureSuppression
from texfilters.transforms._patches import PatchNegatives

__all__ = [
    "AnisotropicDiffusion",
    "BilateralFilter",
    "Cartoonize",
    "GaussianBlur",
    "MedianBlur",
    "PatchNegatives",
    "RandomTextureSuppression",
]

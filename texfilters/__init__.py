"""Texture-suppressing image filters for PyTorch, fast enough for the training loop."""

from texfilters._backends import show_config
from texfilters._version import __version__
from texfilters.functional import (
    adaptive_threshold,
    anisotropic_diffusion,
    bilateral_filter,
    cartoonize,
    gaussian_blur,
    median_blur,
    patch_negatives,
    rgb_to_gray,
)

__all__ = [
    "__version__",
    "adaptive_threshold",
    "anisotropic_diffusion",
    "bilateral_filter",
    "cartoonize",
    "gaussian_blur",
    "median_blur",
    "patch_negatives",
    "rgb_to_gray",
    "show_config",
]

"""The public functions: docstring, checks, one call."""

from texfilters.functional._cartoon import adaptive_threshold, cartoonize, rgb_to_gray
from texfilters.functional._diffusion import anisotropic_diffusion
from texfilters.functional._patches import patch_negatives
from texfilters.functional._smoothing import bilateral_filter, gaussian_blur, median_blur

__all__ = [
    "adaptive_threshold",
    "anisotropic_diffusion",
    "bilateral_filter",
    "cartoonize",
    "gaussian_blur",
    "median_blur",
    "patch_negatives",
    "rgb_to_gray",
]

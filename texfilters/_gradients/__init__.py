"""Vector-Jacobian products in plain torch: one implementation for every backend and device."""

from texfilters._gradients._cartoon import cartoonize, rgb_to_gray
from texfilters._gradients._diffusion import anisotropic_diffusion
from texfilters._gradients._patches import patch_negatives
from texfilters._gradients._smoothing import bilateral_filter, gaussian_blur, median_blur

__all__ = [
    "anisotropic_diffusion",
    "bilateral_filter",
    "cartoonize",
    "gaussian_blur",
    "median_blur",
    "patch_negatives",
    "rgb_to_gray",
]

"""The Triton backend: for NVIDIA GPUs, and for the CPU through Triton's interpreter (TRITON_INTERPRET=1)."""

from texfilters._triton.adaptive_threshold import adaptive_threshold
from texfilters._triton.anisotropic_diffusion import anisotropic_diffusion
from texfilters._triton.bilateral_filter import bilateral_filter
from texfilters._triton.cartoonize import cartoonize
from texfilters._triton.gaussian_blur import gaussian_blur
from texfilters._triton.median_blur import median_blur
from texfilters._triton.rgb_to_gray import rgb_to_gray
from texfilters.reference import patch_negatives  # a gather, as torch does it

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

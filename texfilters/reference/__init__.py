"""The definition of every filter in plain torch: the specification that all backends are tested against.

Written to be read beside the paper's formula, not to be fast. Works on any device, in float64 if the image is, and with
the same arguments as every other backend. Arguments are taken as checked: see `texfilters.functional`.
"""

from texfilters.reference._border import BORDERS, pad, shifted, unpad
from texfilters.reference._cartoon import LUMA, adaptive_threshold, cartoon_mask, cartoonize, rgb_to_gray
from texfilters.reference._diffusion import (
    anisotropic_diffusion,
    conductance,
    diffusion_step,
    largest,
    squared_ratio,
)
from texfilters.reference._numbers import (
    compute_dtype,
    from_compute_dtype,
    in_layout_of,
    nonnegative_or_nan,
    per_image,
    positive_or_nan,
)
from texfilters.reference._patches import patch_negatives, patch_sources
from texfilters.reference._smoothing import (
    LARGEST_RADIUS,
    bilateral_filter,
    bilateral_radius,
    bilateral_weight,
    color_distance,
    disk,
    gaussian_blur,
    gaussian_radius,
    gaussian_weights,
    largest_radius,
    median_blur,
    positive,
    within,
)

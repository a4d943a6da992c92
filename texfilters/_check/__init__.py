"""One small function per rule; every error message of the library is written here, once.

A message names the thing, the rule and the value. Types, shapes and Python numbers are checked before an op is called;
`*_values` run inside an op's body, which torch.compile does not trace, and never read a value on a device.
"""

from texfilters._check._diffusion import diffusion_values, gamma, gamma_limit, kappa, niter, spacing
from texfilters._check._filters import (
    bilateral_values,
    diameter,
    diameters,
    gaussian_values,
    generator_device,
    max_value,
    patch_range,
    threshold_values,
)
from texfilters._check._image import BORDERS, DTYPES, border, image, image_batch, plain_autograd, rgb
from texfilters._check._numbers import (
    LARGEST_WINDOW,
    choice,
    flag,
    no_tensor,
    nonnegative_parameter,
    parameter,
    positive,
    whole,
    window,
)
from texfilters._check._transforms import amount, cpu_generator, probability, span, weights

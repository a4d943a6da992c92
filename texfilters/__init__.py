"""Texture-suppressing image filters for PyTorch, fast enough for the training loop."""

from texfilters._backends import show_config
from texfilters._version import __version__
from texfilters.functional import anisotropic_diffusion

__all__ = ["__version__", "anisotropic_diffusion", "show_config"]

"""The Triton backend: for NVIDIA GPUs, and for the CPU through Triton's interpreter (TRITON_INTERPRET=1)."""

from texfilters._triton.anisotropic_diffusion import anisotropic_diffusion

__all__ = ["anisotropic_diffusion"]

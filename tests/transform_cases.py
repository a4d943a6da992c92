"""The transforms with every number drawn, and what the public functions make of a draw, one sample after another."""

from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import texfilters

pytest.importorskip("torchvision", reason="needs torchvision")
from torchvision import tv_tensors

from texfilters import transforms
from texfilters.transforms import (
    AnisotropicDiffusion,
    BilateralFilter,
    Cartoonize,
    GaussianBlur,
    MedianBlur,
    RandomTextureSuppression,
)

__all__ = ["BUILDERS", "Launches", "batch", "by_functions", "transforms", "tv_tensors"]


def mixture(p=1.0, **options):
    filters = [BUILDERS[name](p=p) for name in ("diffusion", "gaussian", "median", "cartoon")]
    return RandomTextureSuppression([*filters, None], [3, 2, 2, 2, 1], **options)


BUILDERS = {
    "diffusion": lambda **o: AnisotropicDiffusion((0, 6), (5, 40), (0.02, 0.25), option=2, coupling="l2", **o),
    "bilateral": lambda **o: BilateralFilter(5, (20, 90), (1, 5), border="wrap", **o),
    "bilateral of some windows": lambda **o: BilateralFilter((3, 7), (20, 90), (1, 5), **o),
    "gaussian": lambda **o: GaussianBlur((0, 3), **o),
    "gaussian of one window": lambda **o: GaussianBlur((0, 3), kernel_size=5, border="constant", **o),
    "median": lambda **o: MedianBlur((1, 7), **o),
    "cartoon": lambda **o: Cartoonize(5, (100, 300), (2, 9), c=(2, 9), **o),
    "cartoon of some windows": lambda **o: Cartoonize((3, 5), 200, 5, (0, 2), (3, 5), (3, 7), (2, 9), **o),
    "mixture": mixture,
}


def batch(*shape, dtype=torch.uint8):
    """Images whose neighbors differ by some grey levels, so that every parameter tells."""
    smooth = texfilters.gaussian_blur(torch.rand(shape) * 255, 1.5)
    levels = (smooth + 20 * torch.rand(shape)).clamp(0, 255)
    return levels.round().to(dtype) if dtype == torch.uint8 else (levels / 255).to(dtype)


def by_functions(transform, images, draw):
    """`[N, C, H, W]`, every sample by a call of its own with Python's numbers."""
    samples = [{name: numbers[i].item() for name, numbers in draw.items()} for i in range(len(images))]
    return torch.stack([_by_function(transform, image, own) for image, own in zip(images, samples, strict=True)])


def _by_function(transform, image, own):
    unit = 1 if image.dtype == torch.uint8 else 255
    match transform:
        case AnisotropicDiffusion(option=option, coupling=coupling):
            numbers = own["niter"], own["kappa"] / unit, own["gamma"]
            return texfilters.anisotropic_diffusion(image, *numbers, option=option, coupling=coupling)
        case BilateralFilter(border=border):
            numbers = own.get("d", transform.d), own["sigma_color"] / unit, own["sigma_space"]
            return texfilters.bilateral_filter(image, *numbers, border=border)
        case GaussianBlur(kernel_size=kernel_size, border=border):
            return texfilters.gaussian_blur(image, own["sigma"], kernel_size=kernel_size, border=border)
        case MedianBlur():
            return texfilters.median_blur(image, own["ksize"])
        case Cartoonize():
            windows = {name: own.get(name, getattr(transform, name)) for name in ("d", "passes", "ksize", "block_size")}
            sigmas = {"sigma_color": own["sigma_color"] / unit, "sigma_space": own["sigma_space"]}
            return texfilters.cartoonize(image, **sigmas, **windows, c=own["c"] / unit) if own["applied"] else image
        case RandomTextureSuppression():
            number = own["filter"]
            filter, prefix = transform.filters[number], f"{number}."
            own = {name.removeprefix(prefix): value for name, value in own.items() if name.startswith(prefix)}
            return image if filter is None else _by_function(filter, image, own)


class Launches(TorchDispatchMode):
    """Counts calls of the filters' ops, and the images that they were called with."""

    def __init__(self):
        super().__init__()
        self.calls, self.images = Counter(), Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.namespace == "texfilters":
            name = func.name().removeprefix("texfilters::")
            self.calls[name] += 1
            self.images[name] += len(args[0])
        return func(*args, **kwargs or {})

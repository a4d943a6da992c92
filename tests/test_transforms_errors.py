"""What cannot be meant is refused when a transform is built: the thing, the rule and the value."""

import math
import re

import numpy as np
import pytest
import torch

from transform_cases import BUILDERS, batch, transforms

Diffusion, Bilateral, Gaussian = transforms.AnisotropicDiffusion, transforms.BilateralFilter, transforms.GaussianBlur
Median, Cartoon, Patches = transforms.MedianBlur, transforms.Cartoonize, transforms.PatchNegatives
Mixture = transforms.RandomTextureSuppression

VALUES = [
    (Diffusion, {"niter": -1}, "niter must be >= 0, got -1"),
    (Diffusion, {"niter": (-1, 5)}, "niter must be >= 0, got -1"),
    (Diffusion, {"niter": 2.5}, "niter must be a whole number, got 2.5"),
    (Diffusion, {"niter": (1, 2.5)}, "niter must be a whole number, got 2.5"),
    (Diffusion, {"niter": 2**31}, "niter must be at most 2147483647, got 2147483648"),
    (Diffusion, {"niter": (20, 10)}, "niter must be a range from a smaller to a larger number, got (20, 10)"),
    (Diffusion, {"niter": (1, 2, 3)}, "niter must be a number or a pair of them, got 3 numbers"),
    (Diffusion, {"kappa": 0}, "kappa must be > 0, got 0.0"),
    (Diffusion, {"kappa": (0, 9)}, "kappa must be > 0, got 0.0"),
    (Diffusion, {"kappa": math.nan}, "kappa must be > 0, got nan"),
    (Diffusion, {"kappa": (1, math.nan)}, "kappa must be > 0, got nan"),
    (Diffusion, {"kappa": (1, math.inf)}, "kappa must be a range between finite numbers, got (1.0, inf)"),
    (Diffusion, {"gamma": 0.3}, "gamma must lie in (0, 0.25] for 2-D diffusion to stay stable, got 0.3"),
    (Diffusion, {"gamma": (0.1, 0.3)}, "gamma must lie in (0, 0.25] for 2-D diffusion to stay stable, got 0.3"),
    (Diffusion, {"gamma": 0}, "gamma must lie in (0, 0.25] for 2-D diffusion to stay stable, got 0.0"),
    (Diffusion, {"option": 4}, "option must be one of 1, 2, 3, got 4"),
    (Diffusion, {"coupling": "l1"}, "coupling must be one of 'none', 'l2', got 'l1'"),
    (Diffusion, {"p": 1.5}, "p must lie in [0, 1], got 1.5"),
    (Diffusion, {"p": -0.1}, "p must lie in [0, 1], got -0.1"),
    (Diffusion, {"p": math.nan}, "p must lie in [0, 1], got nan"),
    (Diffusion, {"backend": "cuda"}, "backend must be None or one of 'native', 'triton', 'reference', got 'cuda'"),
    (Bilateral, {"d": (0, 5)}, "d must be at least 1, got 0"),
    (Bilateral, {"d": (7, 5)}, "d must be a range from a smaller to a larger number, got (7, 5)"),
    (Bilateral, {"sigma_color": -1}, "sigma_color must be >= 0, got -1.0"),
    (Bilateral, {"sigma_space": (-1, 2)}, "sigma_space must be >= 0, got -1.0"),
    (Bilateral, {"d": 0, "sigma_space": 1e6}, "sigma_space must be at most 21844.7 where d <= 0, got 1000000.0"),
    (Bilateral, {"border": "mirror"}, "border must be one of 'reflect101', 'reflect', 'replicate', 'wrap', 'constant'"),
    (Bilateral, {"p": 2}, "p must lie in [0, 1], got 2.0"),
    (Gaussian, {"sigma": (2.0, 0.1)}, "sigma must be a range from a smaller to a larger number, got (2.0, 0.1)"),
    (Gaussian, {"sigma": -0.5}, "sigma must be >= 0, got -0.5"),
    (Gaussian, {"sigma": 1e5}, "sigma must be at most 10922.3 without a kernel_size, got 100000.0"),
    (Gaussian, {"kernel_size": 4}, "kernel_size must be odd and at least 1, got 4"),
    (Gaussian, {"border": 0}, "border must be one of"),
    (Median, {"ksize": 4}, "ksize must be odd and at least 1, got 4"),
    (Median, {"ksize": (3, 6)}, "ksize must be odd and at least 1, got 6"),
    (Median, {"ksize": (7, 3)}, "ksize must be a range from a smaller to a larger number, got (7, 3)"),
    (Cartoon, {"c": math.nan}, "c must be a number, got nan"),
    (Cartoon, {"passes": -1}, "passes must be at least 0, got -1"),
    (Cartoon, {"block_size": 1}, "block_size must be odd and at least 3, got 1"),
    (Cartoon, {"ksize": (2, 5)}, "ksize must be odd and at least 1, got 2"),
    (Cartoon, {"sigma_color": -3}, "sigma_color must be >= 0, got -3.0"),
    (Cartoon, {"d": (-1, 3)}, "d must be at least 1, got -1"),
    (Patches, {"patch_size": 0}, "patch_size must be at least 1, got 0"),
    (Patches, {"patch_size": (5, 3)}, "patch_size must be a range from a smaller to a larger number, got (5, 3)"),
    (Patches, {"n": 0}, "n must be at least 1, got 0"),
    (Patches, {"backend": "x"}, "backend must be None or one of"),
    (Mixture, {"filters": []}, "filters must hold at least one transform, got none"),
    (Mixture, {"weights": [1, 2]}, "weights must have one number for each of the 3 filters, got 2"),
    (Mixture, {"weights": [1, -2, 1]}, "weights must be finite and >= 0, got -2.0"),
    (Mixture, {"weights": [1, math.nan, 1]}, "weights must be finite and >= 0, got nan"),
    (Mixture, {"weights": [1, math.inf, 1]}, "weights must be finite and >= 0, got inf"),
    (Mixture, {"weights": [0, 0, 0]}, "weights must have a sum that is finite and > 0, got (0.0, 0.0, 0.0)"),
    (
        Mixture,
        {"filters": [Gaussian(generator=torch.Generator())]},
        "filters draw from the mixture's generator, got one with its own: GaussianBlur(sigma=(0.1, 2.0)",
    ),
]
TYPES = [
    (Diffusion, {"niter": "20"}, "niter must be a whole number, got str"),
    (Diffusion, {"niter": True}, "niter must be a whole number, got bool"),
    (Diffusion, {"kappa": torch.tensor([1.0, 2.0])}, "kappa must be a number, got torch.Tensor"),
    (Diffusion, {"kappa": (1, "2")}, "kappa must be a number, got str"),
    (Diffusion, {"kappa": np.array(20.0)}, "kappa must be a number, got numpy.ndarray"),
    (Mixture, {"weights": np.array(1.0)}, "weights must be a sequence of numbers, got numpy.ndarray"),
    (Diffusion, {"p": None}, "p must be a number, got NoneType"),
    (Diffusion, {"generator": 3}, "generator must be a torch.Generator, got int"),
    (Gaussian, {"sigma": None}, "sigma must be a number, got NoneType"),
    (Mixture, {"filters": 3}, "filters must be a sequence of transforms, got int"),
    (Mixture, {"filters": [Patches()]}, "filters must hold filters of texfilters.transforms, .* got PatchNegatives"),
    (
        Mixture,
        {"filters": [torch.nn.Identity()]},
        "filters must hold filters of texfilters.transforms, .* got Identity",
    ),
    (Mixture, {"weights": 3}, "weights must be a sequence of numbers, got int"),
    (Mixture, {"weights": "123"}, "weights must be a sequence of numbers, got str"),
    (Mixture, {"weights": [1, "2", 3]}, "weights must be a number, got str"),
]


@pytest.mark.parametrize(("build", "options", "message"), VALUES, ids=[message for *_, message in VALUES])
def test_values(build, options, message):
    with pytest.raises(ValueError, match="^" + re.escape(message)):
        build(**options)


@pytest.mark.parametrize(("build", "options", "message"), TYPES, ids=[message for *_, message in TYPES])
def test_types(build, options, message):
    with pytest.raises(TypeError, match="^" + message):
        build(**options)


def test_the_limits_themselves_are_taken():
    Diffusion(niter=0, kappa=math.inf, gamma=0.25, p=0)
    Diffusion(niter=(0, 2**31 - 1), kappa=1e-50, gamma=(1e-9, 0.25))
    Bilateral(d=-1, sigma_color=math.inf, sigma_space=0)
    Gaussian(sigma=1e6, kernel_size=3)
    Cartoon(passes=0, c=-math.inf)


def test_infinity_is_left_out_as_well():
    images = batch(8, 3, 6, 6)
    result = Bilateral(3, math.inf, math.inf, p=0.5)(images)
    assert 0 < (result == images).flatten(1).all(1).sum() < 8


@pytest.mark.parametrize("build", [*BUILDERS.values(), Patches], ids=[*BUILDERS, "patches"])
def test_what_is_no_image(build):
    transform = build()
    with pytest.raises(TypeError, match="image must be uint8, float16, bfloat16, float32 or float64, got int64"):
        transform(torch.zeros(3, 4, 4, dtype=torch.int64))
    with pytest.raises(ValueError, match="image must have at least 2 dimensions"):
        transform(torch.zeros(4))


class OnADevice(torch.Generator):
    device = torch.device("cuda", 0)


@pytest.mark.parametrize("build", [*BUILDERS.values(), Patches, Mixture], ids=[*BUILDERS, "patches", "default"])
def test_transforms_draw_on_the_cpu(build):
    with pytest.raises(ValueError, match="generator must be on the CPU, where transforms draw, got cuda:0"):
        build(generator=OnADevice())

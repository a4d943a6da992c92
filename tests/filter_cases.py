"""One table of calls for every backend on every device, and how far a result may be from the definition."""

import dataclasses
from typing import Any

import torch

import texfilters
from cuda_cases import ROUNDING, same_bits

DTYPES = [*ROUNDING, torch.float64]
FLOAT64_ERROR = 1e-9


@dataclasses.dataclass(frozen=True)
class Case:
    """A filter and its arguments, in grey levels; images are of 0..255 in every dtype."""

    function: str
    arguments: dict[str, Any]
    # What float32 may add to rounding, in grey levels.
    error: float

    def __call__(self, image, backend, **changed):
        arguments = self.arguments | changed
        if self.function == "patch_negatives":
            arguments["generator"] = torch.Generator().manual_seed(arguments.pop("seed"))
        return getattr(texfilters, self.function)(image, **arguments, backend=backend)

    def __str__(self):
        return "-".join([self.function, *(f"{name}={value}" for name, value in self.arguments.items())])

    @property
    def needs_color(self):
        return self.function in ("rgb_to_gray", "cartoonize")

    @property
    def is_exact(self):
        """In every dtype: nothing is computed, pixels are chosen, or one of two values is."""
        return self.function in ("median_blur", "patch_negatives", "adaptive_threshold")


def _cases(function, error, *arguments):
    return [Case(function, a, error) for a in arguments]


CASES = [
    # Weights are relative: an exponential that is wrong by 4e-6 moves a mean of 0..255 by less than 1e-3.
    *_cases(
        "bilateral_filter", 1e-3,
        {"d": 5, "sigma_color": 60.0, "sigma_space": 2.0},
        {"d": 9, "sigma_color": 300.0, "sigma_space": 300.0},
        {"d": 0, "sigma_color": 25.0, "sigma_space": 1.3, "border": "reflect"},
        {"d": 6, "sigma_color": 90.0, "sigma_space": 3.0, "border": "constant"},
        {"d": 1, "sigma_color": 40.0, "sigma_space": 1.0, "border": "replicate"},
        {"d": 15, "sigma_color": 8.0, "sigma_space": 30.0, "border": "wrap"},
        {"d": 3, "sigma_color": float("inf"), "sigma_space": float("inf")},
    ),
    # A few dozen sums of float32.
    *_cases(
        "gaussian_blur", 5e-4,
        {"sigma": 1.1},
        {"sigma": 5.0, "border": "replicate"},
        {"sigma": 1.0, "kernel_size": 3, "border": "wrap"},
        {"sigma": 4.0, "kernel_size": 9, "border": "constant"},
        {"sigma": 2.5, "kernel_size": 23, "border": "reflect"},
        {"sigma": 0.3, "kernel_size": 1},
    ),
    # A selection: no arithmetic at all.
    *_cases("median_blur", 0.0, *({"ksize": k} for k in (1, 3, 5, 7, 9, 13))),
    *_cases("rgb_to_gray", 1e-4, {}),
    # Sums of up to 35 x 35 pixels; below the error is how near the threshold a pixel may fall on either side.
    *_cases(
        "adaptive_threshold", 5e-3,
        {"block_size": 3, "c": 0.0},
        {"block_size": 9, "c": 9.0},
        {"block_size": 9, "c": 2.5, "invert": True},
        {"block_size": 35, "c": -3.25, "max_value": 100.0},
        {"block_size": 5, "c": -7.0, "method": "gaussian", "invert": True},
        {"block_size": 9, "c": 1.0, "method": "gaussian"},
        {"block_size": 21, "c": 4.5, "method": "gaussian", "max_value": 7.0},
    ),
    *_cases(
        "cartoonize", 5e-3,
        {"sigma_color": 300.0, "c": 9.0},
        {"d": 5, "sigma_color": 70.0, "sigma_space": 4.0, "passes": 0, "ksize": 3, "block_size": 5, "c": -2.0},
        {"d": 0, "sigma_color": 90.0, "sigma_space": 2.0, "passes": 2, "ksize": 5, "block_size": 15, "c": 20.5},
    ),
]  # fmt: skip
PATCHES = _cases(
    "patch_negatives", 0.0,
    {"patch_size": 1, "seed": 1},
    {"patch_size": (3, 7), "n": 4, "seed": 2},
    {"n": 2, "seed": 3},
)  # fmt: skip


def draw(shape, dtype=torch.float32, device="cpu", seed=0):
    """Noise of 0..255."""
    noise = torch.rand(shape, generator=torch.Generator().manual_seed(seed))
    return (noise * 255).to(dtype).to(device)


def check(case, image, backend, **changed):
    """The result, after comparing it with the definition, in float64 wherever that is another one."""
    before = image.clone()
    result = case(image, backend, **changed)
    assert same_bits(image, before), "the image was changed"
    check_layout(case, image, result)
    expected, sure = _truth(case, image, **changed)
    assert image.numel() < 1000 or sure.double().mean() > 0.9
    torch.testing.assert_close(
        *(torch.where(sure, u.double(), 0) for u in (result, expected)),
        rtol=0, atol=bound(case, image.dtype), equal_nan=True,
    )  # fmt: skip
    return result


_TRUTHS: dict[tuple, tuple] = {}


def _truth(case, image, **changed):
    """What the definition says, and where rounding cannot decide otherwise; once for all backends."""
    bits = image.cpu().contiguous().view(torch.uint8).numpy().tobytes() if image.numel() else b""
    key = (str(case), image.dtype, image.device, image.shape, bits, str(changed))
    if key not in _TRUTHS:
        expected = case(image if rounds_between(case, image.dtype) else image.double(), "reference", **changed)
        _TRUTHS[key] = expected, decided(case, image, **changed)
    return _TRUTHS[key]


def bound(case, dtype):
    if case.is_exact or (case.function == "rgb_to_gray" and dtype == torch.uint8):
        return 0.0
    if dtype == torch.float64:
        return FLOAT64_ERROR
    return case.error + ROUNDING[dtype] * (2 if rounds_between(case, dtype) else 1)


def rounds_between(case, dtype):
    """Whether the definition in float64 is another one: uint8 has its own in whole numbers."""
    whole = case.function in ("rgb_to_gray", "adaptive_threshold", "cartoonize") and dtype == torch.uint8
    return whole or case.arguments.get("passes", 1) > 1


def check_layout(case, image, result):
    like = image
    if case.function == "rgb_to_gray":
        like = image.narrow(-3, 0, 1)
    elif case.function == "patch_negatives":
        like = image.new_empty(*image.shape[:-3], case.arguments.get("n", 1), *image.shape[-3:])
    assert (result.dtype, result.device, result.shape) == (image.dtype, image.device, like.shape)
    assert result.stride() == torch.empty_like(like).stride()


def decided(case, image, **changed):
    """Where rounding cannot turn a threshold: one a little lower and one a little higher say the same."""
    whole = image.dtype == torch.uint8
    if case.function not in ("adaptive_threshold", "cartoonize") or whole:
        return torch.ones((), dtype=torch.bool, device=image.device)
    arguments = {"block_size": 9, "ksize": 7} | case.arguments | changed
    u, margin = image.double(), FLOAT64_ERROR if image.dtype == torch.float64 else case.error
    if case.function == "cartoonize":
        gray = texfilters.rgb_to_gray(u, backend="reference")
        u = texfilters.median_blur(gray, arguments["ksize"], backend="reference")
        margin += 2 * ROUNDING.get(image.dtype, 0)  # of the gray image, in the pixel and in its surroundings
    shared = {name: arguments[name] for name in ("block_size", "method", "invert") if name in arguments}
    low, high = (
        texfilters.adaptive_threshold(u, c=arguments["c"] + m, backend="reference", **shared) for m in (-margin, margin)
    )
    return low == high

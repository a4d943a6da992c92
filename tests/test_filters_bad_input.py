"""Every wrong input gets an error that names the thing, the rule and the value."""

import numpy as np
import pytest
import torch

import texfilters
from filter_cases import draw

IMAGE = torch.rand(4, 3, 8, 9)
NAN, INF = float("nan"), float("inf")
GOOD = {
    "bilateral_filter": {"d": 5, "sigma_color": 1.0, "sigma_space": 1.0},
    "gaussian_blur": {"sigma": 1.0},
    "median_blur": {"ksize": 3},
    "rgb_to_gray": {},
    "adaptive_threshold": {"block_size": 3, "c": 1.0},
    "cartoonize": {},
    "patch_negatives": {},
}
FILTERS = list(GOOD)


def windows(function, name, least):
    rule = f"{name} must be odd and at least {least}, got"
    for value in (0, 2, 4, -3, *([1] if least > 1 else [])):
        yield function, {name: value}, ValueError, f"{rule} {value}"
    yield function, {name: 65537}, ValueError, f"{name} must be at most 65535, got 65537"
    yield function, {name: 3.5}, ValueError, f"{name} must be a whole number, got 3.5"
    yield function, {name: INF}, ValueError, f"{name} must be a whole number, got inf"
    yield function, {name: NAN}, ValueError, f"{name} must be a whole number, got nan"
    for value, kind in (("3", "str"), (True, "bool"), ((3, 3), "tuple"), (torch.tensor(3), "torch.Tensor")):
        yield function, {name: value}, TypeError, f"{name} must be a whole number, got {kind}"


def parameters(function, name, nonnegative):
    """What one value an image may not be."""
    if nonnegative:
        for value in (-1, -1e-9, NAN, -INF):
            yield function, {name: value}, ValueError, f"{name} must be >= 0, got {float(value)}"
        yield function, {name: torch.tensor([1.0, 0.0, -2.0, 1.0])}, ValueError, f"{name} must be >= 0, got -2.0"
        yield function, {name: torch.tensor(NAN)}, ValueError, f"{name} must be >= 0, got nan"
    else:
        yield function, {name: NAN}, ValueError, f"{name} must be a number, got nan"
        yield function, {name: torch.tensor([1.0, 0.0, NAN, 1.0])}, ValueError, f"{name} must be a number, got nan"
    for value, kind in (("1", "str"), (True, "bool"), ([1.0] * 4, "list"), (np.ones(4), "numpy.ndarray")):
        message = f"{name} must be a number or a floating point tensor, got {kind}"
        yield function, {name: value}, TypeError, message
    huge = f"{name} must fit into a float, got a number beyond 1.8e+308"
    yield function, {name: 10**400}, ValueError, huge
    yield function, {name: torch.ones(4).int()}, TypeError, f"{name} must be a floating point tensor, got int32"
    yield (function, {name: torch.ones(4).to(torch.complex64)}, TypeError,
           f"{name} must be a floating point tensor, got complex64")  # fmt: skip
    yield function, {name: torch.ones(4, 1)}, ValueError, f"{name} must have shape [] or [B], got (4, 1)"
    yield (function, {name: torch.ones(3)}, ValueError,
           f"{name} must have one value for each of the 4 images, got 3")  # fmt: skip
    yield (function, {name: torch.ones(3), "image": IMAGE[0]}, ValueError,
           f"{name} with one value an image needs an image of shape [B, C, H, W], got (3, 8, 9)")  # fmt: skip
    yield (function, {name: torch.ones(4, device="meta")}, ValueError,
           f"{name} must be on the CPU or on the image's device cpu, got meta")  # fmt: skip


def images(function):
    named = "image must be uint8, float16, bfloat16, float32 or float64, got"
    yield function, {"image": None}, TypeError, "image must be a torch.Tensor, got NoneType"
    yield (function, {"image": np.zeros((5, 6, 3))}, TypeError,
           "image must be a torch.Tensor, got numpy.ndarray; convert it with "
           "torch.from_numpy(image).movedim(-1, 0)")  # fmt: skip
    yield function, {"image": IMAGE.int()}, TypeError, f"{named} int32"
    yield function, {"image": IMAGE > 0}, TypeError, f"{named} bool"
    yield (function, {"image": IMAGE.to_sparse()}, TypeError,
           "image must be a dense (strided) tensor, got layout torch.sparse_coo")  # fmt: skip
    yield (function, {"image": IMAGE[0, 0, 0]}, ValueError,
           "image must have at least 2 dimensions, [..., H, W], got shape (9,)")  # fmt: skip
    yield (function, {"backend": "opencl"}, ValueError,
           "backend must be None or one of 'native', 'triton', 'reference', got 'opencl'")  # fmt: skip


def colors(function):
    for image in (IMAGE[:, :1], IMAGE[:, :2], IMAGE[:, [0, 1, 2, 2]], IMAGE[0, 0], IMAGE.movedim(1, -1)):
        message = f"{function} needs an image of 3 channels, [..., 3, H, W], got shape {tuple(image.shape)}"
        yield function, {"image": image}, ValueError, message


def diameters(function):
    yield function, {"d": 2.5}, ValueError, "d must be a whole number, got 2.5"
    yield function, {"d": 65536}, ValueError, "d must be at most 65535, got 65536"
    yield function, {"d": -(10**20)}, ValueError, "d must fit into 64 bits, got -100000000000000000000"
    yield function, {"d": None}, TypeError, "d must be a whole number, got NoneType"
    yield function, {"d": True}, TypeError, "d must be a whole number, got bool"


CASES = [
    *(case for function in FILTERS for case in images(function)),
    *colors("rgb_to_gray"),
    *colors("cartoonize"),
    *windows("median_blur", "ksize", 1),
    *windows("gaussian_blur", "kernel_size", 1),
    *windows("adaptive_threshold", "block_size", 3),
    *windows("cartoonize", "ksize", 1),
    *windows("cartoonize", "block_size", 3),
    *parameters("bilateral_filter", "sigma_color", True),
    *parameters("bilateral_filter", "sigma_space", True),
    *parameters("gaussian_blur", "sigma", True),
    *parameters("adaptive_threshold", "c", False),
    *parameters("cartoonize", "sigma_color", True),
    *parameters("cartoonize", "sigma_space", True),
    *parameters("cartoonize", "c", False),
    *diameters("bilateral_filter"),
    *diameters("cartoonize"),
    *((function, {"border": value}, ValueError,
       "border must be one of 'reflect101', 'reflect', 'replicate', 'wrap', 'constant', got " + repr(value))
      for function in ("bilateral_filter", "gaussian_blur") for value in ("mirror", None, 4, "REFLECT")),
    ("bilateral_filter", {"d": 0, "sigma_space": 3e4}, ValueError,
     "sigma_space must be at most 21844.7 where d <= 0, got 30000.0"),
    ("bilateral_filter", {"d": -1, "sigma_space": torch.tensor([1.0, 2.0, INF, 1.0])}, ValueError,
     "sigma_space must be at most 21844.7 where d <= 0, got inf"),
    ("gaussian_blur", {"sigma": 2e4}, ValueError, "sigma must be at most 10922.3 without a kernel_size, got 20000.0"),
    ("gaussian_blur", {"sigma": torch.tensor(INF)}, ValueError,
     "sigma must be at most 10922.3 without a kernel_size, got inf"),
    ("adaptive_threshold", {"method": "median"}, ValueError, "method must be one of 'mean', 'gaussian', got 'median'"),
    ("adaptive_threshold", {"method": 1}, ValueError, "method must be one of 'mean', 'gaussian', got 1"),
    ("adaptive_threshold", {"max_value": 256, "image": IMAGE.byte()}, ValueError,
     "max_value must lie in [0, 255] for a uint8 image, got 256.0"),
    ("adaptive_threshold", {"max_value": -0.1, "image": IMAGE.byte()}, ValueError,
     "max_value must lie in [0, 255] for a uint8 image, got -0.1"),
    ("adaptive_threshold", {"max_value": NAN, "image": IMAGE.byte()}, ValueError,
     "max_value must lie in [0, 255] for a uint8 image, got nan"),
    ("adaptive_threshold", {"max_value": NAN}, ValueError, "max_value must be a number, got nan"),
    ("adaptive_threshold", {"max_value": "255"}, TypeError, "max_value must be a number, got str"),
    ("adaptive_threshold", {"max_value": torch.tensor(1.0)}, TypeError, "max_value must be a number, got torch.Tensor"),
    ("adaptive_threshold", {"invert": "no"}, TypeError, "invert must be a bool, got str"),
    ("cartoonize", {"passes": -1}, ValueError, "passes must be at least 0, got -1"),
    ("cartoonize", {"passes": 2**63}, ValueError, "passes must fit into 64 bits, got 9223372036854775808"),
    ("cartoonize", {"passes": 1.5}, ValueError, "passes must be a whole number, got 1.5"),
    ("patch_negatives", {"image": IMAGE[0, 0]}, ValueError,
     "image must have the shape [B, C, H, W] or [C, H, W], got (8, 9)"),
    ("patch_negatives", {"image": IMAGE[None]}, ValueError,
     "image must have the shape [B, C, H, W] or [C, H, W], got (1, 4, 3, 8, 9)"),
    ("patch_negatives", {"image": IMAGE[..., :0]}, ValueError,
     "image must be at least 1 x 1 pixels, got shape (4, 3, 8, 0)"),
    *(("patch_negatives", {"patch_size": value}, ValueError,
       f"patch_size must lie in [1, 8], the smaller side of the image, got {value}")
      for value in (0, -2, 9, (0, 4), (3, 9), (-1, -1))),
    ("patch_negatives", {"patch_size": (5, 3)}, ValueError,
     "patch_size must be a range from a smaller to a larger number, got (5, 3)"),
    ("patch_negatives", {"patch_size": (1, 2, 3)}, ValueError,
     "patch_size must be a number or a pair of them, got 3 numbers"),
    ("patch_negatives", {"patch_size": ()}, ValueError, "patch_size must be a number or a pair of them, got 0 numbers"),
    ("patch_negatives", {"patch_size": 2.5}, ValueError, "patch_size must be a whole number, got 2.5"),
    ("patch_negatives", {"patch_size": "8"}, TypeError, "patch_size must be a whole number, got str"),
    ("patch_negatives", {"patch_size": (3, None)}, TypeError, "patch_size must be a whole number, got NoneType"),
    ("patch_negatives", {"n": 0}, ValueError, "n must be at least 1, got 0"),
    ("patch_negatives", {"n": 1.5}, ValueError, "n must be a whole number, got 1.5"),
    ("patch_negatives", {"generator": 7}, TypeError, "generator must be a torch.Generator, got int"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("function", "arguments", "error", "message"), CASES, ids=lambda v: v if isinstance(v, str) else ""
)
def test_messages(function, arguments, error, message):
    with pytest.raises(error) as raised:
        getattr(texfilters, function)(**({"image": IMAGE} | GOOD[function] | arguments))
    assert str(raised.value) == message


def test_numpy_numbers_and_whole_floats_are_numbers():
    for function, numbers, same in (
        (
            "bilateral_filter",
            {"d": 5.0, "sigma_color": np.float32(1), "sigma_space": np.int64(1)},
            GOOD["bilateral_filter"],
        ),
        ("gaussian_blur", {"sigma": 1, "kernel_size": np.int64(5)}, {"sigma": 1.0, "kernel_size": 5}),
        ("median_blur", {"ksize": np.uint8(3)}, {"ksize": 3}),
        ("adaptive_threshold", {"block_size": 3.0, "c": np.float64(1), "max_value": 1}, {"block_size": 3, "c": 1.0}),
        ("cartoonize", {"passes": 1.0, "ksize": 7.0}, {}),
    ):
        filtered = getattr(texfilters, function)
        assert torch.equal(filtered(IMAGE, **numbers), filtered(IMAGE, **same))
    patches = [
        texfilters.patch_negatives(IMAGE, size, generator=torch.Generator())
        for size in ((2, 5), np.array([2, 5]), [2.0, 5])
    ]
    assert torch.equal(patches[0], patches[1])
    assert torch.equal(patches[0], patches[2])


def test_windows_larger_than_the_image_work(backend):
    """As in OpenCV; far larger ones too."""
    for dtype in (torch.uint8, torch.float32):
        image = draw((3, 3, 4), dtype)
        expected = image.float().mean((1, 2), keepdim=True).expand_as(image)
        wrapped = texfilters.gaussian_blur(image, 1e6, kernel_size=12 * 25 + 1, border="wrap", backend=backend)
        assert (wrapped.float() - expected).abs().max() < 1.5
        assert texfilters.median_blur(image, 41, backend=backend).shape == image.shape
        lit = texfilters.adaptive_threshold(image, 101, 300, backend=backend)
        assert (lit == (255 if dtype == torch.uint8 else 1)).all()
        flat = texfilters.bilateral_filter(image[:1], 101, INF, INF, border="wrap", backend=backend)
        assert (flat.float() - expected[:1]).abs().max() < 1.5


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float32, torch.float64], ids=str)
def test_medians_of_windows_of_more_than_2_16_pixels(backend, dtype):
    image = draw((2, 5, 7), dtype)
    for ksize in (257, 363):
        expected = texfilters.median_blur(image, ksize, backend="reference")
        assert torch.equal(texfilters.median_blur(image, ksize, backend=backend), expected)

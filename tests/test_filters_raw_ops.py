"""The native ops, called past the public functions: no meaning is checked there, but nothing may leave their memory."""

import pytest
import torch

from filter_cases import draw
from texfilters import _backends

pytestmark = pytest.mark.skipif("native" not in _backends.available("cpu"), reason="needs the native backend")

IMAGE = torch.rand(4, 3, 8, 9)

# For every argument of the raw ops, what might break memory: wrong sizes, types, shapes and devices.
RAW = {
    "bilateral_filter": (
        (draw((4, 3, 5, 6)), 5, torch.tensor(1.0), torch.ones(4), "wrap"),
        [(0, torch.rand(5)), (0, IMAGE.long()), (2, torch.ones(3)), (2, torch.ones(4).to(torch.complex64)),
         (3, torch.ones(2, 2)), (3, torch.ones(0)), (4, "mirror"), (4, "")],
    ),
    "gaussian_blur": (
        (draw((4, 3, 5, 6)), torch.ones(4), 0, "wrap"),
        [(0, torch.rand(5)), (0, IMAGE.long()), (1, torch.ones(3)), (1, torch.ones(1, 4)), (2, 2), (2, -1), (3, "x")],
    ),
    "median_blur": ((draw((4, 3, 5, 6)), 3), [(0, torch.rand(5)), (0, IMAGE.long()), (1, 2), (1, 0), (1, -3)]),
    "rgb_to_gray": (
        (draw((4, 3, 5, 6)),), [(0, torch.rand(5, 6)), (0, IMAGE[:, :2]), (0, IMAGE[:, :1]), (0, IMAGE.long())],
    ),
    "adaptive_threshold": (
        (draw((4, 3, 5, 6)), 3, torch.ones(4), "mean", 1.0, False),
        [(0, torch.rand(5)), (0, IMAGE.long()), (1, 2), (1, 0), (1, -3), (2, torch.ones(3)), (2, torch.ones(4, 1)),
         (3, "median")],
    ),
    "cartoonize": (
        (draw((4, 3, 5, 6)), 5, torch.ones(4), torch.tensor(1.0), 1, 3, 3, torch.ones(4)),
        [(0, torch.rand(5, 6)), (0, IMAGE[:, :2]), (0, IMAGE.long()), (2, torch.ones(3)), (3, torch.ones(5)), (5, 2),
         (5, 0), (6, 4), (6, -1), (7, torch.ones(3))],
    ),
    "patch_negatives": (
        (draw((2, 3, 5, 6)), torch.full((2, 1), 3, dtype=torch.int32), torch.zeros(2, 1, 4, 2, dtype=torch.int32)),
        [(0, torch.rand(3, 5, 6)), (0, IMAGE.long()), (1, torch.full((2, 1), 3.0)), (1, torch.full((3, 1), 3)),
         (1, torch.tensor(3)), (2, torch.zeros(2, 1, 4, dtype=torch.int32)),
         (2, torch.zeros(1, 1, 4, 2, dtype=torch.int32)), (2, torch.zeros(2, 1, 4, 3, dtype=torch.int32)),
         (2, torch.zeros(2, 1, 4, 2))],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RAW)
def test_refuses_what_would_break_memory(name):
    good, bad = RAW[name]
    op = getattr(torch.ops.texfilters_native, name)
    op(*good)
    for position, value in bad:
        with pytest.raises(RuntimeError):
            op(*good[:position], value, *good[position + 1 :])
    if name == "patch_negatives":
        return
    for i, value in enumerate(good):  # without four dimensions there is no batch for [B] to belong to
        if i and isinstance(value, torch.Tensor) and value.ndim:
            with pytest.raises(RuntimeError):
                op(good[0][0], *good[1:i], torch.ones(3), *good[i + 1 :])


def test_survives_numbers_without_meaning():
    """Whatever they yield, it is memory of the op's own."""
    image = draw((2, 3, 9, 11))
    ops = torch.ops.texfilters_native
    for value in (torch.nan, torch.inf, -torch.inf, -1.0, 0.0, 1e-45, 1e30, 1e300):
        sigma, sigmas = torch.tensor(value, dtype=torch.float64), torch.full((2,), value, dtype=torch.float64)
        for u in (image, image.byte(), image.double()):
            for d in (-(2**62), 0, 3):
                if d > 0 or not value > 1e3:  # a window of 2^15 pixels is slow, not wrong
                    assert ops.bilateral_filter(u, d, sigmas, sigma, "reflect").shape == u.shape
            for kernel_size in (0, 5):
                if kernel_size or not value > 1e3:
                    assert ops.gaussian_blur(u, sigmas, kernel_size, "reflect101").shape == u.shape
            for method in ("mean", "gaussian"):
                assert ops.adaptive_threshold(u, 3, sigma, method, value, True).shape == u.shape
            assert ops.cartoonize(u, 3, sigma, sigmas, 1, 3, 3, sigmas).shape == u.shape


def test_patches_from_outside_are_no_pixels():
    """Sizes and places that no public call draws: refused, or kept within the image."""
    image = draw((1, 1, 5, 6))
    op = torch.ops.texfilters_native.patch_negatives
    for size in (0, -1, 7, 2**31 - 1, -(2**31)):
        for place in (0, -1, 5, 2**31 - 1, -(2**31)):
            for cells in (0, 1, 4, 30):
                sizes = torch.full((1, 1), size, dtype=torch.int32)
                places = torch.full((1, 1, cells, 2), place, dtype=torch.int32)
                try:
                    result = op(image, sizes, places)
                except RuntimeError:
                    continue
                assert torch.isin(result, torch.cat([image.flatten(), torch.zeros(1)])).all()

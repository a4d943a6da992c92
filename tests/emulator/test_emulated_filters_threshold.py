"""The CUDA adaptive threshold, emulated: of bytes the definition's values exactly, and of floating point wherever the
mean is not within rounding of a decision."""

import math

import pytest
import torch
from emulated_filters import DTYPES, OPS, SIZES, noise, run, scalar, views

from texfilters import reference

pytestmark = pytest.mark.usefixtures("filled_memory")

FLOATS = [dtype for dtype in DTYPES if dtype.is_floating_point]
# That are known to the compiler, in shared memory of any width, beyond it, and more than is held at once.
BLOCK_SIZES = [3, 5, 7, 9, 11, 13, 15, 17, 51, 127, 129, 131, 135]


def truth(image, block_size, c, method="mean", max_value=200.0, invert=False):
    return reference.adaptive_threshold(image, block_size, c, method, max_value, invert)


def check(image, block_size, c=2.0, method="mean", max_value=200.0, invert=False, **emulate):
    c = c if isinstance(c, torch.Tensor) else scalar(c)
    result = run("adaptive_threshold", image, block_size, c, method, max_value, invert, **emulate)
    expected, like = truth(image, block_size, c, method, max_value, invert), torch.empty_like(image)
    assert (result.dtype, result.shape, result.stride()) == (like.dtype, like.shape, like.stride())
    if image.is_floating_point():  # what lies within rounding of the mean may come out either way
        exact = image.double()
        width = 4e-6 * block_size * image[image.isfinite()].abs().max().item()
        sure = [truth(exact, block_size, c.double() + shift, method, 1.0, invert) for shift in (-width, width)]
        differs = (result != expected) & (sure[0] == sure[1])
        assert (sure[0] == sure[1]).double().mean() > 0.98
    else:
        differs = result != expected
    assert not differs.any(), f"{int(differs.sum())} of {differs.numel()}"
    return result


@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.parametrize("method", ["mean", "gaussian"])
@pytest.mark.parametrize("block_size", BLOCK_SIZES)
def test_bytes(block_size, method, invert):
    result = check(noise(2, 1, 67, 37, dtype=torch.uint8), block_size, 1.5, method, invert=invert)
    assert 0.1 < (result > 0).double().mean() < 0.9


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("method", ["mean", "gaussian"])
@pytest.mark.parametrize("block_size", [3, 9, 33])
def test_numbers(block_size, method, dtype):
    check(noise(2, 1, 40, 35, dtype=dtype), block_size, 1.5, method)
    check(noise(1, 1, 33, 40, dtype=dtype) / 255, block_size, -0.02, method, 1.0, True)


@pytest.mark.parametrize("method", ["mean", "gaussian"])
def test_means_that_lie_halfway(method):
    """Of few values, so that many means do; c of a half rounds up, or inverted down."""
    for block_size in (3, 5, 7, 9, 11):
        for values in ((0, 1), (3, 4), (254, 255), (0, 255)):
            image = torch.where(noise(1, 1, 32, 40, seed=block_size) < 128, *values).to(torch.uint8)
            for c in (0.0, 0.5, -0.5, 1.0):
                check(image, block_size, c, method)
                check(image, block_size, c, method, invert=True)


@pytest.mark.parametrize("size", [*SIZES, (63, 31), (64, 32), (65, 33), (66, 64), (1, 4)])
def test_sizes(size):
    for block_size in (3, 9, 25):
        check(noise(1, 1, *size, dtype=torch.uint8), block_size)
        check(noise(1, 1, *size, dtype=torch.uint8), block_size, method="gaussian")


@pytest.mark.parametrize("method", ["mean", "gaussian"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_more_rows_than_shared_memory_holds(dtype, method):
    check(noise(1, 1, 430, 3, dtype=dtype), 401, method=method)


@pytest.mark.parametrize("block_size", [4097, 65535])
def test_the_largest_windows(block_size):
    """No sum may pass what its type holds: of a white image every mean is 255."""
    image = torch.full((1, 2), 255, dtype=torch.uint8)
    assert (run("adaptive_threshold", image, block_size, scalar(1), "mean", 9.0, False) == 9).all()
    assert (run("adaptive_threshold", image, block_size, scalar(0), "mean", 9.0, False) == 0).all()
    # Means of 127.49 and 127.51, which only exact sums tell apart; each c decides by one step.
    mixed = torch.tensor([[0, 255]], dtype=torch.uint8)
    for c, expected in [(127, [0, 9]), (128, [9, 9]), (-126, [0, 9]), (-127, [0, 0])]:
        result = run("adaptive_threshold", mixed, block_size, scalar(c), "mean", 9.0, False)
        assert result.tolist() == [expected]


@pytest.mark.parametrize(
    "c", [-300.0, -255.5, -0.1, 0.0, 0.1, 7.0, 254.5, 255.0, 256.0, 1e9, -1e9, math.inf, -math.inf]
)
@pytest.mark.parametrize("invert", [False, True])
def test_any_c(c, invert):
    for block_size, method in ((9, "mean"), (17, "mean"), (9, "gaussian"), (131, "mean")):
        check(noise(1, 1, 33, 20, dtype=torch.uint8), block_size, c, method, invert=invert)
    image = noise(1, 1, 9, 9)
    result = run("adaptive_threshold", image, 3, scalar(c), "mean", 1.0, invert)
    assert torch.equal(result, truth(image, 3, scalar(c), "mean", 1.0, invert))


@pytest.mark.parametrize("device", [(), (1,)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.int64])
def test_c_of_each_image(dtype, device):
    c = torch.tensor([0, 9, -3, 60, 1, 1])[::2].to(dtype)
    for image_dtype in (torch.uint8, torch.bfloat16):
        image = noise(3, 2, 20, 40, dtype=image_dtype)
        for method in ("mean", "gaussian"):
            result = check(image, 9, c, method, device=device)
            for i in range(3):
                assert torch.equal(result[i : i + 1], check(image[i : i + 1], 9, c[i], method))


@pytest.mark.parametrize("invert", [False, True])
@pytest.mark.parametrize("device", [(), (1,)])
def test_nan_gives_zero(device, invert):
    c = torch.tensor([math.nan, 2.0])
    for dtype in DTYPES:
        for method in ("mean", "gaussian"):
            result = run("adaptive_threshold", noise(2, 1, 9, 9, dtype=dtype), 5, c, method, 1.0, invert, device=device)
            assert not result[0].any()
            assert result[1].any()
    image = noise(1, 1, 20, 20)
    image[..., 10, 10], image[..., 2, 3] = torch.nan, torch.inf
    result = run("adaptive_threshold", image, 5, scalar(2), "mean", 1.0, invert)
    assert torch.equal(result, truth(image, 5, scalar(2), "mean", 1.0, invert))
    assert not result[..., 8:13, 8:13].any()


@pytest.mark.parametrize("max_value", [-3.0, 0.5, 1.5, 254.5, 300.0, math.inf, math.nan])
def test_any_max_value(max_value):
    for dtype in (torch.uint8, torch.float16):
        image = noise(1, 1, 9, 9, dtype=dtype)
        for block_size, method in ((3, "mean"), (3, "gaussian")):
            result = run("adaptive_threshold", image, block_size, scalar(0), method, max_value, False)
            expected = truth(image, block_size, scalar(0), method, max_value)
            torch.testing.assert_close(result, expected, rtol=0, atol=0, equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16])
def test_strides(dtype):
    for _, image in views(2, 3, 20, 36, dtype=dtype):
        check(image, 9)
        check(image, 5, method="gaussian")


@pytest.mark.parametrize("front", [(), (3,), (2, 1, 3), (2, 3, 1, 2)])
def test_dimensions(front):
    check(noise(*front, 9, 12, dtype=torch.uint8), 5)


@pytest.mark.parametrize("seed", range(3))
def test_any_schedule(seed):
    for block_size, method in ((9, "mean"), (17, "mean"), (9, "gaussian")):
        check(noise(1, 1, 70, 40, dtype=torch.uint8), block_size, 1.0, method, seed=seed)


@pytest.mark.parametrize(
    ("block_size", "method", "size"), [(9, "mean", (64, 64)), (9, "gaussian", (64, 64)), (401, "mean", (430, 32))]
)
def test_a_missing_barrier_is_found(block_size, method, size):
    image = noise(1, 1, *size, dtype=torch.uint8)
    arguments = (image, block_size, scalar(1), method, 200.0, False)
    expected = reference.adaptive_threshold(*arguments)
    wrong = [run("adaptive_threshold", *arguments, seed=s, defect="missing barrier") for s in range(4)]
    assert any(not torch.equal(result, expected) for result in wrong)


def test_small_grids():
    image = noise(3, 2, 65, 40, dtype=torch.uint8)
    for method in ("mean", "gaussian"):
        check(image, 9, method=method, largest_grid=7)
        assert OPS.launches() > 3


def test_empty_images_and_bad_arguments():
    zero = scalar(0)

    def threshold(image, block_size=3, c=zero, method="mean"):
        return run("adaptive_threshold", image, block_size, c, method, 1.0, False)

    for shape in [(0, 3, 4, 4), (2, 0, 4, 4), (2, 3, 0, 4), (2, 3, 4, 0)]:
        assert threshold(noise(*shape)).shape == shape
    for block_size in (-1, 0, 2, 65537):
        with pytest.raises(RuntimeError, match="block_size must be odd"):
            threshold(noise(1, 1, 4, 4), block_size)
    with pytest.raises(RuntimeError, match="method must be mean or gaussian"):
        threshold(noise(4, 4), method="median")
    for c in (torch.zeros(2), torch.zeros(1, 1)):
        with pytest.raises(RuntimeError, match=r"c must have shape \[\] or \[B\]"):
            threshold(noise(1, 1, 4, 4), c=c)
    with pytest.raises(RuntimeError, match="uint8"):
        threshold(noise(4, 4).double())

"""The CUDA cartoon, emulated, against the filters that it is made of and against the definition."""

import math

import pytest
import torch
from emulated_cases import defects, noise, photo
from emulated_filters import DTYPES, OPS, SIZES, run, scalar, truth, unsanitized, views

pytestmark = pytest.mark.usefixtures("filled_memory")

COLOR, SPACE, C = 1, 2, 6  # among the arguments


def arguments(d=9, color=60.0, space=3.0, passes=1, ksize=7, block_size=9, c=3.0):
    color, space, c = (p if isinstance(p, torch.Tensor) else scalar(p) for p in (color, space, c))
    return d, color, space, passes, ksize, block_size, c


def composed(image, d, color, space, passes, ksize, block_size, c):
    """By the other emulated filters."""
    smooth = image
    for _ in range(passes):
        smooth = run("bilateral_filter", smooth, d, color, space, "reflect101")
    gray = run("median_blur", run("rgb_to_gray", image), ksize)
    return torch.where(run("adaptive_threshold", gray, block_size, c, "mean", 1.0, False) > 0, smooth, 0)


def cartoon(image, device=(), **parameters):
    """The result, after comparing it: with the composition every bit, since it is the same arithmetic."""
    values = arguments(**parameters)
    result = run("cartoonize", image, *values, device=device)
    like = torch.empty_like(image)
    assert (result.dtype, result.shape, result.stride()) == (like.dtype, like.shape, like.stride())
    assert torch.equal(result, composed(image, *values))
    return result


@pytest.mark.parametrize("size", [*SIZES, (63, 33), (64, 32), (129, 5)], ids=str)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_sizes(dtype, size):
    image = noise(2, 3, *size, dtype=dtype)
    cartoon(image)
    cartoon(image, d=5, ksize=3, block_size=3)


@pytest.mark.parametrize("block_size", [1, 3, 5, 7, 11, 15, 17, 41])
@pytest.mark.parametrize("ksize", [1, 3, 5, 7, 9])
def test_windows(ksize, block_size):
    """Odd rows and words; ksize 1 and from 9 on, block_size 1 and from 17 on by the filters themselves."""
    for width in (36, 37):
        cartoon(noise(1, 3, 21, width, dtype=torch.uint8), d=3, ksize=ksize, block_size=block_size, c=-1.5)


@pytest.mark.parametrize("passes", [0, 1, 2, 3])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=str)
def test_passes(dtype, passes):
    for d in (3, 9):
        cartoon(noise(3, 3, 20, 37, dtype=dtype), d=d, passes=passes)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=str)
def test_strides(dtype):
    for _, image in views(2, 3, 9, 36, dtype=dtype):
        cartoon(image, passes=2)


@pytest.mark.parametrize("shape", [(3, 9, 35), (2, 2, 3, 9, 35), (2, 1, 2, 3, 9, 35), (0, 3, 9, 35), (2, 3, 0, 5)])
def test_dimensions(shape):
    for dtype in (torch.uint8, torch.float16):
        cartoon(noise(*shape, dtype=dtype), passes=2)
        if len(shape) > 4:
            cartoon(noise(*shape, dtype=dtype).transpose(0, -4), passes=2)


@pytest.mark.parametrize("device", [(), (COLOR, SPACE, C), (SPACE,), (C,)], ids=str)
@pytest.mark.parametrize("d", [9, 0])
def test_parameters_anywhere(d, device):
    image = noise(5, 3, 9, 37, dtype=torch.uint8)
    color = torch.tensor([20.0, 60, 0, math.nan, 60])
    space = torch.tensor([0.4, 3, 2, 2, 0], dtype=torch.float64)
    c = torch.tensor([3.5, math.nan, -2, 0, 1e9])
    for passes in (1, 2):
        cartoon(image, d=d, color=color, space=space, c=c, passes=passes, device=device)
        cartoon(image, d=d, color=color[1], space=space[1], c=c, passes=passes, device=device)


def test_what_a_cartoon_is():
    """Against the definition, on a photo: uint8 one level off at most, where a value is a hair from a half."""
    image = photo(150, 131, torch.uint8)
    result, expected = run("cartoonize", image, *arguments(c=9.0)), truth_of_bytes(image, *arguments(c=9.0))
    assert (result.int() - expected.int()).abs().max() <= 1
    assert (result != expected).double().mean() < 1e-4
    assert 0.005 < (result == 0).all(1).double().mean() < 0.5


def truth_of_bytes(image, d, color, space, passes, ksize, block_size, c):
    gray = truth("median_blur", run("rgb_to_gray", image), ksize).to(torch.uint8)
    mean = torch.nn.functional.avg_pool2d(
        torch.nn.functional.pad(gray.double(), [block_size // 2] * 4, "replicate"), block_size, 1
    )
    keep = gray.double() > mean.round() - c.ceil()
    color = truth("bilateral_filter", image, d, color, space, "reflect101").round().to(torch.uint8)
    return torch.where(keep, color, 0)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32], ids=str)
def test_as_many_images_together_as_scratch_memory_holds(dtype):
    image = noise(5, 3, 20, 37, dtype=dtype)
    c = torch.tensor([3.5, 2, -2, 0, 9])
    whole, launches = {}, {}
    planes = 5 if dtype.is_floating_point else 3
    for images in (5, 4, 2, 1, 0):  # 0: room for not even one
        scratch = images * planes * 20 * 37 * dtype.itemsize
        for device in ((), (C,)):
            whole[images] = run("cartoonize", image, *arguments(passes=2, c=c), device=device, scratch=scratch)
            launches[images] = OPS.launches()
            assert torch.equal(whole[images], whole[5])
    assert torch.equal(whole[5], composed(image, *arguments(passes=2, c=c)))
    assert [launches[n] // launches[5] for n in (4, 2, 1, 0)] == [2, 3, 5, 5]


def test_launches():
    image = noise(4, 3, 20, 37, dtype=torch.uint8)
    for passes, launches in ((0, 2), (1, 2), (2, 3)):
        run("cartoonize", image, *arguments(passes=passes))
        assert OPS.launches() == launches


def test_any_schedule_gives_the_same_bits():
    image = photo(70, 40, torch.uint8)
    results = [run("cartoonize", image, *arguments(), seed=seed) for seed in range(4)]
    assert all(torch.equal(results[0], other) for other in results)


@unsanitized
def test_a_missing_barrier_is_found():
    """A test of the tests."""
    image = noise(1, 3, 40, 40, dtype=torch.uint8)
    for passes in (0, 1):  # 0: the edges alone
        whole = run("cartoonize", image, *arguments(passes=passes))
        wrong = [
            run("cartoonize", image, *arguments(passes=passes), seed=s, defect="missing barrier") for s in range(4)
        ]
        defects.append(any(not torch.equal(whole, other) for other in wrong))
        assert defects[-1]


@pytest.mark.parametrize(
    ("image", "parameters", "message"),
    [
        (torch.rand(5, 5), {}, "image must have 3 channels"),
        (torch.rand(4, 5, 5), {}, "image must have 3 channels"),
        (torch.rand(3, 5, 5).double(), {}, "image must be uint8, float16, bfloat16 or float32"),
        (torch.rand(3, 5, 5), {"passes": -1}, "passes must not be negative, got -1"),
        (torch.rand(3, 5, 5), {"ksize": 4}, r"ksize must be odd and lie in \[1, 65535\], got 4"),
        (torch.rand(3, 5, 5), {"block_size": 2}, r"block_size must be odd and lie in \[1, 65535\], got 2"),
        (torch.rand(2, 3, 5, 5), {"c": torch.ones(3)}, r"c must have shape \[\] or \[B\]"),
    ],
)
def test_refused(image, parameters, message):
    with pytest.raises(RuntimeError, match=message):
        run("cartoonize", image, *arguments(**parameters))

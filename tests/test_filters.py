"""Every filter on every CPU backend and instruction set, against the definition in float64."""

import functools

import pytest
import torch

import filter_cases
import texfilters
from cuda_cases import same_bits
from filter_cases import CASES, DTYPES, PATCHES, check, draw

# Around the lanes of every instruction set (4 to 64 pixels of uint8), and the degenerate ones.
SIZES = [(1, 1), (1, 2), (2, 1), (1, 70), (70, 1), (3, 3), (5, 15), (4, 16), (5, 17), (9, 31), (8, 32), (7, 33),
         (5, 63), (6, 64), (4, 65), (3, 129), (33, 20), (65, 7)]  # fmt: skip
EMPTY = [(0, 5), (5, 0), (0, 0)]
LEADING = [(), (2,), (2, 3), (2, 1, 3), (0,)]

every_case = pytest.mark.parametrize("case", CASES, ids=str)


def shaped(case, leading, size):
    """A shape that the filter takes."""
    return (*leading, 3, *size) if case.needs_color else (*leading, *size)


@every_case
def test_sizes(backend, case):
    for size in SIZES:
        for dtype in (torch.float32, torch.uint8):
            check(case, draw(shaped(case, (), size), dtype), backend)


@every_case
def test_dtypes(backend, case):
    for dtype in DTYPES:
        check(case, draw((2, 3, 21, 70), dtype), backend)


@every_case
def test_leading_dimensions_and_empty_images(backend, case):
    for leading in LEADING:
        check(case, draw(shaped(case, leading, (6, 19))), backend)
    for size in EMPTY:
        for dtype in DTYPES:
            check(case, draw(shaped(case, (2,), size), dtype), backend)


VIEWS = {
    "channels last": lambda u: u.contiguous(memory_format=torch.channels_last),
    "transposed": lambda u: u.mT,
    "slice": lambda u: u[:, :, 3:17:2, 1::3],
    "offset": lambda u: u[1:, :, 1:, 1:],
    "expanded batch": lambda u: u[:1].expand(4, -1, -1, -1),
    "expanded channels": lambda u: u[:, :1].expand(-1, 3, -1, -1),
    "expanded rows": lambda u: u[:, :, :1].expand(-1, -1, 9, -1),
    "expanded columns": lambda u: u[..., :1].expand(-1, -1, -1, 35),
    "permuted": lambda u: u.permute(1, 0, 3, 2)[:, [0, 1, 0]],
    "HWC photo": lambda u: u[0].permute(1, 2, 0).contiguous().permute(2, 0, 1),
    "five dimensions": lambda u: u[None].transpose(0, 1).expand(-1, 2, -1, -1, -1),
}  # fmt: skip


@pytest.mark.parametrize("case", [*CASES, *PATCHES], ids=str)
def test_strides(backend, case):
    for name, view in VIEWS.items():
        if case.function == "patch_negatives" and name == "five dimensions":
            continue
        for dtype in (torch.uint8, torch.float32):
            check(case, view(draw((2, 3, 20, 34), dtype)), backend)


@every_case
def test_channels(backend, case):
    """Any number of them; a bilateral filter weighs them together, the others one by one."""
    if case.needs_color:
        return
    for channels in (1, 2, 4, 5):
        for dtype in (torch.uint8, torch.float32):
            image = draw((channels, 11, 37), dtype)
            result = check(case, image, backend)
            if case.function != "bilateral_filter" or channels == 1:
                for one, alone in zip(image, result, strict=True):
                    assert torch.equal(case(one, backend), alone)


# Arguments that differ from image to image, an identity among them.
OF_EACH_IMAGE = [
    ("bilateral_filter", {"d": 5}, {"sigma_color": [60.0, 0.0, 5.0, 300.0], "sigma_space": [2.0, 1.0, 30.0, 0.5]}),
    ("bilateral_filter", {"d": 0, "sigma_space": 2.0}, {"sigma_color": [60.0, 30.0, 5.0, 300.0]}),
    ("bilateral_filter", {"d": -1, "sigma_color": 50.0}, {"sigma_space": [0.1, 2.6, 0.0, 1.4]}),
    ("gaussian_blur", {}, {"sigma": [0.7, 0.0, 4.2, 1.0]}),
    ("gaussian_blur", {"kernel_size": 7, "border": "wrap"}, {"sigma": [0.7, 0.0, 4.2, 1e9]}),
    ("adaptive_threshold", {"block_size": 5}, {"c": [9.0, -2.5, 0.3, 100.0]}),
    ("adaptive_threshold", {"block_size": 9, "method": "gaussian", "invert": True}, {"c": [9.0, -2.5, 0.3, 100.0]}),
    ("cartoonize", {"d": 5, "passes": 2, "ksize": 3},
     {"sigma_color": [60.0, 0.0, 5.0, 300.0], "sigma_space": [2.0, 1.0, 3.0, 0.5], "c": [9.0, -2.5, 0.3, 100.0]}),
]  # fmt: skip


@pytest.mark.parametrize(("function", "shared", "each"), OF_EACH_IMAGE)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64], ids=str)
def test_every_image_has_its_own_parameters(backend, dtype, function, shared, each):
    call = functools.partial(getattr(texfilters, function), backend=backend, **shared)
    image = draw((4, 3, 13, 37), dtype)
    for type_of_parameters in (torch.float64, torch.float32):
        parameters = {name: torch.tensor(values, dtype=type_of_parameters) for name, values in each.items()}
        together = call(image, **parameters)
        for i in range(4):
            assert torch.equal(together[i], call(image[i], **{k: v[i].item() for k, v in parameters.items()}))
        strided = {name: v.repeat_interleave(2)[::2] for name, v in parameters.items()}
        assert torch.equal(call(image, **strided), together)
    assert call(image[:0], **{name: torch.ones(0) for name in each}).shape == (0, 3, 13, 37)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        ("bilateral_filter", {"d": 5, "sigma_color": 0, "sigma_space": 2}),
        ("bilateral_filter", {"d": 5, "sigma_color": 2, "sigma_space": torch.zeros(2)}),
        ("gaussian_blur", {"sigma": 0}),
        ("gaussian_blur", {"sigma": torch.zeros(2), "kernel_size": 5}),
        ("median_blur", {"ksize": 1}),
    ],
)
def test_identities_copy_the_bits(backend, function, arguments, dtype):
    image = draw((2, 3, 6, 37), dtype)
    if dtype.is_floating_point:
        special = torch.tensor([torch.inf, -torch.inf, -0.0, 1e-40, torch.nan]).to(dtype)
        image[0, 0, 0, :5] = special.nan_to_num(9, torch.inf, -torch.inf) if function == "median_blur" else special
    result = getattr(texfilters, function)(image, **arguments, backend=backend)
    assert result.data_ptr() != image.data_ptr()
    assert same_bits(result, image)


@pytest.mark.parametrize("ksize", [3, 5, 7, 9, 11, 25])
def test_median_is_nan_where_a_window_holds_one(backend, ksize):
    for dtype in (torch.float16, torch.float32, torch.float64):
        image = draw((2, 40, 50), dtype)
        image[1, 20, 30] = torch.nan
        result = texfilters.median_blur(image, ksize, backend=backend)
        y, x = torch.meshgrid(torch.arange(40), torch.arange(50), indexing="ij")
        reached = torch.maximum((y - 20).abs(), (x - 30).abs()) <= ksize // 2
        assert torch.equal(result[1].isnan(), reached)
        assert not result[0].isnan().any()
        image[1, 20, 30] = torch.inf
        check(filter_cases.Case("median_blur", {"ksize": ksize}, 0.0), image, backend)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_bad_pixels_reach_their_windows_only(backend, bad):
    image = draw((2, 3, 25, 40))
    image[1, 1, 12, 20] = bad
    clean = draw((2, 3, 25, 40))
    y, x = torch.meshgrid(torch.arange(25) - 12, torch.arange(40) - 20, indexing="ij")
    for function, arguments, reached in (
        ("bilateral_filter", (7, 60.0, 2.0), y**2 + x**2 <= 9),
        ("gaussian_blur", (1.0,), torch.maximum(y.abs(), x.abs()) <= 3),
    ):
        call = functools.partial(getattr(texfilters, function), backend=backend)
        result, expected = call(image, *arguments), call(clean, *arguments)
        assert torch.equal(result[0], expected[0])
        assert torch.equal(result[1][:, ~reached], expected[1][:, ~reached])
        touched = result[1] if function == "bilateral_filter" and bad != bad else result[1, 1:2]
        assert not touched[:, reached].isfinite().any()
        if function == "gaussian_blur":
            assert torch.equal(result[1, ::2], expected[1, ::2])


@pytest.mark.parametrize("function", ["adaptive_threshold", "cartoonize"])
def test_a_mean_that_is_nan_lights_nothing(backend, function):
    image = draw((3, 20, 30))
    image[:, 10, 15] = torch.nan
    if function == "cartoonize":
        result = texfilters.cartoonize(image, sigma_color=300.0, c=9.0, ksize=1, block_size=5, backend=backend)
        assert not result[:, 8:13, 13:18].any()
        return
    for method in ("mean", "gaussian"):
        for invert in (False, True):
            result = texfilters.adaptive_threshold(image, 5, -1.0, method=method, invert=invert, backend=backend)
            assert not result[:, 8:13, 13:18].any()
            assert not result.isnan().any()
            clean = texfilters.adaptive_threshold(
                image.nan_to_num(), 5, -1.0, method=method, invert=invert, backend=backend
            )
            reached = torch.zeros(20, 30, dtype=torch.bool)
            reached[8:13, 13:18] = True
            assert torch.equal(result[:, ~reached], clean[:, ~reached])


def test_values_beyond_255(backend):
    image = torch.rand(3, 20, 40) * 6e4 - 3e4
    for case in CASES:
        if case.function in ("bilateral_filter", "gaussian_blur"):
            result = case(image, backend)
            assert (result - case(image.double(), "reference")).abs().max() < 1e-5 * 6e4

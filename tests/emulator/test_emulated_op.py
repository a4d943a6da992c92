"""What torch's side of the CUDA kernels makes of shapes, strides and parameters, emulated, against the definition."""

import math

import pytest
import torch
from emulated_cases import noise
from emulated_op import COUPLINGS, DTYPES, NAMES, OPS, TILES, check, diffuse, launches, sample, tensors
from hypothesis import given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.usefixtures("filled_memory")


def test_new_memory_is_filled():
    assert torch.empty(100).isnan().all()


def test_says_what_it_has():
    assert {"step", "32x32", "3x32x32"} <= set(TILES)
    assert OPS.cuda_problem(0) == ""


# Shapes and strides


@pytest.mark.parametrize("coupling", COUPLINGS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("front", [(), (3,), (2, 3), (2, 1, 3), (2, 2, 3), (2, 1, 2, 3), (2, 3, 2, 2)])
@pytest.mark.parametrize("spatial", [(9, 33), (3, 7, 9)])
def test_dimensions(spatial, front, dtype, coupling):
    ndim = len(spatial)
    check(noise(*front, *spatial, dtype=dtype), ndim=ndim, coupling=coupling)


# Of [2, 3, 4, 5, 6, 7], four leading dimensions or three.
VIEWS = {
    "every other of the first": lambda u: u[::2],
    "every other of the second": lambda u: u[:, ::2],
    "every other of the third": lambda u: u[:, :, 1::2],
    "every other of the fourth": lambda u: u[:, :, :, ::2],
    "every other pixel": lambda u: u[..., ::2, ::3],
    "a part of each": lambda u: u[:, 1:, 1:3, :-1, 1:, 1:-1],
    "reversed order": lambda u: u.permute(5, 4, 3, 2, 1, 0),
    "leading dimensions swapped": lambda u: u.transpose(0, 2),
    "neighboring dimensions swapped": lambda u: u.transpose(1, 2),
    "channels behind": lambda u: u.permute(0, 1, 3, 4, 5, 2),
    "channels last": lambda u: u.permute(0, 1, 2, 5, 3, 4),
    "transposed": lambda u: u.mT,
    "depth innermost": lambda u: u.transpose(3, 5),
    "one for all of the first": lambda u: u[:1].expand(2, -1, -1, -1, -1, -1),
    "one for all of the second": lambda u: u[:, :1].expand(-1, 3, -1, -1, -1, -1),
    "one for all of the third": lambda u: u[:, :, :1].expand(-1, -1, 4, -1, -1, -1),
    "one for all": lambda u: u[:1, :1, :1, :1].expand(2, 3, 4, 5, -1, -1),
    "one row for all": lambda u: u[..., :1, :].expand(-1, -1, -1, -1, 6, -1),
    "one pixel for all": lambda u: u[..., :1, :1].expand(-1, -1, -1, -1, 6, 7),
    "one value for all": lambda u: u[:1, :1, :1, :1, :1, :1].expand(2, 3, 4, 5, 6, 7),
    "overlapping": lambda u: u.flatten().as_strided((2, 3, 4, 5, 6, 7), (7, 5, 3, 11, 2, 1)),
    # Two that are one in the input only: in the output the rows come between them.
    "rows between": lambda u: u.flatten().as_strided((2, 3, 4, 5, 6, 7), (200, 100, 50, 10, 20, 1)),
}


@pytest.mark.parametrize("coupling", COUPLINGS)
@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("view", VIEWS)
def test_leading_dimensions_of_any_strides(view, ndim, coupling):
    image = VIEWS[view](noise(2, 3, 4, 5, 6, 7, dtype=torch.bfloat16))
    check(image, 2, ndim=ndim, coupling=coupling)


BATCHES = {
    "channels last": lambda u: u.to(memory_format=torch.channels_last),
    "transposed": lambda u: u.mT,
    "sliced": lambda u: u[::2, :, 3:, ::2],
    "one channel for all": lambda u: u[:, :1].expand(-1, 3, -1, -1),
    "one image for all": lambda u: u[:1].expand(3, -1, -1, -1),
    "images behind channels": lambda u: u.transpose(0, 1),
    "not aligned": lambda u: u.flatten()[1:].as_strided((2, 3, 40, 35), (4200, 1400, 35, 1)),
}


@pytest.mark.parametrize("tile", ["", "step", "32x32/2"])
@pytest.mark.parametrize("coupling", COUPLINGS)
@pytest.mark.parametrize("view", BATCHES)
def test_batches_of_any_strides(view, coupling, tile):
    image = BATCHES[view](noise(3, 3, 40, 35, dtype=torch.uint8))
    if coupling == "l2" and tile.startswith("32"):
        tile = f"3x{tile}"
    for niter in (2, torch.arange(len(image)) * 2):
        check(image, niter, coupling=coupling, tile=tile)


@pytest.mark.parametrize("coupling", COUPLINGS)
@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("place", range(5))
def test_a_size_of_zero_or_one(place, ndim, coupling):
    shape = [2, 3, 4, 5, 6]
    for sizes in ({place: 0}, {place: 1}, {place: 1, (place + 1) % 5: 1}, {place: 1, (place + 2) % 5: 1}):
        changed = [sizes.get(i, size) for i, size in enumerate(shape)]
        for first in range(5 - ndim + 1):
            image = noise(*changed[first:])
            check(image, ndim=ndim, coupling=coupling, gamma=0.05)
            if image.ndim == ndim + 2:
                parameters = torch.full(image.shape[:1], 2), torch.full(image.shape[:1], 30.0)
                check(image, *parameters, ndim=ndim, coupling=coupling, gamma=0.05)


@pytest.mark.parametrize("coupling", COUPLINGS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("front", [(), (3,), (2, 3), (2, 2, 3), (1, 1)])
@pytest.mark.parametrize("ndim", [2, 3])
def test_single_pixels_are_copied_at_once(ndim, front, dtype, coupling):
    image = noise(*front, *[1] * ndim, dtype=dtype)
    if dtype != torch.uint8:
        image.flatten()[:1] = math.inf
    options = {"ndim": ndim, "coupling": coupling}
    for niter in (0, 5, 2**31 - 1):
        assert torch.equal(diffuse(image, niter, **options), image)
        assert torch.equal(diffuse(image, torch.tensor(niter), device=["niter"], **options), image)
        if len(front) == 2:
            each = torch.full(front[:1], niter)
            assert torch.equal(diffuse(image, each, **options), image)
            assert torch.equal(diffuse(image, each, device=["niter"], **options), image)
    assert launches(image, 2**31 - 1, **options) == launches(image, 0, **options)


@pytest.mark.parametrize(("view", "passes"), [
    (lambda u: u, {"none": 1, "l2": 1}),
    (lambda u: u[:, :2], {"none": 1, "l2": 2}),  # [2], and [2, 4] as one; coupled: [2] and [2]
    (lambda u: u.transpose(0, 1), {"none": 3, "l2": 3}),
    (lambda u: u.transpose(1, 2), {"none": 2, "l2": 2}),
    (lambda u: u.transpose(0, 2)[None], {"none": 4, "l2": 4}),
])  # fmt: skip
@pytest.mark.parametrize("coupling", COUPLINGS)
def test_outer_dimensions_take_launches_of_their_own(coupling, view, passes):
    image = noise(2, 3, 4, 5, 6)
    one = launches(image[0, 0], tile="step")
    assert launches(view(image), coupling=coupling, tile="step") == passes[coupling] * one


# Plans


@pytest.mark.parametrize("steps", ["", "/1", "/2", "/100"])
@pytest.mark.parametrize("tile", TILES)
def test_forced_tiles(tile, steps):
    coupling = "l2" if tile.startswith("3x") else "none"
    check(noise(1, 3, 13, 31), 4, coupling=coupling, tile=tile + steps)
    check(noise(1, 3, 31, 13), torch.tensor([4]), coupling=coupling, tile=tile + steps, device=["niter"])


def test_images_without_iterations_take_a_launch():
    image = noise(3, 2, 40, 35)
    for tile, steps in (("64x64", 1), ("32x32/2", 2), ("step", 4)):
        assert launches(image, 4, tile=tile) == steps
        assert launches(image, 0, tile=tile) == 1
        assert launches(image, torch.tensor([1, 4, 2]), tile=tile) == 1 + steps
        assert launches(image, torch.tensor([0, 4, 2]), tile=tile) == 2 + steps
        assert launches(image, torch.tensor([1, 4, 2]), tile=tile, device=["niter"]) == 1 + steps


@pytest.mark.parametrize(
    ("tile", "shape", "options"),
    [
        ("nonsense", (1, 3, 9, 11), {}),
        ("33x33", (1, 3, 9, 11), {}),
        ("32X32", (1, 3, 9, 11), {}),
        (" 32x32", (1, 3, 9, 11), {}),
        ("/3", (1, 3, 9, 11), {}),
        ("3x32x32", (1, 3, 9, 11), {}),
        ("32x32", (1, 3, 9, 11), {"coupling": "l2"}),
        ("3x32x32", (1, 4, 9, 11), {"coupling": "l2"}),
        ("32x32", (1, 3, 9, 11), {"ndim": 3}),
        ("32x32/16", (1, 1, 40, 11), {"niter": 20}),
        ("320x144", (1, 1, 9, 11), {"shared": 64}),
    ],
)
def test_tiles_that_do_not_suit(tile, shape, options):
    with pytest.raises(RuntimeError, match=f"TEXFILTERS_CUDA_TILE must name a tile that suits the image, got {tile}"):
        diffuse(noise(*shape), tile=tile, **options)
    if options.get("ndim", 2) == 2:
        with pytest.raises(RuntimeError, match="TEXFILTERS_CUDA_TILE must name a tile"):
            diffuse(noise(*shape), **{"niter": torch.tensor(3), "device": ["niter"], **options}, tile=tile)


def memory(image, niter, *parameters, **options):
    """Bytes of what a call allocates."""
    parameters = tensors(niter, *parameters, *(20.0, 0.1)[len(parameters) :])
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        diffuse(image, *parameters, **options)
    events = [event for event in profile.events() if event.name in ("aten::empty_like", "aten::new_empty")]
    return [event.cpu_memory_usage for event in events]


def test_memory():
    """The output; a table; and in float32 no copy of the image, one or two, as there are one launch, two or more."""
    image = noise(2, 3, 40, 35, dtype=torch.uint8)
    size, each = image.numel(), torch.tensor([5, 1])
    for tile, niter, copies in (
        ("64x64", 5, 0), ("step", 0, 0), ("step", 1, 0), ("step", 2, 1), ("step", 3, 2), ("step", 9, 2),
        ("32x32/2", 2, 0), ("32x32/2", 3, 1), ("32x32/2", 4, 1), ("32x32/2", 5, 2),
    ):  # fmt: skip
        assert memory(image, niter, tile=tile) == [size, *[4 * size] * copies]
        assert memory(image, torch.tensor(niter), tile=tile, device=["niter"]) == [size, *[4 * size] * copies]
    assert memory(image, each, tile="64x64") == [size, 4 * 2 * 2]
    assert memory(image, each, each * 9.0, each / 20, tile="64x64") == [size, 4 * 2 * 4]
    # Of one pass over the dimensions that a launch tells.
    outer = noise(4, 2, 3, 8, 9).transpose(0, 2)
    assert memory(outer, 5, tile="step") == [4 * outer.numel(), *[4 * outer.numel() // 3] * 2]


# What is refused


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": torch.rand(9)}, "image must have at least 2 dimensions, got 1"),
        ({"image": torch.rand(4, 3, 5, 6, dtype=torch.float64)}, "image must be uint8, float16, bfloat16 or float32"),
        ({"image": torch.ones(4, 3, 5, 6, dtype=torch.int64)}, "image must be uint8, float16, bfloat16 or float32"),
        ({"image": torch.ones(4, 3, 5, 6, dtype=torch.bool)}, "image must be uint8, float16, bfloat16 or float32"),
        ({"image": torch.ones(4, 3, 5, 6, dtype=torch.complex64)}, "image must be uint8, float16, bfloat16 or float32"),
        ({"option": 0}, "option must be 1, 2 or 3, got 0"),
        ({"option": 4}, "option must be 1, 2 or 3, got 4"),
        ({"spacing": [1.0]}, "spacing must have 2 numbers, got 1"),
        ({"spacing": [1.0] * 3}, "spacing must have 2 numbers, got 3"),
        ({"ndim": 1, "spacing": [1.0]}, "ndim must be 2 or 3, got 1"),
        ({"ndim": 4, "spacing": [1.0] * 4}, "ndim must be 2 or 3, got 4"),
        ({"ndim": 3, "image": torch.rand(5, 6)}, "image must have at least 3 dimensions, got 2"),
    ],
)
def test_refused(change, message):
    with pytest.raises(RuntimeError, match=message):
        diffuse(**{"image": torch.rand(4, 3, 5, 6), **change})


# Everything at once


@st.composite
def views(draw, shape, dtype, seed):
    """An image of that shape: its dimensions in any order in memory, with gaps, some of them with one value for all."""
    order = draw(st.permutations(range(len(shape))))
    steps = [draw(st.integers(1, 2)) for _ in shape]
    offsets = [draw(st.integers(0, 1)) for _ in shape]
    repeated = [draw(st.integers(0, 5)) == 0 for _ in shape]
    sizes = [1 if again else size for size, again in zip(shape, repeated, strict=True)]
    whole = [size * step + offset for size, step, offset in zip(sizes, steps, offsets, strict=True)]
    base = noise(*(whole[i] for i in order), dtype=dtype, seed=seed)
    image = base.permute([order.index(i) for i in range(len(shape))])
    for i, (size, step, offset) in enumerate(zip(sizes, steps, offsets, strict=True)):
        image = image.narrow(i, offset, size * step)[(slice(None),) * i + (slice(None, None, step),)]
    return image.expand(shape)


@st.composite
def calls(draw):
    ndim = draw(st.integers(2, 3))
    front = draw(st.lists(st.sampled_from([1, 2, 3, 1, 2, 3, 0]), max_size=4))
    largest = 40 if ndim == 2 and len(front) < 3 else 7
    shape = [*front, *(draw(st.integers(1, largest)) for _ in range(ndim))]
    seed = draw(st.integers(0, 1000))
    image = draw(views(shape, draw(st.sampled_from(DTYPES)), seed))
    spacing = [draw(st.sampled_from([1.0, 0.8, 3.0])) for _ in range(ndim)]
    kinds = ["all", "each"] if len(front) == 2 and front[0] else ["all"]
    generator = torch.Generator().manual_seed(seed)
    niter, kappa, gamma = (
        sample(name, draw(st.sampled_from(kinds)), max(1, front[0] if front else 1), generator) for name in NAMES
    )
    if gamma.dtype.is_floating_point:
        gamma = gamma / sum(1 / s for s in spacing) * 2  # stable
    options = {
        "option": draw(st.integers(1, 3)),
        "coupling": draw(st.sampled_from(COUPLINGS)),
        "spacing": spacing,
        "ndim": ndim,
        "device": draw(st.sets(st.sampled_from(NAMES))),
        "tile": draw(st.sampled_from(["", "", "step"])),
    }
    return image, niter, kappa, gamma, options


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(calls())
def test_any_call(call):
    image, niter, kappa, gamma, options = call
    check(image, niter, kappa, gamma, **options)

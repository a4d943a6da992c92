"""The adapter beside kornia itself: its containers, gates, replay and data keys."""

import copy
import dataclasses
import importlib
import pickle
import sys

import pytest
import torch

import texfilters

K = pytest.importorskip("kornia.augmentation", reason="needs kornia")

from texfilters.compat import kornia as ours  # noqa: E402

RANGES = {
    ours.RandomAnisotropicDiffusion: {"niter": (3, 9), "kappa": (10.0, 30.0), "gamma": (0.05, 0.2), "option": 2},
    ours.RandomBilateralFilter: {"d": 5, "sigma_color": (20.0, 90.0), "sigma_space": (2.0, 50.0), "border": "wrap"},
    ours.RandomCartoonize: {"sigma_color": (100.0, 300.0), "sigma_space": (50.0, 300.0), "c": (2.0, 9.0), "ksize": 5},
}
FUNCTIONS = {
    ours.RandomAnisotropicDiffusion: texfilters.anisotropic_diffusion,
    ours.RandomBilateralFilter: texfilters.bilateral_filter,
    ours.RandomCartoonize: texfilters.cartoonize,
}
CLASSES = pytest.mark.parametrize("cls", RANGES, ids=lambda cls: cls.__name__)


@pytest.fixture
def images(photo):
    """[6, 3, 40, 48] in [0, 1]."""
    crops = [photo[:, y : y + 40, x : x + 48] for y in (40, 110, 180) for x in (60, 150)]
    return torch.stack(crops) / 255


def drawn(cls, params):
    """In the units of the functions."""
    names = [name for name, value in RANGES[cls].items() if isinstance(value, tuple)]
    return {n: params[n] / 255 if n in ("kappa", "sigma_color", "c") else params[n] for n in names}


def filtered(cls, images, params):
    fixed = {name: value for name, value in RANGES[cls].items() if not isinstance(value, tuple)}
    return FUNCTIONS[cls](images, **drawn(cls, params), **fixed)


@CLASSES
def test_equals_the_function_with_what_was_drawn(cls, images):
    augmentation = cls(**RANGES[cls], p=1.0)
    kept = images.clone()
    result = augmentation(images)
    for values in drawn(cls, augmentation._params).values():
        assert values.shape == (6,)
        assert len(values.unique()) > 1
    torch.testing.assert_close(result, filtered(cls, images, augmentation._params), rtol=0, atol=0)
    assert torch.equal(images, kept)


@CLASSES
def test_images_left_out_keep_their_bits_and_the_others_are_as_if_alone(cls, images):
    augmentation = cls(**RANGES[cls], p=0.5)
    result = augmentation(images)
    chosen = augmentation._params["batch_prob"] > 0.5
    assert chosen.any()
    assert not chosen.all()
    everything = filtered(cls, images, augmentation._params)
    assert torch.equal(result, torch.where(chosen[:, None, None, None], everything, images))
    assert (result != images).flatten(1).any(1).equal(chosen)


def test_images_left_out_are_not_computed(images):
    gate = torch.tensor([0.0, 1, 0, 0, 1, 0])

    def call(cls):
        """What the function is called with."""
        calls = []

        def function(image, **parameters):
            calls.append((image, parameters))
            return image.clone()

        augmentation = cls(p=0.5)
        augmentation.filter = dataclasses.replace(cls.filter, function=function)
        augmentation(images, params={**augmentation.forward_parameters(images.shape), "batch_prob": gate})
        return calls[0]

    assert (call(ours.RandomAnisotropicDiffusion)[1]["niter"] > 0).equal(gate > 0)
    assert (call(ours.RandomBilateralFilter)[1]["sigma_color"] > 0).equal(gate > 0)
    image, parameters = call(ours.RandomCartoonize)
    assert image.equal(images[[1, 4]])
    assert parameters["c"].shape == (2,)


@CLASSES
def test_a_gate_beside_p_of_1_counts_as_in_kornias_own(cls, images):
    def changed(augmentation):
        params = {**augmentation.forward_parameters(images.shape), "batch_prob": torch.zeros(6)}
        return bool((augmentation(images, params=params) != images).any())

    assert changed(cls(p=1.0)) is changed(K.RandomInvert(p=1.0))
    assert changed(cls(p=0.5)) is changed(K.RandomInvert(p=0.5)) is False


@CLASSES
@pytest.mark.parametrize("p", [0.0, 0.5, 1.0])
def test_replay_and_seeds(cls, p, images):
    augmentation = cls(**RANGES[cls], p=p)
    torch.manual_seed(3)
    result = augmentation(images)
    assert torch.equal(augmentation(images, params=augmentation._params), result)
    torch.manual_seed(3)
    assert torch.equal(augmentation(images), result)
    assert torch.equal(augmentation(images), result) is (p == 0)


@CLASSES
def test_draws_cover_their_ranges(cls):
    augmentation = cls(**RANGES[cls])
    params = augmentation.forward_parameters((400, 3, 4, 4))
    for name, (low, high) in ((n, r) for n, r in RANGES[cls].items() if isinstance(r, tuple)):
        values = params[name].tolist()
        if name == "niter":
            assert set(values) == set(range(low, high + 1))
        else:
            slack = 1e-6 * high  # float32
            assert low - slack <= min(values) < low + 0.1 * (high - low)
            assert high - 0.1 * (high - low) < max(values) <= high + slack


@CLASSES
def test_one_draw_for_the_batch(cls, images):
    augmentation = cls(**RANGES[cls], p=1.0, same_on_batch=True)
    result = augmentation(images)
    for values in drawn(cls, augmentation._params).values():
        assert values.shape == (6,)
        assert len(values.unique()) == 1
    assert torch.equal(result, filtered(cls, images, augmentation._params))


@CLASSES
def test_beside_masks_boxes_and_keypoints(cls, images):
    keys = ["input", "mask", "bbox_xyxy", "keypoints"]
    pipeline = K.AugmentationSequential(cls(**RANGES[cls], p=0.5), data_keys=keys)
    mask, boxes = torch.randint(0, 2, (6, 1, 40, 48)).float(), torch.tensor([[[3.0, 4, 20, 30]]]).expand(6, 1, 4)
    points = 30 * torch.rand(6, 2, 2)
    result = pipeline(images, mask, boxes, points)
    assert not torch.equal(result[0], images)
    assert torch.equal(result[1], mask)
    torch.testing.assert_close(result[2], boxes)
    torch.testing.assert_close(result[3], points)
    again = pipeline(images, mask, boxes, points, params=pipeline._params)
    assert torch.equal(again[0], result[0])


def test_among_kornias_own(images):
    pipeline = K.AugmentationSequential(
        ours.RandomAnisotropicDiffusion(),
        K.RandomHorizontalFlip(),
        ours.RandomCartoonize(),
        data_keys=["input", "mask"],
    )
    ramp = torch.arange(48.0).expand(6, 1, 40, 48)
    result, mask = pipeline(images, ramp)
    flipped = [not torch.equal(a, b) for a, b in zip(mask, ramp, strict=True)]
    assert 0 < sum(flipped) < 6
    assert torch.equal(pipeline(images, ramp, params=pipeline._params)[0], result)
    for other in (copy.deepcopy(pipeline), pickle.loads(pickle.dumps(pipeline))):
        torch.manual_seed(1)
        expected = pipeline(images, ramp)[0]
        torch.manual_seed(1)
        assert torch.equal(other(images, ramp)[0], expected)


@CLASSES
def test_videos(cls, images):
    pipeline = K.VideoSequential(cls(**RANGES[cls], p=0.5), data_format="BTCHW", same_on_frame=True)
    clips = images.reshape(3, 2, 3, 40, 48)
    for _ in range(8):  # until both have been seen
        result = pipeline(clips)
        changed = (result != clips).flatten(2).any(-1)
        assert changed.all(1).equal(changed.any(1))
        if changed.any() and not changed.all():
            break
    else:
        pytest.fail("p=0.5 took all clips or none, 8 times over")


@CLASSES
def test_shapes(cls, images):
    assert cls()(images[0]).shape == (1, 3, 40, 48)
    assert cls(keepdim=True)(images[0]).shape == (3, 40, 48)
    assert cls()(images[:0]).shape == (0, 3, 40, 48)
    if cls is not ours.RandomCartoonize:
        assert cls(keepdim=True)(images[0, 0]).shape == (40, 48)
        assert cls()(images.repeat(1, 2, 1, 1)).shape == (6, 6, 40, 48)


@CLASSES
@pytest.mark.parametrize("p", [0.5, 1.0])
def test_gradients(cls, p, images):
    augmentation = cls(**RANGES[cls], p=p)
    weights = torch.rand_like(images)
    image = images.clone().requires_grad_()
    (augmentation(image) * weights).sum().backward()
    chosen = augmentation._params["batch_prob"] > 0.5
    expected = images.clone().requires_grad_()
    (filtered(cls, expected, augmentation._params) * weights).sum().backward()
    torch.testing.assert_close(image.grad[chosen], expected.grad[chosen], rtol=0, atol=0)
    assert torch.equal(image.grad[~chosen], weights[~chosen])


@CLASSES
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_dtypes(cls, dtype, images):
    augmentation = cls(**RANGES[cls], p=1.0)
    result = augmentation(images.to(dtype))
    assert result.dtype == dtype
    assert torch.equal(result, filtered(cls, images.to(dtype), augmentation._params))


def test_moved_along_with_a_module(images):
    """Modules that hold it are moved and cast, and kornia then draws there."""
    model = torch.nn.Sequential(ours.RandomAnisotropicDiffusion(p=1.0)).to(torch.float64)
    model(images)
    assert model[0]._params["kappa"].dtype == torch.float64
    assert model[0]._params["niter"].dtype == torch.int32


def test_what_is_printed():
    text = repr(ours.RandomAnisotropicDiffusion(niter=5, kappa=(10, 20), coupling="l2"))
    assert "niter=(5, 5), kappa=(10.0, 20.0), gamma=(0.1, 0.1), p=0.5" in text
    assert "option=1, coupling=l2" in text


@pytest.mark.parametrize(
    ("cls", "given", "error", "message"),
    [
        (ours.RandomAnisotropicDiffusion, {"niter": (20, 10)}, ValueError, r"niter must be a range .* got \(20, 10\)"),
        (ours.RandomAnisotropicDiffusion, {"niter": 2.5}, ValueError, "niter must be a whole number, got 2.5"),
        (
            ours.RandomAnisotropicDiffusion,
            {"niter": (1, 2, 3)},
            ValueError,
            "niter must be a number or a pair .* got 3",
        ),
        (ours.RandomAnisotropicDiffusion, {"niter": "12"}, TypeError, "niter must be a whole number, got str"),
        (ours.RandomAnisotropicDiffusion, {"kappa": (0, 5)}, ValueError, "kappa must be > 0, got 0"),
        (ours.RandomAnisotropicDiffusion, {"kappa": (1, float("inf"))}, ValueError, "kappa must be a range between"),
        (ours.RandomAnisotropicDiffusion, {"kappa": float("inf")}, ValueError, "kappa must be finite, got inf"),
        (ours.RandomAnisotropicDiffusion, {"gamma": (0.1, 0.3)}, ValueError, r"gamma must lie in \(0, 0.25\].*got 0.3"),
        (ours.RandomAnisotropicDiffusion, {"option": 4}, ValueError, "option must be one of 1, 2, 3, got 4"),
        (ours.RandomBilateralFilter, {"sigma_space": (-1, 5)}, ValueError, "sigma_space must be >= 0, got -1"),
        (ours.RandomCartoonize, {"ksize": 4}, ValueError, "ksize must be odd"),
    ],
)
def test_wrong_parameters(cls, given, error, message):
    with pytest.raises(error, match=message):
        cls(**given)


@CLASSES
def test_another_default_device(cls, images):
    with torch.device("meta"):
        augmentation = cls(**RANGES[cls], p=1.0)
        result = augmentation(images)
    assert torch.equal(result, filtered(cls, images, augmentation._params))


def test_wrong_images():
    with pytest.raises(TypeError):
        ours.RandomAnisotropicDiffusion()(torch.zeros(1, 3, 4, 4, dtype=torch.uint8))  # kornia's own check
    with pytest.raises(ValueError, match="cartoonize needs an image of 3 channels"):
        ours.RandomCartoonize(p=1.0)(torch.zeros(1, 1, 4, 4))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@CLASSES
@pytest.mark.parametrize("moved", [False, True], ids=["drawn on the CPU", "drawn on the GPU"])
def test_on_a_gpu(cls, moved, images):
    augmentation = cls(**RANGES[cls], p=0.5)
    if moved:
        augmentation = augmentation.to("cuda")
    result = augmentation(images.cuda())
    assert result.is_cuda
    params = {name: value.cpu() for name, value in augmentation._params.items()}
    chosen = params["batch_prob"] > 0.5
    everything = filtered(cls, images, params)
    expected = torch.where(chosen[:, None, None, None], everything, images)
    difference = (result.cpu() - expected).abs()
    if cls is ours.RandomCartoonize:  # where rounding moves a line a whole pixel is another
        assert (difference > 1e-4).float().mean() < 1e-3
    else:
        assert difference.max() < 1e-4
    assert result.cpu()[~chosen].equal(images[~chosen])


def test_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "kornia", None)
    monkeypatch.setitem(sys.modules, "kornia.augmentation", None)
    monkeypatch.delitem(sys.modules, "texfilters.compat.kornia")
    with pytest.raises(ImportError, match="needs kornia: pip install kornia"):
        importlib.import_module("texfilters.compat.kornia")

"""The adapter beside Albumentations itself: its pipelines, seeds, replay, serialization and validation."""

import importlib
import os
import pickle
import sys

import numpy as np
import pytest
import torch

import texfilters

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # it asks the network for news when it is imported
A = pytest.importorskip("albumentations", reason="needs albumentations")

from texfilters.compat import albumentations as ours  # noqa: E402

RANGES = {
    ours.AnisotropicDiffusion: {"niter": (3, 9), "kappa": (10.0, 30.0), "gamma": (0.05, 0.2), "option": 2},
    ours.BilateralFilter: {"d": 5, "sigma_color": (20.0, 90.0), "sigma_space": (2.0, 50.0), "border": "replicate"},
    ours.Cartoonize: {"sigma_color": (100.0, 300.0), "sigma_space": (50.0, 300.0), "c": (2.0, 9.0), "ksize": 5},
}
FUNCTIONS = {
    ours.AnisotropicDiffusion: texfilters.anisotropic_diffusion,
    ours.BilateralFilter: texfilters.bilateral_filter,
    ours.Cartoonize: texfilters.cartoonize,
}
CLASSES = pytest.mark.parametrize("cls", RANGES, ids=lambda cls: cls.__name__)


@pytest.fixture
def image(photo):
    """[64, 72, 3] uint8."""
    return photo[:, 60:124, 100:172].movedim(0, -1).contiguous().numpy()


def expected(cls, planes, drawn):
    """The public function on [..., C, H, W], with what was drawn in the units of the image."""
    fixed = {name: value for name, value in RANGES[cls].items() if not isinstance(value, tuple)}
    drawn = {name: value for name, value in drawn.items() if isinstance(RANGES[cls].get(name), tuple)}
    if planes.is_floating_point():
        drawn = {n: v / 255 if n in ("kappa", "sigma_color", "c") else v for n, v in drawn.items()}
    return FUNCTIONS[cls](planes, **drawn, **fixed).numpy()


@CLASSES
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_equals_the_function_with_what_was_drawn(cls, dtype, image):
    image = image if dtype == np.uint8 else (image / 255).astype(np.float32)
    kept = image.copy()
    transform = cls(**RANGES[cls], p=1)
    for _ in range(3):
        result = transform(image=image)["image"]
        assert result.dtype == dtype
        assert result.flags.c_contiguous
        planes = torch.from_numpy(image).movedim(-1, 0)
        np.testing.assert_array_equal(result, np.moveaxis(expected(cls, planes, transform.params), 0, -1))
        assert not np.array_equal(result, image)
    np.testing.assert_array_equal(image, kept)


@CLASSES
def test_draws_cover_their_ranges(cls):
    transform = cls(**RANGES[cls], p=1)
    transform.set_random_seed(0)
    draws = [transform.get_params() for _ in range(200)]
    for name, (low, high) in ((n, r) for n, r in RANGES[cls].items() if isinstance(r, tuple)):
        values = [draw[name] for draw in draws]
        if name == "niter":
            assert set(values) == set(range(low, high + 1))
        else:
            assert low <= min(values) < low + 0.1 * (high - low)
            assert high - 0.1 * (high - low) < max(values) <= high


@pytest.mark.parametrize("channels", [None, 1, 2, 5])
@pytest.mark.parametrize("cls", [ours.AnisotropicDiffusion, ours.BilateralFilter])
def test_other_than_three_channels(cls, channels, image):
    image = image[..., 0] if channels is None else np.repeat(image[..., :1], channels, -1) // np.arange(1, channels + 1)
    image = image.astype(np.uint8)
    transform = cls(**RANGES[cls], p=1)
    result = A.Compose([transform])(image=image)["image"]
    assert result.shape == image.shape
    planes = torch.from_numpy(image).reshape(64, 72, -1).movedim(-1, 0)
    np.testing.assert_array_equal(
        result, np.moveaxis(expected(cls, planes, transform.params), 0, -1).reshape(image.shape)
    )


def test_a_cartoon_needs_three_channels(image):
    with pytest.raises(ValueError, match=r"cartoonize needs an image of 3 channels.* got shape \(1, 64, 72\)"):
        ours.Cartoonize(p=1)(image=image[..., 0])


@CLASSES
@pytest.mark.parametrize("target", ["images", "volume"])
def test_a_batch_and_a_volume_share_one_draw(cls, target, image):
    images = np.stack([image, image[::-1], image[:, ::-1]])
    transform = cls(**RANGES[cls], p=1)
    result = A.Compose([transform])(**{target: images})[target]
    planes = torch.from_numpy(images).movedim(-1, -3)
    np.testing.assert_array_equal(result, np.moveaxis(expected(cls, planes, transform.params), -3, -1))


def test_gray_batches_lists_and_volumes(image):
    gray = np.stack([image[..., 0], image[..., 1]])
    transform = ours.AnisotropicDiffusion(p=1)
    result = A.Compose([transform])(images=list(gray), volumes=gray[None])
    assert [each.shape for each in result["images"]] == [(64, 72), (64, 72)]
    drawn = {name: transform.params[name] for name in ("niter", "kappa", "gamma")}
    alone = texfilters.anisotropic_diffusion(torch.from_numpy(gray), **drawn).numpy()
    np.testing.assert_array_equal(np.stack(result["images"]), alone)
    np.testing.assert_array_equal(result["volumes"], alone[None])
    np.testing.assert_array_equal(transform(images=list(gray))["images"].shape, gray.shape)


def test_seeds_of_a_pipeline(image):
    def pipeline(seed):
        return A.Compose([ours.AnisotropicDiffusion(), A.HorizontalFlip(), ours.BilateralFilter()], seed=seed)

    first, second = pipeline(5), pipeline(5)
    runs = [first(image=image)["image"] for _ in range(12)]
    for run in runs:
        np.testing.assert_array_equal(run, second(image=image)["image"])
    others = [pipeline(seed)(image=image)["image"] for seed in range(12)]
    assert len({run.tobytes() for run in runs}) > 2
    assert len({run.tobytes() for run in others}) > 2


def test_replay(image):
    pipeline = A.ReplayCompose([ours.AnisotropicDiffusion(niter=(1, 50), p=0.5), ours.Cartoonize(c=(1, 9), p=0.5)])
    seen = set()
    while len(seen) < 4:  # every filter left out and applied
        data = pipeline(image=image)
        seen.add(tuple(each["applied"] for each in data["replay"]["transforms"]))
        np.testing.assert_array_equal(A.ReplayCompose.replay(data["replay"], image=image)["image"], data["image"])


@CLASSES
def test_serialization(cls, image):
    transform = cls(**RANGES[cls], p=0.7)
    copy = A.from_dict(A.to_dict(A.Compose([transform], seed=3)))
    assert repr(copy.transforms[0]) == repr(transform)
    for other in (copy.transforms[0], pickle.loads(pickle.dumps(transform))):
        for each in (transform, other):
            each.set_random_seed(4)
        np.testing.assert_array_equal(transform(image=image)["image"], other(image=image)["image"])


@CLASSES
def test_what_is_no_image_passes_through(cls, image):
    mask = np.arange(64 * 72, dtype=np.uint8).reshape(64, 72)
    boxes = np.array([[3.0, 4.0, 30.0, 40.0]])
    points = np.array([[5.0, 6.0]])
    pipeline = A.Compose(
        [cls(p=1), A.HorizontalFlip(p=0)],
        bbox_params=A.BboxParams("pascal_voc", label_fields=["labels"]),
        keypoint_params=A.KeypointParams("xy"),
    )
    result = pipeline(image=image, mask=mask, bboxes=boxes, labels=[7], keypoints=points)
    np.testing.assert_array_equal(result["mask"], mask)
    np.testing.assert_allclose(result["bboxes"], boxes, rtol=1e-6)
    np.testing.assert_allclose(result["keypoints"], points, rtol=1e-6)
    assert result["labels"] == [7]
    assert not np.array_equal(result["image"], image)


def test_probability(image):
    assert ours.AnisotropicDiffusion().p == 0.5
    assert ours.AnisotropicDiffusion(p=0)(image=image)["image"] is image


def test_read_only_images(image):
    image.flags.writeable = False  # as np.asarray(PIL.Image) is
    result = ours.AnisotropicDiffusion(p=1)(image=image)["image"]
    assert result.flags.writeable


@pytest.mark.parametrize(
    ("cls", "given", "message"),
    [
        (ours.AnisotropicDiffusion, {"niter": (20, 10)}, "niter must be a range from a smaller to a larger number"),
        (ours.AnisotropicDiffusion, {"niter": -1}, "niter must be >= 0, got -1"),
        (ours.AnisotropicDiffusion, {"niter": 2.5}, "niter"),
        (ours.AnisotropicDiffusion, {"niter": (1, 2, 3)}, "niter"),
        (ours.AnisotropicDiffusion, {"kappa": (0, 5)}, "kappa must be > 0, got 0.0"),
        (ours.AnisotropicDiffusion, {"kappa": float("nan")}, "kappa must be finite, got nan"),
        (ours.AnisotropicDiffusion, {"gamma": (0.1, 0.3)}, r"gamma must lie in \(0, 0.25\].*got 0.3"),
        (ours.AnisotropicDiffusion, {"option": 4}, "option must be one of 1, 2, 3, got 4"),
        (ours.AnisotropicDiffusion, {"coupling": "l1"}, "coupling must be one of 'none', 'l2', got 'l1'"),
        (ours.AnisotropicDiffusion, {"p": 1.5}, "less than or equal to 1"),
        (ours.BilateralFilter, {"sigma_space": (-1, 5)}, "sigma_space must be >= 0, got -1"),
        (ours.BilateralFilter, {"border": "mirror"}, "border must be one of"),
        (ours.Cartoonize, {"ksize": 4}, "ksize must be odd"),
    ],
)
def test_wrong_parameters(cls, given, message):
    with pytest.raises(ValueError, match=message):
        cls(**given)


@CLASSES
def test_another_default_device(cls, image):
    with torch.device("meta"):
        result = cls(**RANGES[cls], p=1)(image=image)["image"]
    assert not np.array_equal(result, image)


def test_wrong_images():
    with pytest.raises(TypeError, match=r"image must be uint8, .* got int16"):
        ours.AnisotropicDiffusion(p=1)(image=np.zeros((4, 5, 3), np.int16))


def test_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "albumentations", None)
    monkeypatch.delitem(sys.modules, "texfilters.compat.albumentations")
    with pytest.raises(ImportError, match="needs Albumentations: pip install albumentations"):
        importlib.import_module("texfilters.compat.albumentations")

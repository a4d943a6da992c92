"""The adapter beside MONAI itself: its pipelines, random states, metadata and dictionaries."""

import copy
import importlib
import pickle
import sys

import numpy as np
import pytest
import torch

import texfilters

pytest.importorskip("monai", reason="needs monai")

from monai.data import CacheDataset, DataLoader, MetaTensor, set_track_meta
from monai.transforms import Compose, RandFlipd, ScaleIntensityd

from texfilters.compat import monai as ours

RANGES = {
    ours.RandAnisotropicDiffusion: {"niter": (3, 9), "kappa": (10.0, 30.0), "gamma": (0.05, 0.15), "option": 2},
    ours.RandBilateralFilter: {"d": 5, "sigma_color": (20.0, 90.0), "sigma_space": (2.0, 50.0), "border": "wrap"},
}
FIXED = {
    ours.AnisotropicDiffusion: {"niter": 5, "kappa": 30.0, "gamma": 0.15, "option": 2, "coupling": "l2"},
    ours.BilateralFilter: {"d": 5, "sigma_color": 60.0, "sigma_space": 20.0, "border": "wrap"},
}
FUNCTIONS = {
    ours.AnisotropicDiffusion: texfilters.anisotropic_diffusion,
    ours.BilateralFilter: texfilters.bilateral_filter,
}
PLAIN = pytest.mark.parametrize("cls", FIXED, ids=lambda cls: cls.__name__)
RANDOM = pytest.mark.parametrize("cls", RANGES, ids=lambda cls: cls.__name__)


@pytest.fixture
def image(photo):
    """[3, 40, 48] float32, shifted as Hounsfield units are."""
    return photo[:, 110:150, 100:148].float() - 100


@pytest.fixture
def volume(photo):
    """[2, 9, 24, 28] float32: neighboring crops of a photo as the slices."""
    return photo[:2].float().unfold(1, 24, 4).unfold(2, 28, 30)[:, 20:29, 3].contiguous()


@pytest.fixture
def tracked(volume):
    """With distances of 0.8, 1.5 and 3 mm."""
    return MetaTensor(volume, affine=torch.diag(torch.tensor([0.8, 1.5, 3.0, 1.0])), meta={"filename_or_obj": "ct.nii"})


@PLAIN
def test_equals_the_function(cls, image):
    kept = image.clone()
    result = cls(**FIXED[cls])(image)
    assert torch.equal(result.as_tensor(), FUNCTIONS[cls](image, **FIXED[cls]))
    assert torch.equal(image, kept)


def test_volumes_are_diffused_along_all_axes(volume):
    result = ours.AnisotropicDiffusion(5, 30.0, 0.15, spacing=(3, 1, 2))(volume)
    expected = texfilters.anisotropic_diffusion(volume, 5, 30.0, 0.15, spacing=(3, 1, 2), ndim=3)
    assert torch.equal(result.as_tensor(), expected)
    slices = texfilters.anisotropic_diffusion(volume, 5, 30.0, 0.15)
    assert (expected - slices).abs().mean() > 0.1


def test_distances_of_the_image(tracked):
    result = ours.AnisotropicDiffusion(5, 30.0, spacing="pixdim")(tracked)
    spacing = tracked.pixdim.tolist()
    assert spacing == pytest.approx([0.8, 1.5, 3.0])
    expected = texfilters.anisotropic_diffusion(tracked.as_tensor(), 5, 30.0, spacing=spacing, ndim=3)
    assert torch.equal(result.as_tensor(), expected)
    flat = tracked[:, 0]
    assert flat.ndim == 3
    plane = MetaTensor(flat.as_tensor(), affine=torch.diag(torch.tensor([0.8, 1.5, 1.0, 1.0])))
    result = ours.AnisotropicDiffusion(5, 30.0, spacing="pixdim")(plane)
    expected = texfilters.anisotropic_diffusion(plane.as_tensor(), 5, 30.0, spacing=plane.pixdim.tolist())
    assert len(plane.pixdim) == 2
    assert torch.equal(result.as_tensor(), expected)


def test_metadata_stays(tracked):
    for transform in (ours.AnisotropicDiffusion(2, 30.0), ours.RandAnisotropicDiffusion(2, 30.0, prob=1.0)):
        result = transform(tracked)
        assert isinstance(result, MetaTensor)
        assert torch.equal(result.affine, tracked.affine)
        assert result.meta["filename_or_obj"] == "ct.nii"
        assert not torch.equal(result, tracked)


def test_without_tracking(tracked):
    set_track_meta(False)
    try:
        for transform in (ours.AnisotropicDiffusion(2, 30.0), ours.RandAnisotropicDiffusion(2, 30.0, prob=0.0)):
            assert type(transform(tracked)) is torch.Tensor
    finally:
        set_track_meta(True)


@PLAIN
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32, np.float64])
def test_arrays(cls, dtype, image):
    array = (image + 100).numpy().astype(dtype)
    result = cls(**FIXED[cls])(array)
    floating = array if dtype == np.float64 else array.astype(np.float32)
    assert isinstance(result, MetaTensor)  # as MONAI's own
    np.testing.assert_array_equal(result.numpy(), FUNCTIONS[cls](torch.from_numpy(floating), **FIXED[cls]).numpy())


@RANDOM
def test_equals_the_plain_one_with_what_was_drawn(cls, image):
    transform = cls(**RANGES[cls], prob=1.0)
    fixed = {name: value for name, value in RANGES[cls].items() if not isinstance(value, tuple)}
    for _ in range(3):
        result = transform(image)
        expected = FUNCTIONS[cls.plain](image, **transform.drawn, **fixed)
        assert torch.equal(result.as_tensor(), expected)
        assert torch.equal(transform(image, randomize=False).as_tensor(), expected)


@RANDOM
def test_draws_cover_their_ranges(cls):
    transform = cls(**RANGES[cls], prob=1.0).set_random_state(0)
    draws = []
    for _ in range(200):
        transform.randomize()
        draws.append(dict(transform.drawn))
    for name, (low, high) in ((n, r) for n, r in RANGES[cls].items() if isinstance(r, tuple)):
        values = [draw[name] for draw in draws]
        if name == "niter":
            assert set(values) == set(range(low, high + 1))
        else:
            assert low <= min(values) < low + 0.1 * (high - low)
            assert high - 0.1 * (high - low) < max(values) <= high


@RANDOM
def test_probability(cls, image):
    assert cls(**RANGES[cls]).prob == 0.1
    transform = cls(**RANGES[cls], prob=0.3).set_random_state(1)
    changed = [not torch.equal(transform(image).as_tensor(), image) for _ in range(60)]
    assert 8 < sum(changed) < 30


@RANDOM
def test_random_states(cls, image):
    def runs(transform):
        return [transform(image) for _ in range(8)]

    transform = cls(**RANGES[cls], prob=0.7).set_random_state(5)
    copies = [copy.deepcopy(transform), pickle.loads(pickle.dumps(transform))]
    first = runs(transform)
    assert len({each.numpy().tobytes() for each in first}) > 3
    for other in [*copies, cls(**RANGES[cls], prob=0.7).set_random_state(state=np.random.RandomState(5))]:
        assert all(torch.equal(a, b) for a, b in zip(first, runs(other), strict=True))


class TestDictionaries:
    def test_only_the_keys_change(self, image):
        data = {"image": image, "label": image > 0, "name": "a"}
        result = ours.AnisotropicDiffusiond("image", 5, kappa=30.0)(data)
        assert torch.equal(result["image"].as_tensor(), texfilters.anisotropic_diffusion(image, 5, 30.0))
        assert result["label"] is data["label"]
        assert result["name"] == "a"
        assert data["image"] is image
        result = ours.BilateralFilterd(["image"], 30.0, 5.0, d=5)(data)
        assert torch.equal(result["image"].as_tensor(), texfilters.bilateral_filter(image, 5, 30.0, 5.0))

    @pytest.mark.parametrize(
        "transform",
        [
            ours.RandAnisotropicDiffusiond(["t1", "t2"], (3, 9), (10.0, 30.0), prob=0.5),
            ours.RandBilateralFilterd(["t1", "t2"], (10.0, 90.0), (2.0, 50.0), d=5, prob=0.5),
        ],
        ids=lambda transform: type(transform).__name__,
    )
    def test_keys_share_a_draw(self, transform, image):
        transform.set_random_state(2)
        results = [transform({"t1": image, "t2": image}) for _ in range(12)]
        assert all(torch.equal(each["t1"], each["t2"]) for each in results)
        changed = [not torch.equal(each["t1"].as_tensor(), image) for each in results]
        assert 0 < sum(changed) < 12
        assert len({each["t1"].numpy().tobytes() for each in results}) == sum(changed) + 1
        transform.set_random_state(2)
        for each in results:
            assert torch.equal(transform({"t1": image, "t2": image})["t2"], each["t2"])

    def test_missing_keys(self, image):
        for cls in (ours.AnisotropicDiffusiond, ours.RandAnisotropicDiffusiond):
            with pytest.raises(KeyError, match="other"):
                cls(["image", "other"], 3, 30.0)({"image": image})
            result = cls(["image", "other"], 3, 30.0, allow_missing_keys=True)({"image": image})
            assert set(result) == {"image"}

    def test_a_pipeline_with_workers(self, volume):
        """Compose and the DataLoader seed each transform, and a CacheDataset knows which to leave out of its cache."""
        pipeline = Compose(
            [
                ScaleIntensityd("image"),
                ours.AnisotropicDiffusiond("image", 2, 0.1),
                ours.RandAnisotropicDiffusiond("image", (3, 9), (0.05, 0.2), prob=0.9),
                RandFlipd("image", prob=0.5),
            ]
        ).set_random_state(0)
        data = CacheDataset([{"image": volume}] * 6, pipeline, progress=False)
        scaled = ScaleIntensityd("image")({"image": volume})["image"].as_tensor()
        expected = texfilters.anisotropic_diffusion(scaled, 2, 0.1, ndim=3)
        assert torch.equal(data._cache[0]["image"].as_tensor(), expected)
        runs = []
        for _ in range(2):
            torch.manual_seed(0)
            runs.append([batch["image"] for batch in DataLoader(data, batch_size=2, num_workers=2)])
        assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))
        images = torch.cat(runs[0])
        assert images.shape == (6, 2, 9, 24, 28)
        assert len({image.numpy().tobytes() for image in images}) == 6


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: ours.AnisotropicDiffusion((3, 9), 30.0), TypeError, "niter must be a whole number .* got tuple"),
        (lambda: ours.AnisotropicDiffusion(3, 0.0), ValueError, "kappa must be > 0, got 0.0"),
        (lambda: ours.AnisotropicDiffusion(3, 5.0, 0.3), ValueError, r"gamma must lie in \(0, 0.25\].*got 0.3"),
        (lambda: ours.AnisotropicDiffusion(3, 5.0, spacing="mm"), ValueError, "spacing must be .* 'pixdim', got 'mm'"),
        (lambda: ours.RandAnisotropicDiffusion(3, 5.0, spacing="mm"), ValueError, "'pixdim', got 'mm'"),
        (lambda: ours.RandAnisotropicDiffusion((9, 3), 5.0), ValueError, r"niter must be a range .* got \(9, 3\)"),
        (lambda: ours.RandAnisotropicDiffusion(3, (0, 5.0)), ValueError, "kappa must be > 0, got 0"),
        (lambda: ours.RandBilateralFilter((-1, 5.0)), ValueError, "sigma_color must be >= 0, got -1"),
        (lambda: ours.BilateralFilterd("image", 5.0, border="mirror"), ValueError, "border must be one of"),
        (lambda: ours.AnisotropicDiffusiond("image", 3), TypeError, "kappa"),
    ],
)
def test_wrong_parameters(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_wrong_images(image, volume):
    with pytest.raises(ValueError, match=r"image must have the shape \[C, H, W\] or \[C, D, H, W\], got \(40, 48\)"):
        ours.AnisotropicDiffusion(3, 30.0)(image[0])
    with pytest.raises(ValueError, match=r"image must have the shape \[C, H, W\], got \(2, 9, 24, 28\)"):
        ours.BilateralFilter(30.0)(volume)
    with pytest.raises(ValueError, match="spacing='pixdim' needs a MetaTensor, got Tensor"):
        ours.AnisotropicDiffusion(3, 30.0, spacing="pixdim")(volume)
    with pytest.raises(ValueError, match=r"gamma must lie in \(0, 0.166667\] for 3-D diffusion .* got 0.2"):
        ours.AnisotropicDiffusion(3, 30.0, 0.2)(volume)
    for gamma in ((0.001, 0.2), (0.15, 0.2)):  # whatever is drawn
        transform = ours.RandAnisotropicDiffusion(3, 30.0, gamma, prob=1.0).set_random_state(0)
        with pytest.raises(ValueError, match=r"gamma must lie in \(0, 0.166667\] for 3-D diffusion .* got 0.2"):
            transform(volume)
    with pytest.raises(ValueError, match="spacing must have one number for each of the 2 axes, got 3"):
        ours.AnisotropicDiffusion(3, 30.0, spacing=(1, 1, 1))(image)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_on_a_gpu(tracked):
    result = ours.AnisotropicDiffusion(5, 30.0, spacing="pixdim")(tracked.cuda())
    assert result.is_cuda
    assert result.meta["filename_or_obj"] == "ct.nii"
    expected = ours.AnisotropicDiffusion(5, 30.0, spacing="pixdim")(tracked)
    assert (result.cpu() - expected).abs().max() < 5e-3


def test_without_the_library(monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "monai"]:
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "texfilters.compat.monai")
    with pytest.raises(ImportError, match="needs MONAI: pip install monai"):
        importlib.import_module("texfilters.compat.monai")

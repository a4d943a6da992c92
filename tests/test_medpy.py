"""MedPy's own function beside ours: on photos within the limits that both being float32 allows, and as a drop-in."""

import time

import numpy as np
import pytest
import torch

from texfilters import anisotropic_diffusion
from texfilters.compat import medpy as ours

medpy = pytest.importorskip("medpy.filter.smoothing", reason="needs medpy")

# Largest and mean difference in grey levels by niter. The scheme amplifies rounding where the gradient passes
# kappa / sqrt(2), so two float32 programs part with every step.
LIMITS = {5: (1e-2, 5e-5), 20: (1e-2, 5e-5), 50: (0.1, 5e-5)}


def assert_within(difference, niter):
    largest, mean = LIMITS[niter]
    assert np.abs(difference).max() <= largest
    assert np.abs(difference).mean() <= mean


@pytest.mark.parametrize("niter", LIMITS)
@pytest.mark.parametrize("option", [1, 2, 3])
@pytest.mark.parametrize(("gamma", "spacing"), [(0.1, None), (0.25, None), (0.2, (1.0, 2.0))])
def test_photos(variant, photo, option, gamma, spacing, niter):
    result = variant(photo.float(), niter, 20.0, gamma, option=option, spacing=spacing).numpy()
    for channel, filtered in zip(photo.numpy(), result, strict=True):
        assert_within(filtered - medpy.anisotropic_diffusion(channel, niter, 20, gamma, spacing, option), niter)


@pytest.mark.parametrize("option", [1, 2, 3])
@pytest.mark.parametrize(("gamma", "spacing"), [(0.1, None), (1 / 6, None), (0.15, (2.0, 1.0, 1.5))])
def test_volumes(variant, photo, option, gamma, spacing):
    # Neighboring crops of a photo as the slices of a volume.
    volume = photo[0].unfold(0, 64, 4)[:24, :80].float().contiguous()
    result = variant(volume, 20, 20.0, gamma, option=option, spacing=spacing, ndim=3).numpy()
    assert_within(result - medpy.anisotropic_diffusion(volume.numpy(), 20, 20, gamma, spacing, option), 20)


def test_color_images_are_filtered_by_channel_not_as_volumes(photo):
    """MedPy takes H x W x 3 as a volume and lets the colors flow into each other; ours does only if asked to."""
    hwc = photo[:, :60, :60].movedim(0, -1).float()
    leaking = medpy.anisotropic_diffusion(hwc.numpy(), 20, 20, 0.1)
    apart = anisotropic_diffusion(hwc.movedim(-1, 0), 20, 20.0, 0.1).movedim(0, -1).numpy()
    assert np.abs(leaking - apart).mean() > 1
    assert_within(ours.anisotropic_diffusion(hwc.numpy(), 20, 20, 0.1) - leaking, 20)


class TestDropIn:
    @pytest.mark.parametrize("shape", [(1,), (9,), (1, 1), (6, 31), (3, 4, 17)])
    @pytest.mark.parametrize("option", [1, 2, 3])
    def test_every_dimension(self, shape, option):
        image = np.random.rand(*shape).astype(np.float32)
        for spacing in (None, tuple(np.linspace(1, 2, len(shape)))):
            arguments = {"niter": 5, "kappa": 0.3, "gamma": 0.15, "voxelspacing": spacing, "option": option}
            result = ours.anisotropic_diffusion(image, **arguments)
            assert result.dtype == np.float32
            assert np.abs(result - medpy.anisotropic_diffusion(image, **arguments)).max() < 1e-6

    def test_defaults_and_positions(self):
        image = np.random.rand(8, 8) * 255
        assert np.allclose(ours.anisotropic_diffusion(image), medpy.anisotropic_diffusion(image), atol=1e-4)
        positional = (image, 3, 20, 0.2, (1.0, 3.0), 2)
        assert np.allclose(ours.anisotropic_diffusion(*positional), medpy.anisotropic_diffusion(*positional), atol=1e-4)

    @pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.uint16, np.float16, np.float64, bool, ">f4"])
    def test_any_dtype_gives_float32(self, dtype):
        image = (np.random.rand(5, 6) * 200).astype(dtype)
        result = ours.anisotropic_diffusion(image, 3, 20)
        assert result.dtype == np.float32
        assert np.allclose(result, medpy.anisotropic_diffusion(image, 3, 20), atol=1e-4)

    def test_the_input_stays_as_it_is(self):
        image = np.random.rand(5, 6).astype(np.float32)
        for view in (image, image[::-1, ::2], image.T):
            before = view.copy()
            for niter in (0, 2):
                result = ours.anisotropic_diffusion(view, niter, 0.3)
                assert not np.shares_memory(result, view)
            assert np.array_equal(view, before)
        assert np.array_equal(ours.anisotropic_diffusion(image, 0), image)

    def test_options_as_medpy_takes_them(self):
        image = np.random.rand(5, 6) * 255
        for option in (2, 2.0, np.int64(2)):
            assert np.array_equal(
                ours.anisotropic_diffusion(image, option=option), ours.anisotropic_diffusion(image, 1, 50, 0.1, None, 2)
            )

    def test_fill_values_stay_apart(self):
        """Nodata pixels of any size leave their neighbors alone, as in MedPy, where exp() of them is 0."""
        for fill in (1e18, 1e20, -3.4e38):
            image = np.full((5, 5), 100, np.float32)
            image[2, 2] = fill
            for option in (1, 3):
                result = ours.anisotropic_diffusion(image, 5, 20, 0.2, option=option)
                assert np.array_equal(result, image)

    def test_short_rows_are_as_fast_as_others(self):
        """H x W x 3 as it stands: the kernel pads its rows, so it must not take the colors for them."""

        def cost(shape):
            image = np.random.rand(*shape)
            times = []
            for _ in range(5):
                start = time.thread_time()
                ours.anisotropic_diffusion(image, 10, 20)
                times.append(time.thread_time() - start)
            return min(times)

        torch.set_num_threads(1)
        assert cost((256, 256, 3)) < 4 * cost((3, 256, 256))

    def test_lists_and_empty_arrays(self):
        assert ours.anisotropic_diffusion([[1, 2], [3, 4]]).shape == (2, 2)
        assert ours.anisotropic_diffusion(np.zeros((0, 4))).shape == (0, 4)

    def test_an_unstable_step_warns_and_runs(self):
        image = np.random.rand(5, 6).astype(np.float32)
        with pytest.warns(UserWarning, match=r"gamma above 0\.25 may make 2-D diffusion diverge, got 0\.4"):
            result = ours.anisotropic_diffusion(image, 3, 0.3, 0.4)
        assert np.abs(result - medpy.anisotropic_diffusion(image, 3, 0.3, 0.4)).max() < 1e-6

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"img": np.zeros((2, 2, 2, 2))}, ValueError, "img must have 1 to 3 dimensions, got 4"),
            ({"img": np.float32(3)}, ValueError, "img must have 1 to 3 dimensions, got 0"),
            ({"niter": -1}, ValueError, "niter must be >= 0, got -1"),
            ({"kappa": 0}, ValueError, "kappa must be > 0, got 0.0"),
            ({"gamma": 0}, ValueError, "gamma must be positive and finite, got 0.0"),
            ({"gamma": float("inf")}, ValueError, "gamma must be positive and finite, got inf"),
            ({"gamma": torch.tensor(0.1)}, TypeError, "gamma must be a number, got torch.Tensor"),
            ({"kappa": torch.tensor(-1.0)}, TypeError, "kappa must be a number, got torch.Tensor"),
            ({"option": 4}, ValueError, "option must be one of 1, 2, 3, got 4"),
            ({"voxelspacing": (1.0,)}, ValueError, "voxelspacing must have one number for each of the 2 axes, got 1"),
        ],
    )
    def test_errors(self, arguments, error, message):
        with pytest.raises(error) as raised:
            ours.anisotropic_diffusion(**({"img": np.zeros((3, 3))} | arguments))
        assert str(raised.value) == message


def test_the_judge_of_the_benchmarks_is_installed():
    """Plain opencv wheels overwrite the contrib build, and its ximgproc with it."""
    cv2 = pytest.importorskip("cv2", reason="needs opencv-contrib-python-headless")
    assert hasattr(cv2.ximgproc, "anisotropicDiffusion")

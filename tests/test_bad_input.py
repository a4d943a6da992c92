"""Every wrong input gets an error that names the thing, the rule and the value."""

import numpy as np
import pytest
import torch

import texfilters
from texfilters import anisotropic_diffusion

IMAGE = torch.rand(4, 3, 5, 6)
NAN = float("nan")

CASES = [
    # the image
    ({"image": np.zeros((5, 6))}, TypeError,
     "image must be a torch.Tensor, got numpy.ndarray; convert it with torch.from_numpy(image)"),
    ({"image": np.zeros((5, 6, 3))}, TypeError,
     "image must be a torch.Tensor, got numpy.ndarray; convert it with torch.from_numpy(image).movedim(-1, 0)"),
    ({"image": [[1.0]]}, TypeError, "image must be a torch.Tensor, got list"),
    ({"image": None}, TypeError, "image must be a torch.Tensor, got NoneType"),
    ({"image": IMAGE.long()}, TypeError, "image must be uint8, float16, bfloat16, float32 or float64, got int64"),
    ({"image": IMAGE > 0}, TypeError, "image must be uint8, float16, bfloat16, float32 or float64, got bool"),
    ({"image": IMAGE.to(torch.complex64)}, TypeError,
     "image must be uint8, float16, bfloat16, float32 or float64, got complex64"),
    ({"image": IMAGE[0, 0].to_sparse()}, TypeError,
     "image must be a dense (strided) tensor, got layout torch.sparse_coo"),
    ({"image": IMAGE[0, 0, 0]}, ValueError, "image must have at least 2 dimensions, [..., H, W], got shape (6,)"),
    ({"image": IMAGE[0, 0], "ndim": 3}, ValueError,
     "image must have at least 3 dimensions, [..., D, H, W], got shape (5, 6)"),
    # niter
    ({"niter": -1}, ValueError, "niter must be >= 0, got -1"),
    ({"niter": 2.5}, ValueError, "niter must be a whole number, got 2.5"),
    ({"niter": NAN}, ValueError, "niter must be a whole number, got nan"),
    ({"niter": float("inf")}, ValueError, "niter must be a whole number, got inf"),
    ({"niter": 2**31}, ValueError, "niter must be at most 2147483647, got 2147483648"),
    ({"niter": "3"}, TypeError, "niter must be a whole number or an integer tensor, got str"),
    ({"niter": True}, TypeError, "niter must be a whole number or an integer tensor, got bool"),
    ({"niter": [1, 2, 3, 4]}, TypeError, "niter must be a whole number or an integer tensor, got list"),
    ({"niter": torch.tensor([1.0, 2, 3, 4])}, TypeError, "niter must be an int32 or int64 tensor, got float32"),
    ({"niter": torch.tensor([1, 2, -3, 4])}, ValueError, "niter must be >= 0, got -3"),
    ({"niter": torch.tensor([1, 2, 2**31, 4])}, ValueError, "niter must be at most 2147483647, got 2147483648"),
    ({"niter": torch.tensor([1, 2])}, ValueError, "niter must have one value for each of the 4 images, got 2"),
    ({"niter": torch.ones(4, 1, dtype=torch.int32)}, ValueError, "niter must have shape [] or [B], got (4, 1)"),
    ({"niter": torch.tensor([1] * 3), "image": IMAGE[0]}, ValueError,
     "niter with one value an image needs an image of shape [B, C, H, W], got (3, 5, 6)"),
    ({"niter": torch.tensor([1] * 4), "ndim": 3}, ValueError,
     "niter with one value an image needs an image of shape [B, C, D, H, W], got (4, 3, 5, 6)"),
    ({"niter": torch.ones(4, dtype=torch.int32, device="meta")}, ValueError,
     "niter must be on the CPU or on the image's device cpu, got meta"),
    # kappa
    ({"kappa": 0}, ValueError, "kappa must be > 0, got 0.0"),
    ({"kappa": -3.0}, ValueError, "kappa must be > 0, got -3.0"),
    ({"kappa": NAN}, ValueError, "kappa must be > 0, got nan"),
    ({"kappa": "20"}, TypeError, "kappa must be a number or a floating point tensor, got str"),
    ({"kappa": None}, TypeError, "kappa must be a number or a floating point tensor, got NoneType"),
    ({"kappa": torch.tensor([1, 2, 3, 4])}, TypeError, "kappa must be a floating point tensor, got int64"),
    ({"kappa": torch.tensor([1.0, 2.0, 0.0, 4.0])}, ValueError, "kappa must be > 0, got 0.0"),
    ({"kappa": torch.tensor(NAN)}, ValueError, "kappa must be > 0, got nan"),
    ({"kappa": torch.ones(5)}, ValueError, "kappa must have one value for each of the 4 images, got 5"),
    # gamma
    ({"gamma": 0.3}, ValueError, "gamma must lie in (0, 0.25] for 2-D diffusion to stay stable, got 0.3"),
    ({"gamma": 0}, ValueError, "gamma must lie in (0, 0.25] for 2-D diffusion to stay stable, got 0.0"),
    ({"gamma": NAN}, ValueError, "gamma must lie in (0, 0.25] for 2-D diffusion to stay stable, got nan"),
    ({"gamma": 0.2, "ndim": 3}, ValueError,
     "gamma must lie in (0, 0.166667] for 3-D diffusion to stay stable, got 0.2"),
    ({"gamma": 0.25, "spacing": (1, 0.5)}, ValueError,
     "gamma must lie in (0, 0.166667] for 2-D diffusion with spacing [1.0, 0.5] to stay stable, got 0.25"),
    ({"gamma": torch.tensor([0.1, 0.1, 0.26, 0.1], dtype=torch.float64)}, ValueError,
     "gamma must lie in (0, 0.25] for 2-D diffusion to stay stable, got 0.26"),
    # the rest
    ({"option": 0}, ValueError, "option must be one of 1, 2, 3, got 0"),
    ({"option": True}, ValueError, "option must be one of 1, 2, 3, got True"),
    ({"option": np.array([1, 2])}, ValueError, "option must be one of 1, 2, 3, got array([1, 2])"),
    ({"option": "1"}, ValueError, "option must be one of 1, 2, 3, got '1'"),
    ({"coupling": "l1"}, ValueError, "coupling must be one of 'none', 'l2', got 'l1'"),
    ({"coupling": None}, ValueError, "coupling must be one of 'none', 'l2', got None"),
    ({"ndim": 1}, ValueError, "ndim must be one of 2, 3, got 1"),
    ({"spacing": (1.0,)}, ValueError, "spacing must have one number for each of the 2 axes, got 1"),
    ({"spacing": (1.0, 0.0)}, ValueError, "spacing must be positive and finite, got 0.0"),
    ({"spacing": (1.0, NAN)}, ValueError, "spacing must be positive and finite, got nan"),
    ({"spacing": (1.0, float("inf"))}, ValueError, "spacing must be positive and finite, got inf"),
    ({"spacing": (1.0, "2")}, TypeError, "spacing must hold numbers, got str"),
    ({"spacing": {1.0, 2.0}}, TypeError, "spacing must be None or a sequence of 2 numbers, got set"),
    ({"kappa": 10**400}, ValueError, "kappa must fit into a float, got a number beyond 1.8e+308"),
    ({"gamma": torch.tensor(0.25001, dtype=torch.float64)}, ValueError,
     "gamma must lie in (0, 0.25] for 2-D diffusion to stay stable, got 0.25001"),
    ({"image": torch.nested.nested_tensor([IMAGE[0], IMAGE[0]], layout=torch.jagged)}, TypeError,
     "image must be a dense (strided) tensor, got nested"),
    ({"spacing": 2.0}, TypeError, "spacing must be None or a sequence of 2 numbers, got float"),
    ({"backend": "opencl"}, ValueError, "backend must be None or one of 'native', 'triton', 'reference', got 'opencl'"),
    ({"image": IMAGE.to("meta")}, RuntimeError,
     "no backend for device 'meta': move the image to one of 'cpu', 'cuda', or pass backend='reference'"),
    ({"image": IMAGE.to("meta"), "backend": "native"}, RuntimeError,
     "backend 'native' is not available for device 'meta': it is written for cpu and cuda"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "error", "message"), CASES, ids=lambda v: v if isinstance(v, str) else "")
def test_messages(arguments, error, message):
    with pytest.raises(error) as raised:
        anisotropic_diffusion(**({"image": IMAGE} | arguments))
    assert str(raised.value) == message


def test_a_pil_image_is_told_how_to_become_a_tensor():
    image = pytest.importorskip("PIL.Image", reason="needs Pillow").new("RGB", (4, 4))
    with pytest.raises(TypeError) as raised:
        anisotropic_diffusion(image)
    assert str(raised.value) == (
        "image must be a torch.Tensor, got PIL.Image.Image; "
        "convert it with torchvision.transforms.v2.functional.pil_to_tensor(image)"
    )


def test_the_bound_on_gamma_may_be_met_in_float32():
    image = torch.rand(2, 1, 3, 4, 5)
    anisotropic_diffusion(image, 1, 0.3, torch.tensor([1 / 6, 1 / 6]), ndim=3)
    anisotropic_diffusion(image, 1, 0.3, 1 / 6, ndim=3)


def test_numpy_numbers_are_numbers():
    expected = anisotropic_diffusion(IMAGE, 3, 0.5, 0.125)
    assert torch.equal(anisotropic_diffusion(IMAGE, np.int64(3), np.float32(0.5), np.float64(0.125)), expected)
    assert torch.equal(anisotropic_diffusion(IMAGE, 3.0, 0.5, 0.125, spacing=np.ones(2)), expected)


@pytest.mark.parametrize(
    "shape", [(0, 3, 5, 6), (4, 0, 5, 6), (4, 3, 0, 6), (4, 3, 5, 0), (0, 0), (4, 3, 1, 1), (1, 1)]
)
def test_empty_and_single_pixel_images_work(shape):
    for coupling in ("none", "l2"):
        image = torch.rand(shape)
        result = anisotropic_diffusion(image, 3, 0.5, coupling=coupling)
        assert torch.equal(result, image)


def test_an_empty_batch_takes_empty_parameters():
    image = torch.rand(0, 3, 5, 6)
    empty = torch.ones(0)
    assert anisotropic_diffusion(image, empty.int(), empty, empty).shape == image.shape


def test_the_native_op_refuses_what_would_break_memory():
    """Called past the public function: no meaning is checked there, but nothing may be read out of bounds."""
    if "native" not in texfilters._backends.available("cpu"):
        pytest.skip("needs the native backend")
    op = torch.ops.texfilters_native.anisotropic_diffusion
    one, image = torch.tensor(1.0), torch.rand(4, 3, 5, 6)
    good = [image, torch.tensor(1), one, one / 10, 1, "none", [1.0, 1.0], 2]
    op(*good)
    for position, bad in [
        (0, torch.rand(5)), (0, image.long()), (1, torch.ones(3, dtype=torch.int32)), (1, torch.ones(2, 2)),
        (2, torch.ones(5)), (2, torch.ones(4, dtype=torch.complex64)), (3, torch.ones(0)), (6, [1.0]), (7, 4), (7, 0),
    ]:  # fmt: skip
        arguments = [*good]
        arguments[position] = bad
        with pytest.raises(RuntimeError):
            op(*arguments)
    # With three dimensions there is no batch for [B] to belong to.
    with pytest.raises(RuntimeError):
        op(image[0], torch.ones(3, dtype=torch.int32), *good[2:])

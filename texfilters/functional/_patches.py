"""Patch negatives."""

from typing import Any

import torch
from torch import Tensor

from texfilters import _backends, _check, _ops


def patch_negatives(
    image: Tensor,
    patch_size: int | tuple[int, int] | None = None,
    n: int = 1,
    *,
    generator: torch.Generator | None = None,
    backend: str | None = None,
) -> Tensor:
    """Tile an image with squares from random places of itself: its texture is kept, its shapes are lost.

    Args:
        image: `[B, C, H, W]` or `[C, H, W]`; uint8, float16, bfloat16, float32 or float64, any strides.
        patch_size: side of the squares in pixels; a pair is a range, both ends included, of which every result draws
            one size. None is 16..72 for images of 224 pixels and in proportion to min(H, W) for others.
        n: results for each image.
        generator: where sizes and places are drawn, on the CPU or on the image's device; None is torch's own. A
            generator in the same state draws the same again, for every backend. torch.compile takes calls without one.
        backend: `"native"`, `"triton"`, `"reference"`, or None for the first that is there; see `show_config()`.

    Beyond the result it takes 8 bytes for each square of the smallest size, and on the CPU 8 for each of the result's.

    Returns:
        `[B, n, C, H, W]` or `[n, C, H, W]`, of the dtype and device of `image`. Places may overlap, and the squares at
        the right and at the bottom are cut off where they do not fit. Differentiable unless the image is uint8.

    Raises:
        TypeError: for an image that is no tensor or has another dtype, or a parameter of a wrong type.
        ValueError: for a size out of 1..min(H, W), a range whose ends are the wrong way round, n < 1, an image of other
            dimensions or without pixels, or a generator of another device.
        RuntimeError: if the backend asked for cannot take the image, or none is for its device; under torch.func.

    Source: Ge et al. 2021, "Robust Contrastive Learning Using Negative Samples with Diminished Semantics",
    arXiv:2110.14189. There the last row and column of places were never drawn.
    """
    _check.image_batch(image)
    _check.plain_autograd("patch_negatives", image)
    least, most = _check.patch_range(patch_size, image)
    n = _check.whole("n", n, least=1)
    device = _check.generator_device(generator, image)
    backend = _backends.resolve(backend, image.device.type, image.device.index, image.dtype)
    images = image if image.ndim == 4 else image.unsqueeze(0)
    count, _, height, width = images.shape
    # No generator at all in place of None, with which torch.compile knows no sizes but fixed ones.
    options: dict[str, Any] = {"device": device}
    if generator is not None:
        options["generator"] = generator
    size = torch.randint(least, most + 1, (count, n), dtype=torch.int32, **options)
    cells = -(-height // least) * -(-width // least)
    # Both numbers of a place in one draw, which takes half the time of two; remainders of negative ones are positive.
    drawn = torch.randint(2**63 - 1, (count, n, cells), dtype=torch.int64, **options)
    places = drawn.view(torch.int32).unflatten(-1, (cells, 2))
    room = torch.stack([height + 1 - size, width + 1 - size], -1)  # [B, n, 2]
    places.remainder_(room[..., None, :])
    result = _ops.patch_negatives(images, _to(size, image), _to(places, image), backend)
    return result if image.ndim == 4 else result.squeeze(0)


def _to(drawn: Tensor, image: Tensor) -> Tensor:
    """On the image's device, without waiting for it."""
    if drawn.device == image.device:
        return drawn
    return drawn.pin_memory().to(image.device, non_blocking=True) if image.is_cuda else drawn.to(image.device)

"""Patch negatives."""

from torch import Tensor

from texfilters import reference


def patch_negatives(grad: Tensor, image: Tensor, patch_size: Tensor, places: Tensor) -> Tensor:
    """Every pixel of the image receives what its copies do."""
    y, x = reference.patch_sources(image, patch_size.to(image.device), places.to(image.device))  # [B, n, H, W]
    at = (y * image.shape[-1] + x).flatten(2)[:, :, None].expand(-1, -1, image.shape[1], -1)
    total = image.new_zeros(
        (*image.shape[:2], image.shape[-2] * image.shape[-1]), dtype=reference.compute_dtype(image.dtype)
    )
    for i in range(patch_size.shape[1]):
        total.scatter_add_(2, at[:, i], grad[:, i].flatten(2).to(total.dtype))
    return reference.in_layout_of(image, total.unflatten(2, image.shape[-2:]))

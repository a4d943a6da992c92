"""Patch negatives."""

import torch
from torch import Tensor


def patch_negatives(
    image: Tensor,  # [B, C, H, W]
    patch_size: Tensor,  # [B, n]
    places: Tensor,  # [B, n, cells, 2]: y and x of the patch of every cell, cells row by row
) -> Tensor:  # [B, n, C, H, W]
    """Ge et al. 2021: every cell of a grid shows another square of the image."""
    y, x = patch_sources(image, patch_size.to(image.device), places.to(image.device))
    images = torch.arange(image.shape[0], device=image.device).reshape(-1, 1, 1, 1)
    result = image[images, :, y, x].movedim(-1, 2)
    return image.new_empty(result.shape).copy_(result)


def patch_sources(image: Tensor, patch_size: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
    """The row and the column of the image that every pixel shows: `[B, n, H, W]` each."""
    height, width = image.shape[-2:]
    size = patch_size.long()[..., None, None]  # [B, n, 1, 1]
    y = torch.arange(height, device=image.device)[:, None]
    x = torch.arange(width, device=image.device)
    cell = y // size * ((width - 1) // size + 1) + x // size  # [B, n, H, W]
    place = places.long().gather(2, cell.flatten(2)[..., None].expand(-1, -1, -1, 2)).unflatten(2, (height, width))
    return place[..., 0] + y % size, place[..., 1] + x % size

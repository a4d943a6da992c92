"""What lies beyond the border of an image, for windows of any size."""

import torch
from torch import Tensor

BORDERS = ("constant", "replicate", "reflect", "reflect101", "wrap")


def border_index(position: Tensor, size: int, border: str) -> Tensor:
    """The pixel in 0..size-1 that stands at a position; for "constant" -1 outside. As OpenCV's borderInterpolate."""
    if border == "replicate":
        return position.clamp(0, size - 1)
    if border == "wrap":
        return position % size
    if border == "reflect":  # cba|abc|cba
        position = position % (2 * size)
        return torch.minimum(position, 2 * size - 1 - position)
    if border == "reflect101":  # cb|abc|ba
        position = position % max(1, 2 * size - 2)
        return torch.minimum(position, (2 * size - 2 - position).clamp(min=0))
    return torch.where((position >= 0) & (position < size), position, -1)


def pad(u: Tensor, radius: int, border: str) -> Tensor:
    """`[..., H, W]` with `radius` more pixels on every side."""
    for axis in (-2, -1):
        size = u.shape[axis]
        if size:
            index = border_index(torch.arange(-radius, size + radius, device=u.device), size, border)
            inside = (index >= 0).unsqueeze(1) if axis == -2 else index >= 0
            u = torch.where(inside, u.index_select(axis, index.clamp(min=0)), u.new_zeros(()))
        else:
            u = u.new_zeros([s + 2 * radius if a == u.ndim + axis else s for a, s in enumerate(u.shape)])
    return u


def unpad(padded: Tensor, like: Tensor, border: str) -> Tensor:
    """The adjoint of `pad`: what falls on the pixels beyond the border goes back to where they came from."""
    for axis in (-1, -2):
        size = like.shape[axis]
        radius = (padded.shape[axis] - size) // 2
        index = border_index(torch.arange(-radius, size + radius, device=padded.device), size, border) if size else None
        shape = [size if a == padded.ndim + axis else s for a, s in enumerate(padded.shape)]
        folded = padded.new_zeros(shape)
        if index is not None:
            kept = (index >= 0).nonzero().squeeze(1)
            folded.index_add_(axis, index[kept], padded.index_select(axis, kept))
        padded = folded
    return padded


def shifted(padded: Tensor, dy: int, dx: int, radius: int) -> Tensor:
    """The view of a padded image whose pixel (y, x) is the image's (y + dy, x + dx)."""
    height, width = padded.shape[-2] - 2 * radius, padded.shape[-1] - 2 * radius
    return padded[..., radius + dy : radius + dy + height, radius + dx : radius + dx + width]

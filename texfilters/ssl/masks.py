"""Holes in images, each image its own, drawn on the images' device: bool `[B, 1, side, side]`, True in the hole."""

import math

import torch
from torch import Tensor
from torch.nn import functional

BLOCKS = 8  # at most, in an image
_NUMBERS = 0.06  # of noise a pixel each way, as in the authors' code


def central(count: int, side: int, device: torch.device | str) -> Tensor:
    """The square in the middle, of half the side."""
    at = torch.arange(side, device=device)
    inside = (at >= side // 4) & (at < side // 4 + side // 2)
    return (inside[:, None] & inside).expand(count, 1, side, side)


def blocks(count: int, side: int, device: torch.device | str) -> Tensor:
    """One to eight squares at random places, which may overlap, together at most a quarter of the image.

    n squares have sides between half of side / (2 sqrt(n)) and the whole of it.
    """
    squares = torch.randint(1, BLOCKS + 1, (count, 1), device=device)
    extent = (torch.rand(count, BLOCKS, device=device) + 1) / 2 * side / (2 * squares.sqrt())
    extent = extent.floor().clamp_(min=1) * (torch.arange(BLOCKS, device=device) < squares)  # [B, 8]
    corner = (torch.rand(2, count, BLOCKS, device=device) * (side + 1 - extent)).floor()[..., None]
    at = torch.arange(side, device=device)
    rows, columns = (at >= corner) & (at < corner + extent[..., None])  # [B, 8, side]
    return (rows[..., None] & columns[..., None, :]).any(1, keepdim=True)


def region(count: int, side: int, device: torch.device | str) -> Tensor:
    """A quarter of the image in blobs of any shape: where smooth noise is lowest.

    The noise is of one number for about every 15 pixels each way, bicubic between them.
    """
    cells = math.ceil(_NUMBERS * side) + 1
    noise = torch.rand(count, 1, cells, cells, device=device)
    noise = functional.interpolate(noise, size=(side, side), mode="bicubic").flatten(1)
    highest = noise.sort(1).values[:, side * side // 4, None]
    return (noise < highest).view(count, 1, side, side)


def grown(hole: Tensor, by: int) -> Tensor:
    """The hole and all pixels whose row and whose column lie at most `by` from one of it."""
    wide = functional.max_pool2d(hole.float(), (1, 2 * by + 1), 1, (0, by))
    return functional.max_pool2d(wide, (2 * by + 1, 1), 1, (by, 0)) > 0

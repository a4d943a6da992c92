"""Saliency maps against boxes, and how far they spread."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from texfilters import _check


@dataclass(frozen=True)
class Goodness:
    """How well maps meet boxes; 1 is best."""

    mean: float
    by_image: Tensor  # float64 [N]


@dataclass(frozen=True)
class Spread:
    """How far maps spread. A map of zeros, or with NaN or infinity, has NaN, and is left out of the means."""

    mean_area: float
    mean_entropy: float
    empty: int  # maps left out
    area: Tensor  # float64 [N], share of the pixels above half of the map's maximum
    entropy: Tensor  # float64 [N], nats, of the map divided by its sum; log(H W) is the most


def normalized(maps: Tensor) -> Tensor:
    """Each map `[..., H, W]` brought to [0, 1] by its minimum and maximum.

    A map of zeros stays zeros, another constant one becomes ones, and one with a NaN becomes NaN.
    """
    low, high = maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True)
    low = torch.where(high == low, 0, low)
    span = high - low
    return (maps - low) / torch.where(span == 0, 1, span)


def box_masks(boxes: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """Masks of the pixels whose centers lie in at least one of an image's boxes.

    Args:
        boxes: for each image `[n, 4]`, n >= 1: left, top, right and bottom in pixels, as torchvision's `XYXY`.
        size: height and width of the masks.

    Returns: bool `[N, H, W]`.

    Raises:
        ValueError: for boxes of another shape, or of which right <= left or bottom <= top.
    """
    masks = []
    for i, corners in enumerate(boxes):
        if corners.ndim != 2 or corners.shape[1] != 4 or not len(corners):
            raise ValueError(f"boxes of image {i} must have shape [n, 4] with n >= 1, got {tuple(corners.shape)}")
        corners = corners.double()
        if not bool((corners[:, 2:] > corners[:, :2]).all()):
            raise ValueError(f"boxes of image {i} must have left < right and top < bottom, got {corners.tolist()}")
        y, x = (torch.arange(n, dtype=torch.float64, device=corners.device) + 0.5 for n in size)
        left, top, right, bottom = (corner[:, None] for corner in corners.unbind(1))
        rows, columns = (top <= y) & (y < bottom), (left <= x) & (x < right)
        masks.append((rows[:, :, None] & columns[:, None, :]).any(0))
    if not masks:
        raise ValueError("boxes must be of at least one image, got none")
    return torch.stack(masks)


def goodness(maps: Tensor, masks: Tensor, *, threshold: float | None = None) -> Goodness:
    """How well saliency maps S meet the boxes B of their images: `sum(S B) / (sum(B) + sum(max(S - B, 0)))`.

    For maps of zeros and ones this is intersection over union.

    Args:
        maps: `[N, H, W]`, >= 0, and without a threshold at most 1.
        masks: bool `[N, H, W]`, each with at least one pixel; `box_masks` makes them.
        threshold: >= 0; S is 1 where a map is above it and 0 elsewhere. None takes the maps as they are.

    Raises:
        ValueError: for a mask without a pixel, maps that are NaN or out of their range, or differ in shape.
    """
    _same_shape(maps, masks)
    if threshold is not None:
        threshold = _check.amount("threshold", threshold)
    if not bool((maps >= 0).all()) or (threshold is None and bool((maps > 1).any())):
        rule = "be at least 0" if threshold is not None else "lie in [0, 1] unless there is a threshold"
        raise ValueError(f"maps must {rule} and hold no NaN, got {maps.min():g} to {maps.max():g}")
    empty = (~masks.flatten(1).any(1)).nonzero()[:, 0].tolist()
    if empty:
        raise ValueError(f"masks must hold at least one pixel each, got none for image {empty[0]} ({len(empty)} such)")
    salient = maps if threshold is None else maps > threshold
    salient, inside = salient.float(), masks.float()
    met = (salient * inside).sum((1, 2), dtype=torch.float64)
    outside = (salient - inside).clamp(min=0).sum((1, 2), dtype=torch.float64)
    by_image = met / (inside.sum((1, 2), dtype=torch.float64) + outside)
    return Goodness(by_image.mean().item(), by_image)


def spread(maps: Tensor) -> Spread:
    """How far saliency maps spread over their images: area above half of the maximum, and entropy.

    Args:
        maps: `[N, H, W]`, >= 0, in any units. A map of zeros, or with NaN or infinity, has no spread: NaN.

    Raises:
        ValueError: for maps of another shape, or below 0.
    """
    _same_shape(maps, maps)
    if bool((maps < 0).any()):
        raise ValueError(f"maps must be at least 0, got {maps.min():g}")
    flat = maps.detach().flatten(1).double()
    shares = flat / flat.sum(1, keepdim=True)
    entropy = -torch.special.xlogy(shares, shares).sum(1)
    area = (flat > flat.amax(1, keepdim=True) / 2).double().mean(1)
    area = torch.where(entropy.isnan(), math.nan, area)
    return Spread(area.nanmean().item(), entropy.nanmean().item(), int(entropy.isnan().sum()), area, entropy)


def _same_shape(maps: Tensor, masks: Tensor) -> None:
    if maps.ndim != 3 or not maps.numel() or masks.shape != maps.shape:
        raise ValueError(
            f"maps and masks must have one shape [N, H, W], got {tuple(maps.shape)} and {tuple(masks.shape)}"
        )
    if masks is not maps and masks.dtype != torch.bool:
        raise ValueError(f"masks must be bool, got {masks.dtype}")

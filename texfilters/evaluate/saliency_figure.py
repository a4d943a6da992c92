"""Sheets of saliency maps: the images, and where each of several networks looks, side by side."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from texfilters.evaluate import figures
from texfilters.evaluate.saliency import normalized, spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_CELL = 1.9  # inches
_LETTERS = 26  # that fit over one


def saliency_sheet(
    images: Tensor,
    maps: Mapping[str, Tensor],
    *,
    labels: Sequence[str] | None = None,
    boxes: Sequence[Tensor] | None = None,
    title: str = "",
) -> "Figure":
    """Draw a row for each image and a column for each network, with the area that each map spreads over.

    A pixel shows the more of the heat the greater its map, which is scaled to [0, 1] by its own minimum and maximum.

    Args:
        images: `[N, 1 or 3, H, W]`, uint8, or floating point in [0, 1]: before a network's normalization.
        maps: `[N, H, W]` of each network, by its name, as `grad_cam` gives them; a map of zeros is shown as such.
        labels: words for each image.
        boxes: for each image `[n, 4]`: left, top, right and bottom, which are drawn.

    Raises:
        ValueError: for no image or map, maps of another shape, labels or boxes of another number.
    """
    if images.ndim != 4 or not len(images) or images.shape[1] not in (1, 3):
        raise ValueError(f"images must have shape [N, 1, H, W] or [N, 3, H, W], got {tuple(images.shape)}")
    if not maps:
        raise ValueError("maps must hold those of at least one network, got none")
    shape = (len(images), *images.shape[2:])
    for name, each in maps.items():
        if each.shape != shape:
            raise ValueError(f"maps of {name} must have shape {shape}, got {tuple(each.shape)}")
    for what, given in (("labels", labels), ("boxes", boxes)):
        if given is not None and len(given) != len(images):
            raise ValueError(f"{what} must be one an image, {len(images)}, got {len(given)}")
    words = [textwrap.fill(label, _LETTERS) for label in labels or [""] * len(images)]
    names = {name: textwrap.fill(name, _LETTERS) for name in maps}
    lines = [1 + text.count("\n") for text in words]
    lines[0] = max(lines[0], *(2 + name.count("\n") for name in names.values()))
    height = _CELL * images.shape[2] / images.shape[3]
    columns = 1 + len(maps)
    figure = figures._figure((_CELL * columns + 0.4, (height + 0.15) * len(images) + 0.15 * sum(lines) + 0.4))
    grid = figure.subplots(len(images), columns, squeeze=False)
    areas = {name: spread(each).area.tolist() for name, each in maps.items()}
    for i, row in enumerate(grid):
        pixels = _pixels(images[i])
        _draw(row[0], pixels, words[i])
        for axes, (name, each) in zip(row[1:], maps.items(), strict=True):
            area = areas[name][i]
            said = f"area {100 * area:.0f} %" if area == area else "no map"
            _draw(axes, _heated(pixels, each[i]), f"{names[name]}\n{said}" if i == 0 else said)
        for axes in row:
            for left, top, right, bottom in [] if boxes is None else boxes[i].tolist():
                # imshow has the first pixel's center at 0.
                across, down = (left, right, right, left, left), (top, top, bottom, bottom, top)
                axes.plot([x - 0.5 for x in across], [y - 0.5 for y in down], color="white", linewidth=2.2)
                axes.plot([x - 0.5 for x in across], [y - 0.5 for y in down], color=figures._INK, linewidth=0.9)
    figures._titled(figure, title)
    return figure


def _pixels(image: Tensor) -> Tensor:
    """`[H, W, 3]` in [0, 1]."""
    image = image.detach().cpu()
    image = image.float() / 255 if image.dtype == torch.uint8 else image.float().clamp(0, 1)
    return image.expand(3, -1, -1).movedim(0, -1)


def _heated(pixels: Tensor, each: Tensor) -> Tensor:
    from matplotlib import colormaps

    strength = normalized(each.detach().float().cpu()).nan_to_num(0)
    heat = torch.from_numpy(colormaps["inferno"](0.25 + 0.75 * strength.numpy())[..., :3]).float()
    # The colors of the image would be mistaken for heat.
    gray = (pixels @ torch.tensor([0.299, 0.587, 0.114]))[..., None].expand(-1, -1, 3)
    share = (0.8 * strength)[..., None]
    return gray * (1 - share) + heat * share


def _draw(axes: "Axes", pixels: Tensor, title: str) -> None:
    axes.imshow(pixels.numpy(), vmin=0, vmax=1)
    axes.set_title(title, fontsize=8.5, color=figures._INK)
    axes.set_axis_off()

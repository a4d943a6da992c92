"""Accuracy without the high frequencies of the images."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from texfilters import _check
from texfilters.evaluate._counting import RightAnswers
from texfilters.evaluate._lines import below, styles
from texfilters.evaluate._training import evaluating
from texfilters.evaluate.figures import _GRID, _INK, _PALE, _figure, _titled
from texfilters.evaluate.probes import _device
from texfilters.loader import DeviceLoader

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MASKS = ("disk", "square")


@dataclass(frozen=True)
class FrequencyCurve:
    """Accuracy by what is kept of the Fourier plane.

    Attributes:
        radii: in steps of the plane, that is cycles an image.
        accuracy: the share of right answers at each.
        plain: that on the images as they are.
        mask: `"disk"` or `"square"`.
        images: their number.
    """

    radii: tuple[float, ...]
    accuracy: tuple[float, ...]
    plain: float
    mask: str
    images: int


def low_pass(images: Tensor, radius: float, *, mask: str = "disk") -> Tensor:
    """Keep the frequencies near the center of the Fourier plane, and clamp to the range of the images.

    Args:
        images: `[..., H, W]`, uint8, or floating point in [0, 1] and therefore before any normalization.
        radius: r, in cycles an image. >= 0; 0 keeps the mean alone; beyond the corners nothing changes.
        mask: `"disk"` keeps `u**2 + v**2 <= r**2`; `"square"` keeps `|u| <= r` and `|v| <= r`, a side of 2 r + 1.

    Returns: a new tensor of the shape, dtype and device of `images`; uint8 is rounded half to even.

    Raises:
        TypeError: for images of another dtype.
        ValueError: for no pixel, a radius that is negative or NaN, an unknown mask.

    Source: Wang et al. 2020, arXiv:1905.13545, for the disk; Mishra et al. 2020, arXiv:2011.01901, for the square.
    """
    plane = _plane(images)
    return _back(plane * _kept(images, _check.amount("radius", radius), _check.choice("mask", mask, MASKS)), images)


@torch.no_grad()
def accuracy_by_radius(
    network: Callable[[Tensor], Tensor],
    batches: Iterable[Any],
    radii: Sequence[float],
    *,
    mask: str = "disk",
    transform: Callable[[Any], Tensor] | None = None,
    device: torch.device | str | None = None,
) -> FrequencyCurve:
    """How many of its right answers a network keeps as the high frequencies go.

    One pass over the images, of which a batch and its Fourier plane are on the device at a time. The network is in
    evaluation mode meanwhile.

    Args:
        network: from a batch of its inputs to scores `[B, C]`.
        batches: tuples that begin with images as `low_pass` takes them and labels `[B]`.
        radii: those of `low_pass`.
        transform: from such a batch, its images filtered, to the network's inputs, as a normalization; None takes the
            images as they are.
        device: None is where the network's parameters are.

    Raises:
        ValueError: for no image or radius, images that are NaN or beyond [0, 1], scores of another shape or that are
            not finite, labels outside of `[0, C)`.

    Source: as `low_pass`.
    """
    radii = tuple(_check.amount("radius", radius) for radius in radii)
    if not radii:
        raise ValueError("radii must hold at least one radius, got none")
    mask = _check.choice("mask", mask, MASKS)
    device = _device(network, device)
    counts = RightAnswers(["as they are", *(f"at radius {radius:g}" for radius in radii)], device)
    with evaluating(network):
        for images, labels, *rest in DeviceLoader(batches, device):
            counts.check(images)
            plane = _plane(images)
            for cell, radius in enumerate((None, *radii)):
                kept = images if radius is None else _back(plane * _kept(images, radius, mask), images)
                counts.add(cell, network(kept if transform is None else transform((kept, labels, *rest))), labels)
    plain, *accuracy = counts.shares()
    return FrequencyCurve(radii, tuple(accuracy), plain, mask, counts.images[0])


def frequency_figure(curves: Mapping[str, FrequencyCurve], title: str = "") -> "Figure":
    """Draw accuracy against the radius that is kept, a line a model, and dotted the one on plain images.

    Raises:
        ValueError: for no curve, or curves of different masks.
    """
    if not curves:
        raise ValueError("curves must hold at least one curve, got none")
    masks = {curve.mask for curve in curves.values()}
    if len(masks) > 1:
        raise ValueError(f"curves must have one mask, got {sorted(masks)}")
    figure = _figure((6.4, 3.6))
    axes = figure.add_subplot()
    for (name, curve), style in zip(curves.items(), styles(len(curves)), strict=True):
        order = sorted(range(len(curve.radii)), key=curve.radii.__getitem__)
        radii = [curve.radii[i] for i in order]
        axes.plot(radii, [100 * curve.accuracy[i] for i in order], ms=4.5, lw=1.6, label=name, clip_on=False, **style)
        axes.axhline(100 * curve.plain, color=style["color"], lw=0.9, ls=":")
    axes.plot([], [], color=_PALE, lw=0.9, ls=":", label="plain images")
    side = "square, |u| and |v| up to r" if masks == {"square"} else "disk of radius r"
    axes.set_xlabel(f"r kept of the Fourier plane ({side}), cycles an image", color=_INK)
    axes.set_ylabel("accuracy, %", color=_INK)
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.grid(axis="y", color=_GRID, lw=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=9, labelcolor=_INK, color=_PALE)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_PALE)
    below(figure)
    _titled(figure, title)
    return figure


def _plane(images: Tensor) -> Tensor:
    """The half of the Fourier plane that a real image needs."""
    _check.image(images, 2)
    if min(images.shape[-2:]) < 1:
        raise ValueError(f"images must have at least 1 x 1 pixels, got shape {tuple(images.shape)}")
    return torch.fft.rfft2(images if images.dtype == torch.float64 else images.float())


def _kept(images: Tensor, radius: float, mask: str) -> Tensor:
    """The mask over that half, `[H, W // 2 + 1]`. Frequencies are counted from the center, where the mean is."""
    height, width = images.shape[-2:]
    # float64: float32 rounds a radius a hair below a frequency up to it. Roots are exact where squares may not be.
    v = torch.arange(height, dtype=torch.float64, device=images.device)[:, None]
    v = torch.minimum(v, height - v)
    u = torch.arange(width // 2 + 1, dtype=torch.float64, device=images.device)
    return torch.maximum(u, v) <= radius if mask == "square" else (u.square() + v.square()).sqrt() <= radius


def _back(plane: Tensor, images: Tensor) -> Tensor:
    result = torch.fft.irfft2(plane, s=images.shape[-2:])
    if images.dtype == torch.uint8:
        return result.round().clamp(0, 255).to(torch.uint8)
    return result.clamp(0, 1).to(images.dtype)

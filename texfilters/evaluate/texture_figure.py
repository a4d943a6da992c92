"""Pictures of texture suppression: what each filter trades, and what kappa an image has."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from texfilters import _check
from texfilters.evaluate import figures
from texfilters.evaluate.texture import BLUR, FILTERS, Curve, Strengths, gradient_norm, robust_kappa, suppression
from texfilters.functional import anisotropic_diffusion

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def headline(curves: Sequence[Curve], at: float = 0.5) -> str:
    """What the figure shows, in a line: the best diffusion beside Gaussian blur; empty where either is not covered."""
    best, blur = _best_diffusion(curves, at), next((c for c in curves if c.name == BLUR), None)
    if best is None or blur is None or math.isnan(blur.kept_at(at)):
        return ""
    return (
        f"With {100 * at:.0f} % of texture energy removed, {_called(best.name)} keeps "
        f"{100 * best.kept_at(at):.0f} % of edge strength, {BLUR} {100 * blur.kept_at(at):.0f} %"
    )


def suppression_figure(curves: Sequence[Curve], title: str = "", *, at: float = 0.5) -> "Figure":
    """Draw edge strength kept against texture energy removed: higher and further right is better.

    The diffusion that keeps most at `at`, and Gaussian blur, are thick, with the gap between them; other diffusions,
    whose names begin so, are thin and of cool colors. Strengths that add energy lie left of the picture and are left
    out, as its last line then says. Lines that a cartoon draws count as edges kept.

    Args:
        at: a share of texture energy removed; the legend names what each filter keeps there, best first.

    Raises:
        ValueError: for no curve.
    """
    if not curves:
        raise ValueError("curves must hold at least one curve, got none")
    figure = figures._figure((10.2, 5.6))
    axes = figure.add_subplot()
    looks = _looks([curve.name for curve in curves])
    best = _best_diffusion(curves, at)
    thick = {BLUR, best.name if best else BLUR}
    outside = False
    for curve in sorted(curves, key=lambda curve: [_order(curve.kept_at(share)) for share in (at, at / 2)]):
        kept = curve.kept_at(at)
        points = [(100 * x, 100 * y) for x, y in zip(curve.removed, curve.kept, strict=True) if x >= -0.02]
        outside |= len(points) < len(curve.values)
        color, marker = looks[curve.name]
        strengths = f"{curve.parameter} {curve.values[0]:g} to {curve.values[-1]:g}"
        axes.plot(
            *zip(*points, strict=True) if points else ([], []),
            color=color,
            marker=marker,
            markersize=6 if curve.name in thick else 3.5,
            linewidth=2.6 if curve.name in thick else 1.0,
            linestyle="-" if curve.name.startswith("diffusion") else "--",
            zorder=3 if curve.name in thick else 2,
            label=f"{curve.name}: {f'{100 * kept:.0f} %' if kept == kept else 'not covered'}\n"
            f"{', '.join(part for part in (strengths, curve.fixed) if part)}",
        )
    blur = next((curve.kept_at(at) for curve in curves if curve.name == BLUR), math.nan)
    if best and blur == blur and best.kept_at(at) > blur:
        _gap(axes, 100 * at, 100 * blur, 100 * best.kept_at(at))
    axes.axvline(100 * at, color=figures._PALE, linewidth=0.7, linestyle=":", zorder=0)
    axes.annotate(
        "better",
        (0.99, 0.985),
        (0.9, 0.895),
        xycoords="axes fraction",
        color=figures._PALE,
        fontsize=9,
        ha="center",
        va="center",
        arrowprops={"arrowstyle": "->", "color": figures._PALE},
    )
    axes.set_xlim(-2, 102)
    axes.set_ylim(0, 102)
    axes.set_xlabel("texture energy removed off the boundaries, %", color=figures._INK)
    axes.set_ylabel("edge strength kept on them, %", color=figures._INK)
    figures._plain(axes)
    axes.legend(
        frameon=False,
        fontsize=8,
        title=f"kept with {100 * at:.0f} % removed",
        title_fontsize=9,
        loc="center left",
        bbox_to_anchor=(1.01, 0.5),
        labelspacing=0.75,
        handlelength=2.6,
    )
    note = "; strengths that add energy are left out" if outside else ""
    number = curves[0].images
    said = f"mean of {number} image{'' if number == 1 else 's'}{note}"
    figures._titled(figure, title)
    figure.supxlabel(said, fontsize=8, color=figures._PALE, x=0.01, ha="left")
    return figure


def kappa_figure(
    image: Tensor, title: str = "", *, option: int = 1, niter: int = 20, least: float | None = None
) -> "Figure":
    """Draw an image, its gradient with the kappa that `robust_kappa` picks, its edges above kappa, and it diffused so.

    Args:
        image: `[1, H, W]` or `[3, H, W]`, uint8, or floating point in [0, 1].
        option: conductance, of kappa and of the diffusion.
        niter: steps of the diffusion.
        least: the lowest kappa, as `robust_kappa` takes it.

    Raises:
        ValueError: for an image of another shape, or one that is mostly flat without the least kappa.
    """
    if image.ndim != 3 or image.shape[0] not in (1, 3):
        raise ValueError(f"image must have shape [1, H, W] or [3, H, W], got {tuple(image.shape)}")
    picked = robust_kappa(image[None], option=option, least=least)
    norm = gradient_norm(image[None])[0].cpu()
    value = picked.item()
    diffused = anisotropic_diffusion(image[None], niter, picked, option=option)[0]

    tall = image.shape[1] > image.shape[2]
    figure = figures._figure((11.4, 4.4) if tall else (9.6, 7.0))
    original, edges, smooth, histogram = figure.subplots(*((1, 4) if tall else (2, 2))).flat
    show(original, image, "image")
    edges.imshow((norm <= value).numpy(), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    edges.set_title(f"gradient above kappa: {100 * (norm > value).double().mean():.1f} % of the pixels", fontsize=9)
    edges.set_axis_off()
    show(smooth, diffused, f"anisotropic diffusion, {niter} steps, option {option}")
    top = max(float(norm.quantile(0.999)) if norm.numel() < 2**24 else float(norm.max()), 2 * value)
    histogram.hist(norm.flatten().clamp(max=top).numpy(), bins=80, range=(0, top), color=figures._BLUE)
    histogram.set_yscale("log")
    histogram.axvline(value, color=figures._ORANGE, linewidth=1.5)
    unit = " grey levels" if image.dtype == torch.uint8 else ""
    histogram.set_title(f"kappa {value:.3g}{unit}", fontsize=9, color=figures._ORANGE)
    histogram.set_xlabel("gradient (the last bin: and above)", color=figures._INK)
    histogram.set_ylabel("pixels", color=figures._INK)
    figures._plain(histogram)
    figures._titled(figure, title)
    return figure


def suppression_examples(
    image: Tensor,
    boundaries: Tensor,
    title: str = "",
    *,
    names: Sequence[str] = ("diffusion, rational", "bilateral filter", "median", BLUR),
    filters: Mapping[str, Strengths] = FILTERS,
    at: float = 0.75,
    crop: tuple[int, int, int, int] | None = None,
    tolerance: int = 2,
    margin: int = 5,
) -> "Figure":
    """Draw an image, its boundaries, and what filters make of it at like amounts of texture energy removed.

    Each filter is shown with that of its strengths whose share removed is nearest to `at`.

    Args:
        image, boundaries: as `boundary_pairs` gives them.
        names: of those of the filters that are shown.
        filters: by name.
        at: share of texture energy removed.
        crop: left, top, right and bottom of the part that is shown; the whole image is measured. None shows it all.
        tolerance, margin: as `suppression` takes them.

    Raises:
        ValueError: for another name, and as `suppression`.
    """
    left, top, right, bottom = crop or (0, 0, image.shape[2], image.shape[1])
    part = (..., slice(top, bottom), slice(left, right))
    shown = [(image, "image"), (255 - boundaries[None], "boundaries that people drew")]
    for name in names:
        each = filters[_check.choice("names", name, tuple(filters))]
        tried = []
        for value in each.values:
            filtered = each.filter(image[None], value)
            found = suppression(image[None], filtered, boundaries[None], tolerance=tolerance, margin=margin)
            tried.append((found.removed.item(), found.kept.item(), value, filtered[0]))
        removed, kept, value, filtered = min(tried, key=lambda found: abs(found[0] - at))
        said = f"{100 * removed:.0f} % removed, {100 * kept:.0f} % kept"
        shown.append((filtered, f"{name}, {each.parameter} {value:g}\n{said}"))
    columns = min(3, len(shown))
    rows = -(-len(shown) // columns)
    height = 3.2 * (bottom - top) / (right - left)
    figure = figures._figure((3.3 * columns, (height + 0.45) * rows + 0.3))
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in grid:
        axes.set_axis_off()
    for axes, (picture, label) in zip(grid, shown, strict=False):
        show(axes, picture[part], label)
    figures._titled(figure, title)
    return figure


def show(axes: "Axes", image: Tensor, title: str = "") -> None:
    """An image `[1 or 3, H, W]`, uint8, or floating point in [0, 1], without axes."""
    pixels = image.detach().cpu().movedim(0, -1)
    if pixels.is_floating_point():
        pixels = pixels.float().clamp(0, 1)
    high = 255 if pixels.dtype == torch.uint8 else 1
    axes.imshow((pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).numpy(), cmap="gray", vmin=0, vmax=high)
    axes.set_title(title, fontsize=9, color=figures._INK)
    axes.set_axis_off()


def _best_diffusion(curves: Sequence[Curve], at: float) -> Curve | None:
    found = [c for c in curves if c.name.startswith("diffusion") and not math.isnan(c.kept_at(at))]
    return max(found, key=lambda curve: curve.kept_at(at), default=None)


def _called(name: str) -> str:
    kind, _, which = name.partition(", ")
    return f"{kind} ({which})" if which else kind


def _gap(axes: "Axes", x: float, low: float, high: float) -> None:
    """What diffusion keeps more than blur."""
    axes.annotate("", (x, high), (x, low), arrowprops={"arrowstyle": "<->", "color": figures._INK}, zorder=5)
    axes.annotate(
        f"+{high - low:.1f}",
        (x, low + 0.6 * (high - low)),
        (-5, 0),
        textcoords="offset points",
        fontsize=9,
        color=figures._INK,
        ha="right",
        va="center",
        zorder=5,
    )


def _looks(names: Sequence[str]) -> Mapping[str, tuple[str, str]]:
    cool = [name for name in names if name.startswith("diffusion")]
    others = sorted((name for name in names if not name.startswith("diffusion")), key=lambda name: name != BLUR)
    return {
        name: (colors[i % len(colors)], figures._MARKERS[i % len(figures._MARKERS)])
        for group, colors in ((cool, figures._COOL), (others, figures._WARM))
        for i, name in enumerate(group)
    }


def _order(kept: float) -> float:
    return -kept if kept == kept else 1.0

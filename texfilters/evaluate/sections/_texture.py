"""Texture suppression: what each filter removes off the boundaries that people drew, and keeps of the edges on them."""

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from texfilters.evaluate.report import Section, Table
from texfilters.evaluate.texture import (
    BLUR,
    FILTERS,
    Curve,
    Strengths,
    boundary_pairs,
    robust_kappa,
    suppression_curves,
)
from texfilters.evaluate.texture_figure import headline, kappa_figure, suppression_examples, suppression_figure

AT = (0.25, 0.5, 0.75)  # shares of texture energy removed, at which filters are compared
_LEAST = 1.0  # kappa, for images that are mostly flat
_EXAMPLES = ("diffusion, rational", "bilateral filter", "median", BLUR)

_TEXT = """\
How much gradient energy each filter removes off the boundaries that people drew on {images}, and how much of the \
edge strength on the boundaries it keeps. Off the boundaries is farther than {margin} pixels from all of them; an edge \
is looked for within {tolerance} pixels of a boundary. Both are measured on luma. They are this project's own, made \
for the photos and boundaries of BSDS500 (Arbelaez et al. 2011, doi:10.1109/TPAMI.2010.161).

The table shows the edge strength kept where a filter has removed a quarter, half and three quarters of the texture \
energy, on a straight line between the two strengths around it; no number where all its strengths remove more, or \
less. Energy is the squared gradient. Shadows and edges inside of objects, which nobody drew, weigh most in it, so a \
filter that spares every strong edge never removes it all.{versus}

The kappa that fits an image's own gradient (robust scale of Black et al. 1998, doi:10.1109/83.661192, conductance \
option 1) is {kappa}."""


def texture(
    folder_or_pairs: str | os.PathLike[str] | Iterable[tuple[Tensor, Tensor]],
    count: int | None = None,
    filters: Mapping[str, Strengths] = FILTERS,
    *,
    tolerance: int = 2,
    margin: int = 5,
    batch_size: int = 8,
    device: torch.device | str = "cpu",
) -> Section:
    """Measure every filter at every strength. The first image serves as the example.

    Args:
        folder_or_pairs: photos `ID.jpg` with `ID_boundary.png` beside them, or pairs as `boundary_pairs` yields them.
        count: how many of a folder's photos, evenly spaced; None is all. Of pairs all are measured.
        filters, tolerance, margin, batch_size, device: as `suppression_curves` takes them.

    Raises:
        FileNotFoundError: as `boundary_pairs`.
        ValueError: for a count of pairs, and as `boundary_pairs` and `suppression_curves`.
    """
    if isinstance(folder_or_pairs, (str, os.PathLike)):
        pairs = boundary_pairs(folder_or_pairs, count)
    elif count is None:
        pairs = iter(folder_or_pairs)
    else:
        raise ValueError(f"count must be None for pairs, all of which are measured, got {count}")
    first = list(itertools.islice(pairs, 1))
    kappas: list[float] = []
    curves = suppression_curves(
        _noting_kappa(itertools.chain(first, pairs), kappas),
        filters,
        tolerance=tolerance,
        margin=margin,
        batch_size=batch_size,
        device=device,
    )
    low, median, high = torch.tensor(kappas).quantile(torch.tensor([0.25, 0.5, 0.75])).tolist()
    image, boundaries = first[0]
    shown = [name for name in _EXAMPLES if name in filters] or list(filters)[:4]
    return Section(
        name="texture",
        title="Texture suppression",
        text=_TEXT.format(
            images=f"{len(kappas)} image{'' if len(kappas) == 1 else 's'}",
            margin=margin,
            tolerance=tolerance,
            versus=" The last column counts the images in which it keeps more than Gaussian blur at half removed, of "
            "those in which both remove so much."
            if BLUR in filters
            else "",
            kappa=f"{median:.1f} grey levels in the median, with quartiles of {low:.1f} and {high:.1f}",
        ),
        record={
            "images": len(kappas),
            "tolerance": tolerance,
            "margin": margin,
            "at": AT,
            "curves": _records(curves),
            "robust_kappa": {
                "option": 1,
                "least": _LEAST,
                "median": round(median, 3),
                "quartiles": [round(low, 3), round(high, 3)],
            },
        },
        tables=(_table(curves),),
        figures={
            "Edge strength kept against texture energy removed": suppression_figure(curves, headline(curves)),
            "The first image at like amounts of texture energy removed": suppression_examples(
                image, boundaries, names=shown, filters=filters, tolerance=tolerance, margin=margin
            ),
            "The first image and the kappa that its gradient gives": kappa_figure(image, least=_LEAST),
        },
    )


def _records(curves: Sequence[Curve]) -> list[dict[str, Any]]:
    counts = _better_than_blur(curves)
    return [
        {
            "filter": curve.name,
            "parameter": curve.parameter,
            "fixed": curve.fixed,
            "values": list(curve.values),
            "removed": [round(share, 5) for share in curve.removed],
            "kept": [round(share, 5) for share in curve.kept],
            "better_than_blur": counts.get(curve.name),
        }
        for curve in curves
    ]


def _table(curves: Sequence[Curve]) -> Table:
    counts = _better_than_blur(curves)
    rows: list[tuple[str | int | float | None, ...]] = []
    for curve in sorted(curves, key=lambda curve: [-k if k == k else 1.0 for k in map(curve.kept_at, (0.5, 0.25))]):
        strengths = f"{curve.parameter} {curve.values[0]:g} to {curve.values[-1]:g}"
        row = [curve.name, ", ".join(part for part in (strengths, curve.fixed) if part)]
        better, both = counts.get(curve.name, (0, 0))
        count = [f"{better} of {both}" if both else None] if counts else []
        rows.append((*row, *(100 * curve.kept_at(at) for at in AT), *count))
    header = ("filter", "strengths", *(f"{100 * at:.0f} % removed" for at in AT))
    return Table("Edge strength kept, %", (*header, "more than blur") if counts else header, tuple(rows))


def _better_than_blur(curves: Sequence[Curve]) -> dict[str, tuple[int, int]]:
    """In how many images each filter keeps more than Gaussian blur at half removed, of those where both remove it."""
    by_name = {curve.name: curve.kept_at_by_image(0.5) for curve in curves}
    if BLUR not in by_name:
        return {}
    blur = by_name.pop(BLUR)
    return {
        name: (int((kept > blur).sum()), int((kept.isfinite() & blur.isfinite()).sum()))
        for name, kept in by_name.items()
    }


def _noting_kappa(pairs: Iterable[tuple[Tensor, Tensor]], kappas: list[float]) -> Iterator[tuple[Tensor, Tensor]]:
    for image, boundaries in pairs:
        yield image, boundaries  # first, so that an image of another shape is refused by name
        kappas.append(robust_kappa(image[None], option=1, least=_LEAST).item())

"""The section of high frequencies: accuracy against what is kept of the Fourier plane."""

import dataclasses
from collections.abc import Sequence

from texfilters.evaluate.high_frequencies import MASKS, FrequencyCurve, accuracy_by_radius, frequency_figure
from texfilters.evaluate.report import Cell, Section, Table
from texfilters.evaluate.sections._model import LabeledImages, Models, classifying
from texfilters.evaluate.sections._numbers import percent

# Of half an image's side, which is where the plane ends along its axes.
_SHARES = (1 / 32, 1 / 16, 1 / 8, 3 / 16, 1 / 4, 3 / 8, 1 / 2, 3 / 4, 1)

TEXT = """\
What is left of the accuracy when the high frequencies of the images go. Their Fourier plane is kept up to a radius r,
in cycles an image, within a disk or within a square; all else becomes 0.

Measured on {images} images of {side} x {side} pixels, {classes} classes.

A network that lives on texture loses its accuracy early, at large radii; one that sees shapes keeps it longer.

Sources: Wang et al. 2020, arXiv:1905.13545, for the disk; Mishra et al. 2020, arXiv:2011.01901, for the square.\
"""


def high_frequencies(
    models: Models,
    images: LabeledImages,
    *,
    radii: Sequence[float] | None = None,
    masks: Sequence[str] = MASKS,
) -> Section:
    """Accuracy by radius, for each mask.

    Args:
        models: with the classes of the images.
        radii: None takes nine, up to half the side of the images.
        masks: some of "disk" and "square".

    Raises:
        ValueError: for no mask, models with other classes, and as `accuracy_by_radius`.
    """
    classifying(models, images)
    if not masks:
        raise ValueError(f"masks must hold at least one of {', '.join(MASKS)}, got none")
    side = _side(images)
    if radii is None:
        radii = sorted({max(1, round(share * side / 2)) for share in _SHARES})
    curves = {
        mask: {
            name: accuracy_by_radius(model.logits, images, radii, mask=mask, transform=model.view, device=model.device)
            for name, model in models.items()
        }
        for mask in dict.fromkeys(masks)
    }
    count = next(iter(next(iter(curves.values())).values())).images
    return Section(
        name="high-frequencies",
        title="High frequencies",
        text=TEXT.format(images=count, side=side, classes=len(images.classes)),
        record={
            "images": count,
            "side": side,
            "masks": {
                mask: {name: dataclasses.asdict(curve) for name, curve in found.items()}
                for mask, found in curves.items()
            },
        },
        tables=tuple(_table(mask, found) for mask, found in curves.items()),
        figures={f"Accuracy by radius, {mask}": frequency_figure(found) for mask, found in curves.items()},
    )


def _table(mask: str, curves: dict[str, FrequencyCurve]) -> Table:
    first = next(iter(curves.values()))
    lines: list[tuple[str, list[float]]] = [
        (f"r = {radius:g}", [curve.accuracy[i] for curve in curves.values()]) for i, radius in enumerate(first.radii)
    ]
    lines.append(("all", [curve.plain for curve in curves.values()]))
    rows: list[tuple[Cell, ...]] = []
    for kept, shares in lines:
        gained = (percent(shares[1] - shares[0]),) if len(shares) == 2 else ()
        rows.append((kept, *map(percent, shares), *gained))
    header = ("kept", *(f"{name}, %" for name in curves), *(("difference",) if len(curves) == 2 else ()))
    return Table(f"Accuracy, {mask}", header, tuple(rows))


def _side(images: LabeledImages) -> int:
    for batch in images:
        return int(batch[0].shape[-1])
    raise ValueError("images must hold at least one batch, got none")

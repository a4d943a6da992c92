"""The section of corruptions: the errors of networks under the 15 of ImageNet-C, or of CIFAR-10-C for small images."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from texfilters.evaluate.corruptions import (
    ALEXNET,
    CORRUPTIONS,
    SEVERITIES,
    CorruptionErrors,
    corruption_errors,
    corruption_figure,
)
from texfilters.evaluate.report import Cell, Section, Table
from texfilters.evaluate.sections._model import LabeledImages, Models, classifying
from texfilters.evaluate.sections._numbers import difference, percent

TEXT = """\
Errors on images with noise, blur, weather and digital damage at up to five severities, on {images} images of {side} x
{side} pixels, {classes} classes, as strong as in {constants}. The images are corrupted before the network's own view of
them is made.

{scale}{frost}

The mean error is over all corruptions and severities. {relative}

Source: Hendrycks and Dietterich 2019, arXiv:1903.12261; written from their formulas, without their JPEG compression.\
"""
_SMALL = 64  # pixels
_SCALE = "mCE and the corruption errors are in percent of AlexNet's on ImageNet-C: 100 is as bad. "
_NO_SCALE = (
    "There is no mCE: its unit, AlexNet's errors on ImageNet-C, is for ImageNet's 1,000 classes and all 15 corruptions "
    "at 5 severities. "
)


def corruptions(
    models: Models,
    images: LabeledImages,
    *,
    corruptions: Sequence[str] = CORRUPTIONS,
    severities: Sequence[int] = SEVERITIES,
    frost: Sequence[Tensor] | None = None,
    constants: str | None = None,
    seed: int = 0,
) -> Section:
    """Errors by corruption and severity; mCE where all of them are measured on 1,000 classes.

    Args:
        models: with the classes of the images.
        images: of at least 16 x 16 pixels.
        corruptions, severities, frost, constants, seed: as in `corruption_errors`; no constants are those of CIFAR-10-C
            for images whose shorter side is 64 pixels at most, of which ImageNet-C's leave nothing.

    Raises:
        ValueError: for models with other classes, and as `corruption_errors`.
    """
    classifying(models, images)
    if constants is None:
        small = all(min(batch[0].shape[-2:]) <= _SMALL for batch in itertools.islice(images, 1))
        constants = "cifar-10-c" if small else "imagenet-c"
    counted = _Counted(images)
    found = {
        name: corruption_errors(
            model.logits,
            counted,
            corruptions=corruptions,
            severities=severities,
            transform=model.view,
            device=model.device,
            frost=frost,
            constants=constants,
            seed=seed,
        )
        for name, model in models.items()
    }
    first, *others = found.values()
    scaled = constants == "imagenet-c" and len(images.classes) == 1000 and set(first.errors) == set(CORRUPTIONS)
    scaled = scaled and set(first.severities) == set(SEVERITIES)
    relative = [other.mce(first) if _has_errors(first) else None for other in others]
    drawn = " Frost is drawn, not the authors' pictures, so that it is not that of ImageNet-C."
    told = f"mCE relative to {next(iter(models))} is in percent of its errors under each corruption." if others else ""
    return Section(
        name="corruptions",
        title="Corruptions",
        text=TEXT.format(
            images=counted.images // len(models),
            side=counted.side,
            classes=len(images.classes),
            constants={"imagenet-c": "ImageNet-C", "cifar-10-c": "CIFAR-10-C"}[constants],
            scale=_SCALE if scaled else _NO_SCALE,
            frost=drawn if first.drawn_frost else "",
            relative=told,
        ),
        record={
            "images": counted.images // len(models),
            "side": counted.side,
            "seed": seed,
            "models": {
                name: {**dataclasses.asdict(errors), "mean_error": errors.mean_error()}
                | ({"mce": errors.mce(), "relative_mce": errors.relative_mce()} if scaled else {})
                for name, errors in found.items()
            },
            "mce_relative_to_first": dict(zip(list(found)[1:], relative, strict=True)),
        },
        tables=(_summary(found, scaled, relative), *_by_corruption(found, scaled)),
        figures={"Error by corruption and severity": corruption_figure(found)},
    )


def _summary(found: Mapping[str, CorruptionErrors], scaled: bool, relative: Sequence[float | None]) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for name, errors, other in zip(found, found.values(), (None, *relative), strict=True):
        cells: list[Cell] = [name, percent(errors.clean), percent(errors.mean_error())]
        if scaled:
            cells += [percent(errors.mce(ALEXNET)), percent(errors.relative_mce(ALEXNET))]
        if relative:
            cells.append(None if other is None else percent(other))
        rows.append(tuple(cells))
    if len(rows) == 2:
        rows.append(difference(rows))
    scale = ("mCE, %", "relative mCE of what is added to clean errors, %") if scaled else ()
    ratio = (f"mCE relative to {next(iter(found))}, %",) if relative else ()
    return Table("Errors", ("network", "clean error, %", "mean error, %", *scale, *ratio), tuple(rows))


def _by_corruption(found: Mapping[str, CorruptionErrors], scaled: bool) -> list[Table]:
    first = next(iter(found.values()))
    means: list[tuple[Cell, ...]] = []
    for name in first.errors:
        shares = [errors.mean(name) for errors in found.values()]
        cells: list[Cell] = [name.replace("_", " "), *map(percent, shares)]
        if len(shares) == 2:
            cells.append(percent(shares[1] - shares[0]))
        if scaled:
            cells += [percent(errors.corruption_error(name, ALEXNET)) for errors in found.values()]
        means.append(tuple(cells))
    header = ["corruption", *(f"{name}, %" for name in found), *(["difference"] if len(found) == 2 else [])]
    if scaled:
        header += [f"CE of {name}, %" for name in found]
    rows: list[tuple[Cell, ...]] = [
        (name, corruption.replace("_", " "), *map(percent, errors.errors[corruption]))
        for name, errors in found.items()
        for corruption in errors.errors
    ]
    severities = (f"severity {severity}, %" for severity in first.severities)
    return [
        Table("Mean error over the severities", tuple(header), tuple(means)),
        Table("Error by severity", ("network", "corruption", *severities), tuple(rows)),
    ]


def _has_errors(errors: CorruptionErrors) -> bool:
    return all(sum(shares) > 0 for shares in errors.errors.values())


class _Counted:
    """Batches that tell how many images went by, and how large they were."""

    def __init__(self, batches: LabeledImages) -> None:
        self.batches, self.images, self.side = batches, 0, 0

    def __iter__(self) -> Iterator[Any]:
        for batch in self.batches:
            self.images += len(batch[1])
            self.side = int(batch[0].shape[-1])
            yield batch

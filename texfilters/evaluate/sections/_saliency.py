"""The section on where networks look."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from texfilters import _check
from texfilters.evaluate._training import evaluating
from texfilters.evaluate.report import Cell, Section, Table
from texfilters.evaluate.saliency import box_masks, goodness, grad_cam, gradient_saliency, normalized, spread
from texfilters.evaluate.saliency_figure import saliency_sheet
from texfilters.evaluate.sections._model import LabeledImages, Model, Models, classifying
from texfilters.evaluate.sections._numbers import spread_over
from texfilters.loader import DeviceLoader

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CAM, GRADIENT = "Grad-CAM", "gradient of neurons"
UNITS = {"area": 100, "entropy": 1, "goodness": 100}  # of tables: percent, nats, percent


def saliency(
    models: Models,
    images: LabeledImages,
    *,
    explained: str = "answer",
    boxes: Sequence[Tensor] | None = None,
    neurons: int = 16,
    shown: int = 8,
    batch_size: int = 32,
) -> Section:
    """Where models look on the same images: maps side by side, how far they spread, how well they meet boxes.

    Grad-CAM, on `Model.layer`, of models with a classifier; and of all models the gradient of the neurons of their
    features that are strongest for each image.

    Args:
        models: by name; differences are to the first.
        images: all of which are measured, on what the networks see of them.
        explained: what Grad-CAM explains: "answer", of each model its own, or "label", the class of the image.
        boxes: for each of the images `[n, 4]`, n >= 1: left, top, right and bottom in its pixels, as the batches hold
            it. An image none of whose boxes is in what a network sees has no goodness.
        neurons: of each image, whose gradients are taken one by one.
        shown: images on the sheets, spread evenly over all.
        batch_size: images of one backward pass.

    Raises:
        ValueError: for no model or image, boxes of another number, models that see images of different sizes, that
            scale each image by itself, or that do not tell the classes whose labels are to be explained, and as
            `grad_cam` and `gradient_saliency`.

    Source: Selvaraju et al. 2017, arXiv:1610.02391; Simonyan et al. 2014, arXiv:1312.6034.
    """
    if not models:
        raise ValueError("models must hold at least one model, got none")
    if _check.choice("explained", explained, ("answer", "label")) == "label":
        classifying(models, images)
    settings = _Settings(
        explained == "label",
        _check.whole("neurons", neurons, least=1),
        _check.whole("shown", shown, least=1),
        _check.whole("batch_size", batch_size, least=1),
    )
    looks = {name: _look(model, images, boxes, settings) for name, model in models.items()}
    first = next(iter(looks.values()))
    sizes = {name: tuple(look.shown[0].pixels.shape[1:]) for name, look in looks.items()}
    if len(set(sizes.values())) > 1:
        raise ValueError(f"models must see images of one size for their maps to be compared, got {sizes}")
    return Section(
        name="saliency",
        title="Saliency",
        text=_text(first.images, settings, boxes is not None),
        record=_record(looks),
        tables=_tables(looks),
        figures=_figures(looks, images.classes, settings.labels),
    )


@dataclass(frozen=True)
class _Settings:
    labels: bool  # whether Grad-CAM explains them
    neurons: int
    shown: int
    batch_size: int


@dataclass(frozen=True)
class _Shown:
    """One image for a sheet."""

    place: int  # among all images
    label: int
    pixels: Tensor  # [3, H, W], in [0, 1], what the model sees of it
    boxes: Tensor  # in them
    maps: dict[str, Tensor]


@dataclass
class _Look:
    """What one model gives: by the kind of map the measures of every image; and the images for a sheet."""

    images: int = 0
    measures: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    shown: list[_Shown] = field(default_factory=list)


def _look(model: Model, images: LabeledImages, boxes: Sequence[Tensor] | None, settings: _Settings) -> _Look:
    look, apart = _Look(), 1
    for batch in DeviceLoader(images, model.device):
        seen = _Seen(model, batch)
        begin = look.images
        look.images += len(seen.views)
        if boxes is not None and look.images > len(boxes):
            raise ValueError(f"boxes must be one an image, got {len(boxes)} for {look.images} images or more")
        own = None if boxes is None else boxes[begin : look.images]
        masks = None if own is None else seen.masks(own)
        maps = _maps(model, seen.views, batch[1], settings)
        for kind, each in maps.items():
            _add(look.measures.setdefault(kind, {measure: [] for measure in UNITS}), each, masks)
        for i in range(len(seen.views)):
            if (begin + i) % apart == 0:
                corners = torch.empty(0, 4) if own is None else seen.corners(i, own[i])
                pictures = {kind: each[i].cpu() for kind, each in maps.items()}
                look.shown.append(_Shown(begin + i, int(batch[1][i]), seen.pixels[i].cpu(), corners, pictures))
            if len(look.shown) == 2 * settings.shown:  # evenly over images whose number is not known before
                look.shown, apart = look.shown[::2], 2 * apart
    if not look.images:
        raise ValueError("images must hold at least one image, got none")
    if boxes is not None and len(boxes) != look.images:
        raise ValueError(f"boxes must be one an image, {look.images}, got {len(boxes)}")
    look.shown = [look.shown[i] for i in spread_over(len(look.shown), settings.shown)]
    return look


def _maps(model: Model, views: Tensor, labels: Tensor, settings: _Settings) -> dict[str, Tensor]:
    maps = {}
    if model.classes:
        chosen = labels if settings.labels else None
        maps[CAM] = grad_cam(model.logits, views, model.layer, classes=chosen, batch_size=settings.batch_size)
    with torch.no_grad(), evaluating(model.features):
        features = torch.cat([model.features(part) for part in views.split(settings.batch_size)])
    strongest = features.topk(min(settings.neurons, features.shape[1]), dim=1).indices
    gradient = gradient_saliency(model.features, views, strongest, batch_size=settings.batch_size)
    maps[GRADIENT] = normalized(_cut(gradient))
    return maps


def _cut(maps: Tensor) -> Tensor:
    """Maps cut off at their 99th percentiles: single pixels have gradients far above all others."""
    flat = maps.flatten(1)
    return maps.minimum(flat.kthvalue(math.ceil(0.99 * flat.shape[1]), dim=1).values[:, None, None])


class _Seen:
    """Images as a network sees them, as pixels too: what `prepare` makes of black and of white undoes its scaling."""

    def __init__(self, model: Model, batch: Any) -> None:
        images, _, *sizes = batch
        self._prepare = model.prepare
        self._images, self._sizes = images, sizes[:1]
        self.views = model.prepare(images, *self._sizes)
        self._black = model.prepare(torch.zeros_like(images[:1]), *(size[:1] for size in self._sizes))
        self._span = model.prepare(torch.full_like(images[:1], 255), *(size[:1] for size in self._sizes)) - self._black
        if not bool(self._span.any()):
            raise ValueError("prepare must scale all images alike, got the same of black and of white")
        self.pixels = self._undone(self.views)

    def masks(self, boxes: Sequence[Tensor]) -> Tensor:
        """bool `[N, H, W]`: where each image's boxes are in what the network sees."""
        return self._masks(boxes, *self._sizes)

    def corners(self, i: int, boxes: Tensor) -> Tensor:
        """The boxes `[n, 4]` of one image in what the network sees of it, without those that are not in it."""
        found = []
        for mask in self._masks(
            [box[None] for box in boxes], *(size[i].expand(len(boxes), -1) for size in self._sizes)
        ):
            rows, columns = mask.any(1).nonzero()[:, 0], mask.any(0).nonzero()[:, 0]
            if len(rows):
                found.append([int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1])
        return torch.tensor(found).reshape(-1, 4)

    def _masks(self, boxes: Sequence[Tensor], *sizes: Tensor) -> Tensor:
        height, width = self._images.shape[2:]
        inside = box_masks(boxes, (height, width)).to(self._images)
        return self._undone(self._prepare(255 * inside[:, None].expand(-1, 3, -1, -1), *sizes)).mean(1) > 0.5

    def _undone(self, views: Tensor) -> Tensor:
        # What is padded is of one value whatever the image.
        return torch.where(self._span == 0, 0, (views - self._black) / self._span).float().clamp(0, 1)


def _add(sums: dict[str, list[float]], maps: Tensor, masks: Tensor | None) -> None:
    far = spread(maps)
    sums["area"] += far.area.tolist()
    sums["entropy"] += far.entropy.tolist()
    if masks is None:
        return
    met = torch.full((len(maps),), math.nan, dtype=torch.float64)
    judged = masks.flatten(1).any(1) & ~far.area.isnan()  # a map of zeros does not look anywhere
    if bool(judged.any()):
        met[judged.cpu()] = goodness(maps[judged], masks[judged]).by_image.cpu()
    sums["goodness"] += met.tolist()


def _tables(looks: Mapping[str, _Look]) -> tuple[Table, ...]:
    rows: list[tuple[Cell, ...]] = []
    differences: list[tuple[Cell, ...]] = []
    first, *others = looks
    for kind in (CAM, GRADIENT):
        for name, look in looks.items():
            if measures := look.measures.get(kind):
                means = [unit * _mean(measures[measure])[0] for measure, unit in UNITS.items() if measures[measure]]
                rows.append((name, kind, sum(math.isnan(area) for area in measures["area"]), *means))
        for name in others:
            if any(kind not in looks[each].measures for each in (first, name)):
                continue
            one, other = (looks[each].measures[kind] for each in (first, name))
            for measure, unit in UNITS.items():
                pairs = zip(one[measure], other[measure], strict=True)
                mean, error, count = _mean([unit * (b - a) for a, b in pairs])
                if count:
                    differences.append((f"{name} − {first}", kind, measure, mean, error, count))
    header = ("network", "map", "maps of zeros", "area, %", "entropy, nats", "goodness, %")
    tables = (Table("Means over the images", header[: len(rows[0])], tuple(rows)),)
    if not differences:
        return tables
    header = ("networks", "map", "measure", "mean difference", "standard error", "images")
    return (*tables, Table("Differences on the same images, in the units above", header, tuple(differences)))


def _mean(values: Sequence[float]) -> tuple[float, float, int]:
    """Mean, its standard error, and the number of the values that are not NaN."""
    there = torch.tensor([value for value in values if not math.isnan(value)], dtype=torch.float64)
    count = len(there)
    mean = there.mean().item() if count else math.nan
    return mean, there.std().item() / count**0.5 if count > 1 else math.nan, count


def _record(looks: Mapping[str, _Look]) -> dict[str, Any]:
    first = next(iter(looks.values()))
    return {
        "images": first.images,
        "shown": [each.place for each in first.shown],
        "models": {
            name: {
                kind: {
                    measure: {"mean": _mean(values)[0], "by_image": values}
                    for measure, values in measures.items()
                    if values
                }
                for kind, measures in look.measures.items()
            }
            for name, look in looks.items()
        },
    }


def _figures(looks: Mapping[str, _Look], classes: Sequence[str], labels: bool) -> "dict[str, Figure]":
    shown = next(iter(looks.values())).shown
    explained = "the class of each image" if labels else "the answer of each network"
    boxes = " Outlines are the boxes." if any(len(each.boxes) for each in shown) else ""
    captions = {
        CAM: f"Grad-CAM of {explained}.{boxes}",
        GRADIENT: f"The greatest gradient over the neurons of the features that are strongest for each image.{boxes}",
    }
    figures = {}
    for kind, caption in captions.items():
        maps = {
            name: torch.stack([each.maps[kind] for each in look.shown])
            for name, look in looks.items()
            if kind in look.measures
        }
        if maps:
            figures[caption] = saliency_sheet(
                torch.stack([each.pixels for each in shown]),
                maps,
                labels=[classes[each.label] for each in shown] if classes else None,
                boxes=[each.boxes for each in shown],
            )
    return figures


def _text(count: int, settings: _Settings, boxed: bool) -> str:
    explained = "the class of the image" if settings.labels else "the network's own answer"
    text = f"""\
Where networks look on {count} images. Grad-CAM shows which places of the last convolutional maps speak for
{explained}; the gradient shows which pixels move the {settings.neurons} features most that are strongest for an image,
the greatest of their gradients at each pixel, cut off at the 99th percentile of the map.

Area is the share of pixels above half of a map's maximum, entropy that of the map divided by its sum: the greater
they are, the more broadly a network looks. Mishra et al. found broader maps after training on diffused images. A map of
zeros is left out of all means."""
    if boxed:
        text += """

Goodness says how well a map S meets the boxes B of its image: sum(S B) / (sum(B) + sum(max(S - B, 0))), 100 % at best,
over the images of which a box is in what the network sees."""
    return (
        text
        + """

Sources: Selvaraju et al. 2017, arXiv:1610.02391, for Grad-CAM; Simonyan et al. 2014, arXiv:1312.6034, for gradients;
Mishra et al. 2020, arXiv:2011.01901, for the comparison."""
    )

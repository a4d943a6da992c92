"""How sure a network is of its answers, and whether rightly so."""

import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from texfilters import _check
from texfilters.evaluate._classification import class_labels, matrix, returned
from texfilters.evaluate._training import evaluating
from texfilters.evaluate.figures import _BLUE, _INK, _PALE, _figure, _plain, _titled
from texfilters.evaluate.probes import _device
from texfilters.loader import DeviceLoader

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Probabilities that are worked on at a time: 64 MiB of them in float32.
_CELLS = 2**24
_OVER, _UNDER = "#eeb48a", "#a9cbdd"  # orange and blue, paler
_COLUMNS = 4


@dataclass(frozen=True)
class NetworkAnswers:
    """What a network answers to N labelled images, and how surely. Tensors `[N]`, on the CPU.

    Attributes:
        labels: int64.
        classes: int64, the answers.
        top: float32, the probability of the answer.
        entropy: float32, of the probabilities of all classes, in nats.
    """

    labels: Tensor
    classes: Tensor
    top: Tensor
    entropy: Tensor

    @property
    def right(self) -> Tensor:
        return self.classes == self.labels


@dataclass(frozen=True)
class Confidence:
    """Means over the images that all compared networks get right; NaN if there are none.

    Attributes:
        entropy: in nats.
        top: the probability of the answer.
        images: how many these are.
    """

    entropy: float
    top: float
    images: int


@dataclass(frozen=True)
class Calibration:
    """Confidence against accuracy in M bins of equal width; bin m holds probabilities in `((m - 1) / M, m / M]`.

    Attributes:
        error: the expected calibration error, the mean over the images of `|accuracy - confidence|` of their bins.
        greatest: the greatest of these differences, over the bins that hold an image.
        counts: images by bin.
        confidence, accuracy: means by bin, NaN in a bin without images.
    """

    error: float
    greatest: float
    counts: tuple[int, ...]
    confidence: tuple[float, ...]
    accuracy: tuple[float, ...]


@torch.no_grad()
def answers(probabilities: Tensor, labels: Tensor) -> NetworkAnswers:
    """The answers in probabilities `[N, C]`, as they are, without a temperature; of equal ones the lower class.

    Raises:
        ValueError: for no image, probabilities that are NaN, negative or do not sum to 1, labels outside of `[0, C)`.
    """
    matrix("probabilities", probabilities)
    class_labels("labels", labels, probabilities, probabilities.shape[1])
    parts = []
    for part in probabilities.split(max(1, _CELLS // probabilities.shape[1])):
        part = part if part.dtype == torch.float64 else part.float()
        sums = part.sum(1)
        # Half types round each of many classes.
        off = (part < 0).any(1) | ((sums - 1).abs() > 1e-2)
        if off.any():
            first = sums[off][0].item()
            raise ValueError(
                f"probabilities must be >= 0 and sum to 1, got {int(off.sum())} rows that do not, one of sum {first:g}"
            )
        parts.append(_summary(part))
    return _joined(parts, labels)


@torch.no_grad()
def network_answers(
    network: Callable[[Tensor], Tensor],
    batches: Iterable[Any],
    *,
    transform: Callable[[Any], Tensor] | None = None,
    device: torch.device | str | None = None,
) -> NetworkAnswers:
    """The answers of a network to labelled images, batch by batch; of each image four numbers are kept.

    Args:
        network: from a batch of its inputs to logits `[B, C]`, of which the softmax gives the probabilities. It is in
            evaluation mode meanwhile.
        batches: tuples that begin with images and labels `[B]`.
        transform: from a batch, on the device, to the network's inputs; None takes the images as they are.
        device: None is where the network's parameters are.

    Raises:
        ValueError: for no image, logits of another shape or whose softmax is NaN, labels outside of `[0, C)`.
    """
    device = _device(network, device)
    parts, labels = [], []
    classes = 0
    with evaluating(network):
        for batch in DeviceLoader(batches, device):
            logits = network(batch[0] if transform is None else transform(batch))
            returned("logits [B, C]", logits, batch[1])
            classes = classes or logits.shape[1]
            if logits.shape[1] != classes:
                raise ValueError(
                    f"network must return as many classes for every batch, got {classes} and {logits.shape[1]}"
                )
            parts.append(_summary(logits.float().softmax(1)))
            labels.append(batch[1])
    if not sum(map(len, labels)):
        raise ValueError("batches must hold at least one image, got none")
    joined = torch.cat(labels)
    result = _joined(parts, joined)
    bad = int(result.entropy.isnan().sum())
    if bad:
        raise ValueError(f"logits must be finite, got NaN or infinity for {bad} of the {len(result.top)} images")
    class_labels("labels", joined.cpu(), result.top, classes)
    return result


def shared_confidence(models: Mapping[str, NetworkAnswers]) -> dict[str, Confidence]:
    """Entropy and top probability of the answers that all models get right, so that none gains by easier images.

    Args:
        models: by name, their answers to the same images in the same order.

    Raises:
        ValueError: for no model, or answers to different images.

    Source: Mishra et al. 2020, arXiv:2011.01901, which compares two.
    """
    if not models:
        raise ValueError("models must hold at least one model, got none")
    first, *others = models.values()
    for name, model in models.items():
        if not torch.equal(model.labels, first.labels):
            raise ValueError(f"models must answer to the same images, but the labels of {name!r} are others")
    right = first.right
    for model in others:
        right = right & model.right
    images = int(right.sum())
    return {
        name: Confidence(model.entropy[right].double().mean().item(), model.top[right].double().mean().item(), images)
        for name, model in models.items()
    }


def calibration(given: NetworkAnswers, bins: int = 15) -> Calibration:
    """How far the probabilities of the answers are from their accuracy.

    Args:
        given: the answers of a network.
        bins: their number M.

    Raises:
        ValueError: for no image, probabilities that are NaN or outside of [0, 1], no bin.

    Source: Guo et al. 2017, arXiv:1706.04599, section 2; 15 bins as there.
    """
    bins = _check.whole("bins", bins, least=1)
    top = given.top.double()
    if not len(top) or not ((top >= 0) & (top <= 1 + 1e-2)).all():  # a softmax in half precision may exceed 1
        raise ValueError("given must hold probabilities in [0, 1] of at least one image")
    # In float32, where a probability that is meant to be an edge is one. A sum may be rounded to above 1.
    place = ((given.top * bins).ceil() - 1).clamp(0, bins - 1).long()
    counts = torch.bincount(place, minlength=bins)
    confidence = torch.bincount(place, weights=top, minlength=bins) / counts
    accuracy = torch.bincount(place, weights=given.right.double(), minlength=bins) / counts
    gaps = (accuracy - confidence).abs()
    filled = counts > 0
    return Calibration(
        error=((gaps * counts)[filled].sum() / len(top)).item(),
        greatest=gaps[filled].max().item(),
        counts=tuple(counts.tolist()),
        confidence=tuple(confidence.tolist()),
        accuracy=tuple(accuracy.tolist()),
    )


def reliability_diagram(models: Mapping[str, Calibration], title: str = "") -> "Figure":
    """Draw accuracy against confidence, a panel a model, and below it how many answers each bin holds.

    A bar ends at the greater of the two, its dark part at the smaller: the gap is orange where the network is too sure,
    pale blue where it is not sure enough.

    Raises:
        ValueError: for no model.
    """
    if not models:
        raise ValueError("models must hold at least one model, got none")
    columns = min(_COLUMNS, len(models))
    rows = -(-len(models) // columns)
    figure = _figure((3.2 * columns + 0.8, 4.2 * rows + 0.4))
    panels = figure.subplots(2 * rows, columns, sharex=True, squeeze=False, height_ratios=(3, 1) * rows)
    most = max(max(model.counts) / sum(model.counts) for model in models.values())
    for axes in panels.flat[2 * columns * (rows - 1) :]:
        axes.set_visible(False)
    for i, (name, model) in enumerate(models.items()):
        row, column = divmod(i, columns)
        upper, lower = panels[2 * row : 2 * row + 2, column]
        bins = len(model.counts)
        middles = [(m + 0.5) / bins for m in range(bins)]
        # A bin without images has no bar, unlike one without a right answer, whose gap is drawn.
        for middle, accuracy, confidence in zip(middles, model.accuracy, model.confidence, strict=True):
            if accuracy == accuracy:
                upper.bar(middle, min(accuracy, confidence), 0.92 / bins, color=_BLUE)
                color = _OVER if confidence > accuracy else _UNDER
                upper.bar(middle, abs(confidence - accuracy), 0.92 / bins, min(accuracy, confidence), color=color)
        upper.plot([0, 1], [0, 1], color=_PALE, lw=0.9, ls="--")
        said = textwrap.shorten(name, 40, placeholder=" ...")
        upper.set_title(f"{said}\nexpected error {100 * model.error:.1f} %", fontsize=10, color=_INK)
        total = sum(model.counts)
        lower.bar(middles, [100 * count / total for count in model.counts], 0.92 / bins, color=_PALE)
        lower.set_xlabel("confidence", color=_INK)
        upper.set_xlim(0, 1)
        upper.set_ylim(0, 1)
        lower.set_ylim(0, 105 * most)
        if column == 0:
            upper.set_ylabel("accuracy", color=_INK)
            lower.set_ylabel("answers, %", color=_INK)
        for axes in (upper, lower):
            axes.set_visible(True)
            axes.tick_params(labelbottom=axes is lower, labelleft=column == 0)
            _plain(axes)
    kinds = {"both": _BLUE, "confidence above accuracy": _OVER, "accuracy above confidence": _UNDER}
    for kind, color in kinds.items():
        panels[0, 0].bar(0, 0, color=color, label=kind)
    handles, labels = panels[0, 0].get_legend_handles_labels()
    ncols = 1 if columns == 1 else len(kinds)
    figure.legend(handles, labels, loc="outside lower center", ncols=ncols, frameon=False, fontsize=9)
    _titled(figure, title)
    return figure


def _summary(probabilities: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    top, classes = probabilities.max(1)
    return classes, top.float(), -torch.xlogy(probabilities, probabilities).sum(1).float()


def _joined(parts: list[tuple[Tensor, Tensor, Tensor]], labels: Tensor) -> NetworkAnswers:
    classes, top, entropy = (torch.cat(column).cpu() for column in zip(*parts, strict=True))
    return NetworkAnswers(labels.long().cpu(), classes, top, entropy)

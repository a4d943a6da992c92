"""What a contrastive model holds for similar: a query to its positive, to other images, to patches of its own image."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from texfilters import _check, patch_negatives
from texfilters.evaluate._classification import matrix, unit
from texfilters.evaluate._training import evaluating
from texfilters.evaluate.figures import _BLUE, _INK, _ORANGE, _PALE, _figure, _plain, _titled
from texfilters.evaluate.probes import _device
from texfilters.loader import DeviceLoader

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Cosines that are worked on at a time: 16 MiB of them, and some times as much to count them.
_CELLS = 2**22
_COLORS = {"positive": _BLUE, "other image": _PALE, "patch negative": _ORANGE}


@dataclass(frozen=True)
class Histogram:
    """Cosines in bins of equal width from -1 to 1, of which each holds its left edge, and the last one 1 too.

    Attributes:
        counts: cosines by bin.
        mean, deviation: of the cosines themselves, with n in the denominator; NaN without any.
    """

    counts: tuple[int, ...]
    mean: float
    deviation: float

    @property
    def total(self) -> int:
        return sum(self.counts)


@dataclass(frozen=True)
class Similarity:
    """Cosines of queries.

    Attributes:
        positive: with the key of another view of the same image.
        other: with the keys of all other images of the same batch.
        negative: with patch negatives of the same image.
    """

    positive: Histogram
    other: Histogram
    negative: Histogram


def similarity(query: Tensor, positive: Tensor, negative: Tensor, *, bins: int = 100) -> Similarity:
    """Histograms over one set of embeddings, all of whose images are others to each other.

    Args:
        query, positive: `[N, D]`, of any length.
        negative: `[N, D]`, or `[N, n, D]` for n patch negatives an image.
        bins: of each histogram.

    Raises:
        ValueError: for no image, embeddings of other shapes, NaN, infinite or of zeros, which have no direction.
    """
    sums = _Sums(_check.whole("bins", bins, least=1), query.device)
    sums.add(query, positive, negative)
    return sums.result()


@torch.no_grad()
def similarity_histograms(
    network: Callable[[Tensor], Tensor],
    batches: Iterable[Any],
    view: Callable[[Any], Tensor],
    *,
    key_network: Callable[[Tensor], Tensor] | None = None,
    negatives: Callable[[Tensor], Tensor] | None = None,
    device: torch.device | str | None = None,
    bins: int = 100,
) -> Similarity:
    """Histograms of a contrastive model, batch by batch; memory does not grow with the number of images.

    Args:
        network: from a batch of views to embeddings of queries `[B, D]`, which are normalized here.
        batches: images, or tuples that begin with them.
        view: from a batch, on the device, to augmented images `[B, C, H, W]`; called twice for query and positive.
        key_network: the same for keys and patch negatives, such as a momentum branch; None is `network`.
        negatives: from the views of the queries' images to their patch negatives `[B, C, H, W]`; None draws one of
            `patch_negatives` for each, with its sizes. Views may be normalized: tiling changes no value.
        device: None is where the network's parameters are.
        bins: of each histogram.

    Both networks are in evaluation mode meanwhile. Views and patches are drawn as their functions do, by default from
    torch's default generators: `torch.manual_seed` before it shows two models the same ones.

    Raises:
        ValueError: for no image, embeddings of another shape, NaN, infinite or of zeros.

    Source: Ge et al. 2021, arXiv:2110.14189, whose mean cosine with a patch negative is 0.404, 0.325 and 0.159 for
    models trained without patch negatives and with their weight 2 and 3.
    """
    device = _device(network, device)
    key_network = network if key_network is None else key_network
    sums = _Sums(_check.whole("bins", bins, least=1), device)
    with evaluating(network), evaluating(key_network):
        for batch in DeviceLoader(batches, device):
            first, second = view(batch), view(batch)
            patches = patch_negatives(first)[:, 0] if negatives is None else negatives(first)
            sums.add(network(first), key_network(second), key_network(patches))
    return sums.result()


def similarity_figure(models: Mapping[str, Similarity], title: str = "") -> "Figure":
    """Draw the three histograms of each model, such as before and after training, one panel below the other.

    Raises:
        ValueError: for no model.
    """
    if not models:
        raise ValueError("models must hold at least one model, got none")
    figure = _figure((7.6, 1.7 * len(models) + 0.8))
    panels = figure.subplots(len(models), 1, sharex=True, squeeze=False)[:, 0]
    lowest = 1.0
    for (name, model), axes in zip(models.items(), panels, strict=True):
        kinds = zip(_COLORS, (model.positive, model.other, model.negative), strict=True)
        for kind, histogram in kinds:
            if not histogram.total:
                continue
            bins = len(histogram.counts)
            edges = [2 * i / bins - 1 for i in range(bins + 1)]
            density = [count / histogram.total * bins / 2 for count in histogram.counts]
            color = _COLORS[kind]
            axes.stairs(density, edges, fill=True, color=color, alpha=0.3)
            axes.stairs(density, edges, color=color, lw=1.2, label=f"{kind}\nmean {_signed(histogram.mean)}")
            axes.axvline(histogram.mean, color=color, lw=1, ls=":")
            lowest = min(lowest, edges[next(i for i, count in enumerate(histogram.counts) if count)])
        axes.set_title(name, fontsize=10, color=_INK, loc="left")
        axes.legend(
            frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5), labelspacing=0.9, handlelength=1.4
        )
        axes.set_ylabel("density", color=_INK)
        axes.set_ylim(bottom=0)
        axes.set_yticks([])
        _plain(axes)
        axes.spines["left"].set_visible(False)
    panels[-1].set_xlim(max(-1.0, lowest - 0.05), 1)
    panels[-1].set_xlabel("cosine of a query", color=_INK)
    _titled(figure, title)
    return figure


def _signed(value: float) -> str:
    return f"{round(value, 3) + 0.0:.3f}"  # no -0.000


class _Sums:
    """Histograms and moments of the three kinds of pairs, on the device."""

    def __init__(self, bins: int, device: torch.device) -> None:
        self.bins = bins
        self.counts = torch.zeros(3, bins, dtype=torch.int64, device=device)
        self.moments = torch.zeros(3, 2, dtype=torch.float64, device=device)

    def add(self, query: Tensor, positive: Tensor, negative: Tensor) -> None:
        if positive.shape != query.shape:
            raise ValueError(
                f"positive must have the shape of query, {tuple(query.shape)}, got {tuple(positive.shape)}"
            )
        _directions("query", query)
        _directions("positive", positive)
        rows, dim = query.shape
        if negative.ndim not in (2, 3) or len(negative) != rows or negative.shape[-1] != dim:
            raise ValueError(
                f"negative must have shape [{rows}, {dim}] or [{rows}, n, {dim}], got {tuple(negative.shape)}"
            )
        _directions("negative", negative.reshape(-1, dim))
        with torch.autocast(query.device.type, enabled=False):
            q, k, t = (unit(x) for x in (query, positive, negative.reshape(rows, -1, dim)))
            self._count(2, (t @ q[:, :, None]).flatten())
            for start in range(0, rows, step := max(1, _CELLS // rows)):
                cosines = q[start : start + step] @ k.T
                own = cosines.diagonal(start)
                self._count(0, own)
                self._count(1, cosines.flatten())
                self._count(1, own, -1)

    def _count(self, kind: int, cosines: Tensor, times: int = 1) -> None:
        cosines = cosines.clamp(-1, 1)  # rounding may lead beyond
        places = ((cosines + 1) * (self.bins / 2)).long().clamp(max=self.bins - 1)
        self.counts[kind] += times * torch.bincount(places, minlength=self.bins)
        cosines = cosines.double()
        self.moments[kind] += times * torch.stack([cosines.sum(), cosines.square().sum()])

    def result(self) -> Similarity:
        if not int(self.counts[0].sum()):
            raise ValueError("batches must hold at least one image, got none")
        histograms = []
        for counts, (first, second) in zip(self.counts.tolist(), self.moments.tolist(), strict=True):
            total = sum(counts)
            mean = first / total if total else float("nan")
            deviation = max(second / total - mean**2, 0.0) ** 0.5 if total else float("nan")
            histograms.append(Histogram(tuple(counts), mean, deviation))
        return Similarity(*histograms)


def _directions(name: str, rows: Tensor) -> None:
    matrix(name, rows)
    zeros = len(rows) - int(rows.any(1).sum())
    if zeros:
        raise ValueError(f"{name} must not be zero, is for {zeros} of the {len(rows)} images")

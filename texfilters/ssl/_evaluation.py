"""Views of labeled images for the measurements of `texfilters.evaluate`."""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from texfilters.evaluate.sections._numbers import spread_over
from texfilters.ssl._loaders import InSequence, Loader, Shuffled
from texfilters.ssl._method import Batch
from texfilters.ssl.data import ImageData
from texfilters.ssl.views import CenterView, Views

View = Callable[[Batch], Tensor]
Three = Sequence[float] | None  # for red, green and blue; None is ImageNet's


def normalization(views: nn.Module) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and deviation that views are normalized by; those that say nothing are taken to be in [0, 1]."""
    return getattr(views, "mean", (0.0,) * 3), getattr(views, "std", (1.0,) * 3)


def centered(size: int, mean: Three = None, std: Three = None, share: float | None = None) -> View:
    """The middle of every image of a batch, normalized.

    `share` as in `CenterView`; None is 224/256, or 1 where images are no larger than the view, as CIFAR-10's are.
    """
    return _centered(size, share, **_given(mean, std))


# Methods ask for theirs at every batch that they validate with.
@functools.lru_cache(maxsize=8)
def _centered(size: int, share: float | None, **numbers: Any) -> View:
    @functools.cache
    def view(side: int, device: torch.device) -> CenterView:
        kept = share if share is not None else 1.0 if side <= size else 224 / 256
        return CenterView(size, share=kept, **numbers).to(device)

    return lambda batch: view(batch[0].shape[-1], batch[0].device)(batch[0], batch[2])


def cropped(size: int, mean: Three = None, std: Three = None) -> View:
    """A random crop of at least 8 % of every image, flipped with probability 0.5, as linear classifiers train on."""
    numbers = _given(mean, std)

    @functools.cache
    def view(device: torch.device) -> Views:
        return Views(size, scale=(0.08, 1.0), jitter=0.0, gray=0.0, suppress=None, **numbers).to(device)

    return lambda batch: view(batch[0].device)(batch[0], batch[2])


def _given(mean: Three, std: Three) -> dict[str, Any]:
    return {name: tuple(three) for name, three in (("mean", mean), ("std", std)) if three is not None}


def shuffled(data: ImageData, batch_size: int, seed: int) -> Loader:
    """Batches of all labeled training images in another order each epoch; what fills no batch waits for another."""
    return data.loader("train", lambda count: Shuffled(count, batch_size, seed))


def labeled(data: ImageData, split: str, batch_size: int, limit: int | None = None) -> Loader:
    """Batches of all labeled images of "train" or "val", or of at most `limit` of them, evenly over their order."""
    if not data.classes:
        return data.labeled(split)  # says why there are none
    return data.loader(split, lambda count: Some(spread_over(count, limit), batch_size))


class Some(InSequence):
    """Images at some places in the order of all, one after the other."""

    def __init__(self, places: Sequence[int], batch_size: int) -> None:
        self.places = list(places)
        super().__init__(len(self.places), batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        for start in range(0, self.count, self.batch_size):
            yield self.places[start : start + self.batch_size]

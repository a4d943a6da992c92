"""What is measured: networks with their classifiers, and labeled images."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Model:
    """A network as the measurements take it.

    Attributes:
        logits: from what `prepare` gives to `[B, len(classes)]`: the network and its classifier.
        features: from the same to `[B, D]`.
        prepare: from uint8 images `[B, 3, H, W]` of any size, on `device`, to what the network sees: cropped, resized
            and normalized. A second argument, `[B, 2]`, tells the heights and widths that squashed images had.
        classes: their names; none where there is no classifier.
        device: where the network is.
        layer: a part of `logits` for Grad-CAM, the last convolutional block; None leaves it to `last_maps`.
    """

    logits: nn.Module
    features: nn.Module
    prepare: Callable[..., Tensor]
    classes: tuple[str, ...]
    device: torch.device
    layer: nn.Module | None = None

    def view(self, batch: Any) -> Tensor:
        """What the network sees of a batch: of images, labels and, where they were squashed, their sizes."""
        images, _, *sizes = batch
        return self.prepare(images, *sizes[:1])


Models = Mapping[str, Model]


@dataclass(frozen=True)
class LabeledImages:
    """Batches of uint8 images, labels and maybe sizes, that can be gone through several times.

    Attributes:
        batches: such as `ImageData.labeled(split)` gives.
        classes: the names of the classes, in the order of their labels.
    """

    batches: Iterable[Any]
    classes: tuple[str, ...]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.batches)


def classifying(models: Models, images: LabeledImages) -> None:
    """Whether all models tell the classes that the images are labeled with.

    Raises:
        ValueError: for no model, one without a classifier, one with other classes.
    """
    if not models:
        raise ValueError("models must hold at least one model, got none")
    for name, model in models.items():
        if not model.classes:
            raise ValueError(f"models must have a classifier, but {name!r} has none")
        if model.classes != images.classes:
            raise ValueError(
                f"models must have the classes of the images, {_few(images.classes)}, got {_few(model.classes)} "
                f"for {name!r}"
            )


def _few(names: tuple[str, ...]) -> str:
    shown = ", ".join(names[:4])
    return f"{shown} and {len(names) - 4} more" if len(names) > 4 else shown

"""Right answers counted on the device, in as many cells as a measurement has, with one look at them at the end."""

from collections.abc import Sequence

import torch
from torch import Tensor

from texfilters.evaluate._classification import integers, returned


class RightAnswers:
    """How many answers of each cell are right; `shares` waits for the device, `add` does not.

    Args:
        cells: a name for each, for messages.
    """

    def __init__(self, cells: Sequence[str], device: torch.device) -> None:
        self.cells = cells
        self.right = torch.zeros(len(cells), dtype=torch.int64, device=device)
        self.bad = torch.zeros_like(self.right)
        self.outside = torch.zeros_like(self.right)
        self.beyond = torch.zeros((), dtype=torch.int64, device=device)
        self.images = [0] * len(cells)

    def check(self, images: Tensor) -> None:
        """Note images `[B, ...]` of floating point that do not lie in [0, 1], for `shares` to refuse."""
        if images.is_floating_point():
            self.beyond += (~((images >= 0) & (images <= 1)).flatten(1).all(1)).sum()

    def add(self, cell: int, logits: Tensor, labels: Tensor) -> None:
        """Scores `[B, C]`, of which the highest is the answer, and integer labels `[B]`."""
        returned("scores [B, C]", logits, labels)
        integers("labels", labels, logits)
        self.right[cell] += (logits.argmax(1) == labels).sum()
        self.bad[cell] += (~logits.isfinite().all(1)).sum()
        self.outside[cell] += ((labels < 0) | (labels >= logits.shape[1])).sum()
        self.images[cell] += len(labels)

    def shares(self) -> list[float]:
        """Right answers as a share of the images, by cell.

        Raises:
            ValueError: for no image, images that are NaN or beyond [0, 1], scores that are not finite, labels outside
                of the classes.
        """
        if not all(self.images):
            raise ValueError("batches must hold at least one image, got none")
        beyond = int(self.beyond)
        if beyond:
            raise ValueError(f"images must lie in [0, 1], before any normalization, got {beyond} that do not")
        outside = int(self.outside.max())
        if outside:
            raise ValueError(f"labels must lie in [0, C) of the C scores, got {outside} that do not")
        for cell, bad, images in zip(self.cells, self.bad.tolist(), self.images, strict=True):
            if bad:
                raise ValueError(f"scores must be finite, got NaN or infinity for {bad} of {images} images, {cell}")
        return [right / images for right, images in zip(self.right.tolist(), self.images, strict=True)]

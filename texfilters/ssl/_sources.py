"""Where images come from: files that workers decode, or tensors that lie ready; and what could not be read."""

import logging
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.utils.data import Dataset

from texfilters.ssl import _decode
from texfilters.ssl._listing import Listing
from texfilters.ssl._method import Batch

_log = logging.getLogger(__name__)
_SHOWN = 5  # files that an error names

Failure = tuple[int, str]  # the number of a file, and why it cannot be read


class Faults:
    """The files that could not be read, and how many may be."""

    def __init__(self, listing: Listing, max_unreadable: float) -> None:
        self.listing, self.max_unreadable = listing, max_unreadable
        self.reasons: dict[str, str] = {}  # by path

    def count(self, failures: Iterable[Failure]) -> None:
        """Raises OSError once there are too many."""
        for index, reason in failures:
            path = self.listing.path(index)
            if path not in self.reasons:
                self.reasons[path] = reason
                _log.warning("skipped, cannot be read: %s (%s)", path, reason)
        if self.are_too_many(len(self.reasons)):
            some = [f"{path} ({reason})" for path, reason in list(self.reasons.items())[:_SHOWN]]
            raise OSError(
                f"{len(self.reasons)} of {len(self.listing)} images cannot be read, more than the share "
                f"max_unreadable={self.max_unreadable:g}: {', '.join(some)}"
                + (", ..." if len(self.reasons) > _SHOWN else "")
            )

    def are_too_many(self, count: int) -> bool:
        return count / len(self.listing) > self.max_unreadable


class Files(Dataset):
    """A listing's images by lists of their numbers, each list a batch, with what could not be read on the way.

    Where `replaces`, the next image that can be read, by number, takes the place of one that cannot, so that a batch
    is as large as was asked for and the same every time; else it is left out. A batch that falls short nevertheless
    comes with more failures than there may be.
    """

    def __init__(self, faults: Faults, side: int, *, replaces: bool) -> None:
        self.faults, self.side, self.replaces = faults, side, replaces

    def __len__(self) -> int:
        return len(self.faults.listing)

    def __getitems__(self, indices: Sequence[int]) -> tuple[Batch, list[Failure]]:
        images = torch.empty(len(indices), 3, self.side, self.side, dtype=torch.uint8)
        labels, sizes = torch.empty(len(indices), dtype=torch.int64), torch.empty(len(indices), 2)
        failures: dict[int, str] = {}
        filled = 0
        for index in indices:
            found = self._read(index, failures)
            while found is None and self.replaces and not self.faults.are_too_many(len(failures)):
                index = (index + 1) % len(self)
                found = self._read(index, failures)
            if found is not None:
                images[filled], size = found
                labels[filled], sizes[filled] = int(self.faults.listing.labels[index]), torch.tensor(size)
                filled += 1
        return Batch(images[:filled], labels[:filled], sizes[:filled]), list(failures.items())

    def _read(self, index: int, failures: dict[int, str]) -> tuple[Tensor, tuple[int, int]] | None:
        if index not in failures:
            try:
                return _decode.read(self.faults.listing.path(index), self.side)
            except _decode.Unreadable as error:
                failures[index] = str(error)
        return None

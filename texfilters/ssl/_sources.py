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
        self.most = int(max_unreadable * len(listing))
        self.reasons: dict[str, str] = {}  # by path

    def count(self, failures: Iterable[Failure]) -> None:
        """Raises RuntimeError once there are too many."""
        for index, reason in failures:
            path = self.listing.path(index)
            if path not in self.reasons:
                self.reasons[path] = reason
                _log.warning("skipped, cannot be read: %s (%s)", path, reason)
        if len(self.reasons) > self.most:
            some = [f"{path} ({reason})" for path, reason in list(self.reasons.items())[:_SHOWN]]
            raise RuntimeError(
                f"{len(self.reasons)} of {len(self.listing)} images cannot be read, more than the share "
                f"max_unreadable={self.max_unreadable:g}: {', '.join(some)}"
                + (", ..." if len(self.reasons) > _SHOWN else "")
            )


class Files(Dataset):
    """A listing's images by lists of their numbers, each list a batch, with what could not be read on the way.

    Where `replaces`, the next image that can be read, by number, takes the place of one that cannot, so that a batch
    is as large as was asked for and the same every time; else it is left out.
    """

    def __init__(self, listing: Listing, side: int, most: int, *, replaces: bool) -> None:
        self.listing, self.side, self.most, self.replaces = listing, side, most, replaces

    def __len__(self) -> int:
        return len(self.listing)

    def __getitems__(self, indices: Sequence[int]) -> tuple[Batch, list[Failure]]:
        images = torch.empty(len(indices), 3, self.side, self.side, dtype=torch.uint8)
        sizes = torch.ones(len(indices), 2)
        labels = torch.full((len(indices),), -1)
        failures: list[Failure] = []
        filled = 0
        for index in indices:
            found = self._readable(index, failures)
            if found is None:
                continue
            images[filled], sizes[filled], labels[filled] = found
            filled += 1
        return Batch(images[:filled], labels[:filled], sizes[:filled]), failures

    def _readable(self, index: int, failures: list[Failure]) -> tuple[Tensor, Tensor, int] | None:
        # Beyond `most` the loop that counts them stops the run.
        while len(failures) <= self.most:
            try:
                image, size = _decode.read(self.listing.path(index), self.side)
            except _decode.Unreadable as error:
                failures.append((index, str(error)))
                if not self.replaces:
                    return None
                index = (index + 1) % len(self.listing)
            else:
                return image, torch.tensor(size), int(self.listing.labels[index])
        return None

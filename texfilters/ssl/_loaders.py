"""Batches in the order of an epoch, from files by way of workers, or from tensors on the device."""

import weakref
from collections.abc import Callable, Generator, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from texfilters.ssl._crop import sent
from texfilters.ssl._method import Batch
from texfilters.ssl._seeds import generator_for
from texfilters.ssl._sources import Files


class Shuffled(Sampler[list[int]]):
    """The batches of an epoch on one of several processes: a function of seed, epoch and rank.

    All images in a random order are cut into as many batches as fit; each is cut again, into one for every process.
    What is left over waits for another epoch: no image comes twice, and all processes have as many batches.
    """

    def __init__(self, count: int, batch_size: int, seed: int, rank: int = 0, processes: int = 1) -> None:
        if count < batch_size * processes:
            there = f" on each of {processes} processes" if processes > 1 else ""
            raise ValueError(f"batch_size must be at most the number of images, got {batch_size}{there} for {count}")
        self.count, self.batch_size, self.seed, self.rank, self.processes = count, batch_size, seed, rank, processes
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count // (self.batch_size * self.processes)

    def __iter__(self) -> Iterator[list[int]]:
        order = torch.randperm(self.count, generator=generator_for(self.seed, self.epoch))
        whole = order[: len(self) * self.batch_size * self.processes]
        for batch in whole.view(len(self), self.processes, self.batch_size)[:, self.rank]:
            yield batch.tolist()


class InSequence(Sampler[list[int]]):
    """All images once, one after the other."""

    def __init__(self, count: int, batch_size: int) -> None:
        self.count, self.batch_size = count, batch_size

    def __len__(self) -> int:
        return -(-self.count // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        for start in range(0, self.count, self.batch_size):
            yield list(range(start, min(start + self.batch_size, self.count)))


Order = Shuffled | InSequence


class Loader:
    """Iterable over the batches of an epoch, which is looked at when the first one is asked for, not before.

    Lightning asks for an iterator before it has said which epoch is to come, above all when a run is resumed; it then
    calls `set_epoch` of whatever bears the name `sampler`.
    """

    batch_sampler = None  # where Lightning looks first whether what it validates with is shuffled

    def __init__(self, order: Order) -> None:
        self.sampler = order

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[Batch]:
        raise NotImplementedError

    def close(self) -> None:
        """End what works for it; it may be iterated over again."""


class FromFiles(Loader):
    """Decoded by workers, which stay from epoch to epoch if they are kept, until `close`."""

    def __init__(self, files: Files, order: Order, workers: int, *, pin: bool, keeps: bool) -> None:
        super().__init__(order)
        self.files, self.workers, self.pin, self.keeps = files, workers, pin, keeps
        self._loader: DataLoader[Any] | None = None
        self._under_way: Callable[[], Generator[Batch] | None] = lambda: None

    def __iter__(self) -> Iterator[Batch]:
        batches = self._batches()
        self._under_way = weakref.ref(batches)
        return batches

    def _batches(self) -> Generator[Batch]:
        if self._loader is None:
            self._loader = DataLoader(
                self.files,
                batch_sampler=self.sampler,
                num_workers=self.workers,
                collate_fn=_as_it_is,
                pin_memory=self.pin,
                persistent_workers=self.keeps and self.workers > 0,
                generator=torch.Generator(),  # else it would draw from torch's own
            )
        for batch, failures in self._loader:
            self.files.faults.count(failures)
            yield batch

    def close(self) -> None:
        # The garbage collector ends the queue to a worker before the worker, and then waits five seconds for each.
        if (batches := self._under_way()) is not None:
            batches.close()
        self._loader = None


class FromTensors(Loader):
    """Indexed where they are."""

    def __init__(self, tensors: Batch, order: Order) -> None:
        super().__init__(order)
        self.tensors = tensors

    def __iter__(self) -> Iterator[Batch]:
        device = self.tensors.images.device
        for indices in self.sampler:
            index = sent(torch.tensor(indices), device)
            yield Batch(*(values.index_select(0, index) for values in self.tensors))


def resident(loader: FromFiles, count: int, side: int, device: torch.device) -> Batch:
    """All that a loader in sequence gives, on a device."""
    images = torch.empty(count, 3, side, side, dtype=torch.uint8, device=device)
    labels: list[Tensor] = []
    sizes: list[Tensor] = []
    filled = 0
    for batch in loader:
        images[filled : filled + len(batch.images)] = batch.images.to(device, non_blocking=True)
        filled += len(batch.images)
        labels.append(batch.labels)
        sizes.append(batch.sizes)
    return Batch(images[:filled], torch.cat(labels).to(device), torch.cat(sizes).to(device))


def _as_it_is(batch: Any) -> Any:
    return batch

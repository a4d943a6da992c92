"""Batches on the GPU and transformed there, while the training step before them still runs."""

import copy
import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping, MutableSequence
from typing import Any, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


class DeviceLoader:
    """Copy the batches of a loader to a device and transform them there, one batch ahead of the loop.

    On a GPU the next batch is fetched, copied from pinned memory and transformed on a stream of its own before the
    one that is ready is handed out, so that a step finds its batch there even if the step before it waited for the
    GPU. The stream that is current in the loop then waits for the batch, not the host. On the CPU the transform is
    applied in line, and nothing is copied.

    Args:
        loader: a DataLoader or any other iterable. With `pin_memory=True` a DataLoader pins in a thread of its own;
            what is not pinned is pinned here, by the thread that iterates. Tensors that are on the device stay there.
        device: the CPU or a CUDA device; None is the current CUDA device if there is one, else the CPU.
        transform: called with each whole batch on the device, by the thread that iterates, so that its draws keep
            their order. On a GPU it is one batch ahead of the loop: what it keeps of a call, such as `last_draw`, is of
            the next batch; it must not read from the device what the loop changes there, nor fill tensors again that
            it has returned.

    A batch may nest tensors in mappings, lists, tuples and dataclasses, whose types are kept. An object with a `to` of
    its own is moved by that; its tensors must be its attributes, or nested in them, for their memory to be theirs until
    the loop's stream has read it. Whatever else is in a batch is passed on as it is. Up to three batches are on the
    device at a time: the one in use, the one that is ready and the one being prepared.

    An error is raised when the batch that it belongs to is due, not before. Leaving a loop early drops the batch that
    was prepared; on a GPU the loader is one batch further than the loop. A loader that fills the same pinned memory
    again and again must wait for its copy; a DataLoader never does so.

    It is no DataLoader: `len`, `dataset`, `sampler`, `batch_sampler` and `batch_size` are the loader's. Under
    DistributedDataParallel give the loader a DistributedSampler, and call `sampler.set_epoch`.

    Raises:
        TypeError: for a loader that cannot be iterated over, or a transform that cannot be called.
        ValueError: for a device that is neither a CPU nor a CUDA device.
        RuntimeError: for a CUDA device that is not there.
    """

    def __init__(
        self,
        loader: Iterable[Any],
        device: torch.device | str | int | None = None,
        transform: Callable[[Any], Any] | None = None,
    ) -> None:
        if not hasattr(loader, "__iter__") and not hasattr(loader, "__getitem__"):
            raise TypeError(f"loader must be a DataLoader or another iterable, got {type(loader).__name__}")
        if transform is not None and not callable(transform):
            raise TypeError(f"transform must be None or callable, got {type(transform).__name__}")
        self.loader: Any = loader
        self.device = _resolved(device)
        self.transform = transform

    def __iter__(self) -> Iterator[Any]:
        batches = iter(self.loader)
        if self.device.type == "cuda":
            # What the transform holds on the device may still be on its way there.
            _side_stream(self.device).wait_stream(torch.cuda.current_stream(self.device))
            return map(self._handed_over, _OneAhead(map(self._prepared, batches)))
        return batches if self.transform is None else map(self._transformed, batches)

    def _prepared(self, batch: Any) -> tuple[Any, torch.cuda.Event]:
        """The batch as it will be on the device, and the event by which it is."""
        stream = _side_stream(self.device)
        there = [tensor for tensor in _tensors(batch) if tensor.device == self.device]
        if there:
            stream.wait_stream(torch.cuda.current_stream(self.device))
        for tensor in there:
            tensor.record_stream(stream)
        with torch.cuda.stream(stream):
            batch = _moved(batch, self.device)
            if self.transform is not None:
                batch = self._transformed(batch)
            return batch, stream.record_event()

    def _transformed(self, batch: Any) -> Any:
        try:
            return self.transform(batch)  # type: ignore[misc]
        except StopIteration as error:  # of an iterator within it, which would end the loop as if it were the loader's
            raise RuntimeError("transform raised StopIteration") from error

    def _handed_over(self, prepared: tuple[Any, torch.cuda.Event]) -> Any:
        """From now on the batch belongs to the stream that the caller is on."""
        batch, ready = prepared
        stream = torch.cuda.current_stream(self.device)
        stream.wait_event(ready)
        for tensor in _tensors(batch):
            if tensor.device == self.device:
                # Else its memory would go back to the side stream while the caller's still reads it.
                tensor.record_stream(stream)
        return batch

    def __len__(self) -> int:
        return len(self.loader)

    @property
    def dataset(self) -> Any:
        return self.loader.dataset

    @property
    def sampler(self) -> Any:
        return self.loader.sampler

    @property
    def batch_sampler(self) -> Any:
        return self.loader.batch_sampler

    @property
    def batch_size(self) -> int | None:
        return self.loader.batch_size


def _resolved(device: torch.device | str | int | None) -> torch.device:
    """With its index, if it is a CUDA device."""
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    found = torch.device(device)
    if found.type not in ("cpu", "cuda"):
        raise ValueError(f"device must be a CPU or a CUDA device, got {str(found)!r}")
    if found.type == "cpu":
        return found
    there = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if there <= (found.index or 0):
        raise RuntimeError(f"device {str(found)!r} is not there: PyTorch sees {there} CUDA devices")
    return found if found.index is not None else torch.device("cuda", torch.cuda.current_device())


@functools.cache
def _side_stream(device: torch.device) -> torch.cuda.Stream:
    """One a device: memory goes back to the stream that it was allocated on, so a new stream would need new memory."""
    return torch.cuda.Stream(device)


class _OneAhead(Iterator[T]):
    """The items of an iterator, each given out after the next one was asked for.

    What the next one comes to, an error or the end, is kept until its turn.
    """

    def __init__(self, items: Iterator[T]) -> None:
        self._items = items
        self._next: tuple[Any, Exception | None] | None = None

    def __next__(self) -> T:
        # Kept at once: an interrupt while the next one is fetched must not lose it.
        self._next = item, error = self._next or next(_outcome(self._items))
        self._next = None if error else next(_outcome(self._items))
        if error is not None:
            try:
                raise error
            finally:
                del error  # its traceback holds this frame
        return item


def _outcome(items: Iterator[Any]) -> Iterator[tuple[Any, Exception | None]]:
    """Once: the next item, or what was raised in its place.

    A generator's frame forgets who called it. Without it a kept error, whose traceback reaches every caller, would
    keep what keeps it: batches and workers would wait for the garbage collector.
    """
    try:
        item = next(items)
    except Exception as error:  # StopIteration, too
        yield None, error
    else:
        yield item, None


def _moved(batch: Any, device: torch.device) -> Any:
    """The batch with its tensors on the device, by copies that the host does not wait for.

    By the rules of `torch.utils.data` for pinning, which know more types than PyTorch's trees do; and dataclasses.
    """
    if isinstance(batch, Tensor):
        return _pinned(batch).to(device, non_blocking=True)
    if isinstance(batch, type):  # has the methods of its objects
        return batch
    if hasattr(batch, "to"):
        batch = batch.pin_memory() if hasattr(batch, "pin_memory") else batch
        try:
            return batch.to(device, non_blocking=True)
        except TypeError:  # knows of no such option
            return batch.to(device)
    clone: Any
    if isinstance(batch, MutableMapping):
        clone = copy.copy(batch)
        for key, value in batch.items():
            clone[key] = _moved(value, device)  # update() of a Counter would add
        return clone
    if isinstance(batch, Mapping):
        return type(batch)({key: _moved(value, device) for key, value in batch.items()})  # type: ignore[call-arg]
    if isinstance(batch, tuple):
        items = (_moved(item, device) for item in batch)
        return type(batch)(*items) if hasattr(batch, "_fields") else type(batch)(items)
    if isinstance(batch, MutableSequence):
        clone = copy.copy(batch)
        for i, item in enumerate(batch):
            clone[i] = _moved(item, device)
        return clone
    if dataclasses.is_dataclass(batch):
        clone = copy.copy(batch)
        for field in dataclasses.fields(batch):
            object.__setattr__(clone, field.name, _moved(getattr(batch, field.name), device))  # frozen ones, too
        return clone
    return batch


def _pinned(tensor: Tensor) -> Tensor:
    """In pinned memory, which torch does not hand out again before the copies that were begun from it are done."""
    if tensor.device.type != "cpu" or tensor.is_pinned():
        return tensor
    if type(tensor) is Tensor and tensor.layout == torch.strided:
        return torch.empty_like(tensor, pin_memory=True).copy_(tensor)  # Tensor.pin_memory refuses expanded tensors
    return tensor.pin_memory()


_SPARSE = {  # the tensors of a sparse one, for which torch has no record_stream
    torch.sparse_coo: ("_indices", "_values"),
    torch.sparse_csr: ("crow_indices", "col_indices", "values"),
    torch.sparse_csc: ("ccol_indices", "row_indices", "values"),
    torch.sparse_bsr: ("crow_indices", "col_indices", "values"),
    torch.sparse_bsc: ("ccol_indices", "row_indices", "values"),
}


def _tensors(batch: Any) -> Iterator[Tensor]:
    """Every tensor of a batch that `_moved` would reach, those within objects that move themselves included."""
    if isinstance(batch, Tensor):
        parts = _SPARSE.get(batch.layout)
        yield from (getattr(batch, part)() for part in parts) if parts else [batch]
        return
    if isinstance(batch, Mapping):
        items: Iterable[Any] = batch.values()
    elif isinstance(batch, (tuple, MutableSequence)):
        items = batch
    elif dataclasses.is_dataclass(batch) and not isinstance(batch, type):
        items = [getattr(batch, field.name) for field in dataclasses.fields(batch)]
    elif hasattr(batch, "to"):
        items = getattr(batch, "__dict__", {}).values()
    else:
        return
    for item in items:
        yield from _tensors(item)

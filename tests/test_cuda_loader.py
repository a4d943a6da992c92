"""DeviceLoader on an NVIDIA GPU: right values whatever runs late, no waiting, overlap, no memory given away early."""

import dataclasses
from typing import Any, NamedTuple

import pytest
import torch
from torch.nn.utils.rnn import pack_sequence
from torch.utils.data import DataLoader, Dataset, TensorDataset

import texfilters
from cuda_cases import DEVICE, MARKS
from texfilters import loader as module
from texfilters.loader import DeviceLoader

pytestmark = MARKS

SHAPE = (4, 3, 128, 128)
LATE = 4_000_000  # cycles, some milliseconds: longer than the host needs to queue a step
LONG = 800_000_000  # some tenths of a second


def batches(count, memory="pageable"):
    """Number i is full of i."""
    for i in range(count):
        batch = torch.full(SHAPE, float(i))
        yield batch.pin_memory() if memory == "pinned" else batch


def late(batch):
    """A transform that ends long after the host has left it."""
    torch.cuda._sleep(LATE)
    return batch + 1000


def poison():
    """Overwrites whatever the allocator takes to be free for the current stream."""
    for _ in range(3):
        torch.full(SHAPE, -1.0, device=DEVICE)


def extremes(batch):
    return torch.stack(torch.aminmax(batch))


def steps(loader):
    """What late steps see of their batches; a batch is let go before the GPU has come to read it."""
    seen = []
    for batch in loader:
        torch.cuda._sleep(LATE)
        seen.append(extremes(batch))
        del batch
        poison()
    torch.cuda.synchronize()
    return [tuple(pair.tolist()) for pair in seen]


def numbered(count, offset):
    return [(i + offset, i + offset) for i in range(count)]


@pytest.mark.parametrize("memory", ["pageable", "pinned"])
def test_late_transforms_and_late_steps(memory):
    assert steps(DeviceLoader(batches(24, memory), transform=late)) == numbered(24, 1000)


def test_without_a_transform():
    assert steps(DeviceLoader(batches(24))) == numbered(24, 0)


def test_a_stream_of_the_callers():
    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        assert steps(DeviceLoader(batches(24), transform=late)) == numbered(24, 1000)


def test_a_data_loader_with_workers():
    dataset = TensorDataset(torch.arange(48.0).reshape(-1, 1, 1, 1).expand(-1, *SHAPE[1:]))
    for pin_memory in (False, True):
        loader = DataLoader(dataset, batch_size=1, num_workers=2, pin_memory=pin_memory)
        assert steps(DeviceLoader(loader, transform=lambda batch: late(batch[0]))) == numbered(48, 1000)


def test_a_buffer_that_the_loader_fills_again():
    """Copied into pinned memory before the loader goes on, though not to the GPU yet."""
    buffer = torch.empty(SHAPE)
    assert steps(DeviceLoader((buffer.fill_(i) for i in range(24)), transform=late)) == numbered(24, 1000)


def test_batches_that_are_on_the_device_already():
    """Made late on the caller's stream, and forgotten by the loader while the side stream still has to read them."""

    def made():
        for i in range(24):
            torch.cuda._sleep(LATE)
            batch = torch.full(SHAPE, float(i), device=DEVICE)
            yield batch
            del batch
            poison()

    assert steps(DeviceLoader(made(), transform=late)) == numbered(24, 1000)


def test_two_loops_at_once():
    loaders = [DeviceLoader(list(batches(6)), transform=lambda batch, i=i: late(batch) + i) for i in (0, 5000)]
    seen = []
    for one, other in zip(*loaders, strict=True):
        torch.cuda._sleep(LATE)
        seen.append(extremes(torch.stack([one, other])))
        del one, other
        poison()
    assert [tuple(pair.tolist()) for pair in seen] == [(1000 + i, 6000 + i) for i in range(6)]


def test_what_the_transform_holds_is_waited_for():
    torch.cuda._sleep(LATE)
    offset = torch.full((), 1000.0, device=DEVICE)
    assert steps(DeviceLoader(batches(3), transform=lambda batch: batch + offset)) == numbered(3, 1000)


def suppress(batch):
    """Parameters of each image are drawn on the host and sent along."""
    niter = torch.randint(0, 5, (len(batch["image"]),))
    return batch | {"image": texfilters.anisotropic_diffusion(batch["image"], niter, 20.0)}


@pytest.mark.parametrize("memory", ["pageable", "pinned"])
def test_nothing_waits_for_the_device(memory):
    images = [(torch.rand(SHAPE) * 255).to(torch.uint8) for _ in range(4)]
    if memory == "pinned":
        images = [image.pin_memory() for image in images]
    loader = DeviceLoader([{"image": image, "label": torch.arange(4)} for image in images], transform=suppress)

    def two_batches_during_a_step():
        torch.cuda._sleep(LONG)
        loop = iter(loader)
        return next(loop), next(loop)

    two_batches_during_a_step()  # compiles, and fills the allocators
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")  # knows of torch's own calls only
    try:
        taken = two_batches_during_a_step()
        returned_at_once = not torch.cuda.current_stream().query()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert returned_at_once
    assert all(batch["image"].is_cuda for batch in taken)


def test_the_next_batch_is_prepared_during_a_step():
    loader = DeviceLoader(list(batches(5)), transform=late)
    list(loader)  # fills the allocators
    torch.cuda.synchronize()
    loop = iter(loader)
    next(loop)
    torch.cuda._sleep(LONG)  # the step
    batch = next(loop)
    module._side_stream(torch.device(DEVICE, 0)).synchronize()
    assert not torch.cuda.current_stream().query()  # the step still runs, and what follows it is there
    assert extremes(batch).tolist() == [1001, 1001]


def test_memory_of_at_most_three_batches():
    size = torch.Size(SHAPE).numel() * 4
    for _ in range(2):
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        for batch in DeviceLoader(batches(8), transform=lambda batch: batch + 1):
            extremes(batch).tolist()
        del batch
        assert torch.cuda.max_memory_allocated() - before <= 4 * size + 2**20  # and the input of a transform
        assert torch.cuda.memory_allocated() == before


def test_leaving_early_gives_back_what_was_prepared():
    loader = DeviceLoader(list(batches(8)), transform=late)
    list(loader)
    before = torch.cuda.memory_allocated()
    for _ in range(3):
        for batch in loader:
            extremes(batch)
            break
        del batch
        assert torch.cuda.memory_allocated() == before
    assert steps(loader) == numbered(8, 1000)


def test_an_error_comes_in_its_turn():
    def fails(batch):
        if batch[0, 0, 0, 0].item() == 2:
            raise ArithmeticError("two")
        return late(batch)

    loop = iter(DeviceLoader(batches(4), transform=fails))
    seen = [extremes(next(loop)).tolist() for _ in range(2)]
    with pytest.raises(ArithmeticError, match="two"):
        next(loop)
    assert seen == [[1000, 1000], [1001, 1001]]
    assert torch.cuda.current_stream() == torch.cuda.default_stream()


class Pair(NamedTuple):
    image: Any
    label: Any


@dataclasses.dataclass(frozen=True)
class Sample:
    image: Any
    path: str


def test_nested_batches():
    tv_tensors = pytest.importorskip("torchvision.tv_tensors", reason="needs torchvision")
    image = torch.arange(48.0).reshape(1, 3, 4, 4)
    boxes = tv_tensors.BoundingBoxes(torch.ones(2, 4), format="XYXY", canvas_size=(4, 4))
    packed = pack_sequence([torch.arange(3.0), torch.arange(2.0)])
    batch = {
        "pair": Pair(image, [image.to(memory_format=torch.channels_last), "text"]),
        "sample": Sample(tv_tensors.Image(image), "a.png"),
        "expanded": torch.arange(3).reshape(3, 1).expand(-1, 5),
        "sliced": image[..., ::2],
        "boxes": boxes,
        "packed": packed,
        "sparse": image[0, 0].to_sparse(),
    }
    (moved,) = DeviceLoader([batch])
    assert type(moved["sample"].image) is tv_tensors.Image
    assert type(moved["boxes"]) is tv_tensors.BoundingBoxes
    assert moved["boxes"].canvas_size == (4, 4)
    assert moved["pair"].label[0].is_contiguous(memory_format=torch.channels_last)
    assert (moved["pair"].label[1], moved["sample"].path) == ("text", "a.png")
    assert moved["packed"].data.is_cuda
    assert not moved["packed"].batch_sizes.is_cuda
    for ours, theirs in zip(module._tensors(moved), module._tensors(batch), strict=True):
        assert ours.is_cuda or theirs is packed.batch_sizes
        assert torch.equal(ours.cpu(), theirs)


def test_what_is_pinned_stays_where_it_is():
    tensor = torch.ones(3).pin_memory()
    assert module._pinned(tensor) is tensor
    expanded = torch.ones(1).expand(5)
    assert module._pinned(expanded).is_pinned()
    assert torch.equal(module._pinned(expanded), expanded)
    on_device = torch.ones(3, device=DEVICE)
    assert module._pinned(on_device) is on_device


class OnTheDevice(Dataset):
    def __init__(self):
        self.image = torch.zeros(3, 8, 8, device=DEVICE)

    def __len__(self):
        return 1

    def __getitem__(self, i):
        return texfilters.gaussian_blur(self.image, 1.0)


def test_a_forked_worker_is_told_to_filter_elsewhere():
    with pytest.raises(RuntimeError, match="of no use in a forked process, such as a worker of a DataLoader"):
        next(iter(DataLoader(OnTheDevice(), num_workers=1, multiprocessing_context="fork")))


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_another_device_than_the_current_one():
    seen = []
    for batch in DeviceLoader(batches(12), "cuda:1", late):
        assert batch.device == torch.device("cuda:1")
        assert torch.cuda.current_device() == 0
        with torch.cuda.device(1):
            torch.cuda._sleep(LATE)
            seen.append(extremes(batch))
    assert [tuple(pair.tolist()) for pair in seen] == numbered(12, 1000)

"""DeviceLoader without a GPU: what it does on the CPU, and the order of what it would ask of CUDA."""

import gc
import multiprocessing
import os
import traceback

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler, IterableDataset

import texfilters
from fake_cuda import GPU, FakeCuda, FakeStream, FakeTensor
from texfilters import loader as module
from texfilters.loader import DeviceLoader


@pytest.fixture
def cuda(monkeypatch):
    fake = FakeCuda()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: fake.current)
    monkeypatch.setattr(torch.cuda, "stream", fake.stream)
    monkeypatch.setattr(torch.cuda, "Stream", lambda device: FakeStream(fake, "side"))
    module._side_stream.cache_clear()
    yield fake
    module._side_stream.cache_clear()


@pytest.fixture(params=["in line", "one ahead"])
def device(request):
    """The way on the CPU, and that on a GPU, where tensors stay on the CPU for want of one."""
    if request.param == "in line":
        return "cpu"
    request.getfixturevalue("cuda")
    request.getfixturevalue("monkeypatch").setattr(module, "_moved", lambda batch, device: batch)
    return "cuda"


class Numbers(Dataset):
    def __init__(self, bad=None):
        self.bad = bad

    def __len__(self):
        return 8

    def __getitem__(self, i):
        if i == self.bad:
            raise ValueError(f"no number {i}")
        return torch.tensor(i), os.getpid()


class TestTheOrderOfWhatCudaIsAskedFor:
    def test_a_whole_loop(self, cuda):
        def batches():
            for i in range(2):
                cuda.log.append(f"fetch {i}")
                yield {"image": FakeTensor(f"image {i}", cuda), "label": [FakeTensor(f"label {i}", cuda, "pinned")]}

        def transform(batch):
            image = batch["image"].called
            cuda.log.append(f"transform {image} on {cuda.current.name}")
            views = (FakeTensor(f"view of {image}", cuda, "device"), FakeTensor("left on the CPU", cuda))
            return {"views": views, "label": batch["label"]}

        for batch in DeviceLoader(batches(), "cuda", transform):
            cuda.log.append(f"step with {batch['views'][0].called} on {cuda.current.name}")
        assert cuda.log == [
            "side waits for caller",  # for what the transform holds
            "fetch 0",
            "pin image 0",
            "copy image 0 from pinned on side",
            "copy label 0 from pinned on side",
            "transform image 0 on side",
            "event 1 on side",
            "fetch 1",
            "pin image 1",
            "copy image 1 from pinned on side",
            "copy label 1 from pinned on side",
            "transform image 1 on side",
            "event 2 on side",
            "caller waits for event 1",
            "view of image 0 is used on caller",
            "label 0 is used on caller",
            "step with view of image 0 on caller",
            "caller waits for event 2",
            "view of image 1 is used on caller",
            "label 1 is used on caller",
            "step with view of image 1 on caller",
        ]

    def test_what_is_on_the_device_already_is_waited_for(self, cuda):
        def batches():
            for i in range(2):
                yield FakeTensor(f"{i}", cuda, "device"), FakeTensor(f"label {i}", cuda, "pinned")

        loop = iter(DeviceLoader(batches()))
        cuda.log.clear()
        next(loop)
        assert cuda.log[:4] == [
            "side waits for caller",
            "0 is used on side",
            "copy label 0 from pinned on side",
            "event 1 on side",
        ]
        assert cuda.log[-3:] == ["caller waits for event 1", "0 is used on caller", "label 0 is used on caller"]

    def test_the_stream_is_the_one_that_is_current_at_the_time(self, cuda):
        loop = iter(DeviceLoader([FakeTensor(f"{i}", cuda) for i in range(3)]))
        next(loop)
        with cuda.stream(FakeStream(cuda, "another")):
            next(loop)
        assert cuda.log[-2:] == ["another waits for event 2", "1 is used on another"]

    def test_one_side_stream_for_all_loops(self, cuda, monkeypatch):
        made = []
        stream = torch.cuda.Stream
        monkeypatch.setattr(torch.cuda, "Stream", lambda device: made.append(device) or stream(device))
        for loader in (DeviceLoader([]), DeviceLoader([], "cuda:0")):
            assert list(loader) == list(loader) == []
        assert made == [GPU]

    def test_a_transform_that_fails_leaves_the_side_stream(self, cuda):
        with pytest.raises(ZeroDivisionError):
            next(iter(DeviceLoader([1], "cuda", lambda batch: 1 / 0)))
        assert cuda.current.name == "caller"


class TestLoops:
    """In line and one ahead alike."""

    def test_every_batch_in_its_order(self, device):
        loader = DeviceLoader(DataLoader(range(7), batch_size=2), device, lambda batch: batch * 10)
        assert [batch.tolist() for batch in loader] == [[0, 10], [20, 30], [40, 50], [60]]
        assert len(loader) == len(list(loader)) == 4

    def test_without_a_transform(self, device):
        batches = [torch.zeros(2), {"a": torch.ones(3), "b": ["text"]}]
        assert all(out is batch for out, batch in zip(DeviceLoader(batches, device), batches, strict=True))

    def test_nothing_to_iterate_over(self, device):
        assert list(DeviceLoader([], device, lambda batch: 1 / 0)) == []

    def test_loops_within_loops(self, device):
        loader = DeviceLoader([1, 2, 3], device, lambda batch: -batch)
        assert [(i, j) for i in loader for j in loader] == [(-i, -j) for i in (1, 2, 3) for j in (1, 2, 3)]

    def test_an_error_of_the_transform_comes_in_its_turn(self, device):
        loop = iter(DeviceLoader([4, 2, 0, 1], device, lambda batch: 8 // batch))
        assert [next(loop), next(loop)] == [2, 4]
        with pytest.raises(ZeroDivisionError) as caught:
            next(loop)
        assert "8 // batch" in traceback.extract_tb(caught.tb)[-1].line

    def test_an_iterator_within_the_transform_that_ends_does_not_end_the_loop(self, device):
        others = iter([1])
        loop = iter(DeviceLoader([4, 2], device, lambda batch: batch + next(others)))
        assert next(loop) == 5
        with pytest.raises(RuntimeError, match="transform raised StopIteration"):
            next(loop)

    def test_draws_keep_their_order(self, device):
        """From torch's own generator, in the thread of the loop."""
        torch.manual_seed(3)
        drawn = list(DeviceLoader(range(4), device, lambda batch: torch.rand(()).item()))
        torch.manual_seed(3)
        assert drawn == torch.stack([torch.rand(()) for _ in range(4)]).tolist()

    def test_an_error_of_a_worker(self, device):
        loader = DeviceLoader(DataLoader(Numbers(bad=5), batch_size=2, num_workers=2), device, lambda batch: batch[0])
        loop = iter(loader)
        assert [next(loop).tolist(), next(loop).tolist()] == [[0, 1], [2, 3]]
        with pytest.raises(ValueError, match=r"Caught ValueError in DataLoader worker process(.|\n)*no number 5"):
            next(loop)
        assert next(loop).tolist() == [6, 7]  # a DataLoader goes on, if asked to
        del loop
        gc.collect()  # pytest's hold on the error
        assert multiprocessing.active_children() == []

    def test_leaving_early_leaves_no_worker(self, device):
        loader = DeviceLoader(DataLoader(Numbers(), num_workers=2), device)
        for _ in range(2):
            for _batch in loader:
                break
            assert multiprocessing.active_children() == []
        try:
            for _batch in loader:
                raise OSError("in the body")
        except OSError:
            pass
        assert multiprocessing.active_children() == []
        assert len(list(loader)) == 8

    def test_persistent_workers_stay(self, device):
        loader = DeviceLoader(DataLoader(Numbers(), num_workers=1, persistent_workers=True), device)
        first = {batch[1].item() for batch in loader}
        next(iter(loader))
        again = {batch[1].item() for batch in loader}
        assert first == again == {child.pid for child in multiprocessing.active_children()}
        del loader
        gc.collect()
        assert multiprocessing.active_children() == []


class TestFaces:
    def test_what_a_data_loader_tells(self):
        loader = DataLoader(Numbers(), batch_size=2, sampler=DistributedSampler(Numbers(), 2, 1))
        ours = DeviceLoader(loader, "cpu")
        for name in ("dataset", "sampler", "batch_sampler", "batch_size"):
            assert getattr(ours, name) is getattr(loader, name)
        assert len(ours) == len(loader) == 2
        ours.sampler.set_epoch(1)
        assert ours.device == torch.device("cpu")

    def test_what_a_list_does_not_tell(self):
        loader = DeviceLoader([1], "cpu")
        for name in ("dataset", "sampler", "batch_sampler", "batch_size"):
            with pytest.raises(AttributeError, match=f"'list' object has no attribute '{name}'"):
                getattr(loader, name)
            assert not hasattr(loader, name)

    def test_no_length(self):
        class Stream(IterableDataset):
            def __iter__(self):
                return iter(range(3))

        for source in (DataLoader(Stream(), batch_size=None), (i for i in range(3))):
            loader = DeviceLoader(source, "cpu", lambda batch: batch + 1)
            with pytest.raises(TypeError, match=r"has no len\(\)"):
                len(loader)
            assert list(loader) == [1, 2, 3]  # which asks for a length, too

    def test_the_default_device(self, cuda, monkeypatch):
        assert DeviceLoader([]).device == GPU
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        assert DeviceLoader([]).device == torch.device("cpu")

    def test_the_device_is_the_current_one_of_the_time(self, cuda, monkeypatch):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
        assert DeviceLoader([]).device == DeviceLoader([], "cuda").device == torch.device("cuda", 1)
        assert DeviceLoader([], 0).device == GPU

    def test_a_device_that_is_not_there(self, cuda, monkeypatch):
        with pytest.raises(RuntimeError, match="device 'cuda:1' is not there: PyTorch sees 1 CUDA devices"):
            DeviceLoader([], "cuda:1")
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        with pytest.raises(RuntimeError, match="device 'cuda' is not there: PyTorch sees 0 CUDA devices"):
            DeviceLoader([], "cuda")
        with pytest.raises(ValueError, match="device must be a CPU or a CUDA device, got 'mps'"):
            DeviceLoader([], "mps")

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ((3, "cpu"), "loader must be a DataLoader or another iterable, got int"),
            (([], "cpu", 3), "transform must be None or callable, got int"),
        ],
    )
    def test_what_is_of_no_use(self, arguments, message):
        with pytest.raises(TypeError, match=message):
            DeviceLoader(*arguments)

    def test_filters_in_line(self):
        images = (torch.rand(6, 3, 16, 16) * 255).to(torch.uint8)
        loader = DeviceLoader(images.split(2), "cpu", lambda batch: texfilters.anisotropic_diffusion(batch, 5, 20.0))
        assert torch.equal(torch.cat(list(loader)), texfilters.anisotropic_diffusion(images, 5, 20.0))


def test_a_cuda_tensor_in_a_forked_worker_is_refused_by_name(monkeypatch):
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: True)
    for backend in (None, *texfilters._backends.BACKENDS):
        with pytest.raises(RuntimeError, match="of no use in a forked process, such as a worker of a DataLoader"):
            texfilters._backends.resolve(backend, "cuda", 0)
    assert texfilters.gaussian_blur(torch.zeros(4, 4), 1.0).shape == (4, 4)

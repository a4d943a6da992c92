"""Stands in for CUDA where there is none: what it is asked for is written down."""

import contextlib

import torch
from torch import Tensor

GPU = torch.device("cuda", 0)


class FakeCuda:
    """Stands in for torch.cuda: its streams run nothing and write down what they are asked for."""

    def __init__(self):
        self.log: list[str] = []
        self.events = 0
        self.current = FakeStream(self, "caller")

    @contextlib.contextmanager
    def stream(self, stream):
        outer, self.current = self.current, stream
        try:
            yield
        finally:
            self.current = outer


class FakeStream:
    def __init__(self, cuda, name):
        self.cuda, self.name = cuda, name

    def wait_stream(self, other):
        self.cuda.log.append(f"{self.name} waits for {other.name}")

    def wait_event(self, event):
        self.cuda.log.append(f"{self.name} waits for {event}")

    def record_event(self):
        self.cuda.events += 1
        self.cuda.log.append(f"event {self.cuda.events} on {self.name}")
        return f"event {self.cuda.events}"


class FakeTensor(Tensor):
    """A tensor by name that writes down what is done to it, and on which stream."""

    @staticmethod
    def __new__(cls, called, cuda, memory="pageable"):
        tensor = Tensor._make_subclass(cls, torch.zeros(()))
        tensor.called, tensor.fake, tensor.memory = called, cuda, memory
        return tensor

    @property
    def device(self):
        return GPU if self.memory == "device" else torch.device("cpu")

    def is_pinned(self):
        return self.memory == "pinned"

    def pin_memory(self):
        self.fake.log.append(f"pin {self.called}")
        return FakeTensor(self.called, self.fake, "pinned")

    def to(self, device, non_blocking=False):
        assert device == GPU
        assert non_blocking
        if self.memory == "device":
            return self
        self.fake.log.append(f"copy {self.called} from {self.memory} on {self.fake.current.name}")
        return FakeTensor(self.called, self.fake, "device")

    def record_stream(self, stream):
        assert self.memory == "device"
        self.fake.log.append(f"{self.called} is used on {stream.name}")

"""What batches are made of, and what of it DeviceLoader moves."""

import collections
import dataclasses
import types
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from texfilters import loader as module


class Pair(NamedTuple):
    image: Any
    label: Any


@dataclasses.dataclass(frozen=True)
class Sample:
    image: Any
    label: Any = 0


@dataclasses.dataclass(slots=True)
class Slotted:
    image: Any


class Encoding(collections.UserDict):
    """A mapping that moves itself, as those of transformers do."""

    def to(self, device, *, non_blocking=False):
        assert non_blocking
        return Encoding({key: value.to(device) for key, value in self.items()})


class Boxes:
    """Moves itself, but not without waiting."""

    def __init__(self, tensor):
        self.tensor = tensor

    def to(self, device):
        return Boxes(self.tensor.to(device))


class Options(dict):
    name = "a dict with something to it"


def options(**values):
    made = Options(**values)
    made.name = "mine"
    return made


NESTED = {
    "tensor": lambda t: t,
    "tuple": lambda t: (t, 1, None),
    "list": lambda t: [t, "text", b"bytes", 2.5],
    "dict": lambda t: {"image": t, "path": "a.png"},
    "deeper": lambda t: [{"views": (t, [t])}, ({},), []],
    "namedtuple": lambda t: Pair(t, "label"),
    "dataclass": lambda t: Sample(t, [t]),
    "dataclass with slots": lambda t: Slotted(t),
    "ordered": lambda t: collections.OrderedDict(b=t, a=1),
    "default": lambda t: collections.defaultdict(list, a=t),
    "dict of its own": lambda t: options(image=t),
    "counter": lambda t: collections.Counter(a=2),
    "read only": lambda t: types.MappingProxyType({"image": t}),
    "deque": lambda t: collections.deque([t, t], maxlen=2),
    "packed": lambda t: pack_sequence([t.flatten(), t.flatten()[:3]]),
    "mapping that moves itself": lambda t: Encoding(image=t),
    "object that moves itself": lambda t: Boxes(t),
    "nothing to move": lambda t: ("text", 3, None, range(4), Sample, torch.nn.Module),
}


class TestNested:
    @pytest.fixture(autouse=True)
    def _pinned_by_name_only(self, monkeypatch):
        monkeypatch.setattr(module, "_pinned", lambda tensor: tensor)
        monkeypatch.setattr(Tensor, "pin_memory", lambda tensor: tensor)  # which PackedSequence calls

    @pytest.mark.parametrize("nested", NESTED.values(), ids=NESTED)
    def test_types_and_tensors(self, nested):
        batch = nested(torch.arange(6.0).reshape(2, 3))
        before = list(module._tensors(batch))
        moved = module._moved(batch, torch.device("meta"))
        assert type(moved) is type(batch)
        after = list(module._tensors(moved))
        assert [t.shape for t in after] == [t.shape for t in before]
        kept = ([1],) if isinstance(batch, PackedSequence) else ()  # its batch_sizes belong on the CPU
        assert {t.device.type for i, t in enumerate(after) if [i] not in kept} <= {"meta"}
        assert all(t.device.type == "cpu" for t in module._tensors(batch))  # the loader's own is as it was

    def test_the_rest_is_passed_on(self):
        tensor = torch.zeros(2)
        moved = {name: module._moved(nested(tensor), torch.device("meta")) for name, nested in NESTED.items()}
        assert moved["tuple"][1:] == (1, None)
        assert moved["list"][1:] == ["text", b"bytes", 2.5]
        assert moved["deeper"][1:] == [({},), []]
        assert moved["namedtuple"].label == "label"
        assert list(moved["ordered"]) == ["b", "a"]
        assert moved["default"]["new"] == []
        assert moved["dict of its own"].name == "mine"
        assert moved["counter"] == {"a": 2}
        assert moved["deque"].maxlen == 2
        assert moved["nothing to move"] == ("text", 3, None, range(4), Sample, torch.nn.Module)

    @pytest.mark.filterwarnings("ignore:.*[Ss]parse.* beta state")
    def test_sparse_tensors_are_known_by_their_parts(self):
        dense = torch.eye(4)
        for sparse, count in (
            (dense.to_sparse(), 2),
            (dense.to_sparse_csr(), 3),
            (dense.to_sparse_csc(), 3),
            (dense.to_sparse_bsr(2), 3),
            (dense.to_sparse_bsc(2), 3),
        ):
            parts = list(module._tensors({"graph": sparse}))
            assert len(parts) == count
            assert all(part.layout == torch.strided for part in parts)
            assert torch.equal(parts[-1].sum(), dense.sum())
            assert parts[-1].data_ptr() == list(module._tensors(sparse))[-1].data_ptr()  # and no copies

    def test_tv_tensors(self):
        tv_tensors = pytest.importorskip("torchvision.tv_tensors", reason="needs torchvision")
        batch = {
            "image": tv_tensors.Image(torch.zeros(3, 4, 5)),
            "boxes": tv_tensors.BoundingBoxes(torch.zeros(1, 4), format="XYWH", canvas_size=(4, 5)),
        }
        moved = module._moved(batch, torch.device("meta"))
        assert [type(t) for t in module._tensors(moved)] == [tv_tensors.Image, tv_tensors.BoundingBoxes]
        assert moved["boxes"].format == batch["boxes"].format
        assert moved["boxes"].canvas_size == (4, 5)

    def test_an_error_within_an_objects_own_move_is_told(self):
        class Broken:
            def to(self, device, non_blocking=False):
                raise TypeError("broken")

        with pytest.raises(TypeError, match="broken"):
            module._moved([Broken()], torch.device("meta"))

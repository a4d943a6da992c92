"""CIFAR-10 and STL-10, from files of their kind with other content."""

import importlib.util
import os
import pickle

import numpy as np
import pytest
import torch

for package in ("kornia", "lightning", "torchvision"):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs {package}", allow_module_level=True)

from torchvision import datasets  # noqa: E402

from texfilters.ssl.data import CIFAR10Data, STL10Data  # noqa: E402


@pytest.fixture(autouse=True)
def _any_files(monkeypatch):
    monkeypatch.setattr(datasets.cifar, "check_integrity", lambda path, md5=None: os.path.isfile(path))
    there = datasets.STL10.base_folder
    monkeypatch.setattr(datasets.STL10, "_check_integrity", lambda self: os.path.isdir(os.path.join(self.root, there)))


def test_cifar(tmp_path):
    base = tmp_path / "cifar-10-batches-py"
    base.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (60, 3072), dtype=np.uint8)
    names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    for i, name in enumerate(names):
        part = {"data": pixels[10 * i : 10 * i + 10], "labels": [i] * 10}
        (base / name).write_bytes(pickle.dumps(part))
    (base / "batches.meta").write_bytes(pickle.dumps({"label_names": ["a"] * 10}))
    module = CIFAR10Data(str(tmp_path), 16)
    train, val = (list(module.labeled(split)) for split in ("train", "val"))
    assert torch.equal(torch.cat([b.images for b in train]), torch.from_numpy(pixels[:50]).view(-1, 3, 32, 32))
    assert torch.cat([b.labels for b in train]).tolist() == [i // 10 for i in range(50)]
    assert val[0].labels.tolist() == [5] * 10
    assert val[0].sizes.tolist() == [[32, 32]] * 10
    assert [len(batch.images) for batch in module.train_dataloader()] == [16] * 3
    assert module.classes[3] == "cat"


def test_stl(tmp_path):
    base = tmp_path / "stl10_binary"
    base.mkdir()
    counts = {"train": 6, "unlabeled": 9, "test": 4}
    for i, (name, count) in enumerate(counts.items()):
        np.full((count, 3 * 96 * 96), 50 * i, np.uint8).tofile(base / f"{name}_X.bin")
        if name != "unlabeled":
            np.arange(1, count + 1, dtype=np.uint8).tofile(base / f"{name}_y.bin")
    (base / "class_names.txt").write_text("a\nb\n")
    module = STL10Data(str(tmp_path), 5)
    assert next(iter(module.labeled("train"))).labels.tolist() == [0, 1, 2, 3, 4]
    assert next(iter(module.labeled("val"))).images.unique().tolist() == [100]
    batches = list(module.train_dataloader())
    assert [batch.images.shape for batch in batches] == [(5, 3, 96, 96)] * 3
    grays = torch.cat([batch.images[:, 0, 0, 0] for batch in batches])
    assert grays.sort().values.tolist() == [0] * 6 + [50] * 9
    assert ((torch.cat([batch.labels for batch in batches]) == -1) == (grays == 50)).all()


@pytest.mark.parametrize("kind", [CIFAR10Data, STL10Data])
def test_what_is_missing_is_not_fetched_unasked(tmp_path, kind, monkeypatch):
    for known in (datasets.CIFAR10, datasets.STL10):
        monkeypatch.setattr(known, "download", lambda self: pytest.fail("fetched"))
    with pytest.raises(FileNotFoundError, match=f"{tmp_path} holds no {kind.__name__[:5]}.*download=True"):
        kind(str(tmp_path)).train_dataloader()

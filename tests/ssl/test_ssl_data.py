"""Data modules: what is read, in which order, on how many processes, and what happens to files that are damaged."""

import importlib.util
import itertools
import logging
import os
import pickle
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch

for package in ("kornia", "lightning", "torchvision"):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs {package}", allow_module_level=True)

import jsonargparse  # noqa: E402
from lightning import LightningModule, Trainer  # noqa: E402
from PIL import Image, ImageOps  # noqa: E402
from torchvision import datasets  # noqa: E402
from torchvision.transforms.v2 import functional as tvf  # noqa: E402

from texfilters.ssl import _decode  # noqa: E402
from texfilters.ssl._listing import classes_of, listed  # noqa: E402
from texfilters.ssl._loaders import InSequence, Shuffled  # noqa: E402
from texfilters.ssl.data import CIFAR10Data, FolderData, STL10Data  # noqa: E402

CLASSES = ("bird", "cat", "dog")


def level(label, number):
    """The gray level of a file, by which it is known again."""
    return 10 + 60 * label + 10 * number


def tree(root, classes=CLASSES, each=4, size=(12, 9)):
    for label, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for number in range(each):
            Image.new("RGB", size, (level(label, number),) * 3).save(root / name / f"{number}.png")
    return root


def levels(batch):
    assert (batch.images == batch.images[:, :1, :1, :1]).all()
    return batch.images[:, 0, 0, 0].tolist()


def flat(lists):
    return list(itertools.chain.from_iterable(lists))


def epoch(loader, number=0):
    loader.sampler.set_epoch(number)
    return [levels(batch) for batch in loader]


@pytest.fixture
def folder(tmp_path):
    return tree(tmp_path / "photos")


def data(root, batch_size=4, **options):
    return FolderData(str(root), batch_size, **{"side": 8, "workers": 0} | options)


class TestDecoding:
    def read(self, image, path, side=8, **options):
        image.save(path, **options)
        return _decode.read(str(path), side)

    @pytest.mark.parametrize(
        ("mode", "suffix"),
        [
            *(("RGB", "jpg"), ("L", "jpg"), ("CMYK", "jpg"), ("RGB", "png"), ("L", "png"), ("LA", "png")),
            *(("RGBA", "png"), ("P", "png"), ("1", "png"), ("RGB", "webp"), ("RGB", "bmp"), ("CMYK", "tif")),
            *(("RGB", "ppm"), ("L", "pgm"), ("P", "gif")),
        ],
    )
    def test_any_mode_becomes_rgb(self, tmp_path, photo, mode, suffix):
        image = tvf.to_pil_image(photo[:, :40, :60]).convert(mode)
        found, size = self.read(image, tmp_path / f"a.{suffix}", 32)
        assert (found.shape, found.dtype, size) == ((3, 32, 32), torch.uint8, (40, 60))
        with Image.open(tmp_path / f"a.{suffix}") as again:
            expected = tvf.pil_to_tensor(again.convert("RGB"))
        assert torch.equal(found, tvf.resize(expected, [32, 32], antialias=True))

    def test_16_bits(self, tmp_path):
        fine = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
        found, _ = self.read(Image.fromarray(fine), tmp_path / "a.png")
        assert torch.equal(found, torch.from_numpy(np.rint(fine / 257).astype(np.uint8)).expand(3, -1, -1))

    def test_a_palette_with_transparency(self, tmp_path, recwarn):
        image = Image.new("P", (8, 8), 1)
        image.putpalette([0, 0, 0, 200, 100, 50])
        found, _ = self.read(image, tmp_path / "a.png", transparency=b"\x00\x80")
        assert found[:, 0, 0].tolist() == [200, 100, 50]
        assert not recwarn.list

    def test_the_first_of_several_frames(self, tmp_path):
        frames = [Image.new("L", (8, 8), gray) for gray in (30, 200)]
        found, _ = self.read(frames[0], tmp_path / "a.gif", save_all=True, append_images=frames[1:])
        assert (found - 30).abs().max() <= 1

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_upright(self, tmp_path, photo, orientation):
        image = tvf.to_pil_image(photo[:, :32, :48])
        exif = Image.Exif()
        exif[0x0112] = orientation
        found, size = self.read(image, tmp_path / "a.png", 16, exif=exif)
        with Image.open(tmp_path / "a.png") as again:
            expected = tvf.pil_to_tensor(ImageOps.exif_transpose(again))
        assert size == tuple(expected.shape[1:]) == ((48, 32) if orientation > 4 else (32, 48))
        assert torch.equal(found, tvf.resize(expected, [16, 16], antialias=True))

    def test_exif_that_cannot_be_read_says_nothing(self, tmp_path, photo, recwarn):
        image = tvf.to_pil_image(photo[:, :16, :16])
        found, _ = self.read(image, tmp_path / "a.png", 16, exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
        assert torch.equal(found, photo[:, :16, :16])
        assert not recwarn.list

    def test_large_jpegs_are_decoded_smaller(self, tmp_path, photo, monkeypatch):
        image = tvf.to_pil_image(photo)
        exif = Image.Exif()
        exif[0x0112] = 6
        decoded = []
        resize = torch.nn.functional.interpolate

        def watched(images, *sizes, **options):
            decoded.append(tuple(images.shape[2:]))
            return resize(images, *sizes, **options)

        monkeypatch.setattr(_decode.functional, "interpolate", watched)
        found, size = self.read(image, tmp_path / "a.jpg", 40, quality=95, exif=exif)
        assert size == (320, 256)
        assert decoded == [(80, 64)]  # a quarter of it, no smaller than 40
        expected = tvf.resize(tvf.pil_to_tensor(ImageOps.exif_transpose(Image.open(tmp_path / "a.jpg"))), [40, 40])
        assert (found.int() - expected.int()).abs().float().mean() < 2

    @pytest.mark.parametrize(
        ("content", "why"),
        [
            (b"", "not an image"),
            (b"no image at all", "not an image"),
            (None, "No such file"),
            ("half", "truncated"),
            ("float", "mode F, whose range is unknown"),
        ],
    )
    def test_unreadable(self, tmp_path, photo, content, why):
        path = tmp_path / "a.jpg"
        if content == "half":
            tvf.to_pil_image(photo).save(path)
            path.write_bytes(path.read_bytes()[:3000])
        elif content == "float":
            Image.new("F", (8, 8)).save(path, format="TIFF")
        elif content is not None:
            path.write_bytes(content)
        with pytest.raises(_decode.Unreadable, match=why):
            _decode.read(str(path), 8)


class TestListing:
    def test_by_names_alone(self, tmp_path, caplog):
        for name in ("b/2.png", "b/10.JPG", "a/z/deep.webp", "a/.hidden.png", "a/note.txt", ".c/1.png", "beside.png"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        (tmp_path / "b" / "folder.png").mkdir()
        os.symlink(tmp_path / "a", tmp_path / "a" / "z" / "loop")
        os.symlink(tmp_path / "b" / "2.png", tmp_path / "a" / "link.png")
        os.symlink(tmp_path / "nowhere", tmp_path / "a" / "broken.png")
        found = listed(str(tmp_path))
        assert caplog.messages == [f"left out, beside the folders of classes: 1 images in {tmp_path}"]
        assert found.classes == ("a", "b")
        assert found.names.tolist() == [b"a/link.png", b"a/z/deep.webp", b"b/10.JPG", b"b/2.png"]
        assert found.labels.tolist() == [0, 0, 1, 1]
        assert found.path(3) == str(tmp_path / "b" / "2.png")

    def test_no_classes(self, tmp_path):
        Image.new("L", (4, 4)).save(tmp_path / "b.png")
        Image.new("L", (4, 4)).save(tmp_path / "a.png")
        found = listed(str(tmp_path))
        assert (found.classes, found.labels.tolist()) == ((), [-1, -1])

    def test_classes_of_a_list(self, tmp_path, folder):
        names = tmp_path / "names.txt"
        names.write_text("# of ImageNet-100\ndog  a pet\n\nbird\n")
        found = listed(str(folder), classes=classes_of(str(names)))
        assert found.classes == ("dog", "bird")
        assert found.names[[0, -1]].tolist() == [b"dog/0.png", b"bird/3.png"]
        assert found.labels.tolist() == [0] * 4 + [1] * 4

    def test_domains(self, tmp_path):
        tree(tmp_path / "photo")
        tree(tmp_path / "sketch", each=1)
        found = listed(str(tmp_path), ["sketch", "photo"])
        assert found.names.tolist()[:4] == [
            b"sketch/bird/0.png",
            b"sketch/cat/0.png",
            b"sketch/dog/0.png",
            b"photo/bird/0.png",
        ]
        assert found.labels.tolist() == [0, 1, 2, *[0] * 4, *[1] * 4, *[2] * 4]

    def test_refused(self, tmp_path, folder):
        with pytest.raises(FileNotFoundError, match="no-such"):
            listed(str(tmp_path / "no-such"))
        with pytest.raises(FileNotFoundError, match="has no folder for class fish"):
            listed(str(folder), classes=["cat", "fish"])
        with pytest.raises(ValueError, match="name a folder once, got cat several times"):
            listed(str(folder), classes=["cat", "cat"])
        (tmp_path / "empty").mkdir()
        with pytest.raises(ValueError, match=r"no images in .*empty.*; suffixes read are .*\.png"):
            listed(str(tmp_path / "empty"))
        (folder / "fish").mkdir()
        with pytest.raises(ValueError, match=r"no images in .*fish"):
            listed(str(folder))
        (tmp_path / "names.txt").write_text("\n# nothing\n")
        with pytest.raises(ValueError, match=r"names\.txt names no classes"):
            classes_of(str(tmp_path / "names.txt"))


class TestOrder:
    def test_every_process_its_own_part_of_every_batch(self):
        alone = Shuffled(50, 12, seed=3)
        several = [Shuffled(50, 4, 3, rank, 3) for rank in range(3)]
        assert len(alone) == 4
        for number in range(2):
            for sampler in (alone, *several):
                sampler.set_epoch(number)
            parts = [list(sampler) for sampler in several]
            assert [len(part) for part in parts] == [4, 4, 4]
            together = [flat(batches) for batches in zip(*parts, strict=True)]
            assert together == list(alone)
            used = flat(together)
            assert len(set(used)) == len(used) == 48
            assert set(used) < set(range(50))

    def test_a_function_of_seed_and_epoch(self):
        def order(seed, number):
            sampler = Shuffled(40, 10, seed)
            sampler.set_epoch(number)
            return flat(sampler)

        orders = {(seed, number): order(seed, number) for seed in range(3) for number in range(3)}
        assert len({tuple(found) for found in orders.values()}) == 9
        torch.manual_seed(5)
        assert order(1, 2) == orders[1, 2]

    def test_in_sequence(self):
        assert list(InSequence(7, 3)) == [[0, 1, 2], [3, 4, 5], [6]]
        assert len(InSequence(7, 3)) == 3

    def test_too_few(self):
        with pytest.raises(ValueError, match="batch_size must be at most the number of images, got 8 for 7"):
            Shuffled(7, 8, 0)
        with pytest.raises(ValueError, match="got 4 on each of 2 processes for 7"):
            Shuffled(7, 4, 0, 0, 2)


class TestFolder:
    def test_batches(self, folder):
        batch = next(iter(data(folder, 5).train_dataloader()))
        assert (batch.images.shape, batch.images.dtype) == ((5, 3, 8, 8), torch.uint8)
        assert (batch.labels.dtype, batch.sizes.dtype) == (torch.int64, torch.float32)
        assert batch.sizes.tolist() == [[9, 12]] * 5
        assert [(gray - 10) // 60 for gray in levels(batch)] == batch.labels.tolist()

    def test_workers_and_residents_give_the_same(self, folder):
        expected = [epoch(data(folder, 5).train_dataloader(), number) for number in range(2)]
        assert expected[0] != expected[1]
        assert [len(batch) for batch in expected[0]] == [5, 5]
        for options in ({"workers": 2}, {"resident": True}, {"resident": True, "workers": 1}):
            loader = data(folder, 5, **options).train_dataloader()
            assert [epoch(loader, number) for number in range(2)] == expected
        assert epoch(data(folder, 5, seed=1).train_dataloader()) != expected[0]

    @pytest.mark.parametrize("resident", [False, True])
    def test_labelled(self, folder, resident):
        module = data(folder, 5, resident=resident)
        expected = [level(label, number) for label in range(3) for number in range(4)]
        for _ in range(2):
            batches = list(module.labelled("train"))
            assert [len(batch.images) for batch in batches] == [5, 5, 2]
            assert flat(map(levels, batches)) == expected
            assert torch.cat([batch.labels for batch in batches]).tolist() == [0] * 4 + [1] * 4 + [2] * 4
        assert module.classes == CLASSES

    def test_torchs_random_state_is_left_alone(self, folder):
        loader = data(folder, 5, workers=1).train_dataloader()
        before = torch.get_rng_state()
        list(loader)
        assert torch.equal(torch.get_rng_state(), before)

    def test_what_workers_get_can_be_sent_to_them(self, folder):
        loader = data(folder).train_dataloader()
        again = pickle.loads(pickle.dumps(loader.loader.dataset))
        assert torch.equal(again.__getitems__([7])[0].images, loader.loader.dataset.__getitems__([7])[0].images)

    def test_train_and_val(self, tmp_path):
        tree(tmp_path / "train")
        tree(tmp_path / "val", each=2)
        assert sum(len(batch.images) for batch in data(tmp_path).labelled("train")) == 12
        assert sum(len(batch.images) for batch in data(tmp_path).labelled("val")) == 6
        assert (
            sum(len(batch.images) for batch in data(tmp_path / "val", val_root=tmp_path / "train").labelled("val"))
            == 12
        )

    def test_domains(self, tmp_path):
        for name, each in (("photo", 4), ("art", 3), ("sketch", 2)):
            tree(tmp_path / name, each=each)
        module = data(tmp_path, domains=["photo", "art"], val_domains=["sketch"])
        assert len(list(module.labelled("train"))[-1].images) == 21 % 4
        assert sum(len(batch.images) for batch in module.labelled("val")) == 6

    def test_classes_of_a_list(self, tmp_path, folder):
        (tmp_path / "names.txt").write_text("dog\nbird\n")
        module = data(folder, classes=str(tmp_path / "names.txt"))
        assert module.classes == ("dog", "bird")
        assert flat(map(levels, module.labelled("train")))[:4] == [level(2, number) for number in range(4)]

    def test_images_without_classes(self, folder):
        module = data(folder / "cat", 3)
        batch = next(iter(module.train_dataloader()))
        assert batch.labels.tolist() == [-1] * 3
        with pytest.raises(ValueError, match="there are no labels"):
            module.labelled("train")

    def test_refused(self, tmp_path, folder):
        with pytest.raises(ValueError, match="has no images to validate with: give val_root"):
            data(folder).labelled("val")
        with pytest.raises(ValueError, match="split must be one of 'train', 'val', got 'test'"):
            data(folder).labelled("test")
        with pytest.raises(FileNotFoundError, match="nowhere"):
            data(tmp_path / "nowhere").train_dataloader()
        with pytest.raises(ValueError, match="got 13 for 12"):
            data(folder, 13).train_dataloader()
        tree(tmp_path / "other", ("bird", "cat", "fish"))
        with pytest.raises(ValueError, match="must hold the same classes, only one of them has dog, fish"):
            data(folder, val_root=tmp_path / "other").labelled("val")
        with pytest.raises(ValueError, match=r"photos and .*other must hold the same classes"):
            data(tmp_path, domains=["photos", "other"]).train_dataloader()
        for options, match in (
            ({"max_unreadable": 2}, "max_unreadable must lie in"),
            ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
            ({"side": 0}, "side must be at least 1"),
            ({"val_domains": ["a"]}, "val_domains must come with domains"),
        ):
            with pytest.raises(ValueError, match=match):
                data(folder, **options)

    def test_the_rank_is_the_trainers(self, folder):
        modules = [data(folder, 3) for _ in range(2)]
        for rank, module in enumerate(modules):
            strategy = SimpleNamespace(root_device=torch.device("cpu"))
            module.trainer = SimpleNamespace(global_rank=rank, world_size=2, num_devices=2, strategy=strategy)
        parts = [epoch(module.train_dataloader()) for module in modules]
        together = [flat(batches) for batches in zip(*parts, strict=True)]
        assert together == epoch(data(folder, 6).train_dataloader())

    @pytest.mark.cuda
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
    @pytest.mark.parametrize("options", [{"resident": True}, {"resident": True, "workers": 1}, {"workers": 1}])
    def test_on_a_gpu(self, folder, options):
        module = data(folder, 5, **options)
        strategy = SimpleNamespace(root_device=torch.device("cuda", 0))
        module.trainer = SimpleNamespace(global_rank=0, world_size=1, num_devices=1, strategy=strategy)
        loader = module.train_dataloader()
        for batch, expected in zip(loader, data(folder, 5).train_dataloader(), strict=True):
            assert batch.images.is_cuda == ("resident" in options)
            assert all(values.is_cuda or values.is_pinned() for values in batch)
            for values, others in zip(batch, expected, strict=True):
                assert torch.equal(values.cpu(), others)
        if "resident" in options:
            torch.cuda.synchronize()
            torch.cuda.set_sync_debug_mode("error")
            try:
                list(loader)  # nothing waits for the GPU
            finally:
                torch.cuda.set_sync_debug_mode("default")

    def test_from_yaml(self, folder):
        parser = jsonargparse.ArgumentParser(exit_on_error=False)
        parser.add_class_arguments(FolderData, "data")
        given = (
            f"data:\n  root: {folder}\n  batch_size: 6\n  side: 8\n  workers: 0\n  domains: null\n  resident: true\n"
        )
        module = parser.instantiate(parser.parse_string(given)).data
        assert len(module.train_dataloader()) == 2
        with pytest.raises(jsonargparse.ArgumentError, match="batchsize"):
            parser.parse_string(given + "  batchsize: 3\n")


class TestUnreadable:
    @pytest.fixture
    def damaged(self, folder):
        (folder / "cat" / "1.png").write_bytes(b"no image")
        (folder / "dog" / "3.png").write_bytes(b"")  # the last of all
        return folder

    @pytest.mark.parametrize("workers", [0, 2])
    def test_the_next_takes_its_place_in_training(self, damaged, folder, workers, caplog):
        with caplog.at_level(logging.WARNING, "texfilters"):
            module = data(damaged, 6, workers=workers, max_unreadable=0.2)
            found = [epoch(module.train_dataloader(), number) for number in range(2)]
        shutil.copy(folder / "cat" / "2.png", folder / "cat" / "1.png")
        shutil.copy(folder / "bird" / "0.png", folder / "dog" / "3.png")
        whole = data(folder, 6, workers=workers)
        assert found == [epoch(whole.train_dataloader(), number) for number in range(2)]
        assert module.unreadable.keys() == {str(damaged / "cat" / "1.png"), str(damaged / "dog" / "3.png")}
        assert len(caplog.messages) == 2  # each of them once
        assert "cat/1.png (not an image" in " ".join(caplog.messages)

    @pytest.mark.parametrize("resident", [False, True])
    def test_left_out_of_what_is_labelled(self, damaged, resident):
        module = data(damaged, 5, max_unreadable=0.2, resident=resident)
        batches = list(module.labelled("train"))
        assert sum(len(batch.images) for batch in batches) == 10
        assert torch.cat([batch.labels for batch in batches]).tolist() == [0] * 4 + [1] * 3 + [2] * 3
        assert len(module.unreadable) == 2

    @pytest.mark.parametrize("options", [{}, {"workers": 1}, {"resident": True}])
    def test_too_many(self, damaged, options):
        match = r"2 of 12 images cannot be read, more than the share max_unreadable=0\.1: .*(cat/1|dog/3)\.png \(not an"
        with pytest.raises(RuntimeError, match=match):
            list(data(damaged, 12, max_unreadable=0.1, **options).train_dataloader())

    def test_all(self, folder):
        for path in folder.rglob("*.png"):
            path.write_bytes(b"")
        with pytest.raises(RuntimeError, match="of 12 images cannot be read"):
            list(data(folder, 12, max_unreadable=0.5).train_dataloader())
        with pytest.raises(RuntimeError, match="12 of 12 images cannot be read"):
            list(data(folder, 12, max_unreadable=0.99).labelled("train"))


class Watching(LightningModule):
    """Trains nothing, and keeps what it was given."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen = []

    def training_step(self, batch, batch_idx):
        self.seen.append((self.current_epoch, batch_idx, levels(batch)))
        return self.weight * batch.sizes.sum()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


@pytest.mark.parametrize("options", [{"workers": 1}, {"resident": True}])
def test_a_run_that_is_resumed_goes_on_in_the_same_order(tmp_path, folder, options):
    def run(epochs, checkpoint=None):
        module = Watching()
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        trainer = Trainer(
            max_epochs=epochs, accelerator="cpu", use_distributed_sampler=False, default_root_dir=tmp_path, **quiet
        )
        trainer.fit(module, data(folder, 5, **options), ckpt_path=checkpoint)
        return module.seen, trainer.checkpoint_callback.best_model_path

    whole, _ = run(3)
    first, checkpoint = run(1)
    rest, _ = run(3, checkpoint)
    assert first + rest == whole
    orders = [[seen for number, _, seen in whole if number == e] for e in range(3)]
    assert orders == [epoch(data(folder, 5).train_dataloader(), e) for e in range(3)]


class TestKnownSets:
    @pytest.fixture(autouse=True)
    def _any_files(self, monkeypatch):
        monkeypatch.setattr(datasets.cifar, "check_integrity", lambda path, md5=None: os.path.isfile(path))
        monkeypatch.setattr(datasets.STL10, "_check_integrity", lambda self: os.path.isdir(self._base()))
        monkeypatch.setattr(
            datasets.STL10, "_base", lambda self: os.path.join(self.root, self.base_folder), raising=False
        )

    def test_cifar(self, tmp_path):
        base = tmp_path / "cifar-10-batches-py"
        base.mkdir()
        pixels = np.random.default_rng(0).integers(0, 256, (60, 3072), dtype=np.uint8)
        names = [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
        for i, name in enumerate(names):
            part = {"data": pixels[10 * i : 10 * i + 10], "labels": [i] * 10}
            (base / name).write_bytes(pickle.dumps(part))
        (base / "batches.meta").write_bytes(pickle.dumps({"label_names": ["a"] * 10}))
        module = CIFAR10Data(str(tmp_path), 16)
        train, val = (list(module.labelled(split)) for split in ("train", "val"))
        assert torch.equal(torch.cat([b.images for b in train]), torch.from_numpy(pixels[:50]).view(-1, 3, 32, 32))
        assert torch.cat([b.labels for b in train]).tolist() == [i // 10 for i in range(50)]
        assert val[0].labels.tolist() == [5] * 10
        assert val[0].sizes.tolist() == [[32, 32]] * 10
        assert [len(batch.images) for batch in module.train_dataloader()] == [16] * 3
        assert module.classes[3] == "cat"

    def test_stl(self, tmp_path):
        base = tmp_path / "stl10_binary"
        base.mkdir()
        counts = {"train": 6, "unlabeled": 9, "test": 4}
        for i, (name, count) in enumerate(counts.items()):
            np.full((count, 3 * 96 * 96), 50 * i, np.uint8).tofile(base / f"{name}_X.bin")
            if name != "unlabeled":
                np.arange(1, count + 1, dtype=np.uint8).tofile(base / f"{name}_y.bin")
        (base / "class_names.txt").write_text("a\nb\n")
        module = STL10Data(str(tmp_path), 5)
        assert next(iter(module.labelled("train"))).labels.tolist() == [0, 1, 2, 3, 4]
        assert next(iter(module.labelled("val"))).images.unique().tolist() == [100]
        batches = list(module.train_dataloader())
        assert [batch.images.shape for batch in batches] == [(5, 3, 96, 96)] * 3
        grays = torch.cat([batch.images[:, 0, 0, 0] for batch in batches])
        assert grays.sort().values.tolist() == [0] * 6 + [50] * 9
        assert ((torch.cat([batch.labels for batch in batches]) == -1) == (grays == 50)).all()

    @pytest.mark.parametrize("kind", [CIFAR10Data, STL10Data])
    def test_what_is_missing_is_not_fetched_unasked(self, tmp_path, kind, monkeypatch):
        for known in (datasets.CIFAR10, datasets.STL10):
            monkeypatch.setattr(known, "download", lambda self: pytest.fail("fetched"))
        with pytest.raises(RuntimeError, match="download=True"):
            kind(str(tmp_path)).train_dataloader()

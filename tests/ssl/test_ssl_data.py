"""Data modules: in which order, on how many processes, and what happens to files that are damaged."""

import importlib.util
import logging
import multiprocessing
import pickle
import shutil
from types import SimpleNamespace

import pytest
import torch

for package in ("kornia", "lightning", "torchvision"):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs {package}", allow_module_level=True)

import jsonargparse  # noqa: E402
from lightning import Callback, LightningModule, Trainer  # noqa: E402

from data_cases import CLASSES, epoch, flat, level, levels, tree  # noqa: E402
from texfilters.ssl._loaders import InSequence, Shuffled  # noqa: E402
from texfilters.ssl.data import FolderData  # noqa: E402


@pytest.fixture
def folder(tmp_path):
    return tree(tmp_path / "photos")


def data(root, batch_size=4, **options):
    return FolderData(str(root), batch_size, **{"side": 8, "workers": 0} | options)


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
    def test_labeled(self, folder, resident):
        module = data(folder, 5, resident=resident)
        expected = [level(label, number) for label in range(3) for number in range(4)]
        for _ in range(2):
            batches = list(module.labeled("train"))
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
        again = pickle.loads(pickle.dumps(loader.files))
        assert torch.equal(again.__getitems__([7])[0].images, loader.files.__getitems__([7])[0].images)

    def test_train_and_val(self, tmp_path):
        tree(tmp_path / "train")
        tree(tmp_path / "val", each=2)
        assert sum(len(batch.images) for batch in data(tmp_path).labeled("train")) == 12
        assert sum(len(batch.images) for batch in data(tmp_path).labeled("val")) == 6
        assert (
            sum(len(batch.images) for batch in data(tmp_path / "val", val_root=tmp_path / "train").labeled("val")) == 12
        )

    def test_domains(self, tmp_path):
        for name, each in (("photo", 4), ("art", 3), ("sketch", 2)):
            tree(tmp_path / name, each=each)
        module = data(tmp_path, domains=["photo", "art"], val_domains=["sketch"])
        assert len(list(module.labeled("train"))[-1].images) == 21 % 4
        assert sum(len(batch.images) for batch in module.labeled("val")) == 6

    def test_classes_of_a_list(self, tmp_path, folder):
        (tmp_path / "names.txt").write_text("dog\nbird\n")
        module = data(folder, classes=str(tmp_path / "names.txt"))
        assert module.classes == ("dog", "bird")
        assert flat(map(levels, module.labeled("train")))[:4] == [level(2, number) for number in range(4)]

    def test_images_without_classes(self, folder):
        module = data(folder / "cat", 3)
        batch = next(iter(module.train_dataloader()))
        assert batch.labels.tolist() == [-1] * 3
        with pytest.raises(ValueError, match="there are no labels"):
            module.labeled("train")

    def test_validation_where_there_is_something_to_validate_with(self, tmp_path, folder):
        tree(tmp_path / "both" / "train")
        tree(tmp_path / "both" / "val", each=2)
        domains = {"domains": ["train"]}
        for module, count in (
            (data(tmp_path / "both"), 6),
            (data(folder, val_root=tmp_path / "both" / "val"), 6),
            (data(tmp_path / "both", **domains, val_domains=["val"]), 6),
            (data(tmp_path / "both", **domains), 0),
            (data(folder), 0),
            (data(folder / "cat"), 0),
        ):
            assert sum(len(batch.images) for batch in module.val_dataloader()) == count

    def test_refused(self, tmp_path, folder):
        with pytest.raises(ValueError, match="has no images to validate with: give val_root"):
            data(folder).labeled("val")
        with pytest.raises(ValueError, match="split must be one of 'train', 'val', got 'test'"):
            data(folder).labeled("test")
        with pytest.raises(FileNotFoundError, match="nowhere"):
            data(tmp_path / "nowhere").train_dataloader()
        with pytest.raises(ValueError, match="got 13 for 12"):
            data(folder, 13).train_dataloader()
        tree(tmp_path / "other", ("bird", "cat", "fish"))
        with pytest.raises(ValueError, match="must hold the same classes, only one of them has dog, fish"):
            data(folder, val_root=tmp_path / "other").labeled("val")
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

    def test_several_in_a_row_in_one_batch(self, folder):
        """Each of them is asked for and passed over several times, and counts once."""
        for number in range(3):
            (folder / "cat" / f"{number}.png").write_bytes(b"")
        module = data(folder, 12, max_unreadable=0.25)
        (batch,) = module.train_dataloader()
        assert sorted(levels(batch))[4:8] == [level(1, 3)] * 4
        assert len(module.unreadable) == 3

    @pytest.mark.parametrize("resident", [False, True])
    def test_left_out_of_what_is_labeled(self, damaged, resident):
        module = data(damaged, 5, max_unreadable=0.2, resident=resident)
        batches = list(module.labeled("train"))
        assert sum(len(batch.images) for batch in batches) == 10
        assert torch.cat([batch.labels for batch in batches]).tolist() == [0] * 4 + [1] * 3 + [2] * 3
        assert len(module.unreadable) == 2

    @pytest.mark.parametrize("options", [{}, {"workers": 1}, {"resident": True}])
    def test_too_many(self, damaged, options):
        match = r"2 of 12 images cannot be read, more than the share max_unreadable=0\.1: .*(cat/1|dog/3)\.png \(not an"
        with pytest.raises(OSError, match=match):
            list(data(damaged, 12, max_unreadable=0.1, **options).train_dataloader())

    def test_all(self, folder):
        for path in folder.rglob("*.png"):
            path.write_bytes(b"")
        with pytest.raises(OSError, match="of 12 images cannot be read"):
            list(data(folder, 12, max_unreadable=0.5).train_dataloader())
        with pytest.raises(OSError, match="12 of 12 images cannot be read"):
            list(data(folder, 12, max_unreadable=0.99).labeled("train"))


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


def fitted(tmp_path, module, epochs, checkpoint=None, **options):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        use_distributed_sampler=False,
        default_root_dir=tmp_path,
        **quiet,
        **options,
    )
    watching = Watching()
    trainer.fit(watching, module, ckpt_path=checkpoint)
    return watching.seen, trainer


@pytest.mark.parametrize("options", [{"workers": 1}, {"resident": True}])
def test_a_run_that_is_resumed_goes_on_in_the_same_order(tmp_path, folder, options):
    whole, _ = fitted(tmp_path, data(folder, 5, **options), 3)
    first, trainer = fitted(tmp_path, data(folder, 5, **options), 1)
    rest, _ = fitted(tmp_path, data(folder, 5, **options), 3, trainer.checkpoint_callback.best_model_path)
    assert first + rest == whole
    orders = [[seen for number, _, seen in whole if number == e] for e in range(3)]
    assert orders == [epoch(data(folder, 5).train_dataloader(), e) for e in range(3)]


@pytest.mark.parametrize("limit", [1, 2])
def test_workers_live_as_long_as_the_run(tmp_path, folder, limit):
    """From epoch to epoch, and no longer, whether it took all batches of an epoch or not."""
    found = []

    class Counting(Callback):
        def on_train_batch_start(self, *arguments):
            found.append([process.pid for process in multiprocessing.active_children()])

    module = data(folder, 5, workers=2)
    options = {"limit_train_batches": limit, "callbacks": [Counting()], "enable_checkpointing": False}
    fitted(tmp_path, module, 3, **options)
    assert len(found) == 3 * limit
    assert len(found[0]) == 2
    assert all(sorted(pids) == sorted(found[0]) for pids in found)
    assert multiprocessing.active_children() == []
    loader = module.train_dataloader()  # another time
    assert len(epoch(loader)) == 2
    loader.close()
    assert multiprocessing.active_children() == []

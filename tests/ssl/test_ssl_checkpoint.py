"""Checkpoints: whole or not there, read without running anything, refused where they do not fit."""

import os
import shutil
import zipfile

import pytest
import torch

pytest.importorskip("lightning", reason="needs lightning")

from ssl_runs import Toy, fit, loader
from texfilters.ssl import Backbone, Recipe, _checkpoint, load_backbone
from texfilters.ssl._checkpoint import AtomicCheckpointIO, check, read

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A method after an epoch, and its checkpoint."""
    folder = tmp_path_factory.mktemp("run")
    method = Toy(norm_splits=2)
    fit(method, folder, 1)
    return method, folder / "last.ckpt"


@pytest.fixture
def copied(trained, tmp_path):
    return shutil.copy(trained[1], tmp_path)


def changed(path, change):
    """The checkpoint after a change, with sums that fit it."""
    checkpoint = torch.load(path, weights_only=True)
    change(checkpoint)
    torch.save(checkpoint, path)
    return path


class TestReading:
    def test_what_it_says_is_plain(self, trained):
        about = read(trained[1])["texfilters"]
        assert about["format"] == 1
        assert about["method"] == "Toy"
        assert about["backbone"] == {"name": "six_layer", "small_images": False, "norm_splits": 2}
        assert about["settings"] == {"width": 4}
        assert about["seed"] == 0
        assert about["recipe"]["lr"] == 0.05
        assert about["run"]["epochs"] == 1
        assert about["run"]["batches an epoch"] == 3

    def test_the_backbone_comes_back(self, trained):
        method, path = trained
        backbone = load_backbone(path)
        assert not backbone.training
        assert backbone.norm_splits == 2
        images = torch.randn(3, 3, 16, 16)
        torch.testing.assert_close(backbone(images), method.backbone.eval()(images), rtol=0, atol=0)
        assert {p.device.type for p in backbone.parameters()} == {"cpu"}

    def test_a_file_that_is_not_there(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"no checkpoint at .*none\.ckpt"):
            read(tmp_path / "none.ckpt")
        with pytest.raises(FileNotFoundError, match="no checkpoint at"):
            read(tmp_path)

    @pytest.mark.parametrize("share", [0, 0.001, 0.3, 0.9, 0.999])
    def test_a_file_that_was_cut_off(self, copied, share):
        os.truncate(copied, int(share * os.path.getsize(copied)))
        with pytest.raises(ValueError, match="is no checkpoint, or is cut off or damaged"):
            read(copied)

    def test_a_file_of_which_a_bit_was_turned(self, copied):
        with zipfile.ZipFile(copied) as archive:
            largest = max(archive.infolist(), key=lambda record: record.file_size)
        with open(copied, "r+b") as file:
            file.seek(largest.header_offset + largest.file_size // 2)
            byte = file.read(1)[0]
            file.seek(-1, os.SEEK_CUR)
            file.write(bytes([byte ^ 16]))
        with pytest.raises(ValueError, match="damaged: wrong checksum of"):
            read(copied)

    def test_a_file_that_would_run_code(self, copied, tmp_path):
        class Malicious:
            def __reduce__(self):
                return os.mkdir, (str(tmp_path / "ran"),)

        changed(copied, lambda checkpoint: checkpoint.update(more=Malicious()))
        with pytest.raises(ValueError, match="could run code and is not loaded"):
            read(copied)
        assert not (tmp_path / "ran").exists()
        with pytest.raises(ValueError, match="could run code and is not loaded"):
            fit(Toy(norm_splits=2), tmp_path, 2, resume=copied)
        assert not (tmp_path / "ran").exists()

    def test_other_files(self, tmp_path):
        (tmp_path / "text").write_text("weights")
        torch.save({"state_dict": {}}, tmp_path / "other")
        torch.save([1], tmp_path / "list")
        with pytest.raises(ValueError, match="is no checkpoint"):
            read(tmp_path / "text")
        for name in ("other", "list"):
            with pytest.raises(ValueError, match="is no checkpoint of texfilters\\.ssl: it lacks 'texfilters'"):
                read(tmp_path / name)

    def test_a_format_to_come(self, copied):
        changed(copied, lambda checkpoint: checkpoint["texfilters"].update(format=2))
        with pytest.raises(ValueError, match="must have the format 1, got 2"):
            read(copied)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (
                lambda c: c["texfilters"]["backbone"].update(name="resnet17"),
                "names no backbone that there is: backbone",
            ),
            (lambda c: c["texfilters"].update(backbone=3), "names no backbone that there is"),
            (lambda c: c["texfilters"].pop("backbone"), "names no backbone that there is"),
            (lambda c: c["texfilters"]["backbone"].update(depth=3), "names no backbone that there is"),
            (lambda c: c["texfilters"]["backbone"].update(name="context_free"), "do not fit context_free"),
            (
                lambda c: c["state_dict"].update({"backbone.model.features.0.weight": torch.ones(2)}),
                r"features.0.weight is \(2,\), not \(16, 3, 3, 3\)",
            ),
            (
                lambda c: c["state_dict"].pop("backbone.model.features.0.weight"),
                r"features.0.weight is missing",
            ),
            (lambda c: c["state_dict"].update({"backbone.x": torch.ones(2)}), "x is unknown"),
            (lambda c: c["state_dict"].update({"backbone.model.features.0.weight": "w"}), "weight is str, not"),
        ],
    )
    def test_weights_that_do_not_fit_their_network(self, copied, change, message):
        changed(copied, change)
        with pytest.raises(ValueError, match=message):
            load_backbone(copied)


class TestResuming:
    class Other(Toy):
        pass

    @pytest.mark.parametrize(
        ("method", "message"),
        [
            (lambda: TestResuming.Other(norm_splits=2), "is of the method Toy, not of Other"),
            (lambda: Toy(norm_splits=2, width=5), "settings.width is 4 there and 5 here"),
            (lambda: Toy(), "backbone.norm_splits is 2 there and 1 here"),
            (lambda: Toy(norm_splits=2, seed=3), "seed is 0 there and 3 here"),
            (
                lambda: Toy(norm_splits=2, seed=3, recipe=Recipe("lars")),
                "recipe.optimizer is 'sgd' there and 'lars' here; recipe.lr is 0.05 there and 0.03 here; seed is 0",
            ),
        ],
    )
    def test_another_run_is_refused(self, trained, tmp_path, method, message):
        with pytest.raises(ValueError, match=message):
            fit(method(), tmp_path, 2, resume=trained[1])
        assert not list(tmp_path.iterdir())

    def test_weights_that_do_not_fit(self, copied, tmp_path):
        changed(copied, lambda checkpoint: checkpoint["state_dict"].update({"head.bias": torch.ones(7)}))
        with pytest.raises(ValueError, match=r"weights do not fit Toy: head.bias is \(7,\), not \(4,\)"):
            check(read(copied), Toy(norm_splits=2))

    def test_at_most_three_misfits_are_told(self, trained):
        checkpoint = read(trained[1])
        checkpoint["state_dict"] = {}
        with pytest.raises(ValueError, match=r"is missing; .* is missing; .* is missing and \d+ more$"):
            check(checkpoint, Toy(norm_splits=2))

    def test_it_is_read_with_weights_only_by_default(self, copied):
        assert AtomicCheckpointIO().load_checkpoint(copied)["texfilters"]["method"] == "Toy"


class TestWriting:
    def test_a_failure_leaves_the_old_file(self, copied, monkeypatch):
        before = read(copied)["global_step"]

        def fails(checkpoint, file):
            file.write(b"half")
            raise OSError("no space left")

        monkeypatch.setattr(torch, "save", fails)
        with pytest.raises(OSError, match="no space left"):
            AtomicCheckpointIO().save_checkpoint({}, copied)
        monkeypatch.undo()
        assert read(copied)["global_step"] == before

    def test_the_file_appears_when_it_is_whole(self, tmp_path, monkeypatch):
        """The new file is complete on the disk before it takes the name."""
        order = []
        for name in ("fsync", "replace"):
            original = getattr(os, name)
            monkeypatch.setattr(
                os, name, lambda *a, name=name, original=original: (order.append(name), original(*a))[1]
            )
        AtomicCheckpointIO().save_checkpoint({"value": 1}, tmp_path / "new" / "file.ckpt")
        assert order == ["fsync", "replace", "fsync"]
        assert os.listdir(tmp_path / "new") == ["file.ckpt"]

    def test_every_epoch_and_some_to_keep(self, tmp_path):
        fit(Toy(), tmp_path, 5, callbacks=[_checkpoint.EveryEpoch(tmp_path, keep_every=2)])
        assert sorted(os.listdir(tmp_path)) == ["epoch-2.ckpt", "epoch-4.ckpt", "last.ckpt"]
        assert [read(tmp_path / f"epoch-{n}.ckpt")["epoch"] for n in (2, 4)] == [1, 3]
        assert read(tmp_path / "last.ckpt")["global_step"] == 15

    def test_an_epoch_that_was_cut_short_is_not_saved(self, tmp_path):
        fit(Toy(), tmp_path, 5, data=loader(20), max_steps=7)
        assert read(tmp_path / "last.ckpt")["global_step"] == 5

    def test_keep_every_0(self, tmp_path):
        with pytest.raises(ValueError, match="keep_every must be at least 1, got 0"):
            _checkpoint.EveryEpoch(tmp_path, 0)

    def test_values_are_made_plain(self):
        value = {"a": (1, 2.0), "b": torch.tensor([1, 2]), 3: None, "path": os.sep, "kind": Backbone}
        assert _checkpoint.plain(value) == {
            "a": [1, 2.0], "b": [1, 2], "3": None, "path": "/", "kind": str(Backbone),
        }  # fmt: skip

"""What the pretraining command says of mistakes, and of what goes wrong in a run."""

import errno
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

pytest.importorskip("lightning", reason="needs lightning")
pytest.importorskip("jsonargparse", reason="needs jsonargparse")

from pretrain_cases import pretrain
from probe_cases import ROOT
from texfilters import ssl
from texfilters.ssl._checkpoint import read

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")


class TestErrors:
    @pytest.mark.parametrize(
        ("change", "named"),
        [
            (("epochs", 3), "epochs"),
            (("trainer", "max_epoch", 3), "max_epoch"),
            (("model", "init_args", "bakbone", "resnet18"), "bakbone"),
            (("model", "init_args", "recipe", "lrr", 0.1), "lrr"),
            (("model", "init_args", "views", "init_args", "sise", 16), "sise"),
            (("data", "init_args", "batchsize", 16), "batchsize"),
            (("model", "class_path", "texfilters.ssl.Rotations"), "texfilters.ssl.Rotations"),
            (("model", "init_args", "recipe", "lr", "fast"), "fast"),
            (("data", "init_args", "batch_size", 2.5), "batch_size"),
        ],
    )
    def test_a_typo_is_named_in_a_line(self, command, config, change, named):
        status, told = command("--config", config(change))
        assert status == 2
        assert told.startswith("pretrain.py: error: ")
        assert named in told
        assert told.count("\n") == 1

    @pytest.mark.parametrize("option", ["--trainer.max_epoch=3", "--model.sead=3", "--outt=x"])
    def test_so_is_one_on_the_command_line(self, command, config, option):
        status, told = command("--config", config(), option)
        assert status == 2
        assert option.partition("=")[0].rpartition(".")[2].strip("-") in told
        assert told.count("\n") == 1

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            (["--model.backbone", "resnet17"], "backbone must be one of torchvision's models"),
            (["--model.recipe.lr", "0"], "lr must be positive and finite, got 0.0"),
            (["--data.batch_size", "0"], "batch_size must be at least 1, got 0"),
            (["--data.batch_size", "1"], "batch normalization needs at least 2 images, got a batch of 1"),
            (["--keep_every", "0"], "keep_every must be at least 1, got 0"),
            (["--resume", "last"], "no checkpoint at"),
            (["--trainer.max_epochs", "0"], "max_epochs must be at least 1, got 0"),
        ],
        ids=lambda value: value[0] if isinstance(value, list) else "",
    )
    def test_a_bad_value_is_told_in_a_line(self, command, config, options, message):
        status, told = command("--config", config(), *options)
        assert status == 1
        assert told.startswith("pretrain.py: error: ")
        assert message in told
        assert "\n" not in told

    def test_a_word_that_is_no_choice_is_told_with_the_choices(self, command, config):
        status, told = command("--config", config(), "--model.views.suppress", "non")
        choices = "Expected a typing.Literal['mixture', 'none'] Given value: non"
        assert (status, told) == (2, f'pretrain.py: error: Parser key "suppress": {choices}; see --help\n')

    def test_images_that_are_missing_or_damaged_are_told_in_a_line(self, command, config, photos, tmp_path):
        missing = {"class_path": "texfilters.ssl.CIFAR10Data", "init_args": {"root": str(tmp_path)}}
        status, told = command("--config", config(("data", missing)))
        assert (status, told.partition(",")[0]) == (1, f"pretrain.py: error: {tmp_path} holds no CIFAR10")

        damaged = tmp_path / "damaged"
        shutil.copytree(photos, damaged)
        (damaged / "train" / "cat" / "0.png").write_bytes(b"")
        status, told = command("--config", config(), "--data.root", damaged)
        assert (status, told.partition(",")[0]) == (1, "pretrain.py: error: 1 of 20 images cannot be read")
        assert "max_unreadable=0.01" in told

    def test_two_runs_in_one_folder(self, command, config, tmp_path):
        """Another process, since a lock keeps out no one in its own."""
        (tmp_path / "run").mkdir()
        code = "import fcntl, sys; fcntl.lockf(file := open(sys.argv[1], 'w'), fcntl.LOCK_EX); print(); input()"
        held = [sys.executable, "-c", code, tmp_path / "run" / ".lock"]
        with subprocess.Popen(held, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            other.stdout.readline()
            status, told = command("--config", config())
            other.communicate()
        assert (status, told) == (
            1,
            f"pretrain.py: error: another run is writing to {tmp_path / 'run'}: give another --out",
        )
        assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]

    def test_a_full_disk(self, command, config, tmp_path, monkeypatch):
        assert command("--config", config(), "--trainer.max_epochs", 1)[0] == 0
        before = (tmp_path / "run" / "last.ckpt").read_bytes()

        def full(checkpoint, file):
            file.write(b"a part")
            try:
                raise OSError(errno.ENOSPC, "No space left on device")
            finally:
                raise RuntimeError("unexpected pos 128 vs 64")

        monkeypatch.setattr(torch, "save", full)
        status, told = command("--config", config(), "--resume", "last")
        path = tmp_path / "run" / "last.ckpt"
        assert status == 1
        assert told.startswith(f"pretrain.py: error: {path} cannot be written, the checkpoint before is kept: [Errno")
        assert told.endswith("No space left on device")
        assert path.read_bytes() == before
        assert not list((tmp_path / "run").glob("*.unfinished"))

    def test_an_error_that_is_no_message_keeps_its_traceback(self, config, monkeypatch):
        def broken(*_):
            return int("broken")

        def failed(*_):
            return torch.ones(2) + torch.ones(3)

        for failing, error in ((broken, ValueError), (failed, RuntimeError)):
            monkeypatch.setattr(ssl.Rotation, "loss", failing)
            monkeypatch.setattr(sys, "argv", ["pretrain.py", "--config", str(config())])
            with pytest.raises(error):
                pretrain.main()

    def test_a_loss_that_is_not_finite(self, command, config, monkeypatch):
        loss = ssl.Rotation.loss

        def broken(method, batch):
            return loss(method, batch) * (float("nan") if method.current_epoch == 1 else 1)

        monkeypatch.setattr(ssl.Rotation, "loss", broken)
        status, told = command("--config", config())
        assert status == 1
        assert told.startswith("pretrain.py: error: the loss was not finite in epoch 1, batch 0")
        assert read(Path(yaml.safe_load(config().read_text())["out"]) / "last.ckpt")["epoch"] == 0

    @pytest.mark.slow
    def test_as_a_process(self, config, tmp_path):
        result = subprocess.run(
            [sys.executable, "ssl/pretrain.py", "--config", config(), "--data.root", tmp_path / "none"],
            capture_output=True,
            text=True,
            cwd=ROOT,
        )
        assert result.returncode == 1
        assert result.stderr.splitlines()[-1].startswith("pretrain.py: error: ")
        assert str(tmp_path / "none") in result.stderr.splitlines()[-1]
        assert "Traceback" not in result.stderr

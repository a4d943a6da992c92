"""The pretraining command: its configurations, its runs."""

import csv
import sys

import pytest
import torch
import yaml

pytest.importorskip("lightning", reason="needs lightning")
jsonargparse = pytest.importorskip("jsonargparse", reason="needs jsonargparse")

from pretrain_cases import pretrain  # noqa: E402
from probe_cases import ROOT  # noqa: E402
from texfilters.ssl._checkpoint import read  # noqa: E402
from texfilters.transforms import RandomTextureSuppression  # noqa: E402

CONFIGS = sorted((ROOT / "ssl" / "configs").glob("*.yaml"))

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")


@pytest.fixture(autouse=True)
def _no_arguments_of_pytest(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["pretrain.py"])


class TestConfigurations:
    def test_there_is_one_for_every_method(self):
        methods = {path.stem.partition("-")[0] for path in CONFIGS}
        assert methods == {"moco_v2", "byol", "dense_cl", "jigsaw", "rotation", "context_encoder", "supervised"}
        sets = {path.stem.rpartition("-")[2] for path in CONFIGS}
        assert sets == {"imagenet", "imagenet100", "stl10", "cifar10", "pacs"}

    @pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
    def test_it_makes_method_and_data(self, path, tmp_path):
        arguments = ["--config", str(path), "--data.root", str(tmp_path), "--trainer.logger", "false"]
        # All but the numbers, which Jigsaw chooses its permutations by.
        with torch.device("cpu" if path.stem.startswith("jigsaw") else "meta"):
            run = pretrain.Pretraining(arguments)
        method, data = run.model, run.datamodule
        assert type(method).__name__.lower() == path.stem.partition("-")[0].replace("_", "")
        assert run.config["out"] == f"runs/{path.stem}"
        assert f"--config ssl/configs/{path.name}" in path.read_text()
        assert run.trainer.max_epochs >= max([1, *method.recipe.milestones])
        method.recipe.configured(method, run.trainer.max_epochs, 10)
        if hasattr(method, "queue"):
            assert len(method.queue.entries) % data.batch_size == 0
            assert data.batch_size % method.backbone.norm_splits == 0
        side = getattr(data, "side", {"STL10Data": 96, "CIFAR10Data": 32}.get(type(data).__name__))
        assert method.views.size <= side <= 1.2 * method.views.size

    def test_nothing_is_looked_for_among_all_modules(self, config, monkeypatch):
        """Which takes a tenth of a second, over and over."""
        listing = "get_all_subclass_paths"
        monkeypatch.setattr(jsonargparse._typehints, listing, lambda cls, **_: pytest.fail(f"{cls} was searched"))
        suppress = pretrain.Pretraining(["--config", str(config())]).model.views.suppress
        assert isinstance(suppress, RandomTextureSuppression)
        arguments = ["--config", str(config()), "--model.views.suppress", "none"]
        assert pretrain.Pretraining(arguments).model.views.suppress is None

    def test_all_of_a_recipe_is_written_out(self):
        """Else a change of one setting on the command line would start from other defaults than the method's."""
        for path in CONFIGS:
            recipe = yaml.safe_load(path.read_text())["model"]["init_args"]["recipe"]
            assert {"optimizer", "lr", "momentum", "weight_decay", "schedule"} <= recipe.keys(), path
            assert ("milestones" in recipe) == (recipe["schedule"] == "steps"), path


class TestRuns:
    def test_a_run_leaves_logs_configuration_and_checkpoint(self, command, config, tmp_path):
        out = tmp_path / "run"
        assert command("--config", config(), "--keep_every", 1)[0] == 0
        assert command.printed.endswith(f"checkpoint: {out / 'last.ckpt'}\n")
        assert sorted(p.name for p in out.iterdir()) == [".lock", "epoch-1.ckpt", "epoch-2.ckpt", "last.ckpt", "logs"]
        logs = out / "logs" / "version_0"
        assert list(logs.glob("events.out.tfevents.*"))
        with (logs / "metrics.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert {"epoch", "step", "loss_step", "loss_epoch", "val_accuracy", "lr-SGD"} <= rows[0].keys()
        assert [row["step"] for row in rows if row["loss_step"]] == ["1", "3", "5", "7"]
        assert [row["epoch"] for row in rows if row["val_accuracy"]] == ["0", "1"]

        status, told = command("--config", config())
        assert status == 1
        assert f"{out} holds a run: go on with --resume last, or give another --out" in told

        # The configuration that was saved makes the same run.
        again = tmp_path / "again"
        assert command("--config", logs / "config.yaml", "--out", again)[0] == 0
        whole = read(out / "last.ckpt")["state_dict"]
        assert all(torch.equal(value, whole[name]) for name, value in read(again / "last.ckpt")["state_dict"].items())

        # Another run's folder is left alone.
        status, told = command("--config", config(), "--out", again, "--resume", out / "epoch-1.ckpt")
        assert status == 1
        assert f"{again} holds a run that {out / 'epoch-1.ckpt'} is not of: give another --out" in told

        # Going on from the first epoch's end makes the same run, too.
        rest = tmp_path / "rest"
        assert command("--config", config(), "--out", rest, "--resume", out / "epoch-1.ckpt")[0] == 0
        assert all(torch.equal(value, whole[name]) for name, value in read(rest / "last.ckpt")["state_dict"].items())

        for change, message in (
            (["--model.recipe.lr", 0.2], "the checkpoint is of another run: recipe.lr is 0.1 there and 0.2 here"),
            (["--model.views.hue", 0.2], "run: views.all is 'hue=0.1)' there and 'hue=0.2)' here"),
            (["--model.views.suppress", "none"], 'run: views.all is "(suppress): RandomTextureSuppression( 0.5: '),
            (["--model.views.scale", "[0.5, 1]"], "run: views.all is 'scale=(0.2,' there and 'scale=(0.5,' here"),
            (["--model.backbone", "resnet18"], "backbone.name is 'six_layer' there and 'resnet18' here"),
        ):
            status, told = command("--config", config(), "--resume", out / "epoch-1.ckpt", *change)
            assert status == 1
            assert message in told

    def test_auto_begins_and_goes_on(self, command, config, tmp_path):
        arguments = ["--config", config(), "--resume", "auto", "--data.batch_size", 10]
        for epochs in (1, 2):
            assert command(*arguments, "--trainer.max_epochs", epochs)[0] == 0
            assert read(tmp_path / "run" / "last.ckpt")["global_step"] == 2 * epochs
        assert sorted(p.name for p in (tmp_path / "run" / "logs").iterdir()) == ["version_0", "version_1"]

    def test_one_seed_for_all(self, config):
        arguments = ["--config", str(config()), "--seed_everything", "5"]
        run = pretrain.Pretraining(arguments)
        assert (run.model.seed, run.datamodule.seed) == (5, 5)
        weights = run.model.head.weight
        assert torch.equal(pretrain.Pretraining(arguments).model.head.weight, weights)
        run = pretrain.Pretraining([*arguments, "--model.seed", "7"])
        assert (run.model.seed, run.datamodule.seed) == (7, 5)

    def test_the_trainers_own_parts_are_kept(self, config):
        options = ["--trainer.callbacks", "TQDMProgressBar", "--trainer.callbacks.leave", "true"]
        run = pretrain.Pretraining(["--config", str(config()), *options, "--trainer.logger", "false"])
        names = [type(callback).__name__ for callback in run.trainer.callbacks]
        assert names.count("TQDMProgressBar") == 1
        assert "Bar" not in names
        assert "EveryEpoch" in names
        assert "ModelCheckpoint" not in names
        assert run.trainer.loggers == []

    def test_cudnn_looks_for_the_fastest_where_bits_need_not_repeat(self, config, monkeypatch):
        monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
        pretrain.Pretraining(["--config", str(config())])
        assert not torch.backends.cudnn.benchmark
        pretrain.Pretraining(["--config", str(config()), "--trainer.deterministic", "false"])
        assert torch.backends.cudnn.benchmark

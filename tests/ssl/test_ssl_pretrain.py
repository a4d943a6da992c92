"""The pretraining command: its configurations, its errors, its runs."""

import csv
import errno
import importlib.util
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
import yaml

pytest.importorskip("lightning", reason="needs lightning")
jsonargparse = pytest.importorskip("jsonargparse", reason="needs jsonargparse")

from torchvision.io import write_png  # noqa: E402

from texfilters import ssl  # noqa: E402
from texfilters.ssl._checkpoint import read  # noqa: E402

ROOT = Path(__file__).parents[2]
CONFIGS = sorted((ROOT / "ssl" / "configs").glob("*.yaml"))

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::UserWarning")


def _loaded():
    spec = importlib.util.spec_from_file_location("pretrain", ROOT / "ssl" / "pretrain.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


pretrain = _loaded()


@pytest.fixture(autouse=True)
def _no_arguments_of_pytest(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["pretrain.py"])


@pytest.fixture
def command(monkeypatch, capsys):
    """The command with arguments; what it wrote to stderr, and its exit status."""
    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["pretrain.py", *map(str, arguments)])
        status = 0
        try:
            pretrain.main()
        except SystemExit as exit:
            status = exit.code
        told = capsys.readouterr()
        run.printed, told = told.out, told.err
        return (status, told) if isinstance(status, int) else (1, status)

    return run


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    generator = torch.Generator().manual_seed(2)
    for split, count in (("train", 10), ("val", 5)):
        for label in ("cat", "dog"):
            (folder / split / label).mkdir(parents=True)
            for i in range(count):
                image = torch.randint(256, (3, 20, 24), dtype=torch.uint8, generator=generator)
                write_png(image, str(folder / split / label / f"{i}.png"))
    return folder


@pytest.fixture
def config(photos, tmp_path):
    """A configuration of a run that takes no time, and a function that writes a changed one."""
    settings = {
        "out": str(tmp_path / "run"),
        "model": {
            "class_path": "texfilters.ssl.Rotation",
            "init_args": {
                "backbone": "six_layer",
                "views": {"class_path": "texfilters.ssl.Views", "init_args": {"size": 16}},
                "recipe": {"lr": 0.1},
            },
        },
        "data": {
            "class_path": "texfilters.ssl.FolderData",
            "init_args": {"root": str(photos), "batch_size": 5, "side": 18, "workers": 0},
        },
        "trainer": {"max_epochs": 2, "accelerator": "cpu", "log_every_n_steps": 2, "deterministic": True},
    }

    def written(*changes):
        changed = yaml.safe_load(yaml.safe_dump(settings))
        for *path, key, value in changes:
            place = changed
            for name in path:
                place = place[name]
            place[key] = value
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(changed))
        return tmp_path / "config.yaml"

    return written


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
        assert pretrain.Pretraining(["--config", str(config())]).model.views.suppress is not None
        arguments = ["--config", str(config()), "--model.views.suppress", "none"]
        assert pretrain.Pretraining(arguments).model.views.suppress is None

    def test_all_of_a_recipe_is_written_out(self):
        """Else a change of one setting on the command line would start from other defaults than the method's."""
        for path in CONFIGS:
            recipe = yaml.safe_load(path.read_text())["model"]["init_args"]["recipe"]
            assert {"optimizer", "lr", "momentum", "weight_decay", "schedule"} <= recipe.keys(), path
            assert ("milestones" in recipe) == (recipe["schedule"] == "steps"), path


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

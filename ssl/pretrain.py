"""Pretrain a network on images without labels.

    python ssl/pretrain.py --config ssl/configs/moco_v2-cifar10.yaml --data.root DIR

--out is the folder of the run: last.ckpt, written after every epoch, and logs/version_N with the configuration, CSV and
TensorBoard logs. With --resume last a run that was stopped, however it was, goes on from there; on the same devices and
with --trainer.deterministic true its weights are, bit by bit, those of a run that was never stopped.

Every setting of a configuration is an option, too: --model.recipe.lr 0.1, --trainer.precision bf16-mixed,
--trainer.devices 4 --trainer.num_nodes 2, --seed_everything 1. --model.help MoCoV2 and --data.help FolderData tell of
those of a class, --print_config of all that a command would use.
"""

import contextlib
import fcntl
import logging
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import LearningRateMonitor, ProgressBar, TQDMProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from texfilters.ssl import Method
from texfilters.ssl._checkpoint import AtomicCheckpointIO, EveryEpoch, check, read
from texfilters.ssl._command_line import Formatter, ToldInALine
from texfilters.ssl.data import ImageData


class Bar(TQDMProgressBar):
    """Shows all that is logged, and reads it from the GPU at every tenth step alone."""

    def __init__(self) -> None:
        super().__init__(refresh_rate=10)

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        # On every process: an epoch's means are gathered when they are first read, and only the first one has a bar.
        trainer.callback_metrics  # noqa: B018
        super().on_train_epoch_end(trainer, module)

    def on_exception(self, trainer: Trainer, module: LightningModule, exception: BaseException) -> None:
        # What is told of the error begins a line of its own.
        for bar in (self._train_progress_bar, self._val_progress_bar):
            if bar is not None:
                bar.close()

    def get_metrics(self, trainer: Trainer, module: LightningModule) -> dict[str, Any]:
        logged = trainer.callback_metrics
        forks = {f"{name}_{fork}" for name in logged for fork in ("step", "epoch")}
        return {name: f"{float(value):.4g}" for name, value in logged.items() if name not in forks}


class Parser(ToldInALine, LightningArgumentParser):
    """Lightning's, with short errors."""


class Pretraining(LightningCLI):
    """The command: `Pretraining(arguments).fit()`."""

    def __init__(self, args: list[str] | None = None) -> None:
        super().__init__(
            Method,
            ImageData,
            subclass_mode_model=True,
            subclass_mode_data=True,
            run=False,
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
            seed_everything_default=0,
            save_config_kwargs={"overwrite": True},
            # The data modules give every process its own images.
            trainer_defaults={"log_every_n_steps": 10, "use_distributed_sampler": False},
            parser_class=Parser,
            parser_kwargs={
                "description": __doc__,
                "usage": "pretrain.py --config FILE --data.root DIR [--out DIR] [--resume last] [--option value ...]",
                "formatter_class": Formatter,
                "allow_abbrev": False,
            },
            args=args,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_argument("--out", type=str, default="runs/pretraining", help="the folder of the run")
        parser.add_argument(
            "--resume",
            type=str | None,
            help="a checkpoint to go on from, `last`, that in --out, or `auto`, if it is there",
        )
        parser.add_argument("--keep_every", type=int | None, help="keep the checkpoint of every so many epochs")
        parser.link_arguments("out", "trainer.default_root_dir")

    def before_instantiate_classes(self) -> None:
        """One seed for all: the weights, the order and the draws, where model and data have none of their own."""
        seed = self.config["seed_everything"]
        for part in (self.config["model"], self.config["data"]):
            if not isinstance(seed, bool) and part["init_args"].get("seed") == 0:
                part["init_args"]["seed"] = seed

    def instantiate_trainer(self, **options: Any) -> Trainer:
        given, out = self.config_init["trainer"], Path(self.config_init["out"])
        callbacks = given["callbacks"] or []
        callbacks = list(callbacks) if isinstance(callbacks, list | tuple) else [callbacks]
        if given["logger"] in (None, True):
            rows = CSVLogger(out, name="logs")
            options["logger"] = [rows, TensorBoardLogger(out, name="logs", version=rows.version)]
        if given["logger"] is not False:
            callbacks.append(LearningRateMonitor())
        if given["enable_checkpointing"] is not False:
            callbacks.append(EveryEpoch(out, self.config_init["keep_every"]))
        if given["enable_progress_bar"] is not False and not any(isinstance(c, ProgressBar) for c in callbacks):
            callbacks.append(Bar())
        if given["benchmark"] is None:
            options["benchmark"] = not given["deterministic"]
        trainer = super().instantiate_trainer(callbacks=callbacks, **options)
        trainer.strategy.checkpoint_io = AtomicCheckpointIO()
        return trainer

    def fit(self) -> None:
        checkpoint = self._checkpoint()
        with alone(Path(self.config["out"])) if self.trainer.is_global_zero else contextlib.nullcontext():
            self.trainer.fit(self.model, self.datamodule, ckpt_path=checkpoint, weights_only=True)
        if self.trainer.is_global_zero and (last := Path(self.config["out"]) / EveryEpoch.LAST).exists():
            print(f"checkpoint: {last}")

    def _checkpoint(self) -> Path | None:
        """Where to go on from, looked at before anything is begun."""
        given, last = self.config["resume"], Path(self.config["out"]) / EveryEpoch.LAST
        if given is None and last.exists():
            raise ValueError(f"{last.parent} holds a run: go on with --resume last, or give another --out")
        if given is None or (given == "auto" and not last.exists()):
            return None
        path = last if given in ("last", "auto") else Path(given)
        if last.exists() and path.resolve().parent != last.resolve().parent:
            raise ValueError(f"{last.parent} holds a run that {path} is not of: give another --out")
        check(read(path), self.model)
        return path


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep others out of the folder of a run: two runs would write over each other's checkpoints."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            # Ends with this process, however that ends, and unlike flock's is not handed down to workers.
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            raise ValueError(f"another run is writing to {folder}: give another --out") from error
        except OSError:
            pass  # a file system without locks
        yield


def quiet() -> None:
    """Leave out what Lightning says that is nothing for who runs this."""
    # Of Lightning's own code on newer versions of torch.
    warnings.filterwarnings("ignore", message=".*LeafSpec.* is deprecated")
    # The folder of a new version, in which the configuration has just been saved.
    warnings.filterwarnings("ignore", message="Experiment logs directory .* exists and is not empty")
    # Data that could be validated with, for a method that does not.
    warnings.filterwarnings("ignore", message="You passed in a `val_dataloader` but have no `validation_step`")
    # Data that has nothing to validate with.
    warnings.filterwarnings("ignore", message="Total length of `list` across ranks is zero")
    # The means of an epoch are logged, however short it is.
    warnings.filterwarnings("ignore", message="The number of training batches .* is smaller than the logging interval")
    warnings.formatwarning = lambda message, *_, **__: f"pretrain.py: warning: {message}\n"
    # Advertisements, and what the schedule is made from.
    logging.getLogger("lightning.pytorch.utilities.rank_zero").addFilter(
        lambda record: not record.getMessage().startswith(("💡 Tip:", "Loading `train_dataloader`"))
    )


def main() -> None:
    quiet()
    try:
        Pretraining().fit()
    except (ValueError, TypeError, OSError, FloatingPointError) as error:
        if (told := _told(error)) is None:
            raise
        sys.exit(f"pretrain.py: error: {told}")


def _told(error: BaseException | None) -> str | None:
    """The message of an error that this project raised for who runs it, or that led to this one; or of the system's."""
    while error is not None:
        if isinstance(error, OSError):
            return str(error)
        last = error.__traceback__
        while last is not None and last.tb_next is not None:
            last = last.tb_next
        if last is not None and last.tb_frame.f_globals["__name__"].partition(".")[0] in (__name__, "texfilters"):
            return str(error)
        error = error.__cause__ or error.__context__
    return None


if __name__ == "__main__":
    main()

"""What the methods share: batches, seeds, the run's recipe, checkpoints, and the watch over the loss."""

import math
import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from lightning import LightningModule
from torch import Tensor, distributed
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.lr_scheduler import LambdaLR

from texfilters import _check
from texfilters.ssl import _checkpoint
from texfilters.ssl._backbones import Backbone
from texfilters.ssl._recipe import Recipe
from texfilters.ssl._seeds import seed_everything_for

_NEVER = torch.iinfo(torch.int64).max
_BATCHES = 2**32  # more than an epoch has


class Batch(NamedTuple):
    """What the data modules hand out and every method takes."""

    images: Tensor  # uint8 [B, 3, S, S], on the device of the step
    labels: Tensor  # int64 [B], -1 where there is none
    sizes: Tensor  # float32 [B, 2], height and width of the original, whose aspect ratio a square image lost


class Method(LightningModule):
    """The base of all methods.

    A subclass sets `backbone`, the network whose weights are wanted, and defines `loss(batch)`, the scalar loss of a
    step. All that it draws comes from torch's default generators, which are seeded anew before every step with a
    function of `seed`, epoch, batch and rank: with data whose order is one of seed and epoch, as that of the data
    modules here, a run that is resumed at an epoch's beginning repeats the same steps. A subclass that has hooks of its
    own calls those of this class in them.

    A loss that is NaN or infinite stops the run with a FloatingPointError that names epoch and batch. The step is
    noted on the device and looked at every `log_every_n_steps`, before validation and before a checkpoint is saved, so
    that nothing waits for the GPU on every step.

    Args:
        recipe: optimizer and learning rate.
        seed: of everything random in training.
    """

    backbone: Backbone
    rate_factors: Mapping[str, float] = {}  # of the learning rate, by the names of submodules with another one

    def __init__(self, recipe: Recipe, seed: int = 0) -> None:
        super().__init__()
        if not isinstance(recipe, Recipe):
            raise TypeError(f"recipe must be a Recipe, got {type(recipe).__name__}")
        self.recipe = recipe
        self.seed = _check.whole("seed", seed, least=0)
        # Epoch and batch of the first loss that was not finite. No buffer: DDP would overwrite it with rank 0's.
        self._first_bad: Tensor | None = None
        self._counted = -1
        self._resumed: dict[str, Any] | None = None

    def loss(self, batch: Batch) -> Tensor:
        """The loss of a step, a tensor of no dimension."""
        raise NotImplementedError

    def settings(self) -> dict[str, Any]:
        """What a checkpoint must agree in, in plain types: a queue's length, a head's width."""
        return {}

    def configure_optimizers(self) -> Any:
        epochs = self.trainer.max_epochs
        epochs = _check.whole("max_epochs", -1 if epochs is None else epochs, least=1)
        return self.recipe.configured(self, epochs, self._steps_of_an_epoch(), self.rate_factors)

    def on_train_start(self) -> None:
        self._compare_with_resumed()
        # A checkpoint's rates are of the number of epochs it was planned for.
        for config in self.trainer.lr_scheduler_configs:
            if isinstance(scheduler := config.scheduler, LambdaLR):
                rates = zip(scheduler.optimizer.param_groups, scheduler.base_lrs, scheduler.lr_lambdas, strict=True)
                for group, base, rate in rates:
                    group["lr"] = base * rate(scheduler.last_epoch)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        self._check_count(len(batch[0]))
        seed_everything_for(self.seed, self.current_epoch, batch_idx, self.global_rank)

    def on_validation_batch_start(self, batch: Batch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """What validation draws, such as puzzles, is the same in every epoch: its values can be compared."""
        seed_everything_for(self.seed, 0, batch_idx, self.global_rank)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = self.loss(Batch(*batch))
        self.watch(loss, batch_idx)
        self.log("loss", loss.detach(), on_step=True, on_epoch=True, batch_size=len(batch[0]))
        return loss

    def log(self, name: str, value: Any, *args: Any, **options: Any) -> None:
        """Lightning's, the mean of all processes, whatever the options say, as those of `log_dict` always do.

        A step's tensors are reduced here: Lightning has a barrier before, at which every step would wait for the GPU.
        Never in its progress bar: what is there is read after every step. The bar of ssl/pretrain.py shows all that is
        logged, and reads it now and then.
        """
        if self._trainer is None:
            return
        on_step = options.get("on_step")
        of_step = self._current_fx_name == "training_step" if on_step is None else on_step
        if here := of_step and isinstance(value, Tensor):
            value = self._mean_of_processes(value)
        super().log(name, value, *args, **{**options, "sync_dist": not here, "prog_bar": False})

    def log_mean(self, name: str, values: Tensor) -> None:
        """The mean over an epoch of `[B]` or `[B, ...]`."""
        self.log(name, values.detach().mean(), on_step=False, on_epoch=True, batch_size=len(values))

    def watch(self, loss: Tensor, batch_idx: int) -> None:
        """Note on the device whether a loss is not finite; for a subclass whose `training_step` is its own."""
        step = self.current_epoch * _BATCHES + batch_idx
        bad = torch.where(loss.detach().isfinite().all(), _NEVER, step)
        self._first_bad = bad if self._first_bad is None else torch.minimum(self._first_bad, bad)

    def check_finite(self, state: dict[str, Any]) -> None:
        """Stop the run, on all processes, where a loss so far or a value of the state dict is not finite.

        Raises:
            FloatingPointError: naming the first.
        """
        self._check_losses()
        self._check_weights(state)

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        if (batch_idx + 1) % self.trainer.log_every_n_steps == 0:  # type: ignore[attr-defined]
            self._check_losses()

    def on_validation_start(self) -> None:
        self._check_losses()

    def on_train_epoch_end(self) -> None:
        self._check_losses()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.check_finite(checkpoint["state_dict"])
        checkpoint[_checkpoint.KEY] = {**_checkpoint.header(self), "run": self._run()}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        _checkpoint.check(checkpoint, self)
        self._resumed = checkpoint[_checkpoint.KEY].get("run")

    def _mean_of_processes(self, value: Tensor) -> Tensor:
        if self.trainer.world_size == 1:
            return value
        value = value.detach().to(self.device) / self.trainer.world_size
        distributed.all_reduce(value)
        return value

    def _steps_of_an_epoch(self) -> int:
        if not self.recipe.every_step:
            return 1
        self.trainer.estimated_stepping_batches  # noqa: B018, finds the number of batches
        batches = self.trainer.num_training_batches
        if batches == math.inf:
            raise ValueError("every_step needs data of a known length, got none")
        return math.ceil(batches / self.trainer.accumulate_grad_batches)

    def _run(self) -> dict[str, Any]:
        """What makes the steps of a run, beside the method's settings."""
        trainer = self.trainer
        batches = trainer.num_training_batches
        data: dict[str, Any] = getattr(trainer.datamodule, "settings", dict)()  # type: ignore[attr-defined]
        return {
            **data,
            "epochs": trainer.max_epochs,
            "batches an epoch": batches if isinstance(batches, int) else None,
            "processes": trainer.world_size,
            "accumulated batches": trainer.accumulate_grad_batches,
        }

    def _compare_with_resumed(self) -> None:
        there, self._resumed = self._resumed, None
        if there is None:
            return
        changes = [
            f"{name} {there.get(name)} there and {here} here"
            for name, here in self._run().items()
            if here != there.get(name)
        ]
        if changes and self.trainer.is_global_zero:
            warnings.warn(
                f"the checkpoint is of a run of other steps ({', '.join(changes)}): the learning rate follows the "
                "schedule of this run from here on, and the weights will differ from those of an undisturbed one",
                stacklevel=2,
            )

    def _check_losses(self) -> None:
        if self._first_bad is None:
            return
        # The earliest of all ranks, which stop together.
        step = int(self.trainer.strategy.reduce(self._first_bad.clone(), reduce_op="min"))
        if step != _NEVER:
            epoch, batch = divmod(step, _BATCHES)
            raise FloatingPointError(
                f"the loss was not finite in epoch {epoch}, batch {batch} (both counted from 0); checkpoints hold "
                "what was before. A lower learning rate, a longer warm-up or precision bf16-mixed may help"
            )

    def _check_weights(self, state: dict[str, Any]) -> None:
        """The last step's loss may have been finite and its gradient not."""
        values = {name: v for name, v in state.items() if isinstance(v, Tensor) and v.is_floating_point()}
        finite = torch.stack([value.isfinite().all().to(self.device) for value in values.values()]).tolist()
        bad = [name for name, good in zip(values, finite, strict=True) if not good]
        if not self.trainer.strategy.reduce_boolean_decision(not bad):
            raise FloatingPointError(
                f"{bad[0] if bad else 'a weight of another process'} is not finite after epoch {self.current_epoch} "
                "(counted from 0): no checkpoint is saved, the last one is from before"
            )

    def _check_count(self, images: int) -> None:
        if images == self._counted:
            return
        norms = [module for module in self.modules() if isinstance(module, _BatchNorm)]
        splits = max((getattr(norm, "splits", 1) for norm in norms), default=1)
        if norms and images < 2 * splits:
            parts = f" in each of {splits} parts" if splits > 1 else ""
            raise ValueError(f"batch normalization needs at least 2 images{parts}, got a batch of {images}")
        self._counted = images

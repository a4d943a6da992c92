"""What the methods share: batches, seeds, the run's recipe, checkpoints, and the watch over the loss."""

from typing import Any, NamedTuple

import torch
from lightning import LightningModule
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from texfilters import _check
from texfilters.ssl import _checkpoint
from texfilters.ssl._backbones import Backbone
from texfilters.ssl._recipe import Recipe
from texfilters.ssl._seeds import seed_everything_for

_NONE = torch.iinfo(torch.int64).max
_BATCHES = 2**32  # an epoch's, at most


class Batch(NamedTuple):
    """What the data modules hand out and every method takes."""

    images: Tensor  # uint8 [B, 3, S, S], on the device of the step
    labels: Tensor  # int64 [B], -1 where there is none
    sizes: Tensor  # float32 [B, 2], height and width of the original, whose aspect ratio a square image lost


class Method(LightningModule):
    """The base of all methods.

    A subclass sets `backbone`, the network whose weights are wanted, and defines `loss(batch)`, the scalar loss of a
    step. All that it draws comes from torch's default generators, which are seeded anew before every step with a
    function of `seed`, epoch, batch and rank: a run that is resumed at an epoch's beginning repeats the same steps.

    A loss that is NaN or infinite stops the run with a FloatingPointError that names epoch and batch. The step is
    noted on the device and looked at every `log_every_n_steps`, before validation and before a checkpoint is saved, so
    that nothing waits for the GPU on every step.

    Args:
        recipe: optimizer and learning rate.
        seed: of everything random in training.
    """

    backbone: Backbone

    def __init__(self, recipe: Recipe, seed: int = 0) -> None:
        super().__init__()
        if not isinstance(recipe, Recipe):
            raise TypeError(f"recipe must be a Recipe, got {type(recipe).__name__}")
        self.recipe = recipe
        self.seed = _check.whole("seed", seed, least=0)
        # Epoch and batch of the first loss that was not finite.
        self.register_buffer("_first_bad", torch.tensor(_NONE), persistent=False)

    def loss(self, batch: Batch) -> Tensor:
        raise NotImplementedError

    def settings(self) -> dict[str, Any]:
        """What a checkpoint must agree in, in plain types: a queue's length, a head's width."""
        return {}

    def configure_optimizers(self) -> Any:
        trainer = self.trainer
        steps = trainer.estimated_stepping_batches  # sets num_training_batches, too
        del steps
        return self.recipe.configured(
            self, trainer.max_epochs, -(-trainer.num_training_batches // trainer.accumulate_grad_batches)
        )

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        self._check_count(len(batch[0]))
        seed_everything_for(self.seed, self.current_epoch, batch_idx, self.global_rank)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = self.loss(Batch(*batch))
        self.watch(loss, batch_idx)
        self.log("loss", loss.detach(), prog_bar=True)
        return loss

    def watch(self, loss: Tensor, batch_idx: int) -> None:
        """Note on the device whether a loss is not finite; for a subclass whose `training_step` is its own."""
        step = self.current_epoch * _BATCHES + batch_idx
        bad = torch.where(loss.detach().isfinite().all(), _NONE, step)
        self._first_bad = torch.minimum(self._first_bad, bad)

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        if (batch_idx + 1) % self.trainer.log_every_n_steps == 0:
            self._check_losses()

    def on_validation_start(self) -> None:
        self._check_losses()

    def on_train_epoch_end(self) -> None:
        self._check_losses()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self._check_losses()
        # The last step's loss may have been finite and its gradient not.
        values = {k: v for k, v in checkpoint["state_dict"].items() if v.is_floating_point()}
        finite = torch.stack([value.isfinite().all().to(self.device) for value in values.values()]).tolist()
        if not all(finite):
            name = next(name for name, good in zip(values, finite, strict=True) if not good)
            raise FloatingPointError(
                f"{name} holds NaN or infinity after epoch {self.current_epoch}; no checkpoint was saved"
            )
        checkpoint[_checkpoint.KEY] = _checkpoint.header(self)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        _checkpoint.check(checkpoint, self)

    def _check_losses(self) -> None:
        # The same on all ranks, so that they stop together.
        first = self.trainer.strategy.reduce(self._first_bad, reduce_op="min")
        if (step := int(first)) != _NONE:
            epoch, batch = divmod(step, _BATCHES)
            raise FloatingPointError(
                f"the loss was not finite in epoch {epoch}, batch {batch}: a lower learning rate may help; "
                "the last checkpoint is from before"
            )

    def _check_count(self, images: int) -> None:
        splits = self.backbone.norm_splits
        if images >= 2 * splits:
            return
        if any(isinstance(module, _BatchNorm) for module in self.modules()):
            parts = f" in each of norm_splits {splits} parts" if splits > 1 else ""
            raise ValueError(f"batch normalization needs at least 2 images{parts}, got a batch of {images}")

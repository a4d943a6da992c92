"""What the methods share: batches, seeds, the run's recipe, checkpoints, and the watch over the loss."""

from typing import Any, NamedTuple

import torch
from lightning import LightningModule
from torch import Tensor, nn

from texfilters import _check
from texfilters.ssl import _checkpoint
from texfilters.ssl._backbones import Backbone
from texfilters.ssl._recipe import Recipe
from texfilters.ssl._seeds import seed_everything_for


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

    Args:
        recipe: optimizer and learning rate.
        seed: of everything random in training.
    """

    backbone: Backbone

    def __init__(self, recipe: Recipe, seed: int = 0) -> None:
        super().__init__()
        self.recipe = recipe
        self.seed = _check.whole("seed", seed, least=0)
        # The number of the first step of the run whose loss was not finite, -1 before: read now and then, since every
        # look waits for the GPU.
        self.register_buffer("_first_bad", torch.tensor(-1), persistent=False)

    def loss(self, batch: Batch) -> Tensor:
        raise NotImplementedError

    def settings(self) -> dict[str, Any]:
        """What a checkpoint must agree in, in plain types: a queue's length, a head's width."""
        return {}

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        seed_everything_for(self.seed, self.current_epoch, batch_idx, self.global_rank)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        loss = self.loss(Batch(*batch))
        ...
        self.log("loss", loss.detach(), prog_bar=True)
        return loss

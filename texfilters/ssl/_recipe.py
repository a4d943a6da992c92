"""Optimizers and the learning rate over the epochs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from texfilters import _check
from texfilters.ssl._lars import LARS

Optimizer = Literal["sgd", "rmsprop", "adam", "lars"]
Schedule = Literal["constant", "cosine", "steps", "exponential"]


@dataclass
class Recipe:
    """How a network is trained.

    Args:
        optimizer: "sgd", "rmsprop", "adam" or "lars" (layer-wise adaptive rates; You et al. 2017, arXiv:1708.03888).
        lr: the learning rate, after the warm-up.
        momentum: of SGD, RMSprop and LARS; Adam's first beta.
        nesterov: of SGD.
        weight_decay: of all parameters; LARS leaves biases and normalization out.
        schedule: "constant"; "cosine" from `lr` to 0; "steps": times `factor` at each of `milestones`;
            "exponential": times `factor` after every epoch.
        milestones: epochs, counted from 0.
        factor: what a step or an epoch multiplies the rate by.
        warmup: epochs in which the rate grows linearly to `lr`.
        every_step: the cosine and the warm-up go on with every step, not with every epoch.
    """

    optimizer: Optimizer = "sgd"
    lr: float = 0.03
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-4
    schedule: Schedule = "cosine"
    milestones: Sequence[int] = ()
    factor: float = 0.1
    warmup: float = 0.0
    every_step: bool = False

    def __post_init__(self) -> None:
        _check.choice("optimizer", self.optimizer, ("sgd", "rmsprop", "adam", "lars"))
        _check.choice("schedule", self.schedule, ("constant", "cosine", "steps", "exponential"))
        _check.positive("lr", self.lr)

    def rate(self, epoch: float, epochs: int) -> float:
        """The learning rate at an epoch, over `lr`."""
        if epoch < self.warmup:
            # The first epoch, or step, already trains.
            return (math.floor(epoch) + 1) / self.warmup if not self.every_step else epoch / self.warmup
        if self.schedule == "cosine":
            return 0.5 * (1 + math.cos(math.pi * (epoch - self.warmup) / max(epochs - self.warmup, 1e-9)))
        if self.schedule == "steps":
            return self.factor ** sum(epoch >= milestone for milestone in self.milestones)
        if self.schedule == "exponential":
            return self.factor**epoch
        return 1.0

    def configured(self, module: nn.Module, epochs: int, steps: int) -> dict[str, Any]:
        """What LightningModule.configure_optimizers returns, for a run of so many epochs, of so many steps each."""
        optimizer = self._optimizer(module)
        per_epoch = max(steps, 1)

        def rate(n: int) -> float:
            return self.rate(n / per_epoch if self.every_step else n, epochs)

        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step" if self.every_step else "epoch"},
        }

    def _optimizer(self, module: nn.Module) -> torch.optim.Optimizer:
        parameters = [p for p in module.parameters() if p.requires_grad]
        common = {"lr": self.lr, "weight_decay": self.weight_decay}
        if self.optimizer == "sgd":
            return torch.optim.SGD(parameters, momentum=self.momentum, nesterov=self.nesterov, **common)
        if self.optimizer == "rmsprop":
            return torch.optim.RMSprop(parameters, momentum=self.momentum, **common)
        if self.optimizer == "adam":
            return torch.optim.Adam(parameters, betas=(self.momentum, 0.999), **common)
        vectors = [p for p in parameters if p.ndim <= 1]
        matrices = [p for p in parameters if p.ndim > 1]
        groups = [{"params": matrices}, {"params": vectors, "weight_decay": 0.0, "adapted": False}]
        return LARS(groups, momentum=self.momentum, **common)

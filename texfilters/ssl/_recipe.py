"""Optimizers and the learning rate over the epochs."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

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
        weight_decay: of all parameters; with LARS, biases and normalization have none, nor an adapted rate, as in BYOL
            (Grill et al. 2020, arXiv:2006.07733).
        schedule: "constant"; "cosine" from `lr` to 0; "steps": times `factor` at each of `milestones`;
            "exponential": times `factor` after every epoch.
        milestones: epochs, counted from 0.
        factor: what a step or an epoch multiplies the rate by.
        warmup: epochs in which the rate grows linearly to `lr`: with `every_step` from 0, else from lr / warmup.
        every_step: cosine, exponential and warm-up go on with every step, not with every epoch.

    Raises:
        ValueError, TypeError: for a setting out of its range.
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
        _check.choice("optimizer", self.optimizer, get_args(Optimizer))
        _check.choice("schedule", self.schedule, get_args(Schedule))
        _check.positive("lr", self.lr, finite=True)
        _check.amount("momentum", self.momentum, below=1)
        _check.flag("nesterov", self.nesterov)
        _check.flag("every_step", self.every_step)
        _check.amount("weight_decay", self.weight_decay)
        _check.positive("factor", self.factor, finite=True)
        _check.amount("warmup", self.warmup)
        self.milestones = [_check.whole("milestones", milestone, least=1) for milestone in self.milestones]
        if self.milestones != sorted(set(self.milestones)):
            raise ValueError(f"milestones must grow from one to the next, got {self.milestones}")
        if self.schedule == "steps" and not self.milestones:
            raise ValueError("milestones must hold an epoch with the schedule 'steps', got none")
        if self.nesterov and (self.optimizer != "sgd" or self.momentum == 0):
            raise ValueError(f"nesterov needs SGD with momentum, got {self.optimizer!r} and {self.momentum}")

    def rate(self, epoch: float, epochs: int) -> float:
        """The learning rate over `lr` when so many of the epochs are over."""
        if epoch < self.warmup:
            return epoch / self.warmup if self.every_step else min(1.0, (epoch + 1) / self.warmup)
        if self.schedule == "cosine":
            done = (epoch - self.warmup) / max(epochs - self.warmup, 1e-9)
            return 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))
        if self.schedule == "steps":
            return self.factor ** sum(epoch >= milestone for milestone in self.milestones)
        if self.schedule == "exponential":
            return self.factor**epoch
        return 1.0

    def configured(
        self, module: nn.Module, epochs: int, steps: int = 1, factors: Mapping[str, float] | None = None
    ) -> dict[str, Any]:
        """What LightningModule.configure_optimizers returns.

        Args:
            epochs: of the run.
            steps: of an epoch; read only with `every_step`.
            factors: of the learning rate, by the names of the submodules that learn at another one.
        """
        epochs, steps = _check.whole("max_epochs", epochs, least=1), _check.whole("steps", steps, least=1)
        if self.warmup > epochs:
            raise ValueError(f"warmup must be at most max_epochs {epochs}, got {self.warmup}")
        optimizer = self._optimizer(self._groups(module, factors or {}))

        def rate(n: int) -> float:
            return self.rate(n / steps if self.every_step else n, epochs)

        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": scheduler, "interval": "step" if self.every_step else "epoch"},
        }

    def _groups(self, module: nn.Module, factors: Mapping[str, float]) -> list[dict[str, Any]]:
        """The parameters that are trained, those of the rate `lr` first."""
        own = {p: factor for name, factor in factors.items() for p in module.get_submodule(name).parameters()}
        by_factor: dict[float, list[nn.Parameter]] = {1.0: []}
        for p in module.parameters():
            if p.requires_grad:
                by_factor.setdefault(own.get(p, 1.0), []).append(p)
        groups: list[dict[str, Any]] = []
        for factor, parameters in by_factor.items():
            parts: list[dict[str, Any]] = [{"params": parameters}]
            if self.optimizer == "lars":
                # Biases and what normalization multiplies and adds are the tensors of one dimension.
                vectors = [p for p in parameters if p.ndim <= 1]
                parts = [
                    {"params": [p for p in parameters if p.ndim > 1]},
                    {"params": vectors, "weight_decay": 0.0, "adapted": False},
                ]
            groups += [{**part, "lr": factor * self.lr} for part in parts if part["params"]]
        return groups

    def _optimizer(self, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
        lr, momentum, decay = self.lr, self.momentum, self.weight_decay
        if self.optimizer == "sgd":
            return torch.optim.SGD(groups, lr, momentum, weight_decay=decay, nesterov=self.nesterov)
        if self.optimizer == "rmsprop":
            return torch.optim.RMSprop(groups, lr, momentum=momentum, weight_decay=decay)
        if self.optimizer == "adam":
            return torch.optim.Adam(groups, lr, betas=(momentum, 0.999), weight_decay=decay)
        return LARS(groups, lr, momentum, decay)

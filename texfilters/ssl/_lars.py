"""Stochastic gradient descent whose rate is adapted to each layer."""

from collections.abc import Callable, Iterable
from typing import Any

import torch


class LARS(torch.optim.Optimizer):
    """Layer-wise adaptive rate scaling.

    `v <- momentum v + lr * trust * (g + weight_decay w)`, `w <- w - v`, with
    `trust = eta |w| / (|g| + weight_decay |w|)`, 1 where |w| or |g| is 0 and in groups with `adapted=False`.

    Source: You, Gitman and Ginsburg 2017, "Large Batch Training of Convolutional Networks", arXiv:1708.03888, with
    weight decay within the numerator's gradient as there.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        eta: float = 1e-3,
        adapted: bool = True,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "eta": eta, "adapted": adapted}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                update = p.grad.add(p, alpha=group["weight_decay"])
                if group["adapted"]:
                    weight, gradient = p.norm(), p.grad.norm()
                    trust = group["eta"] * weight / (gradient + group["weight_decay"] * weight)
                    update.mul_(torch.where((weight > 0) & (gradient > 0), trust, 1.0))
                velocity = self.state[p].setdefault("velocity", torch.zeros_like(p))
                velocity.mul_(group["momentum"]).add_(update, alpha=group["lr"])
                p.sub_(velocity)
        return loss

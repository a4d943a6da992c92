"""Stochastic gradient descent whose rate is adapted to each layer."""

from collections.abc import Callable, Iterable
from typing import Any

import torch

from texfilters import _check


class LARS(torch.optim.Optimizer):
    """Layer-wise adaptive rate scaling.

    `v <- momentum v + lr * trust * (g + weight_decay w)`, `w <- w - v`, with
    `trust = eta |w| / (|g| + weight_decay |w|)`, 1 where |w| or |g| is 0 and in groups with `adapted=False`.

    Args:
        params: parameters, or groups of them, which may have settings of their own.
        lr, momentum, weight_decay: as of `torch.optim.SGD`.
        eta: the trust coefficient.
        adapted: False leaves the rate as it is, as for biases and normalization.

    Raises:
        ValueError: for a setting out of its range.

    Source: You, Gitman and Ginsburg 2017, "Large Batch Training of Convolutional Networks", Algorithm 1,
    arXiv:1708.03888.
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
        defaults = {
            "lr": _check.amount("lr", lr),
            "momentum": _check.amount("momentum", momentum, below=1),
            "weight_decay": _check.amount("weight_decay", weight_decay),
            "eta": _check.positive("eta", eta, finite=True),
            "adapted": _check.flag("adapted", adapted),
        }
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if params := [p for p in group["params"] if p.grad is not None]:
                self._step(params, group)
        return loss

    def _step(self, params: list[torch.Tensor], group: dict[str, Any]) -> None:
        """All tensors of a group at once: one by one, a ResNet's 161 tensors would cost over a thousand launches."""
        gradients = [p.grad for p in params if p.grad is not None]
        updates = torch._foreach_add(gradients, params, alpha=group["weight_decay"])
        if group["adapted"]:
            w = torch.stack(torch._foreach_norm(params))
            g = torch.stack(torch._foreach_norm(gradients))
            trust = group["eta"] * w / (g + group["weight_decay"] * w)
            trust = torch.where((w > 0) & (g > 0), trust, 1.0)
            torch._foreach_mul_(updates, list(trust.unbind()))
        for p in params:
            if "velocity" not in self.state[p]:
                self.state[p]["velocity"] = torch.zeros_like(p)
        velocities = [self.state[p]["velocity"] for p in params]
        torch._foreach_mul_(velocities, group["momentum"])
        torch._foreach_add_(velocities, updates, alpha=group["lr"])
        torch._foreach_sub_(params, velocities)

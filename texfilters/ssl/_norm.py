"""Batch normalization in parts of the batch: on one GPU what several would do."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from texfilters import _check


class SplitBatchNorm2d(nn.BatchNorm2d):
    """`nn.BatchNorm2d` whose training statistics are of each of `splits` parts of the batch.

    Part k holds the images k, k + splits, k + 2 splits and so on, which makes the parts a view of a contiguous batch:
    each part's channels become channels of their own. Running statistics are the mean of the parts'. In training the
    result is contiguous, and a batch whose channels are last is copied.

    Raises:
        ValueError: if splits < 1, or, in training, for a batch that is not divisible by it.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, num_features: int, splits: int, *, eps: float = 1e-5, momentum: float | None = 0.1) -> None:
        super().__init__(num_features, eps=eps, momentum=momentum)
        self.fraction = _check.probability("momentum", momentum)
        self.splits = _check.whole("splits", splits, least=1)

    def forward(self, input: Tensor) -> Tensor:
        if not self.training:
            return super().forward(input)
        self._check_input_dim(input)
        b, c, h, w = input.shape
        if b % self.splits:
            raise ValueError(f"the batch must be divisible by norm_splits {self.splits}, got {b} images")
        mean, var, weight, bias = (
            vector.repeat(self.splits) for vector in (self.running_mean, self.running_var, self.weight, self.bias)
        )
        parts = input.reshape(b // self.splits, self.splits * c, h, w)
        parts = functional.batch_norm(parts, mean, var, weight, bias, True, self.fraction, self.eps)
        with torch.no_grad():
            self.num_batches_tracked.add_(1)
            self.running_mean.copy_(mean.view(self.splits, c).mean(0))
            self.running_var.copy_(var.view(self.splits, c).mean(0))
        return parts.reshape(b, c, h, w)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, splits={self.splits}"


def split(module: nn.Module, splits: int) -> None:
    """Put SplitBatchNorm2d, with their weights and statistics, in the place of all nn.BatchNorm2d."""
    if splits == 1:
        return
    for name, child in module.named_children():
        if type(child) is nn.BatchNorm2d:
            own = SplitBatchNorm2d(child.num_features, splits, eps=child.eps, momentum=child.momentum)
            own.load_state_dict(child.state_dict())
            setattr(module, name, own)
        else:
            split(child, splits)

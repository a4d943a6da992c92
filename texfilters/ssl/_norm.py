"""Batch normalization in parts of the batch: on one GPU what several would do."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from texfilters import _check


class SplitBatchNorm2d(nn.BatchNorm2d):
    """`nn.BatchNorm2d` whose training statistics are of each of `splits` parts of the batch.

    The parts are neighbors in the batch, as on GPUs that each hold a part. The running statistics are the mean of the
    parts'.
    """

    def __init__(self, num_features: int, splits: int, **options: object) -> None:
        super().__init__(num_features, **options)
        self.splits = splits

    def forward(self, input: Tensor) -> Tensor:
        if not self.training or len(input) < self.splits:
            return super().forward(input)
        if len(input) % self.splits:
            raise ValueError(f"the batch must be divisible by norm_splits {self.splits}, got {len(input)} images")
        if self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
        b, c, h, w = input.shape
        # Each part's channels become channels of their own.
        parts = input.reshape(self.splits, b // self.splits, c, h, w).transpose(0, 1).reshape(-1, self.splits * c, h, w)
        mean, var = self.running_mean.repeat(self.splits), self.running_var.repeat(self.splits)
        weight, bias = (None if p is None else p.repeat(self.splits) for p in (self.weight, self.bias))
        parts = functional.batch_norm(parts, mean, var, weight, bias, True, self.momentum or 0.0, self.eps)
        with torch.no_grad():
            self.running_mean.copy_(mean.view(self.splits, c).mean(0))
            self.running_var.copy_(var.view(self.splits, c).mean(0))
        return parts.reshape(b // self.splits, self.splits, c, h, w).transpose(0, 1).reshape(b, c, h, w)


def split(module: nn.Module, splits: int) -> None:
    """Put SplitBatchNorm2d in the place of every nn.BatchNorm2d."""
    splits = _check.whole("norm_splits", splits, least=1)
    if splits == 1:
        return
    for name, child in module.named_children():
        if type(child) is nn.BatchNorm2d:
            own = SplitBatchNorm2d(child.num_features, splits, eps=child.eps, momentum=child.momentum)
            own.load_state_dict(child.state_dict())
            setattr(module, name, own)
        else:
            split(child, splits)

"""Momentum encoders: a network that follows another, its queue of keys, and the batch shuffled before its norms."""

import copy
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn

from texfilters import _check, patch_negatives
from texfilters.ssl._backbones import Backbone
from texfilters.ssl._crop import sent
from texfilters.ssl._method import Batch, Method
from texfilters.ssl._norm import SplitBatchNorm2d
from texfilters.ssl._recipe import Recipe
from texfilters.ssl._seeds import generator_for

Network = TypeVar("Network", bound=nn.Module)
Outputs = TypeVar("Outputs", Tensor, tuple[Tensor, ...])


def follower(network: Network) -> Network:
    """A copy that gradients leave alone."""
    return copy.deepcopy(network).requires_grad_(False)


@torch.no_grad()
def update(online: nn.Module, momentum_net: nn.Module, m: float) -> None:
    """Every parameter becomes m times itself plus 1 - m times the online network's, in place; buffers stay.

    Source: He et al. 2020, arXiv:1911.05722, eq. 2.
    """
    torch._foreach_lerp_(list(momentum_net.parameters()), list(online.parameters()), 1 - m)


class Queue(nn.Module):
    """The keys of the last batches, first in, first out; random directions in the beginning.

    Args:
        length: K, how many keys there are.
        dim: D, the length of one.
        seed: of the first entries, so that every process starts with the same.

    `entries` is `[K, D]`, float32, and `oldest` the row that is replaced next; both are in the state dict.
    """

    entries: Tensor
    oldest: Tensor

    def __init__(self, length: int, dim: int, *, seed: int = 0) -> None:
        super().__init__()
        length, dim = _check.whole("queue", length, least=1), _check.whole("dim", dim, least=1)
        entries = torch.randn(length, dim, generator=torch.Generator().manual_seed(seed))
        self.register_buffer("entries", nn.functional.normalize(entries, dim=1))
        self.register_buffer("oldest", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def enqueue(self, keys: Tensor) -> None:
        """Put `[G, D]`, the keys of the global batch, in the place of the oldest; nothing waits for the device.

        Raises:
            ValueError: if G does not divide K.
        """
        length, count = len(self.entries), len(keys)
        if count == 0 or length % count:
            raise ValueError(f"queue must be divisible by the global batch, got {length} entries and {count} keys")
        rows = (self.oldest + torch.arange(count, device=self.oldest.device)) % length
        self.entries.index_copy_(0, rows, keys.to(self.entries.dtype))
        self.oldest.add_(count).remainder_(length)


def processes() -> int:
    """How many train together."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


@torch.no_grad()
def gather(values: Tensor) -> Tensor:
    """`[B, ...]` of every process, as many of each, in the order of their ranks: `[G, ...]`; without gradient."""
    if processes() == 1:
        return values.detach()
    last = layout(values) is torch.channels_last
    values = values.movedim(1, -1) if last else values.contiguous()
    everyone = values.new_empty(processes() * len(values), *values.shape[1:])
    distributed.all_gather_into_tensor(everyone, values)
    return everyone.movedim(-1, 1) if last else everyone


def layout(values: Tensor) -> torch.memory_format:
    """Of the channels: last, which is fastest on a GPU, or first."""
    last = values.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


def patches(images: Tensor, size: int | tuple[int, int] | None, n: int) -> list[Tensor]:
    """n patch negatives of every image of `[B, C, H, W]`, n batches in the layout of `images`."""
    memory = layout(images)
    return [each.contiguous(memory_format=memory) for each in patch_negatives(images, size, n).unbind(dim=1)]


@torch.no_grad()
def shuffled(network: Callable[[Tensor], Outputs], images: Tensor, generator: torch.Generator) -> Outputs:
    """The network's outputs for `images`, `[B, ...]`, seen among other images than the query's; without gradient.

    The global batch is permuted, every process takes its part through the network, and the outputs return to where
    their images came from: no statistics of batch normalization are shared by a query and its key. On one device this
    needs normalization in parts, `Backbone(norm_splits=...)`.

    Args:
        network: gives a tensor `[B, ...]` or a tuple of them.
        generator: on the CPU, in the same state on all processes.

    Source: He et al. 2020, arXiv:1911.05722, section 3.3.
    """
    everyone = gather(images)
    order = torch.randperm(len(everyone), generator=generator)
    rank = distributed.get_rank() if processes() > 1 else 0
    own = slice(rank * len(images), (rank + 1) * len(images))
    there, back = sent(torch.stack([order, order.argsort()])[:, own], images.device)
    outputs = network(everyone[there])
    if isinstance(outputs, Tensor):
        return gather(outputs)[back]
    return tuple(gather(output)[back] for output in outputs)


class MomentumMethod(Method):
    """A method whose keys come from an encoder that follows the query's, and from shuffled batches.

    The encoder moves once in a step of the optimizer, however many batches that takes. The order of a shuffle is the
    same on all processes.

    `backbone` normalizes the global batch in `norm_splits` parts: with several processes each splits its own batch into
    its share of them, which is none with as many processes as parts or more.
    """

    m: float
    head: nn.Module
    momentum_backbone: Backbone
    momentum_head: nn.Module

    def __init__(self, recipe: Recipe, seed: int = 0) -> None:
        super().__init__(recipe, seed)
        self._batch_idx = 0

    def follow(self) -> None:
        """Move the key encoder towards the query's, if a step of the optimizer begins with this batch."""
        batches_a_step = self._trainer.accumulate_grad_batches if self._trainer else 1
        if self._batch_idx % batches_a_step == 0:
            update(self.backbone, self.momentum_backbone, self.m)
            update(self.head, self.momentum_head, self.m)

    @property
    def _ddp_params_and_buffers_to_ignore(self) -> list[str]:
        """Read by DDP. Queues are the same on all processes: their 32 MB need not be sent before every step."""
        queues = [name for name, module in self.named_modules() if isinstance(module, Queue)]
        return [f"{queue}.{buffer}" for queue in queues for buffer in ("entries", "oldest")]

    def setup(self, stage: str) -> None:
        super().setup(stage)
        for layer in self.modules():
            if isinstance(layer, SplitBatchNorm2d):
                layer.splits = max(1, self.backbone.norm_splits // processes())

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        super().on_train_batch_start(batch, batch_idx)
        self._batch_idx = batch_idx

    def order_generator(self) -> torch.Generator:
        """For the permutations of this step."""
        return generator_for(self.seed, self.current_epoch, self._batch_idx)

"""Samples that want another filter, or another window, each: gathered, filtered in one call, scattered back."""

from collections.abc import Callable

import torch
from torch import Tensor


@torch.compiler.disable(reason="the sizes of the groups depend on what was drawn")
def in_groups(images: Tensor, keys: Tensor, apply: Callable[[Tensor, Tensor, int], Tensor]) -> Tensor:
    """A new tensor from `[N, C, H, W]`, of which samples of one key are filtered by one call.

    Args:
        keys: `[N]` on the CPU; samples with a negative one are left as they are, and nothing is computed for them.
        apply: called with the samples of a key, their numbers on the CPU and the key; returns them filtered.
    """
    order = keys.argsort(stable=True)
    values, counts = torch.unique_consecutive(keys[order], return_counts=True)
    sizes = counts.tolist()
    groups = list(zip(values.tolist(), order.split(sizes), strict=True))
    if all(key < 0 for key, _ in groups):
        return images.clone()
    if len(groups) == 1:
        key, index = groups[0]
        return apply(images, index, key)
    gather, scatter = _sent(torch.stack([order, order.argsort()]), images.device)
    parts = []
    for (key, index), place in zip(groups, gather.split(sizes), strict=True):
        some = _selected(images, place)
        parts.append(some if key < 0 else apply(some, index, key))
    return _selected(torch.cat(parts), scatter)


def _selected(images: Tensor, index: Tensor) -> Tensor:
    """In the layout of `images`: index_select copies whole samples, but makes them contiguous."""
    if images.is_contiguous() or not images.is_contiguous(memory_format=torch.channels_last):
        return images.index_select(0, index)
    return images.movedim(-3, -1).index_select(0, index).movedim(-1, -3)


def _sent(index: Tensor, device: torch.device) -> Tensor:
    """To the device, without waiting for it."""
    return index.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else index.to(device)

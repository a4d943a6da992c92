"""Training on small images, all of which lie on the device: shifted and flipped there, without a loader."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from texfilters.evaluate._training import evaluating

_PAD = 4  # pixels that a crop may reach beyond the border, where it is black
_CHUNK = 1024


class Standardized(nn.Module):
    """A network behind what it needs of images of 0..255: minus their mean, divided by their deviation, a channel."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, images: Tensor) -> None:
        super().__init__()
        self.network = network
        chunks = images.split(_CHUNK)
        pixels = images.numel() // images.shape[1]
        mean = sum((chunk.double().sum((0, 2, 3)) for chunk in chunks), torch.zeros(())) / pixels
        squares = sum((chunk.double().square().sum((0, 2, 3)) for chunk in chunks), torch.zeros(())) / pixels
        std = (squares - mean.square()).clamp(min=1.0).sqrt()  # a channel of one value stays finite
        self.register_buffer("mean", mean.float()[:, None, None])
        self.register_buffer("std", std.float()[:, None, None])

    def forward(self, images: Tensor) -> Tensor:
        return self.network((images.float() - self.mean) / self.std)


class ResidentImages:
    """uint8 images `[N, C, H, W]` on a device, with a black border for crops, channels last."""

    def __init__(self, images: Tensor, device: torch.device) -> None:
        n, c, self.height, self.width = images.shape
        self.device = device
        size = n, self.height + 2 * _PAD, self.width + 2 * _PAD, c
        self._pixels = torch.zeros(size, dtype=torch.uint8, device=device)
        self._inner = self._pixels[:, _PAD:-_PAD, _PAD:-_PAD]
        self._inner.copy_(images.permute(0, 2, 3, 1))

    def whole(self, places: Tensor) -> Tensor:
        """The images as they are, `[B, C, H, W]` in channels_last."""
        return self._inner[places].permute(0, 3, 1, 2)

    def cropped(self, places: Tensor, shifts: Tensor, flips: Tensor) -> Tensor:
        """Crops of the images' own size that begin at `shifts` `[B, 2]` of the bordered ones, mirrored by `flips`."""
        rows = shifts[:, :1] + torch.arange(self.height, device=self.device)
        columns = torch.arange(self.width, device=self.device)
        columns = shifts[:, 1:] + torch.where(flips[:, None], columns.flip(0), columns)
        return self._pixels[places[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def fit(
    network: nn.Module,
    images: ResidentImages,
    places: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    *,
    steps: int,
    batch_size: int,
    lr: float,
    weight_decay: float,
) -> None:
    """Train by SGD with Nesterov's momentum of 0.9 and a rate that falls as one half of a cosine, step by step.

    Every image is seen once before any is seen again. All draws come from the CPU's default generator, so that they
    are the same for every device, and nothing is read from the device before the end.

    Args:
        network: from images to logits; on a GPU under autocast to bfloat16.
        places: which images to train on.
        loss: of the logits and the places of a batch.

    Raises ValueError where the loss is not finite.
    """
    device = images.device
    passes = math.ceil(steps * batch_size / len(places))
    order = torch.cat([torch.randperm(len(places)) for _ in range(passes)])[: steps * batch_size]
    order = places[order.to(device)].view(steps, batch_size)
    shifts = torch.randint(2 * _PAD + 1, (steps, batch_size, 2)).to(device)
    flips = (torch.rand(steps, batch_size) < 0.5).to(device)
    optimizer = torch.optim.SGD(
        network.parameters(), lr, momentum=0.9, nesterov=True, weight_decay=weight_decay, fused=True
    )
    total = torch.zeros((), device=device)
    network.train()
    for step, batch in enumerate(order):
        for group in optimizer.param_groups:
            group["lr"] = lr / 2 * (1 + math.cos(math.pi * step / steps))
        with in_bfloat16(device):
            logits = network(images.cropped(batch, shifts[step], flips[step]))
        value = loss(logits, batch)
        optimizer.zero_grad()
        value.backward()
        optimizer.step()
        total += value.detach()
    if not math.isfinite(mean := float(total) / steps):
        raise ValueError(f"the loss must stay finite, got {mean}: lr {lr:g} is too high")


@torch.no_grad()
def logits_of(network: nn.Module, images: ResidentImages, places: Tensor) -> Tensor:
    """float32 `[N, K]`, of the images as they are, the network in evaluation mode."""
    with evaluating(network), in_bfloat16(images.device):
        return torch.cat([network(images.whole(part)).float() for part in places.split(_CHUNK)])


def in_bfloat16(device: torch.device) -> torch.autocast:
    """Autocast on a GPU; on a CPU nothing, where few have instructions for it."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")

"""The parts of a context encoder that paint and judge."""

import itertools
import math

import torch
from torch import Tensor, nn


class ChannelwiseLinear(nn.Module):
    """A fully connected layer for every channel by itself: `[B, C, H, W]` to the same shape, with C (HW)^2 weights.

    `y[b, c, i] = sum_j weight[c, i, j] x[b, c, j] + bias[c, i]` over the HW places.

    Source: Pathak et al. 2016, arXiv:1604.07379, section 3.1.
    """

    def __init__(self, channels: int, height: int, width: int) -> None:
        super().__init__()
        places = height * width
        self.weight = nn.Parameter(torch.empty(channels, places, places))
        self.bias = nn.Parameter(torch.zeros(channels, places, 1))
        nn.init.normal_(self.weight, std=math.sqrt(2 / places))

    def forward(self, maps: Tensor) -> Tensor:
        columns = maps.flatten(2).permute(1, 2, 0)  # [C, HW, B]
        return torch.baddbmm(self.bias, self.weight, columns).permute(2, 0, 1).reshape(maps.shape)


def decoder(channels: int, height: int, width: int, size: int) -> nn.Sequential:
    """From maps to an image: five up-convolutions from 6 x 6 to 161 x 161."""
    layers = [ChannelwiseLinear(channels, height, width), nn.ReLU(), nn.Conv2d(channels, 256, 1), nn.ReLU()]
    ups = min(max(1, round(math.log2(size / min(height, width)))), 5)
    widths = [*[256, 128, 64, 64, 32][:ups], 3]
    for i in range(ups):
        # n pixels become 2 n - 1.
        layers.append(nn.ConvTranspose2d(widths[i], widths[i + 1], 5, stride=2, padding=2))
        if i < ups - 1:
            layers += [nn.BatchNorm2d(widths[i + 1]), nn.ReLU()]
    return nn.Sequential(*layers)


def discriminator() -> nn.Sequential:
    """Logits `[B, 1]`: strided convolutions as in DCGAN (Radford et al. 2015, arXiv:1511.06434)."""
    layers: list[nn.Module] = []
    widths = (3, 64, 128, 256, 512)
    for before, after in itertools.pairwise(widths):
        norm = [nn.BatchNorm2d(after)] if before > 3 else []
        layers += [nn.Conv2d(before, after, 4, stride=2, padding=1), *norm, nn.LeakyReLU(0.2)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1))

"""The small network of the rotation study."""

import torch
from torch import Tensor, nn

_WIDTHS = (16, 32, 48, 48, 64, 64)


class SixLayer(nn.Module):
    """Six times convolution, batch normalization and ReLU: 104,656 parameters, 256 features.

    The first, third and fifth layer halve the image, so that 32 pixels become maps of 4, 128 of 16 and 224 of 28. The
    features are the means of the maps' quarters: where something is says much about how far an image is turned, and at
    no cost nearest neighbors find more than with one mean of all.

    The study says "conv, batch norm, ReLU", six layers and about 100 k parameters; widths, strides, the 3 x 3 kernels
    and the quarters are ours.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for number, (before, width) in enumerate(zip((3, *_WIDTHS), _WIDTHS, strict=False)):
            stride = 2 if number % 2 == 0 else 1
            convolution = nn.Conv2d(before, width, 3, stride, padding=1, bias=False)
            layers += [convolution, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
        self.features = nn.Sequential(*layers)

    def forward(self, images: Tensor) -> Tensor:
        """Features `[B, 256]` of normalized images `[B, 3, H, W]` of at least 9 x 9 pixels."""
        maps = self.features(images)
        if min(maps.shape[-2:]) < 2:
            raise ValueError(f"images must be at least 9 x 9 pixels, got {images.shape[-2]} x {images.shape[-1]}")
        # Not nn.AdaptiveAvgPool2d, whose gradient is not deterministic on GPUs.
        halves = maps.tensor_split(2, -2)
        return torch.cat([quarter.mean((-2, -1)) for half in halves for quarter in half.tensor_split(2, -1)], dim=1)

"""The small network of the rotation study."""

from torch import Tensor, nn

_WIDTHS = (16, 32, 48, 48, 64, 64)


class SixLayer(nn.Module):
    """Six times convolution, batch normalization and ReLU: 104,656 parameters, 64 features.

    The first, third and fifth layer halve the image, so that 32 pixels become maps of 4, 128 of 16 and 224 of 28. Any
    side from 1 pixel is taken.

    The study says "conv, batch norm, ReLU", six layers and about 100 k parameters; widths, strides and the 3 x 3
    kernels are ours.
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
        """The maps' means `[B, 64]`, of normalized images `[B, 3, H, W]`."""
        return self.features(images).mean((-2, -1))

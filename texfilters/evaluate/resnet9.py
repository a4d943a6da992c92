"""A small residual network for images of 32x32 pixels."""

from torch import Tensor, nn

from texfilters import _check


class ResNet9(nn.Module):
    """Eight 3x3 convolutions, two residual pairs among them, and a linear classifier.

    With `width` 64 it has 6,573,120 parameters for 10 classes and takes 0.38 billion multiplications for an image of
    32x32. It trains in seconds an epoch on a GPU, under autocast to bfloat16 with images and weights in channels_last;
    a width of 16 (412,944 parameters) makes it 16 times as cheap, for a CPU.

    Args:
        classes: their number C.
        width: channels of the first convolution; later ones have 2, 4 and 8 times as many.
        channels: of the images.

    `forward` takes floating point images `[B, channels, H, W]`, of about mean 0 and deviation 1, H and W at least 8,
    and returns logits `[B, C]`.

    Source: Page 2018, "How to train your ResNet", https://github.com/davidcpage/cifar10-fast.
    """

    def __init__(self, classes: int, *, width: int = 64, channels: int = 3) -> None:
        super().__init__()
        classes = _check.whole("classes", classes, least=1)
        width = _check.whole("width", width, least=1)
        channels = _check.whole("channels", channels, least=1)
        self.features = nn.Sequential(
            _convolution(channels, width),
            _convolution(width, 2 * width, pool=True),
            _Residual(2 * width),
            _convolution(2 * width, 4 * width, pool=True),
            _convolution(4 * width, 8 * width, pool=True),
            _Residual(8 * width),
        )
        self.classifier = nn.Linear(8 * width, classes, bias=False)

    def forward(self, images: Tensor) -> Tensor:
        # Small logits at the beginning, which a high learning rate needs.
        return self.classifier(self.features(images).amax((2, 3))) / 8


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(_convolution(channels, channels), _convolution(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


def _convolution(channels: int, out: int, *, pool: bool = False) -> nn.Sequential:
    parts = [nn.Conv2d(channels, out, 3, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True)]
    return nn.Sequential(*parts, nn.MaxPool2d(2)) if pool else nn.Sequential(*parts)

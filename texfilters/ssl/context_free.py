"""The trunk of the context-free network: an AlexNet for small tiles."""

import torch
from torch import Tensor, nn
from torch.nn import functional

LEAST = 39  # pixels, of which one is left after the last pooling


class ContextFree(nn.Module):
    """AlexNet in groups whose first convolution has stride 2, up to fc6.

    `features` gives the maps of pool5, `[B, 256, h, w]`, 3 x 3 of tiles of 75 pixels; those of other sizes are averaged
    to 3 x 3. The forward gives fc6, `[B, 1024]`, of images `[B, 3, H, W]` of at least 39 x 39 pixels.

    Not the paper's: weights start as He et al. 2015 (arXiv:1502.01852), who normalize for ReLU.

    Source: Noroozi and Favaro 2016, "Unsupervised Learning of Visual Representations by Solving Jigsaw Puzzles",
    arXiv:1603.09246.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 96, 11, stride=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2),
            _LocalResponseNorm(5),
            nn.Conv2d(96, 256, 5, padding=2, groups=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2),
            _LocalResponseNorm(5),
            nn.Conv2d(256, 384, 3, padding=1), nn.ReLU(inplace=True),
            nn.Conv2d(384, 384, 3, padding=1, groups=2), nn.ReLU(inplace=True),
            nn.Conv2d(384, 256, 3, padding=1, groups=2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2),
        )  # fmt: skip
        self.fc6 = nn.Sequential(nn.Linear(256 * 3 * 3, 1024), nn.ReLU(inplace=True), nn.Dropout(0.5))
        for parameter in self.parameters():
            if parameter.ndim > 1:
                nn.init.kaiming_normal_(parameter, nonlinearity="relu")
            else:
                nn.init.zeros_(parameter)

    def forward(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        if min(height, width) < LEAST:
            raise ValueError(f"images for context_free must be at least {LEAST} x {LEAST}, got {height} x {width}")
        maps = self.features(images)
        if maps.shape[-2:] != (3, 3):  # deterministic on GPUs only where it is left out
            maps = functional.adaptive_avg_pool2d(maps, 3)
        return self.fc6(maps.flatten(1))


class _LocalResponseNorm(nn.LocalResponseNorm):
    """On flattened maps, where torch averages in two dimensions: in three, gradients differ from run to run on GPUs.

    In float32 at least, since the square of 256 is beyond float16.
    """

    def forward(self, maps: Tensor) -> Tensor:
        wide = maps.flatten(2).to(torch.promote_types(maps.dtype, torch.float32))
        return super().forward(wide).view_as(maps)

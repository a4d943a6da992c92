"""Jigsaw puzzles: which of 1,000 orders are an image's tiles in?"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from texfilters import _check
from texfilters.ssl._backbones import Backbone
from texfilters.ssl._evaluation import centered, normalization
from texfilters.ssl._method import Batch, Method
from texfilters.ssl._recipe import Recipe
from texfilters.ssl.permutations import permutations as orders
from texfilters.ssl.views import Views
from texfilters.transforms import AnisotropicDiffusion

_FLAT = 1e-5  # more than what rounding leaves as the deviation of a tile of one color


class Jigsaw(Method):
    """Tiles of an image in one of many orders, which the network is to tell.

    One trunk sees every tile for itself; its features are joined, go through fc7 and a linear layer, and cross-entropy
    compares with the number of the order. Logs `accuracy`, and in validation, if the data have a "val", `val_loss` and
    `val_accuracy` of puzzles of the images' middle.

    Args:
        backbone: the trunk: a torchvision model, or "context_free", with `resize=75` as in its paper's code.
        small_images: as in `Backbone`.
        views: the window that the tiles are cut from, of `grid * cell` pixels. None is a square of at least half of the
            image, gray with a probability of 0.3, neither flipped nor colored, and suppressed by the papers' mixture,
            or not at all with `suppress_tiles`.
        recipe: None is SGD, lr 0.01, momentum 0.9, weight decay 5e-4, the rate times 0.1 after 30, 60 and 80 epochs, of
            which there are 90 of batches of 256.
        seed: as in `Method`.
        permutations: number of orders, see `texfilters.ssl.permutations`.
        grid: 3, or 2 for puzzles of 2 x 2, of which there are 24.
        cell: side of a cell in pixels; the paper's figure has 75.
        tile: side of the tile that is cut at a random place in each cell: what is left of the cell is a gap.
        resize: side that tiles are resized to before they are normalized.
        jitter: a tile's color channels are each moved by up to this many pixels up or down and left or right, within
            the cell.
        suppress_tiles: every tile is diffused or not, with probability 0.5, in place of the whole image.
        hidden: width of fc7.

    For CIFAR-10: `small_images=True, cell=10, tile=8, jitter=1`, or larger views of it.

    Raises:
        TypeError, ValueError: for a value out of its range, more permutations than there are, a tile larger than its
            cell; when training, for views of another size.

    Source: Noroozi and Favaro 2016, "Unsupervised Learning of Visual Representations by Solving Jigsaw Puzzles",
    arXiv:1603.09246, with the sizes of its public code; recipe, ResNet-18 and the diffused tiles (kappa 20, 20 steps):
    Mishra et al. 2020, arXiv:2011.01901. Not theirs: the set of permutations, whose distances are larger; the random
    crop; whole images suppressed on the fly, where Mishra et al. added diffused copies to the data set.
    """

    permutations: Tensor
    _mean: Tensor
    _std: Tensor

    def __init__(
        self,
        backbone: str = "resnet18",
        *,
        small_images: bool = False,
        views: nn.Module | None = None,
        recipe: Recipe | None = None,
        seed: int = 0,
        permutations: int = 1000,
        grid: int = 3,
        cell: int = 85,
        tile: int = 64,
        resize: int | None = None,
        jitter: int = 2,
        suppress_tiles: bool = False,
        hidden: int = 4096,
    ) -> None:
        super().__init__(
            recipe or Recipe("sgd", lr=0.01, weight_decay=5e-4, schedule="steps", milestones=(30, 60, 80)), seed
        )
        grid = _check.choice("grid", grid, (2, 3))
        self.cell = _check.whole("cell", cell, least=1)
        self.tile = _check.whole("tile", tile, least=2)
        if self.tile > self.cell:
            raise ValueError(f"tile must be at most as large as its cell of {self.cell} pixels, got {self.tile}")
        self.resize = None if resize is None else _check.whole("resize", resize, least=1)
        self.jitter = _check.whole("jitter", jitter, least=0)
        self.suppress = AnisotropicDiffusion(p=0.5) if _check.flag("suppress_tiles", suppress_tiles) else None
        if views is None:
            views = Views(
                grid * self.cell,
                scale=(0.5, 1),
                ratio=(1, 1),
                jitter=0,
                gray=0.3,
                flip=0,
                suppress=None if suppress_tiles else "mixture",
            )
        self.views = views
        self.register_buffer("permutations", orders(permutations, grid**2))
        self.backbone = Backbone(backbone, small_images=small_images)
        self.head = nn.Sequential(
            nn.Linear(grid**2 * self.backbone.dim, _check.whole("hidden", hidden, least=1)),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(hidden, len(self.permutations)),
        )
        # The filters meet images in [0, 1].
        for name, values in zip(("_mean", "_std"), normalization(views), strict=True):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)

    def loss(self, batch: Batch) -> Tensor:
        loss, accuracy = self._judged(self.views(batch.images, batch.sizes))
        self.log("accuracy", accuracy, batch_size=len(batch.images))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        size = math.isqrt(self.permutations.shape[1]) * self.cell
        loss, accuracy = self._judged(centered(size, *normalization(self.views))(batch))
        self.log_dict({"val_loss": loss, "val_accuracy": accuracy}, batch_size=len(batch.images))

    def _judged(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and accuracy."""
        labels = torch.randint(len(self.permutations), (len(images),), device=images.device)
        logits = self(self.puzzles(images, labels))
        return functional.cross_entropy(logits, labels), (logits.detach().argmax(1) == labels).float().mean()

    @torch.no_grad()
    def puzzles(self, images: Tensor, labels: Tensor) -> Tensor:
        """Tiles `[B, n, 3, tile, tile]` of windows `[B, 3, side, side]`, in the orders of the labels.

        With `resize` they have that side. In evaluation mode none is diffused.
        """
        tiles = cut(images, self.permutations[labels], self.cell, self.tile, self.jitter)
        if self.suppress is not None and self.training:
            tiles = self.suppress(tiles * self._std + self._mean)
        if self.resize is not None:
            resized = functional.interpolate(tiles.flatten(0, 1), size=self.resize, mode="bilinear")
            tiles = resized.unflatten(0, tiles.shape[:2])
        return normalized(tiles)

    def forward(self, tiles: Tensor) -> Tensor:
        """The logits of the orders, `[B, permutations]`."""
        each = tiles.flatten(0, 1)
        if each.is_cuda:  # what cuDNN's convolutions are fastest in
            each = each.contiguous(memory_format=torch.channels_last)
        return self.head(self.backbone(each).unflatten(0, tiles.shape[:2]).flatten(1))

    def settings(self) -> dict[str, Any]:
        names = ("cell", "tile", "resize", "jitter")
        return {
            "permutations": len(self.permutations),
            "tiles": self.permutations.shape[1],
            **{name: getattr(self, name) for name in names},
            "suppress_tiles": self.suppress is not None,
            "hidden": self.head[0].out_features,
        }


def cut(images: Tensor, order: Tensor, cell: int, tile: int, jitter: int = 0) -> Tensor:
    """A tile at a random place of every cell of a grid, `[B, n, C, tile, tile]`.

    Args:
        images: `[B, C, side, side]`, where n = (side / cell)^2.
        order: int64 `[B, n]`: at place i is the tile of cell `order[:, i]`; cells are numbered row by row.
        cell, tile, jitter: as in `Jigsaw`. Places are drawn on the images' device.
    """
    batch, channels, height, width = images.shape
    count = order.shape[1]
    grid = math.isqrt(count)
    if (height, width) != (grid * cell, grid * cell):
        raise ValueError(
            f"views must have {grid * cell} x {grid * cell} pixels, {grid} cells of {cell} each way, "
            f"got {height} x {width}"
        )
    device, room = images.device, cell - tile
    place = torch.randint(room + 1, (batch, count, 1, 2), device=device)
    moved = torch.randint(-jitter, jitter + 1, (batch, count, channels, 2), device=device)
    place = (place + moved).clamp_(0, room) + torch.stack([order // grid, order % grid], -1)[:, :, None] * cell
    span = place[..., None] + torch.arange(tile, device=device)  # [B, n, C, 2, tile]
    image = torch.arange(batch, device=device).view(-1, 1, 1, 1, 1)
    channel = torch.arange(channels, device=device).view(-1, 1, 1)
    return images[image, channel, span[..., 0, :, None], span[..., 1, None, :]]


def normalized(tiles: Tensor) -> Tensor:
    """Every channel of every tile `[..., H, W]` less its mean and over its deviation, if it has one."""
    std, mean = torch.std_mean(tiles, (-2, -1), keepdim=True)
    return (tiles - mean) / std.where(std > _FLAT, 1.0)

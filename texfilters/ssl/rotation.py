"""Rotation: how far an image is turned, by 0, 90, 180 or 270 degrees, is what the network has to tell."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from texfilters.ssl._backbones import Backbone
from texfilters.ssl._evaluation import centered
from texfilters.ssl._method import Batch, Method
from texfilters.ssl._recipe import Recipe
from texfilters.ssl.views import Views


class Rotation(Method):
    """Four copies of every view are in the batch, turned counter-clockwise by 0, 90, 180 and 270 degrees.

    From the paper (Gidaris, Singh and Komodakis 2018, "Unsupervised Representation Learning by Predicting Image
    Rotations", arXiv:1803.07728): the four copies of one view, the cross-entropy of their turns, random crops and
    flips. It trains with SGD, a learning rate of 0.01 on ImageNet and 0.1 on CIFAR-10, see the configurations.

    From a study with small networks: 128 pixels; `"six_layer"`, `"mobilenet_v2"` and `"efficientnet_b0"`; RMSprop with
    a momentum of 0.5 and a learning rate of 1e-4 that decays exponentially.

    Not the papers': texture suppression in the views, one draw for the four copies; the decay, 0.95 in an epoch, which
    the study does not tell. RotNet turns images before they are normalized. Channels are normalized in the same way
    everywhere, so that turning them afterwards gives the same pixels.

    Args:
        backbone, small_images: as in `Backbone`.
        views: what is turned; None is `Views(128)`, or `Views(32)` with `small_images`, which crops, flips and
            suppresses.
        recipe: None is the study's.
        seed: of everything random in training.

    Logs `accuracy`, the share of the copies whose turn was found, and in validation, if the data have a "val",
    `val_loss` and `val_accuracy` of the images' middle.
    """

    def __init__(
        self,
        backbone: str = "six_layer",
        *,
        small_images: bool = False,
        views: Views | None = None,
        recipe: Recipe | None = None,
        seed: int = 0,
    ) -> None:
        study = Recipe("rmsprop", lr=1e-4, momentum=0.5, weight_decay=0.0, schedule="exponential", factor=0.95)
        super().__init__(recipe or study, seed)
        self.views = views or Views(32 if small_images else 128, scale=(0.08, 1.0), jitter=0.0, gray=0.0)
        self.backbone = Backbone(backbone, small_images=small_images)
        self.head = nn.Linear(self.backbone.dim, 4)

    def loss(self, batch: Batch) -> Tensor:
        loss, accuracy = self._judged(self.views(batch.images, batch.sizes))
        self.log("accuracy", accuracy, on_step=True, on_epoch=True, batch_size=len(batch.images))
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        loss, accuracy = self._judged(centered(self.views.size, self.views.mean, self.views.std)(batch))
        values = {"val_loss": loss, "val_accuracy": accuracy}
        self.log_dict(values, batch_size=len(batch.images))

    def _judged(self, views: Tensor) -> tuple[Tensor, Tensor]:
        """Loss and accuracy."""
        images, turns = rotations(views)
        answers = self.head(self.backbone(images))
        return functional.cross_entropy(answers, turns), (answers.detach().argmax(1) == turns).float().mean()


def rotations(images: Tensor) -> tuple[Tensor, Tensor]:
    """The images turned counter-clockwise by 0, 90, 180 and 270 degrees, and how many quarters each is turned by.

    Args:
        images: `[B, C, S, S]`.

    Returns:
        `[4 B, C, S, S]`, all images as they are, then all turned by 90 degrees and so on; int64 `[4 B]` from 0 to 3.

    Raises:
        ValueError: for images that are not square.
    """
    height, width = images.shape[-2:]
    if height != width:
        raise ValueError(f"images must be square to be turned, got {height} x {width} pixels")
    turned = torch.cat([images.rot90(quarters, (-2, -1)) for quarters in range(4)])
    if images.is_contiguous(memory_format=torch.channels_last):
        turned = turned.contiguous(memory_format=torch.channels_last)
    return turned, torch.arange(4, device=images.device).repeat_interleave(len(images))

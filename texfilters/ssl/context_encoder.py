"""Context encoders: what is in the hole of an image?"""

from typing import Any, Literal

import torch
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from texfilters import _check
from texfilters.ssl import masks
from texfilters.ssl._backbones import Backbone
from texfilters.ssl._evaluation import centered, normalization
from texfilters.ssl._method import Batch, Method
from texfilters.ssl._painting import decoder, discriminator
from texfilters.ssl._recipe import Recipe
from texfilters.ssl.views import Views

_HOLES = {"central": masks.central, "blocks": masks.blocks, "region": masks.region}
_SHOWN = 4  # images of an epoch


class ContextEncoder(Method):
    """An encoder and a decoder that paint what is missing from an image.

    The loss is `(1 - a) reconstruction + a adversarial`, with a = `adversarial`; the discriminator's own comes to it.
    Logs all three, and in validation, if the data have a "val", `val_reconstruction` of the images' middle. TensorBoard
    gets pictures after every epoch: images with their holes, painted, whole.

    Args:
        backbone: the encoder, a network of `Backbone` with maps. AlexNet's are 6 x 6 x 256 of 227 x 227 pixels; its
            fc6 and fc7 stay as they were drawn.
        small_images: as in `Backbone`.
        size: side of the views in pixels, at least 16.
        views: None is `Views(size, jitter=0, gray=0)`: crops, flips and the papers' mixture. The suppressed image is
            what is to be painted, too.
        recipe: None is Adam, lr 2e-4, first beta 0.5, at a constant rate.
        seed: as in `Method`.
        hole: "central", the middle square of half the side; "blocks", random squares of up to a quarter of the image in
            all; "region", a quarter of the image in any shape; see `texfilters.ssl.masks`.
        overlap: the decoder paints this many pixels around the hole as well, which count ten times as much. None is 7
            for the central hole, and 0 for others, as in the public code: what is around them is most of the image.
        adversarial: a, in [0, 1]; without it there is no discriminator.

    The hole is filled with zeros, which is the mean of normalized images. The discriminator learns at a tenth of the
    rate. It sees the hole and the overlap alone, as context would give away what is painted. It and the encoder learn
    from the same forward pass, each from its own loss, with one optimizer.

    Raises:
        TypeError, ValueError: for a value out of its range, or a backbone without maps; when training, for views of
            another size.

    Source: Pathak et al. 2016, "Context Encoders: Feature Learning by Inpainting", arXiv:1604.07379. Not theirs: random
    regions for every image of a batch, each a quarter; the discriminator's average over its last maps; fewer than five
    up-convolutions where maps are larger than a 23rd of the image; a lower rate, for encoders without normalization.
    """

    def __init__(
        self,
        backbone: str = "alexnet",
        *,
        small_images: bool = False,
        size: int = 227,
        views: nn.Module | None = None,
        recipe: Recipe | None = None,
        seed: int = 0,
        hole: Literal["central", "blocks", "region"] = "region",
        overlap: int | None = None,
        adversarial: float = 0.001,
    ) -> None:
        super().__init__(recipe or Recipe("adam", lr=2e-4, momentum=0.5, weight_decay=0.0, schedule="constant"), seed)
        self.size = _check.whole("size", size, least=16)
        self.views = Views(self.size, jitter=0, gray=0) if views is None else views
        self.hole = _check.choice("hole", hole, tuple(_HOLES))
        if overlap is None:
            overlap = 7 if self.hole == "central" else 0
        self.overlap = _check.whole("overlap", overlap, least=0)
        self.adversarial = _check.probability("adversarial", adversarial)
        self.backbone = Backbone(backbone, small_images=small_images)
        self.backbone.train_maps_alone()
        self.decoder = decoder(*_map_shape(self.backbone, self.size), self.size)
        self.discriminator = None
        if self.adversarial:
            self.discriminator, self.rate_factors = discriminator(), {"discriminator": 0.1}
        self._pictures: Tensor | None = None

    def loss(self, batch: Batch) -> Tensor:
        images = self.views(batch.images, batch.sizes)
        if images.shape[-2:] != (self.size, self.size):
            raise ValueError(f"views must have {self.size} x {self.size} pixels, got {tuple(images.shape[-2:])}")
        painted, weight = self._painted(images)
        loss = reconstruction(painted, images, weight)
        self.log("reconstruction", loss.detach(), batch_size=len(images))
        if self.discriminator is None:
            return loss
        elsewhere = weight == 0
        fooled, told = adversarial(
            self.discriminator, images.masked_fill(elsewhere, 0.0), painted.masked_fill(elsewhere, 0.0)
        )
        values = {"adversarial": fooled.detach(), "discriminator": told.detach()}
        self.log_dict(values, batch_size=len(images))
        return (1 - self.adversarial) * loss + self.adversarial * fooled + told

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        images = centered(self.size, *normalization(self.views))(batch)
        painted, weight = self._painted(images)
        self.log("val_reconstruction", reconstruction(painted, images, weight), batch_size=len(images))

    def _painted(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """The images painted through holes of their own, and what their pixels count."""
        hole = _HOLES[self.hole](len(images), self.size, images.device)
        painted = self(images.masked_fill(hole, 0.0))
        self._pictures = _shown(images, painted, hole)
        return painted, weights(hole, self.overlap)

    def forward(self, images: Tensor) -> Tensor:
        """Images painted by what is seen in images with holes, `[B, 3, size, size]`."""
        return functional.interpolate(
            self.decoder(self.backbone.maps(images)).float(), size=images.shape[-2:], mode="bilinear"
        )

    def settings(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("size", "hole", "overlap", "adversarial")}

    def on_train_epoch_end(self) -> None:
        super().on_train_epoch_end()
        if self._pictures is None:
            return
        mean, std = torch.tensor(normalization(self.views))[..., None, None]
        for logger in self.loggers:
            if isinstance(logger, TensorBoardLogger):
                pictures = (self._pictures.cpu() * std + mean).clamp_(0, 1)
                logger.experiment.add_images("painted", pictures, self.current_epoch)


def weights(hole: Tensor, overlap: int) -> Tensor:
    """1 in holes, bool `[B, 1, H, W]`, 10 on the pixels around them that are painted as well, 0 elsewhere."""
    return 10.0 * masks.grown(hole, overlap) - 9.0 * hole


def reconstruction(painted: Tensor, images: Tensor, weight: Tensor) -> Tensor:
    """||M * (x - F((1 - M) * x))||^2 over the number of values in M, the batch mean.

    Args:
        painted, images: `[B, C, H, W]`.
        weight: M, `[B, 1, H, W]`, 0 where nothing is to be painted; its values weigh the squares.
    """
    squares = (weight * (painted - images).square()).sum((1, 2, 3))
    return (squares / ((weight > 0).sum((1, 2, 3)) * images.shape[1])).mean()


def adversarial(discriminator: nn.Module, real: Tensor, painted: Tensor) -> tuple[Tensor, Tensor]:
    """The loss of what paints, -log D(painted), and of the discriminator, -log D(real) - log(1 - D(painted)).

    The gradient of the first goes to `painted` alone, that of the second to the discriminator's parameters alone. A
    discriminator gives logits.
    """
    told = functional.softplus(-discriminator(real).float()).mean()
    told = told + functional.softplus(discriminator(painted.detach()).float()).mean()
    still = {name: parameter.detach() for name, parameter in discriminator.named_parameters()}
    fooled = functional.softplus(-functional_call(discriminator, still, (painted,)).float()).mean()
    return fooled, told


def _map_shape(backbone: Backbone, size: int) -> tuple[int, int, int]:
    """Of images of that size."""
    backbone.eval()
    try:
        with torch.no_grad():
            maps = backbone.maps(torch.zeros(1, 3, size, size))
    except RuntimeError as error:
        raise ValueError(f"size is too small for {backbone.name}, got {size}: {error}") from error
    backbone.train()
    _, channels, height, width = maps.shape
    if min(height, width) < 2:
        raise ValueError(f"size must leave maps of at least 2 x 2 of {backbone.name}, got {size}: {height} x {width}")
    return channels, height, width


@torch.no_grad()
def _shown(images: Tensor, painted: Tensor, hole: Tensor) -> Tensor:
    """Of the first n images those with holes, those with the holes painted, and the images: `[3 n, 3, H, W]`."""
    images, painted, hole = images[:_SHOWN], painted[:_SHOWN], hole[:_SHOWN]
    return torch.cat([images.masked_fill(hole, 0.0), torch.where(hole, painted, images), images])

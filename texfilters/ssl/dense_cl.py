"""DenseCL: MoCo v2, and the same between the places of two views that look most alike."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from texfilters import _check
from texfilters.ssl._backbones import Backbone
from texfilters.ssl._method import Batch
from texfilters.ssl._momentum import MomentumMethod, Queue, follower, gather, shuffled
from texfilters.ssl._recipe import Recipe
from texfilters.ssl.losses import info_nce
from texfilters.ssl.views import Views


class DenseCL(MomentumMethod):
    """A global contrast of views as in MoCo v2, and a dense one of their places, weighted `1 - weight` and `weight`.

    From the paper (Wang et al. 2021, "Dense Contrastive Learning for Self-Supervised Visual Pre-Training",
    arXiv:2011.09157) and its authors' code: both heads, each with a hidden layer as wide as the feature maps, the dense
    one of 1 x 1 convolutions; the positive of a place is the key's place whose *backbone* features have the largest
    cosine with its own; the negatives of places are the queue of the dense head's outputs averaged over an image; the
    dense loss is averaged over all places of the batch; weight (lambda) 0.5, and MoCo v2's K, m, T and optimizer, with
    a learning rate of 0.03 for ImageNet and of 0.3 for COCO. Mishra et al., arXiv:2011.01901, add the texture
    suppression in the views.

    Not the paper's: views are made on the device, and batch normalization is split and shuffled as in `MoCoV2`.

    Args:
        backbone: a network with feature maps: a ResNet, or one of torchvision's with `features`.
        weight: lambda of the dense loss, in [0, 1].
        small_images, views, recipe, seed, dim, queue, m, temperature, norm_splits: as in `MoCoV2`; `queue` is the
            length of both queues.

    Raises:
        TypeError, ValueError: for a setting out of its range, a backbone without feature maps.
    """

    def __init__(
        self,
        backbone: str = "resnet50",
        *,
        small_images: bool = False,
        views: nn.Module | None = None,
        recipe: Recipe | None = None,
        seed: int = 0,
        dim: int = 128,
        queue: int = 65536,
        m: float = 0.999,
        temperature: float = 0.2,
        weight: float = 0.5,
        norm_splits: int = 8,
    ) -> None:
        super().__init__(recipe or Recipe(lr=0.03, momentum=0.9, weight_decay=1e-4, schedule="cosine"), seed)
        self.m = _check.probability("m", m)
        self.temperature = _check.positive("temperature", temperature, finite=True)
        self.weight = _check.probability("weight", weight)
        self.views = Views(32 if small_images else 224) if views is None else views
        self.backbone = Backbone(backbone, small_images=small_images, norm_splits=norm_splits)
        width = self.backbone.map_dim
        if width is None:
            raise ValueError(f"backbone must have feature maps for DenseCL, got {backbone!r}")
        self.backbone.train_maps_alone()
        self.head = Heads(width, _check.whole("dim", dim, least=1))
        self.momentum_backbone, self.momentum_head = follower(self.backbone), follower(self.head)
        self.queue, self.dense_queue = Queue(queue, dim, seed=seed), Queue(queue, dim, seed=seed + 1)

    def loss(self, batch: Batch) -> Tensor:
        queries, others = (self.views(batch.images, batch.sizes) for _ in range(2))
        maps = self.backbone.maps(queries)
        query, query_places, _ = self.head(maps)
        self.follow()
        key, key_places, pooled, key_maps = shuffled(self._key, others, self.order_generator())
        positives = matched(maps.detach(), key_maps, key_places)
        single = info_nce(query, key, self.queue.entries, temperature=self.temperature)
        dense = info_nce(
            query_places.flatten(0, 1),
            positives.flatten(0, 1),
            self.dense_queue.entries,
            temperature=self.temperature,
        )
        self.queue.enqueue(gather(key))
        self.dense_queue.enqueue(gather(pooled))
        self.log_mean("global_loss", single[None])
        self.log_mean("dense_loss", dense[None])
        return (1 - self.weight) * single + self.weight * dense

    def settings(self) -> dict[str, Any]:
        length, dim = self.queue.entries.shape
        return {"dim": dim, "queue": length, "m": self.m, "temperature": self.temperature, "weight": self.weight}

    def _key(self, images: Tensor) -> tuple[Tensor, ...]:
        maps = self.momentum_backbone.maps(images)
        return *self.momentum_head(maps), maps


class Heads(nn.Module):
    """Of maps `[B, C, h, w]` the embeddings `[B, D]`, those of the places, `[B, hw, D]`, and their mean, `[B, D]`.

    All have length 1; the mean is that of the places' embeddings before they get it.
    """

    def __init__(self, width: int, dim: int) -> None:
        super().__init__()
        self.whole = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, dim))
        self.dense = nn.Sequential(nn.Conv2d(width, width, 1), nn.ReLU(), nn.Conv2d(width, dim, 1))

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        embedding = self.whole(maps.mean(dim=(2, 3))).float()
        places = self.dense(maps).float().flatten(2).transpose(1, 2)
        return normalize(embedding, dim=1), normalize(places, dim=2), normalize(places.mean(dim=1), dim=1)


@torch.no_grad()
def matched(query_maps: Tensor, key_maps: Tensor, key_places: Tensor) -> Tensor:
    """For each place of the query the key's embedding at the place that looks most like it.

    Under autocast in float32, too: bfloat16 cannot tell the cosines of places of one image apart.

    Args:
        query_maps, key_maps: `[B, C, h, w]`, the backbones' features, whose cosines are compared.
        key_places: `[B, hw, D]`.

    Returns: `[B, hw, D]`.
    """
    query, key = (normalize(maps.float().flatten(2), dim=1) for maps in (query_maps, key_maps))
    with torch.autocast(query.device.type, enabled=False):
        nearest = (query.transpose(1, 2) @ key).argmax(dim=2)
    return key_places.gather(1, nearest[:, :, None].expand(-1, -1, key_places.shape[2]))

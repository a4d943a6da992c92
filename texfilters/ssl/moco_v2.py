"""MoCo v2: contrast with a queue of keys that a slowly following network made, and with patches of the query."""

import functools
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from texfilters import _check
from texfilters.ssl._backbones import Backbone
from texfilters.ssl._method import Batch
from texfilters.ssl._momentum import MomentumMethod, Queue, follower, gather, patches, shuffled
from texfilters.ssl._recipe import Recipe
from texfilters.ssl.losses import info_nce
from texfilters.ssl.views import Views


class MoCoV2(MomentumMethod):
    """Two views of an image are a query and its key; the queue's keys, of other images, are the negatives.

    From the papers (He et al. 2020, "Momentum Contrast for Unsupervised Visual Representation Learning",
    arXiv:1911.05722; Chen et al. 2020, "Improved Baselines with Momentum Contrastive Learning", arXiv:2003.04297): the
    head, one hidden layer as wide as the features; K, m and T; the key encoder, which moves before it sees the keys;
    shuffled batch normalization; SGD with a learning rate of 0.03 for batches of 256, momentum 0.9, weight decay 1e-4,
    and a cosine that falls with every epoch.

    From Ge et al. 2021, "Robust Contrastive Learning Using Negative Samples with Diminished Semantics",
    arXiv:2110.14189: with `nonsemantic` > 0 every query has so many negatives more, made of patches of its own view
    after all augmentation. They pass the key encoder without gradient, each in a shuffled pass of its own, and never
    enter the queue. The best alpha within a domain was 2; 3 gave the largest shape bias.

    From Mishra et al., "Learning Visual Representations for Transfer Learning by Suppressing Texture",
    arXiv:2011.01901: texture suppression in the views, the default of `Views`. A learning rate of 0.3 suited it better.

    Not the papers': views are made on the device. On fewer than 8 GPUs each normalizes in parts, so that there are 8 of
    the global batch, as on the paper's 8 GPUs. The order of the shuffle comes from the seed, not from the first
    process. The patch sizes go with the size of the view, and their places may be any within it.

    Args:
        backbone, small_images: as in `Backbone`.
        views: a module that makes normalized images `[B, 3, H, W]` of `(images, sizes)`, another draw at every call;
            None is `Views(224)`, or `Views(32)` with `small_images`.
        recipe: None is the paper's.
        seed: of everything random in training, and of the queue's first entries.
        dim: D, the length of an embedding.
        queue: K, the number of keys; divisible by the global batch.
        m: what the key encoder keeps of itself in a step, in [0, 1].
        temperature: T, > 0.
        nonsemantic: n, patch negatives for each query; 0 is MoCo v2 alone.
        alpha, alpha_inside: as in `info_nce`.
        patch_size: as in `patch_negatives`: None is 16..72 pixels of 224.
        norm_splits: parts of the global batch, each normalized by its own statistics; 1 for a network without batch
            normalization.

    Raises:
        TypeError, ValueError: for a setting out of its range.
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
        nonsemantic: int = 0,
        alpha: float = 2.0,
        alpha_inside: bool = True,
        patch_size: int | tuple[int, int] | None = None,
        norm_splits: int = 8,
    ) -> None:
        super().__init__(recipe or Recipe(lr=0.03, momentum=0.9, weight_decay=1e-4, schedule="cosine"), seed)
        self.m = _check.probability("m", m)
        self.temperature = _check.positive("temperature", temperature, finite=True)
        self.nonsemantic = _check.whole("nonsemantic", nonsemantic, least=0)
        self.alpha, self.alpha_inside = _check.amount("alpha", alpha), _check.flag("alpha_inside", alpha_inside)
        whole = functools.partial(_check.whole, least=1)
        self.patch_size = None if patch_size is None else _check.span("patch_size", patch_size, whole)
        self.views = Views(32 if small_images else 224) if views is None else views
        self.backbone = Backbone(backbone, small_images=small_images, norm_splits=norm_splits)
        width = self.backbone.dim
        self.head = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, _check.whole("dim", dim, 1)))
        self.momentum_backbone, self.momentum_head = follower(self.backbone), follower(self.head)
        self.queue = Queue(queue, dim, seed=seed)

    def loss(self, batch: Batch) -> Tensor:
        queries, others = (self.views(batch.images, batch.sizes) for _ in range(2))
        query = normalize(self.head(self.backbone(queries)).float(), dim=1)
        self.follow()
        generator = self.order_generator()
        key = shuffled(self._key, others, generator)
        nonsemantic = self._nonsemantic_keys(queries, generator) if self.nonsemantic else None
        loss = info_nce(
            query,
            key,
            self.queue.entries,
            nonsemantic=nonsemantic,
            alpha=self.alpha,
            alpha_inside=self.alpha_inside,
            temperature=self.temperature,
        )
        self.queue.enqueue(gather(key))
        self.log_mean("similarity", (query * key).sum(dim=1))
        if nonsemantic is not None:
            self.log_mean("nonsemantic_similarity", (query[:, None] * nonsemantic).sum(dim=2))
        return loss

    def settings(self) -> dict[str, Any]:
        names = ("m", "temperature", "nonsemantic", "alpha", "alpha_inside", "patch_size")
        length, dim = self.queue.entries.shape
        return {"dim": dim, "queue": length, **{name: getattr(self, name) for name in names}}

    def _key(self, images: Tensor) -> Tensor:
        return normalize(self.momentum_head(self.momentum_backbone(images)).float(), dim=1)

    @torch.no_grad()
    def _nonsemantic_keys(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """`[B, n, D]`."""
        negatives = patches(images, self.patch_size, self.nonsemantic)
        return torch.stack([shuffled(self._key, each, generator) for each in negatives], dim=1)

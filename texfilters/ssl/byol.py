"""BYOL: the online network predicts what a slowly following network makes of another view."""

import functools
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from texfilters import _check
from texfilters.ssl import losses
from texfilters.ssl._backbones import Backbone
from texfilters.ssl._method import Batch, Method
from texfilters.ssl._momentum import follower, patches, update
from texfilters.ssl._recipe import Recipe
from texfilters.ssl.views import Views
from texfilters.transforms import AnisotropicDiffusion, GaussianBlur, RandomTextureSuppression


class BYOL(Method):
    """What is predicted from each of two views meets the target network's projection of the other one.

    From the paper (Grill et al. 2020, "Bootstrap Your Own Latent", arXiv:2006.07733): projector and predictor, one
    hidden layer of 4096 each, with batch normalization; the loss, summed over both views; the target network, which
    follows after every step, and its momentum; the asymmetric views apart from their suppression; LARS with a learning
    rate of 3.2 for batches of 4096 (0.2 for every 256 images), momentum 0.9, weight decay 1.5e-6, ten epochs of warm-up
    and a cosine that falls with every step.

    From Ge et al. 2021, "Robust Contrastive Learning Using Negative Samples with Diminished Semantics",
    arXiv:2110.14189: with `nonsemantic` > 0 every query has so many negatives, made of patches of its own view after
    all augmentation, which pass the target network without gradient. On ImageNet-100 they trained with batches of 1024,
    a learning rate of 4.8 and weight decay 1e-6.

    Not the papers': texture suppression in the views, see `asymmetric_views`; a target network that starts as a copy of
    the online one, as in OpenSelfSup; negatives of both views, a pass through the target network for each of the n, so
    that batch normalization never sees an image twice. On several GPUs the paper normalizes over all of them:
    `--trainer.sync_batchnorm true`.

    Args:
        backbone, small_images: as in `Backbone`.
        views, second_views: modules that make normalized images `[B, 3, H, W]` of `(images, sizes)`, the first and the
            second view. Without `second_views` both come from `views`, without either from `asymmetric_views(224)`, or
            of 32 pixels with `small_images`.
        recipe: None is the paper's.
        seed: of everything random in training.
        hidden, dim: the width of the hidden layers, and D, the length of an embedding.
        m: what the target network keeps of itself in the first step, in [0, 1]; see `target_momentum`.
        nonsemantic: n, patch negatives for each query; 0 is BYOL alone.
        alpha: as in `losses.byol`.
        patch_size: as in `patch_negatives`: None is 16..72 pixels of 224.

    Raises:
        TypeError, ValueError: for a setting out of its range, `second_views` without `views`.
    """

    def __init__(
        self,
        backbone: str = "resnet50",
        *,
        small_images: bool = False,
        views: nn.Module | None = None,
        second_views: nn.Module | None = None,
        recipe: Recipe | None = None,
        seed: int = 0,
        hidden: int = 4096,
        dim: int = 256,
        m: float = 0.996,
        nonsemantic: int = 0,
        alpha: float = 0.05,
        patch_size: int | tuple[int, int] | None = None,
    ) -> None:
        paper = Recipe("lars", lr=3.2, momentum=0.9, weight_decay=1.5e-6, warmup=10, every_step=True)
        super().__init__(recipe or paper, seed)
        self.hidden, self.dim = _check.whole("hidden", hidden, least=1), _check.whole("dim", dim, least=1)
        self.m = _check.probability("m", m)
        self.nonsemantic = _check.whole("nonsemantic", nonsemantic, least=0)
        self.alpha = _check.amount("alpha", alpha)
        whole = functools.partial(_check.whole, least=1)
        self.patch_size = None if patch_size is None else _check.span("patch_size", patch_size, whole)
        if views is None:
            if second_views is not None:
                raise ValueError("views must be given where second_views are, got None")
            views, second_views = asymmetric_views(32 if small_images else 224)
        self.views, self.second_views = views, second_views or views
        self.backbone = Backbone(backbone, small_images=small_images)
        self.projector = _perceptron(self.backbone.dim, self.hidden, self.dim)
        self.predictor = _perceptron(self.dim, self.hidden, self.dim)
        self.target_backbone, self.target_projector = follower(self.backbone), follower(self.projector)

    def loss(self, batch: Batch) -> Tensor:
        views = [make(batch.images, batch.sizes) for make in (self.views, self.second_views)]
        query = torch.cat([self._query(view) for view in views])
        key = torch.cat([self._key(view) for view in reversed(views)])
        nonsemantic = torch.cat([self._nonsemantic_keys(view) for view in views]) if self.nonsemantic else None
        self.log_mean("similarity", (query * key).sum(dim=1))
        if nonsemantic is not None:
            self.log_mean("nonsemantic_similarity", (query[:, None] * nonsemantic).sum(dim=2))
        # The mean is over both views, the paper's loss their sum.
        return 2 * losses.byol(query, key, nonsemantic=nonsemantic, alpha=self.alpha)

    def settings(self) -> dict[str, Any]:
        names = ("hidden", "dim", "m", "nonsemantic", "alpha", "patch_size")
        return {name: getattr(self, name) for name in names}

    def optimizer_step(self, *args: Any, **options: Any) -> None:
        """The optimizer's step, after which the target network follows."""
        step, steps = self.trainer.global_step, self.trainer.estimated_stepping_batches
        super().optimizer_step(*args, **options)
        m = target_momentum(self.m, step, steps if steps > 0 else math.inf)  # -1: data of unknown length
        update(self.backbone, self.target_backbone, m)
        update(self.projector, self.target_projector, m)

    def _query(self, images: Tensor) -> Tensor:
        return normalize(self.predictor(self.projector(self.backbone(images))).float(), dim=1)

    @torch.no_grad()
    def _key(self, images: Tensor) -> Tensor:
        return normalize(self.target_projector(self.target_backbone(images)).float(), dim=1)

    def _nonsemantic_keys(self, images: Tensor) -> Tensor:
        """`[B, n, D]`."""
        negatives = patches(images, self.patch_size, self.nonsemantic)
        return torch.stack([self._key(each) for each in negatives], dim=1)


def target_momentum(m: float, step: int, steps: float) -> float:
    """What the target network keeps of itself in a step, counted from 0: from `m` to 1 along a cosine.

    `1 - (1 - m) (cos(pi step / steps) + 1) / 2`. In a run of `math.inf` steps it stays `m`.

    Source: Grill et al. 2020, arXiv:2006.07733, section 3.2.
    """
    return 1 - (1 - m) * (math.cos(math.pi * step / steps) + 1) / 2


def asymmetric_views(size: int = 224, *, suppressed: bool = True) -> tuple[Views, Views]:
    """BYOL's first and second view; the first is always blurred, the second with a probability of 0.1, or solarized.

    BYOL solarizes a second view with a probability of 0.2. Suppressed, which is ours, half of all views are diffused,
    10 to 20 steps, and the others are blurred as often as BYOL blurs: what Mishra et al. do in MoCoV2
    (arXiv:2011.01901), where that is half of them. They are solarized before that, not after. `suppressed=False` gives
    BYOL's own views.
    """
    return _view(size, 1.0, 0.0, suppressed), _view(size, 0.1, 0.2, suppressed)


def _view(size: int, blur: float, solarize: float, suppressed: bool) -> Views:
    suppress = None
    if suppressed:
        filters = [AnisotropicDiffusion(niter=(10, 20)), GaussianBlur(sigma=(0.1, 2.0)), None]
        suppress = RandomTextureSuppression(filters, [0.5, 0.5 * blur, 0.5 * (1 - blur)])
        blur = 0.0
    return Views(size, scale=(0.08, 1.0), saturation=0.2, blur=blur, solarize=solarize, suppress=suppress)


def _perceptron(width: int, hidden: int, dim: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(width, hidden), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True), nn.Linear(hidden, dim, bias=False)
    )

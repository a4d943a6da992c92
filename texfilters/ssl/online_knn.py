"""The accuracy of nearest neighbors while a network is pretrained."""

from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer

from texfilters import _check
from texfilters.evaluate import classification, features, knn
from texfilters.evaluate._training import evaluating
from texfilters.ssl._evaluation import View, centered
from texfilters.ssl._method import Method


class OnlineKNN(Callback):
    """Log `knn`, the accuracy of a k-nearest-neighbor classifier on the backbone's features, every so many epochs.

    The data module's `labeled("train")` are the neighbors, `labeled("val")` are classified. The middle of each image
    is seen, normalized as the method's views are, ImageNet's way where they say nothing. Training goes on as if nothing
    had been: no random number is used up, no statistic is updated, and every layer is in its own mode again. It takes
    the time of a pass over all labeled images; every process makes it for itself.

    Args:
        every: log after every so many epochs, and after the last one.
        k, temperature: as in `texfilters.evaluate.knn`; of fewer than k training images all vote.
        size: side of what the backbone sees; None is that of the method's views.
        share: as in `CenterView`; None is 224/256, or 1 where the images are no larger than the view.

    Raises:
        TypeError: when training starts, if the data module has no `labeled`, or nothing says a size.
        ValueError: as `labeled`, where there are no labels or no images to validate with.
    """

    def __init__(
        self,
        every: int = 1,
        *,
        k: int = 200,
        temperature: float = 0.07,
        size: int | None = None,
        share: float | None = None,
    ) -> None:
        self.every = _check.whole("every", every, least=1)
        self.k = _check.whole("k", k, least=1)
        self.temperature = _check.positive("temperature", temperature, finite=True)
        self.size = None if size is None else _check.whole("size", size, least=1)
        self.share = None if share is None else _check.positive("share", _check.probability("share", share))
        self._loaders: tuple[Any, ...] = ()
        self._view: View | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        if not hasattr(data, "labeled"):
            raise TypeError(f"OnlineKNN needs a data module with `labeled`, got {type(data).__name__}")
        views: Any = getattr(pl_module, "views", None)
        size = getattr(views, "size", None) if self.size is None else self.size
        if size is None:
            raise TypeError(f"OnlineKNN needs a size: views of {type(pl_module).__name__} say none")
        self._loaders = data.labeled("train"), data.labeled("val")
        self._view = centered(size, getattr(views, "mean", None), getattr(views, "std", None), self.share)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        done = trainer.current_epoch + 1
        if done % self.every and done != trainer.max_epochs:
            return
        if isinstance(pl_module, Method):
            # It says what went wrong; features of weights that are no numbers would not.
            pl_module.check_finite(pl_module.state_dict())
        # On several processes all have the same number; the mean is formed for those who wait for it.
        pl_module.log("knn", self._accuracy(trainer, pl_module), prog_bar=True, sync_dist=True)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._loaders, self._view = (), None

    @torch.no_grad()
    def _accuracy(self, trainer: Trainer, module: LightningModule) -> float:
        backbone: Any = module.backbone
        plugin, device = trainer.precision_plugin, module.device
        cuda = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(devices=cuda), evaluating(backbone), plugin.forward_context():
            (train, train_labels), (tested, labels) = (
                features(lambda x: backbone(plugin.convert_input(x)), loader, transform=self._view, device=device)
                for loader in self._loaders
            )
        classes = 1 + int(torch.maximum(train_labels.max(), labels.max()))
        k = min(self.k, len(train))
        votes = knn(train, train_labels, tested, k=k, temperature=self.temperature, classes=classes)
        return classification(votes, labels).accuracy

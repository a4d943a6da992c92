"""Supervised training on images with and without their texture, and fine-tuning on plain ones."""

import copy
import os
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from texfilters import _check
from texfilters.ssl import _checkpoint
from texfilters.ssl._backbones import Backbone
from texfilters.ssl._crop import sent
from texfilters.ssl._evaluation import centered
from texfilters.ssl._method import Batch, Method
from texfilters.ssl._recipe import Recipe
from texfilters.ssl.views import Views
from texfilters.transforms import AnisotropicDiffusion


class Supervised(Method):
    """A batch holds plain and texture-suppressed images in equal parts; a linear classifier tells their classes.

    From the paper (Mishra et al. 2020, "Learning Visual Representations for Transfer Learning by Suppressing Texture",
    arXiv:2011.01901): ImageNet and its copy, diffused by 20 steps with a kappa of 20, in half the epochs; then
    fine-tuning on ImageNet. It tells no more. The rest is of Geirhos et al. 2019, "ImageNet-Trained CNNs Are Biased
    towards Texture", arXiv:1811.12231, in the appendix, who trained so on stylized images: random crops and flips; SGD
    for batches of 256 with momentum 0.9, weight decay 1e-4 and a learning rate of 0.1, times 0.1 after 15 and 30 of 45
    epochs; fine-tuning with 0.01, times 0.1 after 30 of 60.

    Not the papers': a crop is suppressed, anew each time, where they suppressed all of an image once, before it was
    cropped; weights that are drawn, where Geirhos et al. began with ImageNet's; label smoothing.

    Args:
        backbone, small_images: as in `Backbone`.
        classes: how many there are.
        views: makes the suppressed images, and without its `suppress` the plain ones; None is `Views(224)`, or
            `Views(32)` with `small_images`, which crops, flips and diffuses. One whose `suppress` is None trains on
            plain images alone: the baseline.
        doubled: every image comes plain and suppressed, each with a crop of its own, as in a data set of both: with
            half the batch and half the epochs a run has as many steps as usual. Otherwise a random half of the batch
            is suppressed.
        label_smoothing: what all classes share of a label's weight, in [0, 1].
        fine_tune: a checkpoint of this method whose backbone and head are trained on, on plain images. It is read
            whenever a run starts, to be resumed, too.
        recipe: None is the paper's; without `doubled` with the rate's milestones at twice the epochs.
        seed: of everything random in training.

    Logs `accuracy`, and in validation, if the data have a "val", `val_loss`, `val_top1` and, of more than 5 classes,
    `val_top5` of the images' middle. Fine-tuning is a run of its own, here after the first:

        python ssl/pretrain.py --config ssl/configs/supervised-imagenet.yaml --data.root DIR --out runs/both
        python ssl/pretrain.py --config ssl/configs/supervised-imagenet.yaml --data.root DIR --out runs/tuned \\
            --model.fine_tune runs/both/last.ckpt --model.recipe.lr 0.01 --model.recipe.milestones [30] \\
            --trainer.max_epochs 60 --data.batch_size 256

    Raises:
        TypeError, ValueError: for a setting out of its range, a number of classes that is not the data's.
        FileNotFoundError, ValueError: for a checkpoint that is none, or of another method, backbone or number of
            classes.
    """

    def __init__(
        self,
        backbone: str = "resnet50",
        *,
        classes: int,
        small_images: bool = False,
        views: Views | None = None,
        doubled: bool = True,
        label_smoothing: float = 0.0,
        fine_tune: str | os.PathLike[str] | None = None,
        recipe: Recipe | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(recipe or _recipe(_check.flag("doubled", doubled), fine_tune is not None), seed)
        self.classes = _check.whole("classes", classes, least=2)
        self.label_smoothing = _check.probability("label_smoothing", label_smoothing)
        self.doubled, self.fine_tunes = doubled, fine_tune is not None
        if views is None:
            size, suppress = 32 if small_images else 224, AnisotropicDiffusion(niter=20, kappa=20.0)
            views = Views(size, scale=(0.08, 1.0), jitter=0.0, gray=0.0, suppress=suppress)
        self.views, self.plain_views = views, copy.deepcopy(views)
        self.plain_views.suppress = None
        self.backbone = Backbone(backbone, small_images=small_images)
        self.head = nn.Linear(self.backbone.dim, self.classes)
        self._names: list[str] = []
        if fine_tune is not None:
            self._start_from(fine_tune)

    def setup(self, stage: str) -> None:
        super().setup(stage)
        names = getattr(getattr(self.trainer, "datamodule", None), "classes", None)
        if names is None:
            return
        if not names:
            raise ValueError("the data have no labels to train with: images must lie in folders, one a class")
        if len(names) != self.classes:
            raise ValueError(f"classes must be {len(names)}, as many as the data's, got {self.classes}")
        self._names = list(names)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """With the names of the classes, for those who ask the classifier later."""
        super().on_save_checkpoint(checkpoint)
        checkpoint[_checkpoint.KEY]["classes"] = self._names

    def loss(self, batch: Batch) -> Tensor:
        images, labels = self._seen(batch)
        answers = self.head(self.backbone(images))
        self.log("accuracy", top(1, answers, labels), on_step=True, on_epoch=True, batch_size=len(labels))
        return functional.cross_entropy(answers, labels, label_smoothing=self.label_smoothing)

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        images, labels = centered(self.views.size, self.views.mean, self.views.std)(batch), batch.labels
        answers = self.head(self.backbone(images))
        values = {"val_loss": functional.cross_entropy(answers, labels), "val_top1": top(1, answers, labels)}
        if self.classes > 5:
            values["val_top5"] = top(5, answers, labels)
        self.log_dict(values, batch_size=len(images))

    def settings(self) -> dict[str, Any]:
        names = ("classes", "doubled", "label_smoothing", "fine_tunes")
        return {name: getattr(self, name) for name in names} | {"suppress": str(self.views.suppress)}

    def _seen(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Views and their labels: `[B]`, or `[2 B]` if doubled."""
        images, labels, sizes = batch
        if self.fine_tunes or self.views.suppress is None:
            return self.plain_views(images, sizes), labels
        if self.doubled:
            return torch.cat([self.plain_views(images, sizes), self.views(images, sizes)]), labels.repeat(2)
        halves = sent(torch.randperm(len(images)), images.device).tensor_split(2)
        pairs = zip((self.plain_views, self.views), halves, strict=True)
        return torch.cat([make(images[half], sizes[half]) for make, half in pairs]), labels[torch.cat(halves)]

    def _start_from(self, path: str | os.PathLike[str]) -> None:
        checkpoint = _checkpoint.read(path)
        there, here = checkpoint[_checkpoint.KEY], _checkpoint.header(self)
        about = [(name, there.get(name), here[name]) for name in ("method", "backbone")]
        about.append(("number of classes", there.get("settings", {}).get("classes"), self.classes))
        for name, found, wanted in about:
            if found != wanted:
                raise ValueError(f"fine_tune must have the {name} {wanted}, got {found} in {path}")
        try:
            self.load_state_dict(checkpoint["state_dict"])
        except RuntimeError as error:
            raise ValueError(f"the weights in {path} do not fit: {error}") from error


def top(k: int, answers: Tensor, labels: Tensor) -> Tensor:
    """The share of `[B]` labels among the k largest of their `[B, classes]` answers."""
    return (answers.detach().topk(k).indices == labels[:, None]).any(1).float().mean()


def _recipe(doubled: bool, fine_tunes: bool) -> Recipe:
    lr, milestones = (0.01, (30,)) if fine_tunes else (0.1, (15, 30) if doubled else (30, 60))
    return Recipe(lr=lr, momentum=0.9, weight_decay=1e-4, schedule="steps", milestones=milestones)

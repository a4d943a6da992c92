"""Gold loss correction from beginning to end: two networks trained on corrupted labels, and how often they err."""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from texfilters import _check
from texfilters.evaluate._classification import Classification, class_labels, classification
from texfilters.evaluate._resident import ResidentImages, Standardized, fit, logits_of
from texfilters.evaluate._training import seeded
from texfilters.evaluate.label_corruption import (
    corrupted_labels,
    corruption_matrix,
    estimated_corruption,
    glc_loss,
    gold_images,
)
from texfilters.evaluate.resnet9 import ResNet9

_CHUNK = 1024


@dataclass(frozen=True)
class GoldLossCorrection:
    """What training on corrupted labels came to. Tensors are on the CPU.

    Attributes:
        test: the answers on the test images after the second phase, with gold loss correction.
        silver: those after the first, which is plain training on the corrupted labels alone.
        matrix: how the silver labels were corrupted, float64 `[K, K]`.
        estimate: the first network's view of that, float64 `[K, K]`.
        seconds: what training took, a phase.
        model: the second network, in evaluation mode, from uint8 images `[B, C, H, W]` to logits `[B, K]`.
    """

    test: Classification
    silver: Classification
    matrix: Tensor
    estimate: Tensor
    seconds: tuple[float, float]
    model: nn.Module

    @property
    def error(self) -> float:
        """The share of wrong answers after the second phase."""
        return 1 - self.test.accuracy

    @property
    def silver_error(self) -> float:
        """The share of wrong answers after the first phase."""
        return 1 - self.silver.accuracy

    @property
    def estimate_error(self) -> float:
        """The mean total variation distance of the rows of the estimate from those of the matrix, 0 to 1."""
        return (self.estimate - self.matrix).abs().sum(1).mean().item() / 2


def glc(
    images: Tensor,
    labels: Tensor,
    test_images: Tensor,
    test_labels: Tensor,
    *,
    corruption: str,
    probability: float,
    gold: float,
    suppressed: Callable[[Tensor], Tensor] | None = None,
    network: Callable[[int], nn.Module] = ResNet9,
    epochs: int = 15,
    batch_size: int = 128,
    lr: float = 0.1,
    weight_decay: float = 5e-4,
    seed: int = 0,
    device: torch.device | str | None = None,
) -> GoldLossCorrection:
    """Corrupt labels, train on them in two phases with gold loss correction, and test.

    The first phase trains on the silver images and their corrupted labels. Its network's mean answers to the gold
    images of each class estimate the corruption. The second starts from the same initial weights and trains on all
    images with `glc_loss`. Both use SGD with Nesterov's momentum, one cosine of the rate, random mirroring, and crops
    from the images with a black border of 4 pixels.

    With `suppressed` the training set is doubled by a suppressed copy of every image, which has the label and the
    trust of the original, and each image is seen half as often: the number of steps stays that of the images alone, as
    in the papers, which halve the epochs. The gold copies take part in the estimate. Test images stay as they are.

    Everything lies on the device, the images as uint8. The same seed gives the same labels, gold images, initial
    weights, order and augmentation on every device, and the same result again on the same one.

    Args:
        images, test_images: uint8 `[N, C, H, W]` and `[M, C, H, W]`.
        labels, test_labels: the right ones, integers `[N]` and `[M]`.
        corruption: "uniform" or "flip"; the flipped pairs are the authors', whatever the seed.
        probability: of corruption, p.
        gold: the share of images whose labels stay right and are known to be.
        suppressed: from a batch of uint8 images on the device to as many of the same shape and type, such as
            `transforms.AnisotropicDiffusion(20, 20.0)`; None trains on the images alone.
        network: makes one for a number of classes, from standardized images to logits.
        epochs: passes over the images in each phase; half of them over images and copies.
        device: where to compute; None is where `images` are.

    Raises:
        TypeError, ValueError: for images of another type or shape, labels that do not fit them, a class without a
            training image, a gold share without an image of every class, a loss that is not finite.

    Source: Hendrycks et al. 2018, arXiv:1802.05300; with suppressed copies Mishra et al. 2020, arXiv:2011.01901.
    """
    _uint8_images("images", images)
    _uint8_images("test_images", test_images)
    if test_images.shape[1] != images.shape[1]:
        raise ValueError(
            f"test_images must have as many channels as images, {images.shape[1]}, got {test_images.shape[1]}"
        )
    classes = class_labels("labels", labels, labels)
    class_labels("test_labels", test_labels, test_labels, classes)
    for name, given, of in (("labels", labels, images), ("test_labels", test_labels, test_images)):
        if len(given) != len(of):
            raise ValueError(f"{name} must be as many as the images, {len(of)}, got {len(given)}")
    if missing := (torch.bincount(labels, minlength=classes) == 0).nonzero()[:, 0].tolist():
        raise ValueError(f"labels must have an image of every class below {classes}, but have none of {missing}")
    epochs = _check.whole("epochs", epochs, least=1)
    batch_size = _check.whole("batch_size", batch_size, least=2)
    recipe = {
        "batch_size": batch_size,
        "lr": _check.positive("lr", lr, finite=True),
        "weight_decay": _check.amount("weight_decay", weight_decay),
    }
    device = images.device if device is None else torch.device(device)

    matrix = corruption_matrix(corruption, classes, probability)
    trusted = gold_images(labels, gold, seed=seed)
    given = torch.where(trusted, labels.long(), corrupted_labels(labels, matrix, seed=seed))
    with (
        torch.inference_mode(False),
        torch.enable_grad(),
        seeded(seed, device),
        # cuDNN's fastest convolutions add up in any order.
        torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True),
    ):
        model = Standardized(network(classes), images).to(device).to(memory_format=torch.channels_last)
        beginning = copy.deepcopy(model.state_dict())
        if suppressed is not None:
            images = torch.cat([images.to(device), _copies(images, suppressed, device)])
            given, trusted = given.repeat(2), trusted.repeat(2)
        given, trusted = given.to(device), trusted.to(device)
        train = ResidentImages(images, device)
        tested = ResidentImages(test_images, device)
        test_labels = test_labels.long().to(device)
        copies = 1 if suppressed is None else 2

        def phase(places: Tensor, loss: Callable[[Tensor, Tensor], Tensor]) -> tuple[Classification, float]:
            begun = time.perf_counter()
            steps = math.ceil(epochs * len(places) / copies / batch_size)
            fit(model, train, places, loss, steps=steps, **recipe)  # type: ignore[arg-type]
            seconds = time.perf_counter() - begun
            scores = logits_of(model, tested, torch.arange(len(test_labels), device=device))
            return classification(scores, test_labels), seconds

        silver, first = phase(
            (~trusted).nonzero()[:, 0],
            lambda logits, places: functional.cross_entropy(logits.float(), given[places]),
        )
        places = trusted.nonzero()[:, 0]
        estimate = estimated_corruption(logits_of(model, train, places), given[places])
        model.load_state_dict(beginning)
        test, second = phase(
            torch.arange(len(given), device=device),
            lambda logits, places: glc_loss(logits, given[places], trusted[places], estimate),
        )
    return GoldLossCorrection(test, silver, matrix, estimate.cpu(), (first, second), model.eval())


def _copies(images: Tensor, suppressed: Callable[[Tensor], Tensor], device: torch.device) -> Tensor:
    result = []
    for chunk in images.split(_CHUNK):
        copies = suppressed(chunk.to(device))
        if not isinstance(copies, Tensor) or copies.shape != chunk.shape or copies.dtype != torch.uint8:
            got = f"{copies.dtype} {list(copies.shape)}" if isinstance(copies, Tensor) else type(copies).__name__
            raise ValueError(f"suppressed must return uint8 images of shape {list(chunk.shape)}, got {got}")
        result.append(copies)
    return torch.cat(result)


def _uint8_images(name: str, images: Tensor) -> None:
    if images.dtype != torch.uint8:
        raise TypeError(f"{name} must be uint8, got {str(images.dtype).removeprefix('torch.')}")
    if images.ndim != 4 or 0 in images.shape:
        raise ValueError(f"{name} must have shape [N, C, H, W] with none of them 0, got {tuple(images.shape)}")

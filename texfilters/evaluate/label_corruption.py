"""Training on wrong labels with the help of few right ones: gold loss correction (GLC).

Labels are corrupted by a matrix C: an image of class i is labelled j with probability C[i, j]. A share of the images,
the gold ones, keeps its labels; the others are silver. A network trained on the silver images tells what C was, and a
second one is trained on all images with a loss that knows it. `glc` in gold_loss_correction.py does all of that.

Source: Hendrycks et al. 2018, "Using trusted data to train deep networks on labels corrupted by severe noise",
arXiv:1802.05300.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from texfilters import _check
from texfilters.evaluate._classification import class_labels, matrix

_SHUFFLES = 1000  # until every class is among the gold images


def uniform_corruption(classes: int, probability: float) -> Tensor:
    """`p / K + (1 - p) I`, float64 `[K, K]`: with probability p a label is drawn anew from all K classes.

    The right class is among those, so that a share p (K - 1) / K of the labels is wrong.
    """
    classes = _check.whole("classes", classes, least=2)
    probability = _check.probability("probability", probability)
    uniform = torch.full((classes, classes), 1 / classes, dtype=torch.float64)
    return probability * uniform + (1 - probability) * torch.eye(classes, dtype=torch.float64)


def flip_corruption(classes: int, probability: float, *, seed: int = 1) -> Tensor:
    """`1 - p` on the diagonal and p at one other class of every row, float64 `[K, K]`.

    The other class is drawn; with the seed of 1 it is that of the authors' code.
    """
    classes = _check.whole("classes", classes, least=2)
    probability = _check.probability("probability", probability)
    draws = _draws(seed)
    flips = np.eye(classes) * (1 - probability)
    for row in range(classes):
        flips[row, draws.choice(np.delete(np.arange(classes), row))] = probability
    return torch.from_numpy(flips)


def corruption_matrix(corruption: str, classes: int, probability: float) -> Tensor:
    """`uniform_corruption` or `flip_corruption` by the name "uniform" or "flip"."""
    kind = _check.choice("corruption", corruption, ("uniform", "flip"))
    return (uniform_corruption if kind == "uniform" else flip_corruption)(classes, probability)


def corrupted_labels(labels: Tensor, corruption: Tensor, *, seed: int = 1) -> Tensor:
    """Draw a label for every image from the row of its class, in the order of the images, as the authors' code does.

    Args:
        labels: integers `[N]`.
        corruption: `[K, K]`, rows of probabilities.
        seed: of the draws, which are the same on every device.

    Returns: int64 `[N]`, on the device of `labels`.

    Raises:
        ValueError: for rows that are no probabilities, for labels outside of `[0, K)`.
    """
    _square("corruption", corruption)
    given = corruption.detach().double().cpu().numpy()
    if not (given.min() >= 0 and abs(given.sum(1) - 1).max() <= 1e-6):  # NaN is neither
        raise ValueError(f"corruption must have rows >= 0 that sum to 1, got {given.tolist()}")
    class_labels("labels", labels, labels, len(given))
    own = labels.cpu().numpy()
    draws = _draws(seed).random_sample(len(own))
    result = np.empty(len(own), dtype=np.int64)
    for row, shares in enumerate(given):
        places = own == row
        steps = shares.cumsum()
        result[places] = (steps / steps[-1]).searchsorted(draws[places], side="right")
    return torch.from_numpy(result).to(labels.device)


def gold_images(labels: Tensor, fraction: float, *, seed: int = 1) -> Tensor:
    """Choose the images whose labels are trusted.

    They are the first `fraction` of the images, rounded to a whole number, in a random order, which is drawn anew until
    every class that there is occurs among them.

    Args:
        labels: the right ones, integers `[N]`.
        fraction: between 0 and 1.

    Returns: bool `[N]`, on the device of `labels`.

    Raises:
        ValueError: where there would be fewer gold images than classes, or no silver image, or where 1,000 orders have
            not brought all classes.
    """
    if not 0 < _check.probability("fraction", fraction) < 1:
        raise ValueError(f"fraction must lie between 0 and 1, got {fraction}")
    class_labels("labels", labels, labels)
    own = labels.cpu().numpy()
    count, classes = round(fraction * len(own)), np.unique(own)
    if not len(classes) <= count < len(own):
        raise ValueError(
            f"fraction must give at least {len(classes)} gold images, one a class, and leave a silver one, got "
            f"{fraction}, which makes {count} of {len(own)} gold"
        )
    draws = _draws(seed)
    for _ in range(_SHUFFLES):
        places = draws.permutation(len(own))[:count]
        if len(np.unique(own[places])) == len(classes):
            gold = np.zeros(len(own), dtype=bool)
            gold[places] = True
            return torch.from_numpy(gold).to(labels.device)
    rare = classes[np.argsort(np.bincount(own)[classes], kind="stable")][:3].tolist()
    raise ValueError(f"fraction must bring every class among the gold images, got {fraction}: {rare} are too rare")


@torch.no_grad()
def estimated_corruption(logits: Tensor, labels: Tensor) -> Tensor:
    """The corruption as a network sees it that was trained on silver images: row i is its mean answer to class i.

    Args:
        logits: `[N, K]`, of the gold images, without augmentation and with the network in evaluation mode.
        labels: their right ones, integers `[N]`.

    Returns: float64 `[K, K]`, on the device of `logits`, rows that sum to 1.

    Raises:
        ValueError: for logits that are not finite, for a class without an image.
    """
    matrix("logits", logits)
    classes = class_labels("labels", labels, logits, logits.shape[1])
    counts = torch.bincount(labels, minlength=classes)
    if missing := (counts == 0).nonzero()[:, 0].tolist():
        raise ValueError(f"labels must have a gold image of each of the {classes} classes, but have none of {missing}")
    # A product with ones and zeros adds up in one order on every run, which index_add_ on a GPU does not.
    members = functional.one_hot(labels.long(), classes).double()
    return members.T @ logits.double().softmax(1) / counts[:, None]


def glc_loss(logits: Tensor, labels: Tensor, gold: Tensor, corruption: Tensor) -> Tensor:
    """The loss of the second network: the mean over the batch of what each image costs.

    A gold image of class y costs `-log s[y]`, its cross-entropy, where s is the softmax of its logits. A silver image
    labelled y costs `-log sum_i C[i, y] s[i]`, how unlikely that label is. Computed from logarithms, in float32 at
    least and without autocast, so that neither vanishes. An entry of C below the smallest normal number, 1e-38, counts
    as that: a label that C holds to be impossible costs much, not infinity.

    Args:
        logits: `[B, K]`.
        labels: integers `[B]`, of the silver images as they were given.
        gold: bool `[B]`, whether the label is trusted.
        corruption: C, `[K, K]`, such as `estimated_corruption` gives.

    Returns: a scalar, differentiable in the logits. Nothing is read by the host.
    """
    _square("corruption", corruption)
    if logits.ndim != 2 or logits.shape[1] != len(corruption) or not len(logits):
        raise ValueError(
            f"logits must have shape [B, {len(corruption)}] with B of at least 1, got {tuple(logits.shape)}"
        )
    whole = not labels.is_floating_point() and labels.dtype != torch.bool
    if not whole or labels.shape != logits.shape[:1] or gold.shape != labels.shape or gold.dtype != torch.bool:
        raise ValueError(
            f"labels and gold must be {len(logits)} integers and bools, one an image, got {labels.dtype} "
            f"{list(labels.shape)} and {gold.dtype} {list(gold.shape)}"
        )
    labels = labels.long()
    with torch.autocast(logits.device.type, enabled=False):
        log_s = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(1)
        log_c = corruption.to(log_s).clamp(min=torch.finfo(log_s.dtype).tiny).log()
        trusted = log_s.gather(1, labels[:, None]).squeeze(1)
        silver = (log_s + log_c.T[labels]).logsumexp(1)
        return -torch.where(gold, trusted, silver).mean()


def area_under_error_curve(probabilities: Sequence[float], errors: Sequence[float]) -> float:
    """The integral of error over corruption probability, by trapezoids between the probabilities that were tried.

    It is not divided by their range: over 0.1 to 1, as in the source, an error of 0.5 throughout gives 0.45.

    Raises:
        ValueError: for fewer than two points, probabilities that do not rise, errors that are no shares.
    """
    if len(probabilities) != len(errors) or len(errors) < 2:
        raise ValueError(
            f"probabilities and errors must be as many, at least 2, got {len(probabilities)} and {len(errors)}"
        )
    x = np.array([_check.probability("probabilities", p) for p in probabilities])
    y = np.array([_check.probability("errors", error) for error in errors])
    if not (np.diff(x) > 0).all():
        raise ValueError(f"probabilities must rise, got {list(probabilities)}")
    return float((np.diff(x) * (y[1:] + y[:-1]) / 2).sum())


def _square(name: str, given: Tensor) -> None:
    if given.ndim != 2 or given.shape[0] != given.shape[1] or not given.numel():
        raise ValueError(f"{name} must have shape [K, K], got {tuple(given.shape)}")


def _draws(seed: int) -> np.random.RandomState:
    # The legacy generator, whose numbers NumPy has promised not to change, and which the authors' code draws from.
    return np.random.RandomState(_check.whole("seed", seed, least=0, most=2**32 - 1))

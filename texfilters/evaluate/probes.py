"""How good features are: nearest neighbors and linear classifiers on them, and fine-tuning of what made them."""

import copy
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from texfilters import _check
from texfilters.evaluate._classification import class_labels, integers, matrix, returned, same_classes, unit
from texfilters.evaluate._training import FINETUNE, MOCO, OnEpoch, Probe, ProbeRecipe, evaluating, seeded, train
from texfilters.loader import DeviceLoader

# Cosines that knn holds at a time: 128 MiB of them.
_CELLS = 2**25

Batches = Iterable[Any]
Transform = Callable[[Any], Tensor]


@torch.no_grad()
def features(
    network: Callable[[Tensor], Tensor],
    batches: Batches,
    *,
    transform: Transform | None = None,
    device: torch.device | str | None = None,
) -> tuple[Tensor, Tensor]:
    """What a network makes of labeled images, batch by batch.

    The network is in evaluation mode meanwhile, and in its own again afterwards; nothing else of it changes.

    Args:
        network: from a batch of its inputs to features `[B, D]`.
        batches: tuples that begin with images and labels `[B]`, such as a DataLoader gives.
        transform: from a batch, on the device, to the network's inputs; None takes the images as they are.
        device: where to compute and to keep the features; None is where the network's parameters are.

    Returns: features, float32 `[N, D]`, and labels, int64 `[N]`, both on the device.

    Raises:
        ValueError: for no image, features or labels of another shape, labels that are no integers, and features that
            are NaN or infinite.
    """
    device = _device(network, device)
    rows, labels = [], []
    with evaluating(network):
        for batch in DeviceLoader(batches, device):
            row = network(batch[0] if transform is None else transform(batch))
            returned("features [B, D]", row, batch[1])
            rows.append(row.float())
            labels.append(batch[1])
    if not rows:
        raise ValueError("batches must hold at least one image, got none")
    result = torch.cat(rows)
    matrix("features", result)
    joined = torch.cat(labels)
    integers("labels", joined, result)
    return result, joined.long()


@torch.no_grad()
def knn(
    train_features: Tensor,
    train_labels: Tensor,
    test_features: Tensor,
    *,
    k: int = 200,
    temperature: float = 0.07,
    classes: int | None = None,
) -> Tensor:
    """Votes of the k nearest neighbors by cosine, each weighted with `exp(cosine / temperature)`.

    Of training images with equal cosines the first counts as nearer. A feature of zeros has cosine 0 with all others.
    The votes do not depend on the order in which a device adds them up. Beside the features and the votes, memory is
    bounded for any number of tested images.

    Args:
        train_features: `[N, D]`.
        train_labels: integers `[N]`.
        test_features: `[M, D]`.
        k: at most N.
        temperature: lower gives more weight to the nearest. > 0.
        classes: their number C; None is as many as the labels need.

    Returns: float32 `[M, C]`, the share of the votes of each class; `classification` compares them with labels.

    Raises:
        ValueError: for no image, features that are not finite or differ in D or device, labels outside of `[0, C)`,
            k out of its range.

    Source: Wu et al. 2018, arXiv:1805.01978, section 3.4.
    """
    _pair(train_features, test_features)
    classes = class_labels("train_labels", train_labels, train_features, classes)
    k = _check.whole("k", k, least=1, most=len(train_features))
    temperature = _check.positive("temperature", temperature, finite=True)
    device = train_features.device
    train_labels = train_labels.long()
    with torch.autocast(device.type, enabled=False):
        train = unit(train_features).T
        votes = torch.zeros(len(test_features), classes, dtype=torch.int64, device=device)
        rows = max(1, _CELLS // len(train_features))
        for part, tested in zip(votes.split(rows), test_features.split(rows), strict=True):
            cosines = unit(tested) @ train
            nearest = _greatest(cosines, k)
            weights = (cosines.gather(1, nearest) / temperature).double().softmax(1)
            # Whole numbers: their sum is the same in any order.
            part.scatter_add_(1, train_labels[nearest], (weights * 2**40).round().long())
    return votes.float() / 2**40


def _greatest(cosines: Tensor, k: int) -> Tensor:
    """Places `[M, k]` of the greatest in each row; of equal ones the first, which torch.topk leaves open."""
    if k == cosines.shape[1]:
        return torch.arange(k, device=cosines.device).expand(len(cosines), k)
    values, places = cosines.topk(k + 1)
    tied = (values[:, k - 1] == values[:, k]).nonzero()[:, 0]
    if len(tied):
        places[tied, :k] = cosines[tied].sort(dim=1, descending=True, stable=True).indices[:, :k]
    return places[:, :k]


@torch.inference_mode(False)
def linear_probe(
    train_features: Tensor,
    train_labels: Tensor,
    test_features: Tensor,
    test_labels: Tensor,
    recipe: ProbeRecipe = MOCO,
    *,
    standardize: bool = False,
    classes: int | None = None,
    seed: int = 0,
    on_epoch: OnEpoch | None = None,
) -> Probe:
    """Train a linear classifier on features that do not change, all of them on the device.

    Weights start from a normal distribution of deviation 0.01, biases from 0, as in MoCo. Without augmentation, which
    `linear_probe_on_images` has.

    Args:
        train_features, test_features: `[N, D]` and `[M, D]` on one device.
        train_labels, test_labels: integers `[N]` and `[M]`.
        recipe: `MOCO`, `NONSEMANTIC` or one's own; their rates suit features as MoCo trains them.
        standardize: subtract the mean and divide by the deviation of every feature over the training images, so that
            one rate, of about 0.1, suits any features.
        classes: their number; None is as many as the labels need.
        seed: of the weights at the beginning and of the order of the images.
        on_epoch: called with the `Epoch` after each.

    Raises:
        ValueError: for no image, features that are not finite or differ in D or device, labels outside of
            `[0, classes)`, a tested class without a training image, a loss that is not finite.

    Source: He et al. 2020, arXiv:1911.05722, section 4.1.
    """
    _pair(train_features, test_features)
    classes = class_labels("train_labels", train_labels, train_features, classes)
    class_labels("test_labels", test_labels, test_features)
    same_classes(train_labels, test_labels)
    device = train_features.device
    x, tested = train_features.detach().float(), test_features.detach().float()
    train_labels, test_labels = train_labels.long(), test_labels.long()
    if standardize:
        std, mean = torch.std_mean(x, dim=0, correction=0)
        # What rounding leaves of a feature that is the same everywhere is no deviation.
        std = torch.where(std > 1e-6 * mean.abs(), std, 1.0)
        x, tested = (x - mean) / std, (tested - mean) / std

    def batches(_: int) -> Iterator[tuple[Tensor, Tensor]]:
        for places in torch.randperm(len(x), device="cpu").to(device).split(recipe.batch_size):
            yield x[places], train_labels[places]

    with seeded(seed, device):
        head = _head(x.shape[1], classes, device)
        outcome, curve = train(head.parameters(), recipe, batches, head, lambda: (head(tested), test_labels), on_epoch)
    head.requires_grad_(False)
    if standardize:
        head.weight.div_(std)
        head.bias.sub_(head.weight @ mean)
    return Probe(outcome, curve, head)


@torch.inference_mode(False)
def linear_probe_on_images(
    network: nn.Module,
    train_batches: Batches,
    test_batches: Batches,
    recipe: ProbeRecipe = MOCO,
    *,
    transform: Transform | None = None,
    test_transform: Transform | None = None,
    classes: int,
    seed: int = 0,
    device: torch.device | str | None = None,
    on_epoch: OnEpoch | None = None,
) -> Probe:
    """Train a linear classifier on a network that does not change, seeing each image augmented anew in every epoch.

    As `linear_probe`, but every epoch goes through the network, which stays in evaluation mode throughout, as MoCo's
    does.

    Args:
        network: from inputs to features `[B, D]`; its parameters and buffers stay as they are.
        train_batches, test_batches: tuples that begin with images and labels; gone through anew in every epoch,
            after a call of their `set_epoch`, or of their sampler's, where there is one. No generators.
        transform, test_transform: from a batch on the device to the network's inputs; the first may augment, drawing
            from torch's default generators.
        seed: of the weights at the beginning and of all that is drawn from torch's default generators.

    Raises:
        TypeError: for `train_batches` that can be gone through only once.
        ValueError: as `linear_probe`.
    """
    _several_passes("train_batches", train_batches)
    device = _device(network, device)
    with seeded(seed, device), evaluating(network):
        tested, test_labels = features(network, test_batches, transform=test_transform, device=device)
        class_labels("labels of test_batches", test_labels, tested, classes)
        head = _head(tested.shape[1], classes, device)
        shown: list[Tensor] = []

        def batches(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
            for inputs, labels in _inputs(train_batches, transform, device, epoch):
                with torch.no_grad():
                    rows = network(inputs).float()
                if epoch == 0:  # a look at labels waits for the GPU
                    class_labels("labels of train_batches", labels, rows, classes)
                    shown.append(labels)
                yield rows, labels

        def test() -> tuple[Tensor, Tensor]:
            same_classes(torch.cat(shown), test_labels)
            return head(tested), test_labels

        outcome, curve = train(head.parameters(), recipe, batches, head, test, on_epoch)
    return Probe(outcome, curve, head.requires_grad_(False))


@torch.inference_mode(False)
def finetune(
    network: nn.Module,
    train_batches: Batches,
    test_batches: Batches,
    recipe: ProbeRecipe = FINETUNE,
    *,
    transform: Transform | None = None,
    test_transform: Transform | None = None,
    classes: int,
    seed: int = 0,
    device: torch.device | str | None = None,
    on_epoch: OnEpoch | None = None,
) -> Probe:
    """Train a copy of a network together with a linear classifier on its features.

    Arguments and errors are those of `linear_probe_on_images`, but `test_batches`, too, are gone through in every
    epoch. Parameters that require no gradient stay as they are; ValueError where none does. A batch of a single image,
    which batch normalization cannot take, is left out. Source: Geirhos et al. 2019, arXiv:1811.12231, appendix A.3.
    """
    _several_passes("train_batches", train_batches)
    _several_passes("test_batches", test_batches)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise ValueError("network must have a parameter that requires a gradient, got none; see requires_grad_")
    device = _device(network, device)
    with seeded(seed, device):
        network = copy.deepcopy(network).to(device)
        with evaluating(network), torch.no_grad():
            first = next(_inputs(test_batches, test_transform, device), None)
            if first is None:
                raise ValueError("test_batches must hold at least one image, got none")
            row = network(first[0])
        model = nn.Sequential(network, _head(row.shape[1], classes, device).to(row.dtype)).train()
        shown: list[Tensor] = []

        def batches(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
            for inputs, labels in _inputs(train_batches, transform, device, epoch):
                if epoch == 0:
                    class_labels("labels of train_batches", labels, inputs, classes)
                    shown.append(labels)
                if len(labels) > 1:
                    yield inputs, labels
            if shown and max(map(len, shown)) < 2:
                raise ValueError("train_batches must hold batches of at least two images, got none")

        def test() -> tuple[Tensor, Tensor]:
            scores, labels = features(model, test_batches, transform=test_transform, device=device)
            same_classes(torch.cat(shown), labels)
            return scores, labels

        outcome, curve = train(model.parameters(), recipe, batches, model, test, on_epoch)
    return Probe(outcome, curve, model.eval())


def _inputs(
    batches: Batches, transform: Transform | None, device: torch.device, epoch: int | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Inputs of a network and labels, on the device, for one pass."""
    if epoch is not None:
        for owner in (batches, getattr(batches, "sampler", None)):
            set_epoch = getattr(owner, "set_epoch", None)
            if set_epoch is not None:
                set_epoch(epoch)
    for batch in DeviceLoader(batches, device):
        yield batch[0] if transform is None else transform(batch), batch[1].long()


def _several_passes(name: str, batches: Batches) -> None:
    if isinstance(batches, Iterator):
        raise TypeError(f"{name} must be such as can be gone through in every epoch, got {type(batches).__name__}")


def _head(dim: int, classes: int, device: torch.device) -> nn.Linear:
    head = nn.Linear(dim, classes, device="cpu", dtype=torch.float32)  # for a seed to give the same on every device
    nn.init.normal_(head.weight, std=0.01)
    nn.init.zeros_(head.bias)
    return head.to(device)


def _device(network: Any, device: torch.device | str | None) -> torch.device:
    if device is not None:
        return torch.device(device)
    parameter = next(network.parameters(), None) if isinstance(network, nn.Module) else None
    return torch.device("cpu") if parameter is None else parameter.device


def _pair(train_features: Tensor, test_features: Tensor) -> None:
    matrix("train_features", train_features)
    matrix("test_features", test_features)
    if train_features.shape[1] != test_features.shape[1]:
        raise ValueError(
            f"train_features and test_features must have as many features, got {train_features.shape[1]} and "
            f"{test_features.shape[1]}"
        )
    if train_features.device != test_features.device:
        raise ValueError(
            f"train_features and test_features must be on one device, got {train_features.device} and "
            f"{test_features.device}"
        )

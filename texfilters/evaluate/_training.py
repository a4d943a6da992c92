"""Training a classifier by epochs: what linear probe and fine-tuning share."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from texfilters import _check
from texfilters.evaluate._classification import Classification, classification


@dataclass(frozen=True)
class ProbeRecipe:
    """SGD with a rate that falls at `milestones`.

    Args:
        lr: the learning rate at the beginning.
        epochs: passes over the training images.
        milestones: epochs, counted from 0, from which on the rate is multiplied by `factor` once more.
        batch_size: of probes on features; what loads images has a batch size of its own.
    """

    lr: float = 30.0
    epochs: int = 100
    milestones: Sequence[int] = (60, 80)
    factor: float = 0.1
    batch_size: int = 256
    momentum: float = 0.9
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        _check.positive("lr", self.lr, finite=True)
        _check.positive("factor", self.factor, finite=True)
        _check.whole("epochs", self.epochs, least=1)
        _check.whole("batch_size", self.batch_size, least=1)
        for milestone in self.milestones:
            _check.whole("milestones", milestone, least=0)

    def rate(self, epoch: int) -> float:
        return self.lr * self.factor ** sum(epoch >= milestone for milestone in self.milestones)


MOCO = ProbeRecipe()
"""He et al. 2020, arXiv:1911.05722, section 4.1; batch size as in the authors' code."""

NONSEMANTIC = ProbeRecipe(lr=10.0, epochs=60, milestones=(30, 40, 50), batch_size=128)
"""Ge et al. 2021, arXiv:2110.14189, for ImageNet-100."""

FINETUNE = ProbeRecipe(lr=0.01, epochs=60, milestones=(30,), weight_decay=1e-4)
"""Geirhos et al. 2019, arXiv:1811.12231, who fine-tuned on ImageNet what was trained on its stylized copy."""


class Epoch(NamedTuple):
    """One epoch of a probe: the rate, mean loss and accuracy over its batches, accuracy on the test images after it."""

    lr: float
    train_loss: float
    train_accuracy: float
    test_accuracy: float


OnEpoch = Callable[[Epoch], None]


@dataclass(frozen=True)
class Probe:
    """A trained probe.

    Attributes:
        test: the answers of the trained probe, after the last epoch, on the test images. None is chosen by its
            accuracy on them.
        curve: what every epoch gave.
        model: `nn.Linear` from features as they came to logits; after fine-tuning the network and its classifier.
    """

    test: Classification
    curve: tuple[Epoch, ...]
    model: nn.Module


def train(
    parameters: Iterable[nn.Parameter],
    recipe: ProbeRecipe,
    batches: Callable[[int], Iterable[tuple[Tensor, Tensor]]],
    forward: Callable[[Tensor], Tensor],
    test: Callable[[], tuple[Tensor, Tensor]],
    on_epoch: OnEpoch | None = None,
) -> tuple[Classification, tuple[Epoch, ...]]:
    """Minimize the cross-entropy of `forward(inputs)` over `batches(epoch)`; `test()` gives scores and labels.

    Raises ValueError where the loss is not finite, and where there is no batch.
    """
    optimizer = torch.optim.SGD(parameters, lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay)
    curve = []
    for epoch in range(recipe.epochs):
        lr = recipe.rate(epoch)
        for group in optimizer.param_groups:
            group["lr"] = lr
        # Sums stay on the device, which is waited for once an epoch.
        total: Tensor | float = 0.0
        right: Tensor | int = 0
        seen = 0
        for inputs, labels in batches(epoch):
            with torch.enable_grad():
                logits = forward(inputs)
                loss = functional.cross_entropy(logits.float(), labels)
                optimizer.zero_grad()
                loss.backward()
            optimizer.step()
            total = total + loss.detach() * len(labels)
            right = right + (logits.detach().argmax(1) == labels).sum()
            seen += len(labels)
        if not seen:
            raise ValueError("the training batches must hold at least one image, got none")
        loss_mean, accuracy = float(total) / seen, int(right) / seen
        if not loss_mean < float("inf"):
            raise ValueError(
                f"the loss must stay finite, got {loss_mean} in epoch {epoch}: lr {lr:g} is too high for these features"
            )
        with torch.no_grad():
            outcome = classification(*test())
        curve.append(Epoch(lr, loss_mean, accuracy, outcome.accuracy))
        if on_epoch is not None:
            on_epoch(curve[-1])
    return outcome, tuple(curve)


@contextlib.contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """The default generators of the CPU and of a GPU start from `seed` inside, and are as they were afterwards."""
    seed = _check.whole("seed", seed, least=0)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed every GPU there is
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


@contextlib.contextmanager
def evaluating(network: object) -> Iterator[None]:
    """A network is in evaluation mode inside; each of its parts is in its own mode again afterwards."""
    modes = [(part, part.training) for part in network.modules()] if isinstance(network, nn.Module) else []
    try:
        for part, _ in modes:
            part.training = False
        yield
    finally:
        for part, training in modes:
            part.training = training

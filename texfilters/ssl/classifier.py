"""Networks with classifiers, for the measurements of `texfilters.evaluate`: from checkpoints, and of torchvision."""

import dataclasses
import os
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from texfilters import evaluate
from texfilters.evaluate._transfer import STANDARDIZED
from texfilters.evaluate.sections import Model
from texfilters.ssl._backbones import Backbone
from texfilters.ssl._checkpoint import KEY, read
from texfilters.ssl._networks import Computing, Seen, digest, finite, pretrained, seen, tensors_of, untrained
from texfilters.ssl._torchvision import from_torchvision

__all__ = ["from_checkpoint", "from_torchvision", "probe_file", "trained"]

FORMAT = 1
_OTHER = "ssl/probe.py writes one for each checkpoint"


def from_checkpoint(
    path: str | os.PathLike[str],
    *,
    classifier: str | os.PathLike[str] | None = None,
    random_init: bool = False,
    classes: Sequence[str] = (),
    size: int | None = None,
    share: float | None = None,
    seed: int = 0,
    device: torch.device | str = "cpu",
    precision: str = "float32",
) -> tuple[Model, dict[str, Any]]:
    """The network of a checkpoint of `texfilters.ssl`, and a record of what it is.

    Its classifier is that of `classifier`, else its own, as `Supervised` has one, else there is none: see `trained`.

    Args:
        path: the checkpoint.
        classifier: what ssl/probe.py writes for it, linear.pth or finetune.pth.
        random_init: the network as it was before any training, which has no classifier.
        classes: names for a classifier that knows of none, if they are as many as its answers.
        size: of what the network sees; None is as in pretraining, or as the classifier's.
        share: of a photo's shorter side that it sees; None is 224/256, or 1 for small photos.
        seed: of the weights of `random_init`.
        precision: "float32" or "bfloat16", of the network and its own classifier.

    Raises:
        FileNotFoundError, ValueError: for a file that is none, is damaged or does not fit.
    """
    if random_init and classifier is not None:
        raise ValueError(f"random_init must be without a classifier, which is of a trained network, got {classifier}")
    device = torch.device(device)
    backbone, about = untrained(path, seed) if random_init else pretrained(path)
    finite(path, backbone.state_dict())
    view = seen(about, size, share)
    head: nn.Module | None = None
    if classifier is not None:
        backbone, head, names, view = _probed(classifier, backbone, view, size, share)
        about |= {"classifier": f"of {classifier}"}
    elif not random_init and (own := _own(path, backbone)) is not None:
        head, names = own
        if not names:
            names = tuple(classes) if len(classes) == head.out_features else _numbered(head.out_features)
        about |= {"classifier": "its own"}
    else:
        names = ()
        about |= {"classifier": None}
    return _assembled(backbone, head, names, view, device, precision), about | {"sees": dataclasses.asdict(view)}


def trained(
    model: Model, batches: Iterable[Any], classes: Sequence[str], *, seed: int = 0
) -> tuple[Model, dict[str, Any]]:
    """A network with a linear classifier that is trained here, on its frozen features, and a record of that.

    Features are standardized; 50 epochs of SGD, a rate of 0.1 that falls after 30 and 40 of them.

    Args:
        batches: labeled training images.
        classes: the names of their classes.
        seed: of the weights at the beginning and of the order of the images.

    Raises:
        ValueError: as `features` and `linear_probe`.
    """
    x, y = evaluate.features(model.features, batches, transform=model.view, device=model.device)
    # What it is tested on is not asked for here.
    probe = evaluate.linear_probe(x, y, x[:1], y[:1], STANDARDIZED, standardize=True, classes=len(classes), seed=seed)
    logits = nn.Sequential(model.features, probe.model).eval()
    about = {
        "classifier": f"linear, trained here on the frozen features of {len(y)} images",
        "training": {**dataclasses.asdict(STANDARDIZED), "standardize": True, "seed": seed},
        "training_accuracy": probe.curve[-1].train_accuracy,
    }
    return dataclasses.replace(model, logits=logits, classes=tuple(classes)), about


def probe_file(
    method: str, model: nn.Module, network: nn.Module, view: Seen, classes: Sequence[str], *, standardized: bool
) -> dict[str, Any]:
    """What ssl/probe.py writes of a classifier that it has trained, from which `from_checkpoint` makes it again.

    Args:
        method: "linear" or "finetune".
        model: `Probe.model`.
        network: that of the features, before fine-tuning.
        view: what the network was given.
        standardized: whether the classifier was trained on standardized features; its weights hold that.
    """
    tuned, head = model if isinstance(model, nn.Sequential) else (None, model)
    about = {
        "format": FORMAT,
        "method": method,
        "backbone": {key: getattr(network, key) for key in ("name", "small_images")},
        "features_of": digest(network),
        "sees": dataclasses.asdict(view),
        "standardized": standardized,
    }
    weights: dict[str, Any] = {KEY: about, "classes": list(classes), "classifier": head.state_dict()}
    if isinstance(tuned, Computing):
        weights["backbone"] = tuned.network.state_dict()
    return weights


def _probed(
    path: str | os.PathLike[str], backbone: Backbone, view: Seen, size: int | None, share: float | None
) -> tuple[Backbone, nn.Linear, tuple[str, ...], Seen]:
    """The network and classifier of a file of `probe_file`, checked against the network that it is to be of."""
    given = tensors_of(path)
    about, names = given.get(KEY), given.get("classes")
    if not isinstance(about, dict) or about.get("format") != FORMAT or "features_of" not in about:
        raise ValueError(
            f"{path} does not say which network its classifier is of: {_OTHER}, linear.pth or finetune.pth"
        )
    built = {key: getattr(backbone, key) for key in ("name", "small_images")}
    if about.get("backbone") != built:
        raise ValueError(f"{path} must be of a network {built}, got one of {about.get('backbone')}")
    if about.get("features_of") != digest(backbone):
        raise ValueError(f"{path} is of another network's features than those of the checkpoint: {_OTHER}")
    weight, bias = (given.get("classifier", {}).get(name) for name in ("weight", "bias"))
    shape = (len(names or ()), backbone.dim)
    if not isinstance(weight, Tensor) or not isinstance(bias, Tensor) or weight.shape != shape or len(bias) != shape[0]:
        raise ValueError(f"{path} must hold a classifier from {shape[1]} features to its {shape[0]} classes, got none")
    finite(path, {"classifier.weight": weight, "classifier.bias": bias})
    head = nn.Linear(shape[1], shape[0])
    head.load_state_dict({"weight": weight, "bias": bias})
    if (tuned := given.get("backbone")) is not None:
        try:
            backbone.load_state_dict(tuned)
        except (RuntimeError, TypeError) as error:
            raise ValueError(f"the weights in {path} do not fit {backbone.name}: {error}") from error
        finite(path, backbone.state_dict())
    there = about["sees"]
    return (
        backbone,
        head,
        tuple(map(str, names or ())),
        dataclasses.replace(view, size=size or there["size"], share=share or there["share"]),
    )


def _own(path: str | os.PathLike[str], backbone: Backbone) -> tuple[nn.Linear, tuple[str, ...]] | None:
    """The classifier that a checkpoint was trained with, where its method has one, and the names it knows."""
    checkpoint = read(path)
    if checkpoint[KEY].get("method") != "Supervised":
        return None
    weight, bias = (checkpoint["state_dict"].get(f"head.{name}") for name in ("weight", "bias"))
    if weight is None or bias is None or weight.shape != (len(bias), backbone.dim):
        raise ValueError(f"{path} must hold the classifier of its {backbone.dim} features, got none that fits")
    finite(path, {"head.weight": weight, "head.bias": bias})
    head = nn.Linear(backbone.dim, len(bias))
    head.load_state_dict({"weight": weight, "bias": bias})
    names = tuple(checkpoint[KEY].get("classes") or ())
    return head, names if len(names) == len(bias) else ()


def _assembled(
    backbone: nn.Module,
    head: nn.Module | None,
    names: tuple[str, ...],
    view: Seen,
    device: torch.device,
    precision: str,
) -> Model:
    backbone = backbone.to(device).eval().requires_grad_(False)
    if device.type == "cuda":  # what cuDNN's convolutions are fastest in
        backbone = backbone.to(memory_format=torch.channels_last)
    features = Computing(backbone, precision).eval()
    logits = features
    if head is not None:
        head = head.to(device).eval().requires_grad_(False)
        logits = Computing(nn.Sequential(backbone, head), precision).eval()
    return Model(logits, features, view.prepare(), names, device)


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(map(str, range(count)))

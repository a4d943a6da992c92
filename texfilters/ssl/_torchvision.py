"""torchvision's classifiers with weights from a file, for the measurements of `texfilters.evaluate`."""

import copy
import dataclasses
import difflib
import os
from collections.abc import Sequence
from typing import Any

import torch
import torchvision
from torch import Tensor, nn

from texfilters.evaluate.sections import Model
from texfilters.ssl._backbones import _remove_classifier
from texfilters.ssl._checkpoint import _misfits
from texfilters.ssl._networks import Computing, Seen, tensors_of

_PREFIXES = ("module.", "_orig_mod.", "model.")  # of DataParallel, torch.compile, and of modules that hold the network


def from_torchvision(
    name: str,
    weights: str | os.PathLike[str],
    *,
    classes: Sequence[str] = (),
    size: int | None = None,
    share: float | None = None,
    device: torch.device | str = "cpu",
    precision: str = "float32",
) -> tuple[Model, dict[str, Any]]:
    """One of torchvision's classifiers, and a record of what it is. Nothing is downloaded.

    It sees what torchvision's own weights of that name see: the crop, resized, with their means and deviations. Its
    classes are as many as the file's classifier tells.

    Args:
        name: of `torchvision.models.list_models(module=torchvision.models)`, such as "resnet50".
        weights: a state dict, .pth or .safetensors, alone or under "state_dict" or "model".
        classes: their names, if they are as many. Else 1,000 are ImageNet's, and others are numbered.
        size, share, device, precision: as in `from_checkpoint`.

    Raises:
        FileNotFoundError, ValueError: for a name that is unknown, a file that is none or does not fit.
    """
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        near = ", ".join(difflib.get_close_matches(name, known)) or "resnet50"
        raise ValueError(f"torchvision must be the name of one of its classifiers ({near}?), got {name!r}")
    state = _state(weights)
    count = _answers(name, state, weights)
    network = _built(name, state, count)
    if misfits := _misfits(state, network.state_dict()):
        raise ValueError(f"the weights in {weights} do not fit {name}: {misfits}")
    network.load_state_dict(state)
    network.eval().requires_grad_(False).to(torch.device(device))
    if torch.device(device).type == "cuda":
        network = network.to(memory_format=torch.channels_last)
    view, categories = _usual(name)
    view = dataclasses.replace(view, size=size or view.size, share=share or view.share)
    if len(classes) == count:
        names = tuple(classes)
    else:
        names = categories if len(categories) == count else tuple(map(str, range(count)))
    # A second network around the same tensors.
    shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    features = copy.deepcopy(network, shared)
    _remove_classifier(features)
    model = Model(
        Computing(network, precision).eval(),
        Computing(features, precision).eval(),
        view.prepare(),
        names,
        torch.device(device),
    )
    return model, {
        "torchvision": name,
        "weights": str(weights),
        "classifier": "its own",
        "sees": dataclasses.asdict(view),
    }


def _usual(name: str) -> tuple[Seen, tuple[str, ...]]:
    """What the first weights that torchvision has of a network see, and the names of ImageNet's classes."""
    entry: Any = next(iter(torchvision.models.get_model_weights(name)))
    preset = entry.transforms()
    size, resized = preset.crop_size[0], preset.resize_size[0]
    return Seen(size, size / resized, tuple(preset.mean), tuple(preset.std)), tuple(entry.meta["categories"])


def _state(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    if str(path).endswith(".safetensors"):
        from safetensors.torch import load_file

        if not os.path.isfile(path):
            raise FileNotFoundError(f"no weights at {path}")
        try:
            found: dict[str, Any] = load_file(path)
        except Exception as error:  # its own kinds
            raise ValueError(f"{path} is no safetensors file, or is damaged: {error}") from error
    else:
        found = tensors_of(path)
    for key in ("state_dict", "model"):
        if isinstance(found.get(key), dict):
            found = found[key]
    for prefix in _PREFIXES:
        if found and all(name.startswith(prefix) for name in found):
            found = {name.removeprefix(prefix): tensor for name, tensor in found.items()}
    if not found or not all(isinstance(tensor, Tensor) for tensor in found.values()):
        raise ValueError(f"{path} must hold a state dict of tensors, got {', '.join(list(found)[:3]) or 'nothing'}")
    return found


def _answers(name: str, state: dict[str, Tensor], path: str | os.PathLike[str]) -> int:
    """How many classes the last layer in the weights tells."""
    with torch.device("meta"):
        network = _built(name, state, 1000)
    last = [
        part
        for part, module in network.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d) and "aux" not in part.lower()
    ][-1]
    weight = state.get(f"{last}.weight")
    if weight is None:
        raise ValueError(f"{path} must hold the classifier {last} of {name}, got no {last}.weight")
    return len(weight)


def _built(name: str, state: dict[str, Tensor], classes: int) -> nn.Module:
    builder = torchvision.models.get_model_builder(name)
    options: dict[str, Any] = {}
    if name in ("googlenet", "inception_v3"):
        options = {"aux_logits": any("aux" in key.lower() for key in state), "init_weights": False}
    return builder(weights=None, num_classes=classes, **options)

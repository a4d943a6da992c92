"""Networks as the measurements see them: what they are given of an image, and in which precision they compute."""

import hashlib
import os
import pickle
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from texfilters.ssl._backbones import Backbone
from texfilters.ssl._checkpoint import KEY, load_backbone, read
from texfilters.ssl._evaluation import Three, centered
from texfilters.ssl._method import Batch


@dataclass(frozen=True)
class Seen:
    """What a network is given of an image: the middle, resized to `size` and normalized."""

    size: int
    share: float | None = None
    mean: Three = None
    std: Three = None

    def prepare(self) -> Callable[..., Tensor]:
        """From uint8 images `[B, 3, H, W]`, and the sizes that squashed ones had, to the network's inputs.

        Images without sizes, such as stimuli, are seen whole: of them `share` and a crop would take something away.
        """
        photos, whole = (centered(self.size, self.mean, self.std, share) for share in (self.share, 1.0))

        def prepare(images: Tensor, sizes: Tensor | None = None) -> Tensor:
            labels = torch.empty(0, dtype=torch.int64)
            if sizes is not None:
                return photos(Batch(images, labels, sizes))
            side = min(images.shape[-2:])
            top, left = ((length - side) // 2 for length in images.shape[-2:])
            square = images[..., top : top + side, left : left + side]
            return whole(Batch(square, labels, torch.full((len(images), 2), float(side), device=images.device)))

        return prepare


class Computing(nn.Module):
    """A network in another precision; what it gives is float32."""

    def __init__(self, network: nn.Module, precision: str) -> None:
        super().__init__()
        self.network, self.reduced = network, precision == "bfloat16"

    def forward(self, images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.reduced):
            return self.network(images).float()


def pretrained(path: str | os.PathLike[str]) -> tuple[Backbone, dict[str, Any]]:
    """The network of a checkpoint, and what the checkpoint says about itself.

    Raises:
        FileNotFoundError, ValueError: as `load_backbone`.
    """
    about = read(path)[KEY] | {"checkpoint": str(path)}
    backbone = Backbone(**_built(about))
    backbone.load_state_dict(load_backbone(path).state_dict())
    return backbone.eval(), about


def untrained(path: str | os.PathLike[str], seed: int) -> tuple[Backbone, dict[str, Any]]:
    """The network of a checkpoint as it was before any training, its weights drawn from a seed."""
    about = read(path)[KEY] | {"checkpoint": str(path), "random_init": True}
    return drawn(_built(about), seed), about


def drawn(built: dict[str, Any], seed: int) -> Backbone:
    """A network that was never trained; torch's generator stays as it is."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return Backbone(**built).eval()


def seen(about: dict[str, Any], size: int | None = None, share: float | None = None) -> Seen:
    """What the network of a checkpoint is given: as in pretraining, but for what is given here."""
    views = about.get("views") or {}
    default = 32 if about["backbone"].get("small_images") else 224
    return Seen(size or views.get("size") or default, share, views.get("mean"), views.get("std"))


def digest(network: nn.Module) -> str:
    """A number for the weights of a network, by which one that was trained on its features finds it again."""
    found = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        found.update(name.encode())
        found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def tensors_of(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A file of tensors and plain values; nothing in it is run."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"no weights at {path}")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, zipfile.BadZipFile, RuntimeError, EOFError, LookupError, TypeError) as error:
        raise ValueError(
            f"{path} is no file of weights, or is damaged: {' '.join(str(error).split())[:200]}"
        ) from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} must hold a mapping of weights, got {type(found).__name__}")
    return found


def _built(about: dict[str, Any]) -> dict[str, Any]:
    """Without normalization in parts of the batch, which is of pretraining alone."""
    return {key: about["backbone"][key] for key in ("name", "small_images")}

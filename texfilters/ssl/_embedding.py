"""The embeddings that contrastive methods compare, out of their checkpoints."""

import os
from typing import Any

import torch
from torch import Tensor, nn

from texfilters.ssl._checkpoint import KEY, read
from texfilters.ssl._networks import finite
from texfilters.ssl.byol import BYOL
from texfilters.ssl.dense_cl import DenseCL
from texfilters.ssl.moco_v2 import MoCoV2

_METHODS: dict[str, type[Any]] = {"MoCoV2": MoCoV2, "DenseCL": DenseCL, "BYOL": BYOL}
_SETTINGS = {"MoCoV2": ("dim",), "DenseCL": ("dim",), "BYOL": ("hidden", "dim")}


def embedding(
    path: str | os.PathLike[str], *, random_init: bool = False, seed: int = 0
) -> tuple[nn.Module, nn.Module] | None:
    """From views to the embeddings of queries, and of keys; None for a method that compares none.

    Args:
        path: a checkpoint of `texfilters.ssl`.
        random_init: as they were before any training, weights drawn from `seed`.

    Raises:
        FileNotFoundError, ValueError: as `read`, and for weights that do not fit the method.
    """
    checkpoint = read(path)
    about = checkpoint[KEY]
    if (kind := about.get("method")) not in _METHODS:
        return None
    options = {name: about["settings"][name] for name in _SETTINGS[kind]}
    if kind != "BYOL":
        options |= {"queue": 1, "norm_splits": 1}  # play no part in embeddings
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        method = _METHODS[kind](about["backbone"]["name"], small_images=about["backbone"]["small_images"], **options)
    if not random_init:
        weights = {name: tensor for name, tensor in checkpoint["state_dict"].items() if "queue" not in name}
        missing, unknown = method.load_state_dict(weights, strict=False)
        if misfits := [name for name in (*missing, *unknown) if "queue" not in name]:
            raise ValueError(f"the weights in {path} do not fit {kind}: {', '.join(misfits[:3])}")
        finite(path, weights)
    query: tuple[nn.Module, ...]
    key: tuple[nn.Module, ...]
    if kind == "MoCoV2":
        query, key = (method.backbone, method.head), (method.momentum_backbone, method.momentum_head)
    elif kind == "BYOL":
        query = method.backbone, method.projector, method.predictor
        key = method.target_backbone, method.target_projector
    else:
        query = (_Whole(method.backbone, method.head),)
        key = (_Whole(method.momentum_backbone, method.momentum_head),)
    return nn.Sequential(*query).eval().requires_grad_(False), nn.Sequential(*key).eval().requires_grad_(False)


class _Whole(nn.Module):
    """DenseCL's embedding of a whole image."""

    def __init__(self, backbone: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head = backbone, head

    def forward(self, images: Tensor) -> Tensor:
        maps: Any = self.backbone
        return self.head(maps.maps(images))[0]

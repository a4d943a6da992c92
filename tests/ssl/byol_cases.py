"""What the tests of BYOL share: a small one whose views are known, and runs of it."""

import copy

import numpy as np
import torch
from lightning import Trainer
from torch import nn
from torch.utils.data import DataLoader

from texfilters.ssl import Batch, Recipe
from texfilters.ssl.byol import BYOL

SIDE = 16


class Scaled(nn.Module):
    """Views without draws: two of them differ by their factor."""

    size, mean, std = SIDE, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)

    def __init__(self, factor):
        super().__init__()
        self.factor = factor

    def forward(self, images, sizes):
        return images.float() * self.factor


def small(**options):
    recipe = Recipe("lars", lr=0.1)
    defaults = {"views": Scaled(0.01), "second_views": Scaled(-0.02), "hidden": 24, "dim": 8, "recipe": recipe}
    return BYOL("six_layer", **{**defaults, **options})


def batch_of(images):
    return Batch(images, torch.full((len(images),), -1), torch.full((len(images), 2), float(SIDE)))


def noise(count):
    return batch_of(torch.randint(0, 256, (count, 3, SIDE, SIDE), dtype=torch.uint8))


def moved(method):
    """A target network that is no longer the online one's copy."""
    for network in (method.target_backbone, method.target_projector):
        for p in network.parameters():
            p.data.add_(0.05 * torch.randn_like(p))
    return method


@torch.no_grad()
def units(network, images):
    """Embeddings in float64, each divided by its length; the network stays as it is."""
    values = copy.deepcopy(network).double()(images.double()).numpy()
    return values / np.linalg.norm(values, axis=-1, keepdims=True)


def fit(method, batches, epochs, callbacks=(), resumed_from=None, **options):
    trainer = Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
        **options,
    )
    trainer.fit(method, DataLoader(batches, batch_size=None), ckpt_path=resumed_from, weights_only=True)
    return trainer

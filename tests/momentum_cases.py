"""What the tests of methods with momentum encoders share: a network without norms, and views that can be foretold."""

import torch
from torch import nn
from torch.nn.functional import normalize

from texfilters.ssl import Batch
from texfilters.ssl._norm import SplitBatchNorm2d


class TinyBackbone(nn.Module):
    """In the place of `Backbone`: the output for an image depends on no other."""

    dim = map_dim = 8

    def __init__(self, name, *, small_images=False, norm_splits=1):
        super().__init__()
        self.name, self.small_images, self.norm_splits = name, small_images, norm_splits
        # tanh: no two places look alike, as they do where ReLU has made both zero.
        self.features = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.Tanh(), nn.Conv2d(8, 8, 3, 2, 1), nn.Tanh())

    def train_maps_alone(self):
        pass

    def maps(self, images):
        return self.features(images)

    def forward(self, images):
        return self.maps(images).mean(dim=(2, 3))


class NormedBackbone(TinyBackbone):
    def __init__(self, name, *, small_images=False, norm_splits=1):
        super().__init__(name, small_images=small_images, norm_splits=norm_splits)
        for place in (1, 4):
            self.features.insert(place, SplitBatchNorm2d(8, norm_splits))


class TwoViews(nn.Module):
    """The images in [0, 1], then mirrored ones, then the images again."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, images, sizes):
        views = images.float() / 255
        self.calls += 1
        return views if self.calls % 2 else views.flip(-1)


def batch_of(count, side=16):
    """Noise, each image's on a color of its own."""
    color, noise = torch.randint(0, 128, (count, 3, 1, 1)), torch.randint(0, 128, (count, 3, side, side))
    images = (color + noise).to(torch.uint8)
    return Batch(images, torch.full((count,), -1), torch.full((count, 2), float(side)))


def told_apart(method, batch):
    """How much more a query resembles its key than the keys of others, on average."""
    queries, others = (method.views(batch.images, batch.sizes) for _ in range(2))
    with torch.no_grad():
        query = normalize(method.head(method.backbone(queries)), dim=1)
        key = normalize(method.momentum_head(method.momentum_backbone(others)), dim=1)
    similarity, count = query @ key.T, len(query)
    own = similarity.diagonal().mean()
    return (own - (similarity.sum() - similarity.trace()) / (count * (count - 1))).item()


def shaken(module):
    """Other weights than those that a follower was copied from."""
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)

"""The six-layer network: its size, and the images that it takes."""

import pytest
import torch
from torch import nn

from texfilters.ssl import Backbone
from texfilters.ssl.six_layer import SixLayer


def test_it_has_six_layers_and_about_a_hundred_thousand_parameters():
    kinds = [type(layer) for layer in SixLayer().features]
    assert kinds == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU] * 6
    parameters = sum(p.numel() for p in SixLayer().parameters())
    assert parameters == 104_656
    assert 95_000 < parameters < 105_000
    assert f"{parameters:,} parameters, 256 features" in SixLayer.__doc__


@pytest.mark.parametrize(("side", "maps"), [(32, 4), (33, 5), (96, 12), (128, 16), (224, 28), (9, 2)])
def test_maps_are_an_eighth_as_wide_and_features_their_quarters_means(side, maps):
    network = SixLayer().eval()
    images = torch.randn(2, 3, side, side)
    features = network.features(images)
    assert features.shape == (2, 64, maps, maps)
    first, second = slice(0, -(-maps // 2)), slice(-(-maps // 2), maps)
    quarters = [features[:, :, rows, columns] for rows in (first, second) for columns in (first, second)]
    expected = torch.stack([quarter.flatten(2).mean(2) for quarter in quarters], 1).flatten(1)
    torch.testing.assert_close(network(images), expected)


@pytest.mark.parametrize("shape", [(8, 32), (32, 8), (1, 1)])
def test_images_may_be_too_small(shape):
    with pytest.raises(ValueError, match=rf"images must be at least 9 x 9 pixels, got {shape[0]} x {shape[1]}"):
        SixLayer().eval()(torch.zeros(1, 3, *shape))


def test_every_parameter_is_trained():
    network = SixLayer()
    network(torch.randn(4, 3, 32, 32)).square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for p in network.parameters())


def test_it_is_a_backbone():
    backbone = Backbone("six_layer")
    assert (backbone.dim, backbone.map_dim) == (256, 64)
    assert isinstance(backbone.model, SixLayer)
    assert backbone(torch.randn(2, 3, 32, 32)).shape == (2, 256)
    assert backbone.maps(torch.randn(2, 3, 32, 32)).shape == (2, 64, 4, 4)

"""The trunk of the context-free network: its sizes, its weights and what it refuses."""

import pytest
import torch
from torch import nn

from texfilters.ssl import Backbone
from texfilters.ssl.context_free import ContextFree


def test_sizes_of_the_paper():
    backbone = Backbone("context_free")
    assert (backbone.dim, backbone.map_dim) == (1024, 256)
    network = backbone.model.eval()
    tiles = torch.rand(2, 3, 75, 75)
    shapes = []
    for layer in network.features:
        tiles = layer(tiles)
        if isinstance(layer, nn.Conv2d):
            shapes.append((layer.out_channels, tiles.shape[-1], layer.groups))
    assert shapes == [(96, 33, 1), (256, 16, 2), (384, 7, 1), (384, 7, 2), (256, 7, 2)]
    assert tiles.shape == (2, 256, 3, 3)
    weights = [96 * 3 * 121, 256 * 48 * 25, 384 * 256 * 9, 384 * 192 * 9, 256 * 192 * 9, 1024 * 256 * 9]
    assert sum(p.numel() for p in network.parameters() if p.ndim > 1) == sum(weights)


def test_features_are_fc6_of_the_maps():
    network = ContextFree().eval()
    tiles = torch.rand(2, 3, 75, 75)
    linear = network.fc6[0]
    expected = (network.features(tiles).flatten(1) @ linear.weight.T + linear.bias).relu()
    torch.testing.assert_close(network(tiles), expected, atol=1e-5, rtol=1e-5)
    assert (network(tiles) > 0).any()


def test_local_responses_are_normalized_as_by_torch():
    network = ContextFree()
    ours, theirs = network.features[3], nn.LocalResponseNorm(5, 1e-4, 0.75)
    maps = torch.randn(2, 96, 7, 5, dtype=torch.float64) * 100
    mine, other = maps.clone().requires_grad_(), maps.clone().requires_grad_()
    torch.testing.assert_close(ours(mine), theirs(other), atol=1e-12, rtol=1e-12)
    ours(mine).square().sum().backward()
    theirs(other).square().sum().backward()
    torch.testing.assert_close(mine.grad, other.grad, atol=1e-9, rtol=1e-9)
    assert (ours(maps) - maps).abs().max() > 1  # it does something at all


def test_local_responses_of_half_precision_do_not_overflow():
    normalize = ContextFree().features[3]
    maps = torch.full((1, 96, 3, 3), 1000.0)
    torch.testing.assert_close(normalize(maps.half()), normalize(maps))
    assert normalize(maps).min() > 10


@pytest.mark.parametrize("side", [39, 64, 75, 130])
def test_other_sizes(side):
    features = ContextFree().eval()(torch.rand(1, 3, side, side + 3))
    assert features.shape == (1, 1024)
    assert features.isfinite().all()


def test_dropout_in_training_alone():
    network = ContextFree()
    tiles = torch.rand(1, 3, 75, 75)
    assert not torch.equal(network(tiles), network(tiles))
    network.eval()
    assert torch.equal(network(tiles), network(tiles))


def test_images_that_are_too_small():
    with pytest.raises(ValueError, match=r"images for context_free must be at least 39 x 39, got 38 x 64"):
        ContextFree()(torch.rand(1, 3, 38, 64))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_tiles_of_75_pixels_train_deterministically_on_a_gpu(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    network = ContextFree().cuda()
    tiles = torch.rand(4, 3, 75, 75, device="cuda")
    torch.use_deterministic_algorithms(True)  # an operation that knows no such way raises
    try:
        network(tiles).sum().backward()
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())

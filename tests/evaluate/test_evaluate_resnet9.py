"""The small residual network: its size, its layout, its gradients."""

import pytest
import torch
from torch import nn

from texfilters.evaluate.resnet9 import ResNet9


def count(network):
    return sum(parameter.numel() for parameter in network.parameters())


def test_parameters_are_as_many_as_its_page_says():
    widths = 64, 128, 256, 512
    convolutions = 9 * (3 * 64 + 64 * 128 + 2 * 128**2 + 128 * 256 + 256 * 512 + 2 * 512**2)
    norms = 2 * (sum(widths) + 2 * 128 + 2 * 512)
    assert count(ResNet9(10)) == convolutions + norms + 512 * 10 == 6_573_120
    assert count(ResNet9(10, width=16)) == 412_944
    assert "6,573,120" in ResNet9.__doc__
    assert "412,944" in ResNet9.__doc__


def test_multiplications_are_as_many_as_its_page_says():
    counted = 0

    def add(layer, _, result):
        nonlocal counted
        counted += layer.weight[0].numel() * result[0].numel()

    network = ResNet9(10)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(add)
    network.eval()(torch.randn(1, 3, 32, 32))
    assert round(counted / 1e9, 2) == 0.38
    assert "0.38 billion" in ResNet9.__doc__


@pytest.mark.parametrize(("side", "channels"), [(32, 3), (8, 1), (45, 3)])
def test_logits_of_images_of_any_size(side, channels):
    network = ResNet9(7, width=4, channels=channels)
    assert network(torch.randn(2, channels, side, side)).shape == (2, 7)


def test_residual_branches_are_added():
    network = ResNet9(3, width=4).eval()
    images = torch.randn(5, 3, 16, 16)
    for at in (2, 5):  # with the branch silenced its input passes
        parts = list(network.features.children())
        x = nn.Sequential(*parts[:at])(images)
        with torch.no_grad():
            parts[at].branch[1][1].weight.zero_()
        assert parts[at](x).equal(x)
        assert x.abs().sum() > 0


def test_every_parameter_learns_in_channels_last_and_bfloat16():
    network = ResNet9(4, width=4).to(memory_format=torch.channels_last)
    images = torch.randn(8, 3, 32, 32).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(images)
        assert network.features(images).is_contiguous(memory_format=torch.channels_last)
    assert logits.dtype == torch.bfloat16
    logits.float().log_softmax(1)[:, 0].sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())

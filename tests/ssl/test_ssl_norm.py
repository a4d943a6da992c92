"""Batch normalization in parts, against nn.BatchNorm2d on each of them."""

import copy

import pytest
import torch
from torch import nn

pytest.importorskip("lightning", reason="needs lightning")

from texfilters.ssl._norm import SplitBatchNorm2d, split


def pair(splits, channels=5):
    """A split norm and a usual one for every part, all alike."""
    whole = SplitBatchNorm2d(channels, splits, eps=1e-3, momentum=0.2)
    nn.init.normal_(whole.weight)
    nn.init.normal_(whole.bias)
    parts = [nn.BatchNorm2d(channels, eps=1e-3, momentum=0.2) for _ in range(splits)]
    for part in parts:
        part.load_state_dict(whole.state_dict())
    return whole, parts


@pytest.mark.parametrize("splits", [1, 2, 4])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_every_part_is_normalized_as_on_a_gpu_of_its_own(splits, layout):
    whole, parts = pair(splits)
    images = (torch.randn(8, 5, 3, 4) * torch.arange(1.0, 9.0)[:, None, None, None]).to(memory_format=layout)
    images.requires_grad_()
    weights = torch.randn(8, 5, 3, 4)
    for _ in range(2):
        whole.zero_grad()
        images.grad = None
        result = whole(images)
        (result * weights).sum().backward()
        gradient = images.grad.clone()
        images.grad = None
        for k, part in enumerate(parts):
            part.zero_grad()
            expected = part(images[k::splits])
            torch.testing.assert_close(result[k::splits], expected)
            (expected * weights[k::splits]).sum().backward()
        torch.testing.assert_close(gradient, images.grad)
        torch.testing.assert_close(whole.weight.grad, sum(part.weight.grad for part in parts))
        torch.testing.assert_close(whole.bias.grad, sum(part.bias.grad for part in parts))
    for name in ("running_mean", "running_var"):
        mean = torch.stack([getattr(part, name) for part in parts]).mean(0)
        torch.testing.assert_close(getattr(whole, name), mean)
    assert whole.num_batches_tracked == 2


def test_parts_do_not_see_each_other():
    whole, _ = pair(2)
    images = torch.randn(4, 5, 3, 3)
    other = images.clone()
    other[1::2] = 100 * torch.randn(2, 5, 3, 3)
    torch.testing.assert_close(whole(images)[::2], whole(other)[::2])


def test_evaluation_is_the_usual_ones():
    whole, parts = pair(3)
    usual = parts[0]
    whole(torch.randn(6, 5, 2, 2))
    usual.load_state_dict(whole.state_dict())
    images = torch.randn(4, 5, 2, 2)  # no multiple of 3: in evaluation there are no parts
    torch.testing.assert_close(whole.eval()(images), usual.eval()(images))


def test_split_keeps_weights_and_statistics():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.BatchNorm2d(4, eps=1e-2, momentum=0.3)), nn.ReLU())
    network(torch.randn(4, 3, 5, 5))
    before = copy.deepcopy(network)
    split(network, 2)
    norm = network[1][0]
    assert isinstance(norm, SplitBatchNorm2d)
    assert (norm.splits, norm.eps, norm.momentum) == (2, 1e-2, 0.3)
    images = torch.randn(2, 3, 5, 5)
    torch.testing.assert_close(network.eval()(images), before.eval()(images))


def test_a_batch_that_has_no_such_parts():
    with pytest.raises(ValueError, match="divisible by norm_splits 4, got 6 images"):
        SplitBatchNorm2d(3, 4)(torch.randn(6, 3, 2, 2))


def test_a_cumulative_average_is_refused():
    with pytest.raises(TypeError, match="momentum must be a number, got NoneType"):
        split(nn.Sequential(nn.BatchNorm2d(3, momentum=None)), 2)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_parts_on_a_gpu(layout, dtype):
    whole, parts = pair(2)
    images = torch.randn(8, 5, 3, 4).to("cuda", dtype, memory_format=layout)
    result = whole.cuda()(images)
    assert result.dtype == dtype
    for k, part in enumerate(parts):
        torch.testing.assert_close(result[k::2], part.cuda()(images[k::2]))
    mean = torch.stack([part.running_mean for part in parts]).mean(0)
    torch.testing.assert_close(whole.running_mean, mean)

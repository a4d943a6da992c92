"""The parts of what paints: the channel-wise layer and the decoder."""

import torch
from torch import nn

from texfilters.ssl._painting import ChannelwiseLinear, decoder


class TestChannelwiseLinear:
    def test_against_a_loop(self):
        layer = ChannelwiseLinear(3, 2, 4).double()
        nn.init.normal_(layer.bias)
        maps = torch.randn(5, 3, 2, 4, dtype=torch.float64)
        found = layer(maps)
        for b in range(5):
            for c in range(3):
                expected = layer.weight[c] @ maps[b, c].flatten() + layer.bias[c, :, 0]
                torch.testing.assert_close(found[b, c].flatten(), expected)

    def test_channels_stay_apart(self):
        layer = ChannelwiseLinear(4, 3, 3)
        maps = torch.randn(1, 4, 3, 3, requires_grad=True)
        layer(maps)[0, 2].sum().backward()
        assert maps.grad[0, 2].abs().min() > 0
        assert maps.grad[0, [0, 1, 3]].abs().max() == 0

    def test_it_has_far_fewer_weights_than_a_full_layer(self):
        assert sum(p.numel() for p in ChannelwiseLinear(256, 6, 6).parameters()) == 256 * (36**2 + 36)


def test_five_up_convolutions():
    ups = [layer for layer in decoder(256, 6, 6, 227) if isinstance(layer, nn.ConvTranspose2d)]
    assert [up.out_channels for up in ups] == [128, 64, 64, 32, 3]
    maps, sides = torch.rand(1, 256, 6, 6), []
    for up in ups:
        maps = up(maps)
        sides.append(maps.shape[-1])
    assert sides == [11, 21, 41, 81, 161]

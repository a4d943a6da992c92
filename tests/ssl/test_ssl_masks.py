"""Masks of context encoders: how large holes are, and where."""

import numpy as np
import pytest
import torch

from texfilters.ssl import masks


class TestMasks:
    @pytest.mark.parametrize(("side", "first", "last"), [(128, 32, 95), (227, 56, 168), (16, 4, 11)])
    def test_the_central_square(self, side, first, last):
        hole = masks.central(3, side, "cpu")
        assert hole.shape == (3, 1, side, side)
        assert hole.dtype == torch.bool
        rows, columns = hole[2, 0].nonzero().T
        assert (rows.min(), rows.max(), columns.min(), columns.max()) == (first, last, first, last)
        assert hole[2].sum() == (side // 2) ** 2

    @pytest.mark.parametrize("side", [16, 32, 128, 227])
    def test_blocks_are_at_most_a_quarter(self, side):
        hole = masks.blocks(300, side, "cpu")
        share = hole.float().mean((1, 2, 3))
        assert share.max() <= 0.25
        assert share.min() > 0.01
        assert 0.08 < share.mean() < 0.2
        assert not torch.equal(hole[0], hole[1])

    def test_blocks_reach_every_pixel_and_are_squares(self):
        hole = masks.blocks(3000, 32, "cpu")
        assert hole.float().mean(0).min() > 0  # corners too
        # An image with one square: its rows and columns are as many, and it is full.
        found = 0
        for image in hole[:, 0]:
            rows, columns = image.any(1).sum(), image.any(0).sum()
            if rows == columns and image.sum() == rows * columns:
                assert 8 <= rows <= 16
                found += 1
        assert found > 3000 / 8 * 0.9

    @pytest.mark.parametrize("side", [16, 33, 227])
    def test_regions_are_a_quarter_in_blobs(self, side):
        hole = masks.region(20, side, "cpu")
        # Equal numbers in the noise may leave out a pixel or two.
        assert ((hole.sum((1, 2, 3)) - side * side // 4).abs() <= 2).all()
        assert not torch.equal(hole[0], hole[1])
        # Neighbors mostly agree, and the shape is no rectangle.
        if side == 227:
            assert (hole[..., 1:] != hole[..., :-1]).float().mean() < 0.05
            assert (hole.any(2).sum() * hole.any(3).sum()) > 20 * 20 * 200**2

    @pytest.mark.parametrize("kind", [masks.blocks, masks.region])
    def test_drawn_from_torchs_generator(self, kind):
        draws = []
        for seed in (1, 1, 2):
            torch.manual_seed(seed)
            draws.append(kind(4, 32, "cpu"))
        assert torch.equal(draws[0], draws[1])
        assert not torch.equal(draws[0], draws[2])

    @pytest.mark.parametrize("by", [0, 1, 7])
    def test_grown(self, by):
        hole = torch.rand(2, 1, 20, 23) < 0.02
        expected = np.zeros(hole.shape, dtype=bool)
        for b, _, y, x in hole.nonzero().tolist():
            expected[b, 0, max(y - by, 0) : y + by + 1, max(x - by, 0) : x + by + 1] = True
        assert torch.equal(masks.grown(hole, by), torch.from_numpy(expected))

"""Maps against boxes, and how far they spread."""

import numpy as np
import pytest
import torch

from texfilters.evaluate.saliency import box_masks, goodness, normalized, spread


class TestNormalized:
    def test_constant_maps(self):
        maps = torch.stack([torch.zeros(2, 2), torch.full((2, 2), 3.0), torch.tensor([[1.0, 2], [3, 5]])])
        expected = torch.stack([torch.zeros(2, 2), torch.ones(2, 2), torch.tensor([[0, 0.25], [0.5, 1]])])
        assert torch.equal(normalized(maps), expected)

    def test_a_nan_is_not_hidden(self):
        assert normalized(torch.tensor([[[0, np.nan], [1, 2]]])).isnan().all()


class TestGoodness:
    def test_it_is_the_formula(self):
        rng = np.random.default_rng(0)
        maps, masks = rng.random((6, 9, 7)), rng.random((6, 9, 7)) < 0.3
        expected = [(s * b).sum() / (b.sum() + np.maximum(s - b, 0).sum()) for s, b in zip(maps, masks, strict=True)]
        got = goodness(torch.from_numpy(maps), torch.from_numpy(masks))
        np.testing.assert_allclose(got.by_image, expected, rtol=1e-6)
        assert got.mean == pytest.approx(np.mean(expected), rel=1e-6)

    def test_with_a_threshold_it_is_intersection_over_union(self):
        rng = np.random.default_rng(1)
        maps, masks = 7 * rng.random((6, 9, 7)), rng.random((6, 9, 7)) < 0.3
        above = maps > 3
        expected = (above & masks).sum((1, 2)) / (above | masks).sum((1, 2))
        got = goodness(torch.from_numpy(maps), torch.from_numpy(masks), threshold=3)
        np.testing.assert_allclose(got.by_image, expected, rtol=1e-6)

    def test_perfect_and_worst(self):
        masks = torch.zeros(2, 4, 4, dtype=torch.bool)
        masks[:, :2] = True
        maps = torch.stack([masks[0].float(), (~masks[1]).float()])
        assert goodness(maps, masks).by_image.tolist() == [1, 0]

    def test_bad_input(self):
        maps, masks = torch.rand(2, 4, 4), torch.ones(2, 4, 4, dtype=torch.bool)
        empty = masks.clone()
        empty[1] = False
        with pytest.raises(ValueError, match=r"at least one pixel each, got none for image 1 \(1 such\)"):
            goodness(maps, empty)
        with pytest.raises(ValueError, match=r"lie in \[0, 1\] unless there is a threshold"):
            goodness(2 * maps + 1, masks)
        with pytest.raises(ValueError, match="must be at least 0"):
            goodness(-maps, masks, threshold=0.5)
        with pytest.raises(ValueError, match="hold no NaN"):
            goodness(maps * np.nan, masks)
        for threshold in (np.nan, np.inf, -1):
            with pytest.raises(ValueError, match=rf"threshold must be finite and >= 0, got {threshold}"):
                goodness(maps, masks, threshold=threshold)
        with pytest.raises(ValueError, match=r"\(2, 4, 4\) and \(2, 4, 5\)"):
            goodness(maps, torch.ones(2, 4, 5, dtype=torch.bool))
        with pytest.raises(ValueError, match=r"masks must be bool, got torch.float32"):
            goodness(maps, masks.float())


class TestBoxes:
    def test_pixels_whose_centers_are_inside(self):
        boxes = [torch.tensor([[1, 0, 3, 2], [4.4, 3.5, 9, 9]]), torch.tensor([[0.5, 0.5, 1.5, 1.6]])]
        expected = np.zeros((2, 4, 6), dtype=bool)
        expected[0, 0:2, 1:3] = True
        expected[0, 3, 4:] = True
        expected[1, 0:2, 0] = True  # a center on the left edge is inside, one on the right edge is not
        np.testing.assert_array_equal(box_masks(boxes, (4, 6)), expected)

    def test_bad_boxes(self):
        with pytest.raises(ValueError, match=r"boxes of image 0 must have shape \[n, 4\] with n >= 1, got \(0, 4\)"):
            box_masks([torch.zeros(0, 4)], (4, 4))
        with pytest.raises(ValueError, match="boxes of image 1 must have left < right"):
            box_masks([torch.tensor([[0, 0, 1, 1]]), torch.tensor([[2, 0, 2, 1]])], (4, 4))
        with pytest.raises(ValueError, match="at least one image"):
            box_masks([], (4, 4))


class TestSpread:
    def test_it_is_the_formulas(self):
        maps = np.random.default_rng(0).random((5, 8, 6)) ** 4
        got = spread(torch.from_numpy(maps))
        for i, each in enumerate(maps):
            shares = each / each.sum()
            assert got.area[i].item() == (each > each.max() / 2).mean()
            assert got.entropy[i].item() == pytest.approx(-(shares * np.log(shares)).sum(), rel=1e-12)
        assert got.mean_area == pytest.approx(got.area.mean().item())
        assert got.empty == 0

    def test_the_ends(self):
        one = torch.zeros(4, 5)
        one[2, 3] = 7
        got = spread(torch.stack([one, torch.full((4, 5), 0.2)]))
        assert got.area.tolist() == [1 / 20, 1]
        assert got.entropy.tolist() == pytest.approx([0, np.log(20)])

    def test_a_map_of_zeros_has_none(self):
        got = spread(torch.stack([torch.zeros(4, 5), torch.ones(4, 5)]))
        assert got.area.isnan().tolist() == got.entropy.isnan().tolist() == [True, False]
        assert (got.mean_area, got.empty) == (1, 1)
        got = spread(torch.stack([torch.full((4, 5), np.nan), torch.full((4, 5), np.inf), torch.ones(4, 5)]))
        assert got.area.isnan().tolist() == got.entropy.isnan().tolist() == [True, True, False]
        assert (got.mean_area, got.empty) == (1, 2)
        assert np.isnan(spread(torch.zeros(1, 4, 5)).mean_area)
        with pytest.raises(ValueError, match="maps must be at least 0, got -1"):
            spread(-torch.ones(1, 4, 5))

"""The pictures of label corruption: what they show."""

import itertools

import pytest
import torch

pytest.importorskip("matplotlib", reason="needs matplotlib")

from texfilters.evaluate.figures import save
from texfilters.evaluate.label_corruption import flip_corruption, uniform_corruption
from texfilters.evaluate.label_corruption_figure import error_curves, estimated_matrix

CURVES = {"baseline": {0.2: [0.1, 0.2], 1.0: [0.6], 0.6: [0.3, 0.2]}, "diffusion": {0.6: [0.25]}}


class TestErrorCurves:
    def test_lines_points_and_areas(self):
        axes = error_curves(CURVES).axes[0]
        lines = {line.get_label(): line.get_xydata() for line in axes.lines if line.get_linestyle() == "-"}
        # 0.4 * (0.15 + 0.25) / 2 + 0.4 * (0.25 + 0.6) / 2
        assert list(lines) == ["baseline (area 0.250)", "diffusion"]
        expected = torch.tensor([[0.2, 0.15], [0.6, 0.25], [1.0, 0.6]]).double()
        torch.testing.assert_close(torch.from_numpy(lines["baseline (area 0.250)"]), expected)
        points = [tuple(xy) for line in axes.lines if line.get_marker() == "o" for xy in line.get_xydata()]
        assert sorted(points) == [(0.2, 0.1), (0.2, 0.2), (0.6, 0.2), (0.6, 0.25), (0.6, 0.3), (1.0, 0.6)]
        assert axes.get_ylim() == (0, 1)

    def test_a_file_is_the_same_every_time(self, tmp_path):
        for name in ("a.png", "b.png"):
            save(error_curves(CURVES, "errors"), tmp_path / name)
        assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()

    def test_bad_input(self):
        with pytest.raises(ValueError, match="curves must be 1 to 5, got 0"):
            error_curves({})
        with pytest.raises(ValueError, match="an error for each probability, got none in 'plain'"):
            error_curves({"plain": {0.2: []}})
        with pytest.raises(ValueError, match=r"errors must lie in \[0, 1\], got 61\.2"):
            error_curves({"plain": {0.2: [61.2]}})
        with pytest.raises(ValueError, match=r"probabilities must lie in \[0, 1\], got 20"):
            error_curves({"plain": {20: [0.612]}})


class TestEstimatedMatrix:
    def test_both_are_shown_on_one_scale(self):
        matrix, estimate = flip_corruption(4, 0.6), uniform_corruption(4, 0.5)
        left, right = estimated_matrix(matrix, estimate, ["a", "b", "c", "d"]).axes[:2]
        for axes, shares in ((left, matrix), (right, estimate)):
            shown = axes.images[0]
            torch.testing.assert_close(torch.from_numpy(shown.get_array().data), shares.float())
            assert shown.get_clim() == (0, 1)
            assert [tick.get_text() for tick in axes.get_xticklabels()] == ["a", "b", "c", "d"]

    def test_long_names_of_many_classes_do_not_lie_on_each_other(self):
        names = [f"a rather long name {i}" for i in range(25)]
        figure = estimated_matrix(torch.eye(25), torch.eye(25), names, "a title " * 40)
        figure.draw_without_rendering()
        left = figure.axes[0]
        boxes = [tick.get_window_extent() for tick in left.get_yticklabels()]
        assert len(boxes) == 25
        assert not any(box.overlaps(after) for box, after in itertools.pairwise(boxes))
        title = figure._suptitle.get_window_extent()
        assert title.x1 <= figure.bbox.x1
        assert not title.overlaps(left.get_tightbbox())

    def test_many_classes_are_not_named(self):
        left = estimated_matrix(torch.eye(100), torch.eye(100)).axes[0]
        assert not left.get_xticklabels()

    def test_bad_input(self):
        with pytest.raises(ValueError, match=r"one shape \[K, K\], got \(4, 4\) and \(3, 3\)"):
            estimated_matrix(torch.eye(4), torch.eye(3))
        with pytest.raises(ValueError, match="classes must name all 4 classes, got 2 names"):
            estimated_matrix(torch.eye(4), torch.eye(4), ["a", "b"])

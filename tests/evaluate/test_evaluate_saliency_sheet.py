"""Sheets of saliency maps: what they show."""

import numpy as np
import pytest
import torch

pytest.importorskip("matplotlib", reason="needs matplotlib")

from texfilters.evaluate import figures
from texfilters.evaluate.saliency_figure import saliency_sheet


@pytest.fixture
def images():
    return torch.randn(5, 3, 16, 12)


class TestSheet:
    def test_a_row_an_image_and_a_column_a_network(self, images, tmp_path):
        maps = torch.zeros(5, 16, 12)
        maps[0, :8] = 1
        boxes = [torch.tensor([[1, 2, 6, 9]])] * 5
        sheet = saliency_sheet(
            images.sigmoid(), {"plain": maps, "diffused": 1 - maps}, labels=list("abcde"), boxes=boxes
        )
        assert len(sheet.axes) == 15
        assert [axes.get_title() for axes in sheet.axes[:6]] == [
            "a", "plain\narea 50 %", "diffused\narea 50 %", "b", "no map", "area 100 %",
        ]  # fmt: skip
        # Heat where the map is 1, the gray image where it is 0.
        shown = torch.from_numpy(np.array(sheet.axes[1].get_images()[0].get_array()))
        assert (shown[:8].std(-1) > 0.05).all()
        assert (shown[8:].std(-1) < 1e-3).all()
        figures.save(sheet, tmp_path / "sheet.png")
        assert (tmp_path / "sheet.png").stat().st_size > 5000

    def test_bad_input(self, images):
        maps = torch.zeros(5, 16, 12)
        with pytest.raises(ValueError, match=r"maps of plain must have shape \(5, 16, 12\), got \(4, 16, 12\)"):
            saliency_sheet(images, {"plain": maps[:4]})
        with pytest.raises(ValueError, match="at least one network"):
            saliency_sheet(images, {})
        with pytest.raises(ValueError, match="labels must be one an image, 5, got 1"):
            saliency_sheet(images, {"plain": maps}, labels=["a"])

    def test_long_names_and_titles_stay_on_the_sheet(self, images):
        maps = {f"network {i}, anisotropic diffusion of 20 iterations": torch.rand(5, 16, 12) for i in range(3)}
        labels = ["a label that is much longer than its image is wide"] * 5
        sheet = saliency_sheet(images, maps, labels=labels, title="Grad-CAM of many networks with long names. " * 3)
        sheet.draw_without_rendering()
        whole = sheet.bbox
        titles = [axes.title.get_window_extent() for axes in sheet.axes] + [sheet._suptitle.get_window_extent()]
        assert all(whole.x0 <= box.x0 < box.x1 <= whole.x1 and box.y1 <= whole.y1 for box in titles)
        for i, box in enumerate(titles):
            assert not any(box.overlaps(other) for other in titles[:i])

    def test_a_map_with_a_nan_is_shown_as_none(self, images):
        maps = torch.rand(5, 16, 12)
        maps[1, 2, 3] = np.nan
        sheet = saliency_sheet(images.sigmoid(), {"plain": maps})
        assert sheet.axes[3].get_title() == "no map"
        shown = torch.from_numpy(np.array(sheet.axes[3].get_images()[0].get_array()))
        assert (shown.std(-1) < 1e-3).all()

"""mCE, its relative, their table and their picture."""

import math

import numpy as np
import pytest

from texfilters.evaluate.corruptions import (
    ALEXNET,
    CORRUPTIONS,
    CorruptionErrors,
    corruption_figure,
    corruption_table,
)
from texfilters.evaluate.figures import save

# Averages as published beside the errors by severity, which they check.
AVERAGES = (
    *(0.886428, 0.894468, 0.922640, 0.819880, 0.826268, 0.785948, 0.798360, 0.866816, 0.826572, 0.819324),
    *(0.564592, 0.853204, 0.646056, 0.717840, 0.606500),
)


class TestMeanCorruptionError:
    def test_alexnets_errors_have_the_published_averages(self):
        assert tuple(ALEXNET.errors) == CORRUPTIONS
        assert [ALEXNET.mean(name) for name in CORRUPTIONS] == pytest.approx(AVERAGES, abs=1e-9)
        assert ALEXNET.mce() == pytest.approx(1)
        assert ALEXNET.relative_mce() == pytest.approx(1)

    def test_its_clean_error_is_that_of_the_network_that_was_taken(self):
        models = pytest.importorskip("torchvision.models", reason="needs torchvision")
        accuracy = models.AlexNet_Weights.IMAGENET1K_V1.meta["_metrics"]["ImageNet-1K"]["acc@1"]
        assert ALEXNET.clean == pytest.approx(1 - accuracy / 100, abs=5e-4)

    def test_other_constants_have_no_mce_from_alexnet(self):
        errors = {"fog": (0.3, 0.5), "snow": (0.5, 0.7)}
        model = CorruptionErrors(0.1, errors, (1, 2), constants="cifar-10-c")
        with pytest.raises(ValueError, match="same constants, cifar-10-c, got imagenet-c"):
            model.mce()
        assert model.mean_error() == pytest.approx(0.5)
        assert corruption_table({"a": model}) == [
            ("", "a"), ("clean error", "10.0"), ("mean error", "50.0"), ("fog", "40.0"), ("snow", "60.0"),
        ]  # fmt: skip
        assert corruption_table({"a": model}, model)[2] == ("mCE", "100.0")
        with pytest.raises(ValueError, match="with the same constants, unlike 'a' and 'b'"):
            corruption_table({"a": model, "b": CorruptionErrors(0.1, errors, (1, 2))})

    def test_by_hand(self):
        model = CorruptionErrors(0.2, {"fog": (0.3, 0.5), "snow": (0.4, 0.6)}, (2, 5))
        baseline = CorruptionErrors(
            0.4, {"snow": (0.1, 0.5, 0.6, 0.7, 1.0), "fog": (0.3, 0.6, 0.6, 0.7, 0.9)}, (1, 2, 3, 4, 5)
        )
        assert model.corruption_error("fog", baseline) == pytest.approx(0.8 / 1.5)
        assert model.mce(baseline) == pytest.approx((0.8 / 1.5 + 1.0 / 1.5) / 2)
        assert model.relative_corruption_error("snow", baseline) == pytest.approx((1.0 - 0.4) / (1.5 - 0.8))
        head, clean, mce, fog, snow = corruption_table({"a": model, "b": model}, baseline)
        assert head == ("", "a", "b")
        assert clean == ("clean error", "20.0", "20.0")
        assert mce == ("mCE", "60.0", "60.0")
        assert (fog[0], snow[2]) == ("fog", "66.7")

    def test_a_baseline_that_lacks_something(self):
        model = CorruptionErrors(0.2, {"fog": (0.3,)}, (2,))
        with pytest.raises(ValueError, match=r"baseline must have errors for fog, severities \(2,\)"):
            model.mce(CorruptionErrors(0.2, {"fog": (0.3,)}, (1,)))
        with pytest.raises(ValueError, match="baseline must have an error above 0 for fog"):
            model.mce(CorruptionErrors(0.0, {"fog": (0.0,)}, (2,)))
        assert math.isnan(model.relative_mce(CorruptionErrors(0.3, {"fog": (0.3,)}, (2,))))
        other = CorruptionErrors(0.2, {"snow": (0.3,)}, (2,))
        with pytest.raises(ValueError, match="under the same corruptions, unlike 'a' and 'b'"):
            corruption_table({"a": model, "b": other})
        with pytest.raises(ValueError, match="at least one model"):
            corruption_figure({})

    def test_figure(self, tmp_path):
        figure = corruption_figure({"AlexNet": ALEXNET}, "errors")
        panels = [axes for axes in figure.axes if axes.get_visible()]
        assert len(panels) == 15
        assert panels[0].lines[0].get_ydata().tolist() == pytest.approx(
            [43.5, *(100 * e for e in ALEXNET.errors["gaussian_noise"])]
        )
        few = CorruptionErrors(0.2, {"fog": (0.4, 0.3), "jpeg_compression": (0.6, 0.5)}, (5, 2))
        figure = corruption_figure({"few": few})
        assert figure.axes[0].lines[0].get_xydata() == pytest.approx(np.array([[0, 20], [2, 30], [5, 40]]))
        save(figure, tmp_path / "errors.svg")
        assert "<!-- jpeg compression -->" in (tmp_path / "errors.svg").read_text()

    def test_names_of_many_networks_do_not_lie_on_anything(self):
        """Six long names, a long title, and a row of panels that is not full."""
        shares = {name: ALEXNET.errors[name] for name in CORRUPTIONS[:7]}
        models = {
            f"network {i} with a rather long name, 50 iterations": CorruptionErrors(0.2, shares) for i in range(6)
        }
        figure = corruption_figure(models, "a title " * 30)
        figure.draw_without_rendering()
        styles = {(line.get_color(), line.get_marker()) for line in figure.axes[0].lines}
        assert len(styles) == 6
        (legend,) = figure.legends
        whole = figure.bbox
        panels = [axes.get_tightbbox() for axes in figure.axes if axes.get_visible()]
        boxes = [legend.get_window_extent(), figure._suptitle.get_window_extent()]
        for box in boxes:
            assert whole.x0 <= box.x0 < box.x1 <= whole.x1
            assert whole.y0 <= box.y0 < box.y1 <= whole.y1
            assert not any(box.overlaps(panel) for panel in panels)
        assert [bool(axes.get_xlabel()) for axes in figure.axes[:7]] == [False] * 2 + [True] * 5

"""Intervals of a shape bias against resampled images, and its figure."""

import math

import numpy as np
import pytest
from PIL import Image

from texfilters.evaluate import figures
from texfilters.evaluate._shape_bias import Decisions, ShapeBias, shape_bias_interval
from texfilters.evaluate._shape_bias_figure import shape_bias_figure

PUBLISHED = Decisions(283, 376, 541)  # AlexNet's, of Geirhos et al. 2019


def result(shape, texture, other=0, **by_class):
    counts = {name: Decisions(*row) for name, row in by_class.items()}
    return ShapeBias(
        Decisions(shape, texture, other).bias,
        {name: row.bias for name, row in counts.items()},
        Decisions(shape, texture, other),
        counts,
    )


def test_the_interval_is_that_of_resampled_images():
    """Against images that are drawn one by one; a quantile of theirs has a standard error of at most 0.001."""
    whole = result(*PUBLISHED, clock=(55, 6, 14))
    interval = shape_bias_interval(whole, resamples=20_000)
    for counts, (lower, upper) in ((PUBLISHED, interval.overall), ((55, 6, 14), interval.by_class["clock"])):
        kinds = np.repeat([0, 1, 2], counts)
        draws = np.random.default_rng(5).choice(kinds, (10_000, len(kinds)))
        shape, texture = (draws == 0).sum(1), (draws == 1).sum(1)
        expected = np.quantile(shape / (shape + texture), [0.025, 0.975])
        np.testing.assert_allclose([lower, upper], expected, atol=0.004)
    assert shape_bias_interval(whole, resamples=20_000) == interval
    assert shape_bias_interval(whole, resamples=20_000, seed=1) != interval
    narrower = shape_bias_interval(whole, confidence=0.5)
    assert interval.overall[0] < narrower.overall[0] < whole.overall < narrower.overall[1] < interval.overall[1]


def test_one_sided_and_missing_decisions_have_no_interval():
    interval = shape_bias_interval(
        result(4, 0, 2, cat=(4, 0, 0), dog=(0, 0, 2), car=(0, 0, 0), oven=(0, 3, 1), truck=(2, 1, 9))
    )
    for bounds in (interval.overall, *(interval.by_class[name] for name in ("cat", "dog", "car", "oven"))):
        assert all(map(math.isnan, bounds))
    assert not any(map(math.isnan, interval.by_class["truck"]))


@pytest.mark.parametrize(("option", "value"), [("confidence", 0), ("confidence", 1), ("resamples", 99)])
def test_bad_options_of_the_interval(option, value):
    with pytest.raises(ValueError, match=option):
        shape_bias_interval(result(1, 1), **{option: value})


def drawn(figure):
    axes = figure.axes[0]
    dots = [line for line in axes.lines if line.get_linestyle() == "None"]
    averages = [line for line in axes.lines if line.get_linestyle() == "-" and len(set(line.get_xdata())) == 1]
    return axes, dots, averages


def test_the_figure_shows_what_was_measured(tmp_path):
    pytest.importorskip("matplotlib")
    alexnet = result(57, 6, 20, cat=(2, 0, 3), clock=(55, 6, 14), dog=(0, 0, 3))
    other = result(1, 3, 0, cat=(1, 1, 0), clock=(0, 2, 0), dog=(0, 0, 0))
    none = result(0, 0, 4, cat=(0, 0, 2), clock=(0, 0, 2), dog=(0, 0, 0))
    one_sided = result(3, 0, 1, cat=(1, 0, 0), clock=(2, 0, 0), dog=(0, 0, 1))
    figure = shape_bias_figure({"AlexNet": alexnet, "other": other, "none": none, "shape": one_sided}, "title")
    axes, dots, averages = drawn(figure)
    np.testing.assert_allclose(dots[0].get_xdata(), [0, 6 / 61, math.nan])
    np.testing.assert_allclose(dots[1].get_xdata(), [0.5, 1, math.nan])
    assert [line.get_xdata()[0] for line in averages] == pytest.approx([6 / 63, 0.75, 0])
    assert [text.get_text() for text in axes.get_yticklabels()] == ["cat", "clock", "dog"]
    assert axes.yaxis_inverted()
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[:-1] == ["AlexNet, 90.5 % shape", "other, 25.0 % shape", "none, no decision", "shape, 100.0 % shape"]
    assert labels[-1] == "over all images, with its 95 % interval"
    assert len(axes.patches) == 2  # no band where there is no interval
    lower, upper = shape_bias_interval(alexnet).overall
    band = axes.patches[0].get_extents().transformed(axes.transData.inverted())
    assert (band.x0, band.x1) == pytest.approx((1 - upper, 1 - lower))
    figures.save(figure, tmp_path / "bias.png")
    with Image.open(tmp_path / "bias.png") as image:
        assert min(image.size) > 300


def test_a_figure_needs_results_that_match():
    pytest.importorskip("matplotlib")
    with pytest.raises(ValueError, match="results must hold 1 to 8 observers, got 0"):
        shape_bias_figure({})
    with pytest.raises(ValueError, match="results must hold 1 to 8 observers, got 9"):
        shape_bias_figure({str(i): result(1, 1, cat=(1, 1, 0)) for i in range(9)})
    with pytest.raises(ValueError, match=r"the same categories.* for b"):
        shape_bias_figure({"a": result(1, 1, cat=(1, 1, 0)), "b": result(1, 1, dog=(1, 1, 0))})

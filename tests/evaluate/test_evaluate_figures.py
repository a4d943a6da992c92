"""Pictures: nothing sticks out, colors can be told apart, files are the same every time."""

import itertools
import math

import numpy as np
import pytest
import torch

pytest.importorskip("matplotlib", reason="needs matplotlib")

from PIL import Image
from skimage.color import deltaE_ciede2000, rgb2lab

from texfilters.evaluate import (
    CueConflictAnswers,
    Epoch,
    figures,
    reliability_diagram,
    shape_bias_figure,
    shape_bias_from_answers,
    similarity,
    similarity_figure,
)
from texfilters.evaluate.confidence import answers, calibration

LONG = "moco, ResNet-50, diffusion of 20 steps, 200 epochs of ImageNet-100, seed"

# Machado, Oliveira and Fernandes 2009, doi:10.1109/TVCG.2009.113: of linear RGB, for the severest deficiency.
DEFICIENCIES = {
    "none": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def seen(color, deficiency):
    """Lab of a color `#rrggbb`, as it is seen."""
    rgb = np.array([int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    linear = (np.array(DEFICIENCIES[deficiency]) @ linear).clip(0, 1)
    return rgb2lab(np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055))


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_any_two_colors_can_be_told_apart(deficiency):
    colors = [seen(color, deficiency) for color in figures._COLORS]
    for (i, first), (j, second) in itertools.combinations(enumerate(colors), 2):
        assert deltaE_ciede2000(first, second) > (16 if j < 5 else 12), (figures._COLORS[i], figures._COLORS[j])
    assert max(color[0] for color in colors) < 75  # of 100: seen on white
    assert {*figures._COOL, *figures._WARM} == set(figures._COLORS)
    assert len(set(figures._MARKERS)) >= len(figures._COLORS)


def drawn_bias(seed):
    generator = torch.Generator().manual_seed(seed)
    shapes, textures, given = torch.randint(3, (3, 200), generator=generator)
    names = ("cat", "a category with a long name of one's own", "dog")
    return shape_bias_from_answers(
        CueConflictAnswers(names, tuple(str(i) for i in range(200)), shapes, textures, given)
    )


def drawn_calibration(seed):
    logits = torch.randn(200, 6, generator=torch.Generator().manual_seed(seed))
    return calibration(answers(logits.softmax(1), torch.arange(200) % 6))


def drawn_similarity(seed):
    x, y, z = torch.randn(3, 30, 8, generator=torch.Generator().manual_seed(seed))
    return similarity(x, x + y, z)


def confusion(n):
    counts = 9 * torch.eye(n, dtype=torch.int64) + 1
    counts[n // 2] = 0
    return counts


EPOCHS = [Epoch(30.0 if i < 3 else 3.0, 2.0 / (i + 1), 0.5, 0.4) for i in range(5)]


@pytest.mark.parametrize(
    "draw",
    [
        lambda: shape_bias_figure({f"{LONG} {i}": drawn_bias(i) for i in range(8)}, LONG * 2),
        lambda: shape_bias_figure({f"ResNet-50, seed {i}": drawn_bias(i) for i in range(8)}),
        lambda: shape_bias_figure({"one": drawn_bias(0)}, LONG),
        lambda: reliability_diagram({f"{LONG} {i}": drawn_calibration(i) for i in range(6)}, LONG * 3),
        lambda: reliability_diagram({LONG: drawn_calibration(0)}, LONG),
        lambda: similarity_figure({f"{LONG} {i}": drawn_similarity(i) for i in range(3)}, LONG * 2),
        lambda: figures.confusion_matrix(confusion(2), ["a class of a long name", "b"], LONG),
        lambda: figures.confusion_matrix(confusion(10), [f"class {i} of ten" for i in range(10)], LONG),
        lambda: figures.confusion_matrix(confusion(40), None, LONG),
        lambda: figures.training_curve(EPOCHS, LONG * 2),
    ],
)
def test_nothing_sticks_out_or_overlaps(draw):
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    figure = draw()
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    beyond = {  # ticks that are there, but not drawn
        id(tick.label1)
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for tick in axis.get_major_ticks()
        if not min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval())
    }
    texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    texts = [text for text in texts if id(text) not in beyond]
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts]
    width, height = figure.bbox.size
    for text, box in boxes:
        assert box.x0 >= -1, text
        assert box.y0 >= -1, text
        assert box.x1 <= width + 1, text
        assert box.y1 <= height + 1, text
    for (text, box), (other, beside) in itertools.combinations(boxes, 2):
        across = min(box.x1, beside.x1) - max(box.x0, beside.x0)
        down = min(box.y1, beside.y1) - max(box.y0, beside.y0)
        rotated = text.startswith("class ") and other.startswith("class ")  # boxes of slanted names do overlap
        assert rotated or min(across, down) < 2, (text, other)


def test_a_class_without_images_has_no_shares():
    figure = figures.confusion_matrix(confusion(4))
    (image,) = figure.axes[0].images
    shares = np.asarray(image.get_array().filled(math.nan))
    assert np.isnan(shares[2]).all()
    np.testing.assert_allclose(shares[[0, 1, 3]], (9 * np.eye(4) + 1)[[0, 1, 3]] / 13)
    assert [text.get_text() for text in figure.axes[0].texts].count("77") == 3
    assert len(figure.axes[0].texts) == 12


def test_small_shares_of_many_classes_show():
    few, many = (figures.confusion_matrix(confusion(n)).axes[0].images[0].norm for n in (25, 26))
    assert few(0.04) == pytest.approx(0.04)
    assert many(0.04) == pytest.approx(0.2)


def test_bad_matrices():
    with pytest.raises(ValueError, match=r"confusion must have shape \[C, C\], got \(2, 3\)"):
        figures.confusion_matrix(torch.zeros(2, 3))
    with pytest.raises(ValueError, match="classes must name all 4 classes, got 1 names"):
        figures.confusion_matrix(confusion(4), ["cat"])
    with pytest.raises(ValueError, match="at least one epoch, got none"):
        figures.training_curve([])


@pytest.mark.parametrize("ending", ["png", "svg", "pdf", "PNG", "SVG", "PDF"])
def test_a_file_is_the_same_every_time(tmp_path, ending):
    for name in ("a", "b"):
        figures.save(figures.training_curve(EPOCHS, "title"), tmp_path / f"{name}.{ending}")
    assert (tmp_path / f"a.{ending}").read_bytes() == (tmp_path / f"b.{ending}").read_bytes()


@pytest.mark.parametrize("ending", ["jpg", "webp"])
def test_other_kinds_of_files(tmp_path, ending):
    figures.save(figures.training_curve(EPOCHS), tmp_path / f"a.{ending}")
    with Image.open(tmp_path / f"a.{ending}") as image:
        assert image.size == (1260, 510)

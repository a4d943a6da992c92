"""Probes across sets of features: classes, coarser categories, seeds, and the picture."""

import math
import statistics

import pytest
import torch

from texfilters import evaluate
from texfilters.evaluate._transfer import STANDARDIZED, LabeledFeatures, Transfer, deviation, transfer
from texfilters.evaluate.transfer_figure import transfer_figure

CLASSES = ("cat", "dog", "automobile", "house")
QUICK = evaluate.ProbeRecipe(lr=0.1, epochs=4, milestones=(3,))


def drawn(n, seed, classes=CLASSES, spread=1.5, shift=0.0):
    """Features around one center a class."""
    generator = torch.Generator().manual_seed(seed)
    centers = torch.randn(len(CLASSES), 8, generator=torch.Generator().manual_seed(5))
    labels = torch.arange(n) % len(classes)
    of_class = torch.tensor([CLASSES.index(name) if name in CLASSES else 2 for name in classes])[labels]
    return LabeledFeatures(centers[of_class] + shift + spread * torch.randn(n, 8, generator=generator), labels, classes)


def by_kind(rows):
    return {(row.test, row.probe, row.answers): row for row in rows}


def test_classes_are_answered_as_the_probes_themselves_answer():
    train, near, far = drawn(200, 0), drawn(80, 1), drawn(80, 2, shift=1.0)
    rows = by_kind(transfer(train, {"near": near, "far": far}, seeds=(0, 4), recipe=QUICK, k=9))
    assert list(rows) == [(t, p, "classes") for t in ("near", "far") for p in ("linear", "knn")]
    for name, test in (("near", near), ("far", far)):
        outcomes = [
            evaluate.linear_probe(
                train.features, train.labels, test.features, test.labels, QUICK, standardize=True, seed=seed
            ).test
            for seed in (0, 4)
        ]
        row = rows[name, "linear", "classes"]
        assert row.accuracy == pytest.approx([outcome.accuracy for outcome in outcomes])
        assert row.balanced_accuracy == pytest.approx([outcome.balanced_accuracy for outcome in outcomes])
        assert row.mean == pytest.approx(statistics.fmean(row.accuracy))
        assert row.deviation == pytest.approx(statistics.stdev(row.accuracy))
        votes = evaluate.knn(train.features, train.labels, test.features, k=9)
        neighbors = rows[name, "knn", "classes"]
        assert neighbors.accuracy == (pytest.approx(evaluate.classification(votes, test.labels).accuracy),)
        assert math.isnan(neighbors.deviation)
        assert (neighbors.images, neighbors.chance) == (80, 0.25)
    assert rows["near", "linear", "classes"].mean > rows["far", "linear", "classes"].mean


def test_probabilities_of_a_categorys_classes_are_added_up():
    """Not averaged: one strong class of three beats none of a category of one."""
    train, test = drawn(200, 0), drawn(90, 3)
    mapping = {"pet": ["cat", "dog"], "thing": ["automobile"]}
    rows = by_kind(transfer(train, {"t": test}, categories=mapping, seeds=(1,), recipe=QUICK, k=20))
    assert [kind for _, probe, kind in rows if probe == "linear"] == [
        "classes", "categories, added up", "categories, own probe",
    ]  # fmt: skip
    kept = test.labels != 3
    coarse = torch.where(test.labels < 2, 0, 1)[kept]
    model = evaluate.linear_probe(
        train.features, train.labels, test.features[:1], test.labels[:1], QUICK, standardize=True, classes=4, seed=1
    ).model
    p = model(test.features).softmax(1)[kept]
    expected = evaluate.classification(torch.stack([p[:, 0] + p[:, 1], p[:, 2]], 1), coarse)
    added = rows["t", "linear", "categories, added up"]
    assert added.accuracy == (pytest.approx(expected.accuracy),)
    assert added.balanced_accuracy == (pytest.approx(expected.balanced_accuracy),)
    assert (added.images, added.chance) == (int(kept.sum()), 0.5)
    mine = train.labels != 3
    votes = evaluate.knn(train.features[mine], torch.where(train.labels < 2, 0, 1)[mine], test.features[kept], k=20)
    own = rows["t", "knn", "categories, own probe"]
    assert own.accuracy == (pytest.approx(evaluate.classification(votes, coarse).accuracy),)


def test_categories_of_another_list_are_answered_with_the_mean():
    """Stimuli of cat, dog and car, and of a bear that the network does not tell."""
    stimuli = drawn(80, 4, ("bear", "car", "cat", "dog"))
    train = drawn(200, 0)
    rows = by_kind(transfer(train, {"edges": stimuli}, probes=("linear",), seeds=(0,), recipe=QUICK))
    kept = stimuli.labels > 0
    model = evaluate.linear_probe(
        train.features, train.labels, train.features[:1], train.labels[:1], QUICK, standardize=True, classes=4
    ).model
    logits = model(stimuli.features[kept])
    # In the order of the 16 categories: car, cat, dog.
    scores = evaluate.category_probabilities(logits, {"car": (2,), "cat": (0,), "dog": (1,)}, logits=True)
    expected = evaluate.classification(scores, stimuli.labels[kept] - 1)
    row = rows["edges", "linear", "categories, mean"]
    assert row.accuracy == (pytest.approx(expected.accuracy),)
    assert (row.images, row.chance) == (60, pytest.approx(1 / 3))
    assert set(rows) == {("edges", "linear", kind) for kind in ("categories, mean", "categories, own probe")}


def test_categories_of_ones_own_leave_stimuli_theirs():
    train, stimuli = drawn(200, 0), drawn(80, 4, ("bear", "car", "cat", "dog"))
    mapping = {"animal": ["cat", "dog"], "thing": ["automobile", "house"]}
    options = {"probes": ("knn",), "k": 9}
    own = by_kind(transfer(train, {"edges": stimuli, "near": drawn(40, 1)}, categories=mapping, **options))
    usual = by_kind(transfer(train, {"edges": stimuli}, **options))
    assert [own["edges", "knn", kind] for _, _, kind in usual] == list(usual.values())
    assert own["near", "knn", "categories, added up"].images == 40


def test_tests_may_have_some_of_the_classes_in_another_order():
    train, test = drawn(200, 0), drawn(60, 6, ("dog", "cat"))
    swapped = LabeledFeatures(test.features, 1 - test.labels, ("cat", "dog"))
    rows = [transfer(train, {"t": given}, recipe=QUICK, seeds=(0,)) for given in (test, swapped)]
    assert rows[0] == rows[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tests": {}}, "tests and seeds must hold at least one"),
        ({"seeds": ()}, "tests and seeds must hold at least one"),
        ({"probes": ()}, "probes must hold at least one"),
        ({"probes": ("svm",)}, "probes must be one of"),
        (
            {"tests": {"t": drawn(20, 0, ("oven", "clock"))}},
            "classes of training, or two categories of them at least, got oven",
        ),
        ({"categories": {"pet": ["lion"]}}, "classes of the network"),
        ({"k": 0}, "k must be at least 1, got 0"),
        (
            {"train": LabeledFeatures(torch.randn(9, 8), torch.arange(9) % 3, CLASSES)},
            "classes with a training image, got house without any in 't'",
        ),
        (
            {"tests": {"t": LabeledFeatures(torch.full((4, 8), math.nan), torch.arange(4), CLASSES)}},
            "features of test 't' must be finite",
        ),
    ],
)
def test_what_cannot_be_measured(changes, message):
    given = {"train": drawn(40, 0), "tests": {"t": drawn(20, 1)}, "seeds": (0,), "recipe": QUICK} | changes
    with pytest.raises(ValueError, match=message):
        transfer(given.pop("train"), given.pop("tests"), **given)


def test_deviation_is_that_of_a_sample():
    assert deviation([0.1, 0.3]) == pytest.approx(math.sqrt(0.02))
    assert math.isnan(deviation([0.5]))
    assert STANDARDIZED.epochs == 50


def test_the_figure_shows_every_mean_and_its_deviation():
    rows = (
        Transfer("sketch", "linear", "classes", 10, 0.25, (0.5, 0.7), (0.5, 0.7)),
        Transfer("sketch", "knn", "classes", 10, 0.25, (0.4,), (0.4,)),
    )
    others = (
        Transfer("sketch", "linear", "classes", 10, 0.25, (0.8, 0.8), (0.8, 0.8)),
        Transfer("sketch", "knn", "classes", 10, 0.25, (0.3,), (0.3,)),
    )
    figure = transfer_figure({"a": rows, "b": others})
    linear, knn = figure.axes
    dots = [container.lines[0].get_xdata()[0] for container in linear.containers]
    assert dots == pytest.approx([60, 80])
    bar = linear.containers[0].lines[2][0].get_segments()[0]
    assert bar[:, 0] == pytest.approx([60 - 100 * math.sqrt(0.02), 60 + 100 * math.sqrt(0.02)])
    assert [container.lines[0].get_xdata()[0] for container in knn.containers] == pytest.approx([40, 30])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b", "chance"]
    with pytest.raises(ValueError, match="of the same tests"):
        transfer_figure({"a": rows, "b": others[:1]})
    with pytest.raises(ValueError, match="models must be 1 to 8, got 0"):
        transfer_figure({})

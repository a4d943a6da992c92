"""Sections of shape bias, high frequencies, corruptions, confidence and transfer against the functions they call."""

import csv
import dataclasses
import json
import math

import pytest
import torch
from torch import nn

from texfilters import evaluate
from texfilters.evaluate import report, sections
from texfilters.evaluate.sections import LabeledImages, Model
from texfilters.evaluate.sections._numbers import difference, spread_over

CLASSES = ("car", "cat", "dog")


class Colors(nn.Module):
    """Mean colors, and a linear classifier of them."""

    def __init__(self, seed):
        super().__init__()
        self.classifier = nn.Linear(3, 3)
        with torch.no_grad():
            self.classifier.weight.copy_(
                torch.randn(3, 3, generator=torch.Generator().manual_seed(seed)) + 8 * torch.eye(3)
            )

    def forward(self, images):
        return self.classifier(images.mean((2, 3)))


class Means(nn.Module):
    def forward(self, images):
        return images.mean((2, 3))


def model(seed=0, classes=CLASSES):
    def prepare(images, sizes=None):
        return images.float() / 255

    return Model(Colors(seed).eval(), Means(), prepare, classes, torch.device("cpu"))


def images(n=24, seed=0, side=16):
    """Noise, redder, greener or bluer by the class; in two batches."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 3
    pixels = torch.randint(0, 200, (n, 3, side, side), generator=generator)
    pixels[torch.arange(n), labels] += 18
    pixels = pixels.clamp(0, 255).byte()
    return LabeledImages(list(zip(pixels.split(16), labels.split(16), strict=True)), CLASSES)


def view(batch):
    return batch[0].float() / 255


@pytest.fixture(scope="module")
def stimuli(tmp_path_factory):
    """Every pair of car, cat, dog and bear, which the models do not tell."""
    image = pytest.importorskip("PIL.Image", reason="needs Pillow")
    folder = tmp_path_factory.mktemp("stimuli")
    generator = torch.Generator().manual_seed(3)
    for shape in (*CLASSES, "bear"):
        for texture in (*CLASSES, "bear"):
            pixels = torch.randint(0, 256, (20, 24, 3), generator=generator).byte()
            image.fromarray(pixels.numpy()).save(folder / f"{shape}1-{texture}2.png")
    return folder


def column(table, name):
    place = table.header.index(name)
    return {row[0]: row[place] for row in table.rows}


def test_shape_bias_of_networks_and_of_tables(stimuli, tmp_path):
    models = {"a": model(0), "b": model(1)}
    answers = tmp_path / "c.csv"
    with answers.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["object_response", "imagename"])
        for path in sorted(stimuli.iterdir()):
            rows.writerow([path.stem.split("1-")[0], f"0_x_{path.name}"])
    section = sections.shape_bias(models, stimuli, answers={"c": answers}, batch_size=4)
    categories = {"car": (0,), "cat": (1,), "dog": (2,)}
    for name, each in models.items():
        expected = evaluate.shape_bias_on_folder(
            each.logits, stimuli, categories, transform=lambda pixels: pixels.float() / 255
        )
        recorded = section.record["observers"][name]
        assert recorded["counts"] == expected.counts._asdict()
        assert sum(expected.counts) == 6
        assert recorded["by_category"]["cat"]["counts"] == expected.counts_by_class["cat"]._asdict()
    assert column(section.tables[0], "shape bias, %")["c"] == 100
    assert math.isnan(column(section.tables[0], "lower, %")["c"])
    assert [row[0] for row in section.tables[2].rows] == ["a, b", "a, c", "b, c"]
    assert section.record["error_consistency"][0]["images"] == 9
    assert "3 categories (car, cat, dog)" in section.text
    written = report.write(section, tmp_path / "out")
    assert {path.name for path in written} >= {
        "shape-bias.csv",
        "shape-bias-3.csv",
        "shape-bias.png",
        "shape-bias.json",
    }
    assert json.loads(written[-1].read_text())["observers"]["c"]["interval"] == [None, None]


def test_shape_bias_of_two_shows_how_they_differ(stimuli):
    section = sections.shape_bias({"a": model(0), "b": model(7)}, stimuli, mapping={"cat": ["car"], "dog": [1, 2]})
    first, second, gap = section.tables[0].rows
    assert gap[0] == "difference"
    assert gap[2] == second[2] - first[2]
    assert section.record["classes"]["a"] == {"cat": [0], "dog": [1, 2]}
    assert sum(section.record["observers"]["a"]["counts"].values()) == 2


def test_a_limit_is_spread_over_the_stimuli(stimuli):
    assert spread_over(5, None) == spread_over(5, 9) == [0, 1, 2, 3, 4]
    assert spread_over(9, 3) == [0, 4, 8]
    section = sections.shape_bias({"a": model()}, stimuli, limit=4)
    assert sum(section.record["observers"]["a"]["counts"].values()) <= 4
    with pytest.raises(ValueError, match="limit must be at least 1, got 0"):
        sections.shape_bias({"a": model()}, stimuli, limit=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "models or answers must hold at least one"),
        ({"models": {"a": model()}}, "stimuli must be a folder"),
        ({"models": {"a": model()}, "answers": {"a": "x.csv"}}, "different names, got 'a' for both"),
        ({"models": {"a": model(classes=())}, "stimuli": "x"}, "must have a classifier, but 'a' has none"),
        ({"models": {"a": model(classes=("x", "y", "cat"))}, "stimuli": "x"}, "two common categories, got cat"),
    ],
)
def test_shape_bias_of_nothing(options, message):
    with pytest.raises(ValueError, match=message):
        sections.shape_bias(options.pop("models", {}), **options)


def test_high_frequencies():
    models = {"a": model(0), "b": model(1)}
    section = sections.high_frequencies(models, images(), radii=(0, 3), masks=("disk",))
    expected = evaluate.accuracy_by_radius(models["b"].logits, images(), (0, 3), transform=view)
    assert section.record["masks"]["disk"]["b"] == dataclasses.asdict(expected)
    (table,) = section.tables
    assert table.header == ("kept", "a, %", "b, %", "difference")
    assert [row[0] for row in table.rows] == ["r = 0", "r = 3", "all"]
    assert [row[2] for row in table.rows] == [round(100 * x, 2) for x in (*expected.accuracy, expected.plain)]
    assert all(row[3] == pytest.approx(row[2] - row[1], abs=0.011) for row in table.rows)
    usual = sections.high_frequencies({"a": models["a"]}, images())
    assert set(usual.record["masks"]) == {"disk", "square"}
    assert usual.record["masks"]["disk"]["a"]["radii"] == (1, 2, 3, 4, 6, 8)
    with pytest.raises(ValueError, match="masks must hold at least one"):
        sections.high_frequencies(models, images(), masks=())


def test_corruptions():
    models = {"a": model(0), "b": model(1)}
    kinds = ("contrast", "brightness")
    section = sections.corruptions(models, images(), corruptions=kinds, severities=(1, 5), seed=2)
    expected = {
        name: evaluate.corruption_errors(
            each.logits, images(), corruptions=kinds, severities=(1, 5), constants="cifar-10-c", transform=view, seed=2
        )
        for name, each in models.items()
    }
    for name, errors in expected.items():
        assert section.record["models"][name]["errors"] == errors.errors
        assert "mce" not in section.record["models"][name]
        mean = (errors.mean("contrast") + errors.mean("brightness")) / 2
        assert section.record["models"][name]["mean_error"] == pytest.approx(mean)
    assert section.record["mce_relative_to_first"]["b"] == pytest.approx(expected["b"].mce(expected["a"]))
    assert section.record["images"] == 24
    assert "There is no mCE" in section.text
    assert "Frost" not in section.text
    assert len(section.tables[2].rows) == 4
    assert "as strong as in CIFAR-10-C" in section.text  # the images are small
    strong = sections.corruptions(models, images(), corruptions=kinds, severities=(1, 5), constants="imagenet-c")
    assert "as strong as in ImageNet-C" in strong.text
    assert strong.record["models"]["a"]["errors"] != section.record["models"]["a"]["errors"]


def test_mean_corruption_error_is_of_imagenets_classes(monkeypatch):
    names = tuple(map(str, range(1000)))
    found = dataclasses.replace(evaluate.corruptions.ALEXNET, drawn_frost=True)
    monkeypatch.setattr(sections._corruptions, "corruption_errors", lambda *_, **__: found)
    given = LabeledImages(images().batches, names)
    section = sections.corruptions({"a": model(classes=names)}, given, constants="imagenet-c")
    assert section.record["models"]["a"]["mce"] == pytest.approx(1)
    assert column(section.tables[0], "mCE, %")["a"] == 100
    assert "Frost is drawn" in section.text


def test_confidence():
    models = {"a": model(0), "b": model(1)}
    section = sections.confidence(models, images(), bins=5)
    answers = {name: evaluate.network_answers(each.logits, images(), transform=view) for name, each in models.items()}
    shared = evaluate.shared_confidence(answers)
    assert section.record["shared_right_images"] == shared["a"].images > 0
    for name in models:
        recorded = section.record["models"][name]
        assert recorded["entropy"] == pytest.approx(shared[name].entropy)
        assert recorded["calibration"]["error"] == pytest.approx(evaluate.calibration(answers[name], 5).error)
        assert column(section.tables[0], "accuracy, %")[name] == round(
            100 * answers[name].right.double().mean().item(), 2
        )
    assert section.tables[0].rows[2][0] == "difference"


def test_transfer():
    models = {"a": model(classes=()), "b": model(1, classes=())}
    recipe = evaluate.ProbeRecipe(lr=0.1, epochs=2, milestones=())
    section = sections.transfer(models, images(48, 1), {"t": images()}, seeds=(0, 1), recipe=recipe, k=5)
    x, y = evaluate.features(Means(), images(48, 1), transform=view)
    tested, labels = evaluate.features(Means(), images(), transform=view)
    expected = evaluate.classification(evaluate.knn(x, y, tested, k=5), labels)
    recorded = {row["probe"]: row for row in section.record["models"]["a"]}
    assert recorded["knn"]["accuracy"] == (pytest.approx(expected.accuracy),)
    assert len(recorded["linear"]["accuracy"]) == 2
    assert section.tables[0].rows[0][:5] == ("t", "linear", "classes", 24, 33.33)
    assert section.tables[0].header[5:] == ("a, %", "deviation", "b, %", "deviation", "difference")
    assert section.tables[0].rows[0][-1] == 0  # both have the same features
    assert len(section.tables) == 2
    json.dumps(report.plain(section.record), allow_nan=False)


@pytest.mark.parametrize("measure", [sections.high_frequencies, sections.corruptions, sections.confidence])
def test_models_must_tell_the_classes_of_the_images(measure):
    with pytest.raises(ValueError, match="at least one model, got none"):
        measure({}, images())
    with pytest.raises(ValueError, match="must have a classifier, but 'a' has none"):
        measure({"a": model(classes=())}, images())
    with pytest.raises(ValueError, match="car, cat, dog, got 0, 1, 2 for 'a'"):
        measure({"a": model(classes=("0", "1", "2"))}, images())


def test_differences_of_what_is_missing():
    assert difference([("a", 1, 2.5, None, "x"), ("b", 3, 2.0, 1.0, "y")]) == ("difference", 2, -0.5, None, None)
    assert math.isnan(difference([("a", 1.0), ("b", math.nan)])[1])


def test_a_view_takes_the_sizes_of_photos():
    taken = []
    each = dataclasses.replace(model(), prepare=lambda *given: taken.append(given))
    each.view(("images", "labels"))
    each.view(("images", "labels", "sizes"))
    assert taken == [("images",), ("images", "sizes")]

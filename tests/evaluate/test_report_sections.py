"""The sections of saliency, similarity and label corruption: their numbers are those of the measurements."""

import json
import math
from itertools import pairwise
from statistics import mean, stdev
from types import SimpleNamespace

import pytest
import torch
from torch import nn

pytest.importorskip("matplotlib", reason="needs matplotlib")

from cuda_cases import DEVICE, MARKS
from texfilters import evaluate, patch_negatives
from texfilters.evaluate import Histogram
from texfilters.evaluate._training import seeded
from texfilters.evaluate.report import page, plain, write
from texfilters.evaluate.resnet9 import ResNet9
from texfilters.evaluate.sections import (
    LabeledImages,
    Model,
    _label_corruption,
    _saliency,
    _similarity,
    label_corruption,
    saliency,
    similarity,
)

CLASSES = ("left", "right", "both")
CPU = torch.device("cpu")


class Features(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        return self.network.features(images).amax((2, 3))


def halved(images, sizes=None):
    """The middle 16x16 pixels at half their size, normalized by channel."""
    small = nn.functional.avg_pool2d(images[:, :, 4:-4, 4:-4].float() / 255, 2)
    return (small - torch.tensor([0.4, 0.5, 0.6], device=images.device)[:, None, None]) / 0.25


def model(seed, classes=CLASSES, prepare=halved, device=CPU):
    with seeded(seed, CPU):
        network = ResNet9(3, width=4).eval().to(device)
        network.classifier.weight.data.mul_(50)
    return Model(network, Features(network), prepare, classes, device, network.features[1])


def photos(count=11, batch=4):
    images = torch.randint(0, 256, (count, 3, 24, 24), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    labels = torch.arange(count) % 3
    batches = list(zip(images.split(batch), labels.split(batch), strict=True))
    return images, labels, LabeledImages(batches, CLASSES)


def rows(section, table=0):
    return [dict(zip(section.tables[table].header, row, strict=True)) for row in section.tables[table].rows]


def complete(section, tmp_path):
    """What every section must be: written, shown, all of its record JSON, its columns named apart."""
    assert all(len(set(table.header)) == len(table.header) for table in section.tables)
    files = write(section, tmp_path)
    assert json.loads(files[-1].read_text()) == plain(section.record)
    assert [file.suffix for file in files] == [".csv"] * len(section.tables) + [".png"] * len(section.figures) + [
        ".json"
    ]
    text = page("A report", [section], {})
    assert text.count("<figure>") == len(section.figures)
    assert text.count("<table>") == len(section.tables)
    assert "arxiv.org/abs" in text


class TestSaliency:
    def test_grad_cam_of_the_answers(self, tmp_path):
        images, _, given = photos()
        models = {"plain": model(0), "diffused": model(1)}
        section = saliency(models, given, neurons=3, shown=3)
        for name, each in models.items():
            maps = evaluate.grad_cam(each.logits, halved(images), each.layer)
            expected = evaluate.spread(maps)
            (row,) = [row for row in rows(section) if (row["network"], row["map"]) == (name, "Grad-CAM")]
            assert row["area, %"] == pytest.approx(100 * expected.mean_area)
            assert row["entropy, nats"] == pytest.approx(expected.mean_entropy)
            assert row["maps of zeros"] == expected.empty
            assert "goodness, %" not in row  # there are no boxes
            assert 0 < expected.empty < 11
            found = section.record["models"][name]["Grad-CAM"]
            assert found["area"]["by_image"] == pytest.approx(expected.area.tolist(), nan_ok=True)
            assert "goodness" not in found
        assert "11 images" in section.text
        assert "Goodness" not in section.text
        complete(section, tmp_path)

    def test_grad_cam_of_the_labels(self):
        images, labels, given = photos()
        one = model(0)
        assert not bool((one.logits(halved(images)).argmax(1) == labels).all())
        section = saliency({"a": one}, given, explained="label", neurons=1, shown=1)
        expected = evaluate.spread(evaluate.grad_cam(one.logits, halved(images), one.layer, classes=labels))
        assert rows(section)[0]["area, %"] == pytest.approx(100 * expected.mean_area)
        assert rows(section)[0]["area, %"] != pytest.approx(
            rows(saliency({"a": one}, given, neurons=1, shown=1))[0]["area, %"]
        )

    def test_gradients_of_the_strongest_neurons(self):
        images, _, given = photos()
        one = model(0)
        section = saliency({"a": one}, given, neurons=3)
        views = halved(images)
        with torch.no_grad():
            strongest = one.features(views).topk(3).indices
        maps = evaluate.gradient_saliency(one.features, views, strongest)
        cut = maps.minimum(maps.flatten(1).sort().values[:, math.ceil(0.99 * 64) - 1][:, None, None])
        expected = evaluate.spread(evaluate.saliency.normalized(cut))
        (row,) = [row for row in rows(section) if row["map"] == "gradient of neurons"]
        assert row["area, %"] == pytest.approx(100 * expected.mean_area)
        assert row["entropy, nats"] == pytest.approx(expected.mean_entropy)

    def test_without_a_classifier_there_are_gradients_alone(self, tmp_path):
        _, _, given = photos()
        section = saliency({"a": model(0, classes=()), "b": model(1)}, given, neurons=2, shown=2)
        assert [(row["network"], row["map"]) for row in rows(section)] == [
            ("b", "Grad-CAM"),
            ("a", "gradient of neurons"),
            ("b", "gradient of neurons"),
        ]
        assert {row["map"] for row in rows(section, 1)} == {"gradient of neurons"}
        complete(section, tmp_path)

    def test_differences_are_of_the_same_images(self):
        _, _, given = photos()
        section = saliency({"a": model(0), "b": model(1)}, given, neurons=2, shown=2)
        a, b = (section.record["models"][name]["Grad-CAM"]["area"]["by_image"] for name in "ab")
        change = [100 * (y - x) for x, y in zip(a, b, strict=True) if not math.isnan(y - x)]
        first = rows(section, 1)[0]
        assert (first["networks"], first["measure"], first["images"]) == ("b − a", "area", len(change))
        assert first["mean difference"] == pytest.approx(mean(change))
        assert first["standard error"] == pytest.approx(stdev(change) / len(change) ** 0.5)
        assert {row["measure"] for row in rows(section, 1)} == {"area", "entropy"}

    def test_boxes_are_where_the_network_sees_them(self, tmp_path):
        images, _, given = photos(3)
        # The view begins at pixel 4 and has half the size: one inside, one reaching out of it, one outside.
        boxes = [
            torch.tensor([[6.0, 8, 12, 16]]),
            torch.tensor([[0.0, 0, 8, 24], [10, 10, 14, 12]]),
            torch.tensor([[0.0, 0, 3, 24]]),
        ]
        one = model(2)
        section = saliency({"a": one}, given, boxes=boxes, neurons=2)
        masks = torch.zeros(3, 8, 8, dtype=torch.bool)
        masks[0, 2:6, 1:4] = True
        masks[1, :, :2] = True
        masks[1, 3:4, 3:5] = True
        maps = evaluate.grad_cam(one.logits, halved(images), one.layer)
        expected = evaluate.goodness(maps[:2], masks[:2])
        found = section.record["models"]["a"]["Grad-CAM"]["goodness"]
        assert found["by_image"][:2] == pytest.approx(expected.by_image.tolist())
        assert math.isnan(found["by_image"][2])
        assert rows(section)[0]["goodness, %"] == pytest.approx(100 * expected.mean)
        seen = _saliency._Seen(one, (images, None))
        assert [seen.corners(i, box).tolist() for i, box in enumerate(boxes)] == [
            [[1, 2, 4, 6]],
            [[0, 0, 2, 8], [3, 3, 5, 4]],
            [],
        ]
        assert "Goodness" in section.text
        complete(section, tmp_path)
        blind = model(0)  # to the second image, whose map is of zeros: that is no goodness of 0
        assert not evaluate.grad_cam(blind.logits, halved(images), blind.layer)[1].any()
        found = saliency({"a": blind}, given, boxes=boxes, neurons=1, shown=1).record["models"]["a"]["Grad-CAM"]
        assert [math.isnan(value) for value in found["goodness"]["by_image"]] == [False, True, True]

    def test_pixels_are_what_the_network_sees(self):
        images, _, _ = photos(2)
        expected = nn.functional.avg_pool2d(images[:, :, 4:-4, 4:-4].float() / 255, 2)
        torch.testing.assert_close(_saliency._Seen(model(0), (images, None)).pixels, expected)

    def test_sizes_of_squashed_images_reach_the_view(self):
        images, labels, _ = photos(2)
        sizes = torch.tensor([[30, 40], [50, 60]])
        told = []

        def prepare(images, sizes):
            told.append(sizes.tolist())
            return halved(images)

        given = LabeledImages([(images, labels, sizes)], CLASSES)
        boxes = [torch.tensor([[6.0, 8, 12, 16], [8, 8, 12, 12]])] * 2
        saliency({"a": model(0, prepare=prepare)}, given, boxes=boxes, neurons=1, shown=1)
        assert sizes.tolist() in told
        assert [sizes[1].tolist()] * 2 in told  # of both boxes of the second image

    @pytest.mark.parametrize("count", [1, 3, 8, 9, 37])
    def test_the_sheet_is_spread_evenly_over_all_images(self, count):
        _, _, given = photos(count, batch=5)
        section = saliency({"a": model(0, classes=())}, given, neurons=1, shown=4)
        shown = section.record["shown"]
        assert len(shown) == min(count, 4)
        assert shown[0] == 0
        steps = [b - a for a, b in pairwise(shown)]
        assert all(step <= 2 * min(steps) for step in steps)
        assert shown[-1] >= count * 0.6 - 1
        (sheet,) = section.figures.values()
        drawn = [axes for axes in sheet.axes if axes.images]
        assert len(drawn) == 2 * len(shown)
        assert [axes.get_title() for axes in drawn[::2]] == [CLASSES[i % 3] for i in shown]

    def test_bad_input(self):
        _, _, given = photos(3)
        with pytest.raises(ValueError, match="models must hold at least one model"):
            saliency({}, given)
        with pytest.raises(ValueError, match="images must hold at least one image"):
            saliency({"a": model(0)}, LabeledImages([], CLASSES))
        with pytest.raises(ValueError, match=r"explained must be .*'answer'.* got 'class'"):
            saliency({"a": model(0)}, given, explained="class")
        with pytest.raises(ValueError, match="models must have a classifier, but 'a' has none"):
            saliency({"a": model(0, classes=())}, given, explained="label")
        for wrong in (2, 4):
            with pytest.raises(ValueError, match=f"boxes must be one an image.* {wrong}"):
                saliency({"a": model(0)}, given, boxes=[torch.tensor([[6.0, 8, 12, 16]])] * wrong)
        other = model(0, prepare=lambda images, *_: images.float() / 255)
        with pytest.raises(ValueError, match=r"one size .* \{'a': \(8, 8\), 'b': \(24, 24\)\}"):
            saliency({"a": model(0), "b": other}, given, neurons=1, shown=1)


def flipped(batch):
    images = batch[0]
    return torch.where(torch.rand(len(images), 1, 1, 1) < 0.5, images, images.flip(-1)).float()


def embedding(seed, dim=16, device=CPU):
    with seeded(seed, CPU):
        network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 24 * 24, dim)).to(device)
    return Model(network, network, halved, (), device)


def tiled(views):
    return patch_negatives(views, (4, 8))[:, 0]


class TestSimilarity:
    def test_the_numbers_are_those_of_the_histograms(self, tmp_path):
        _, _, given = photos()
        models = {"before": embedding(0), "after": embedding(1)}
        section = similarity(models, given, dict.fromkeys(models, flipped), negatives=tiled, seed=3)
        found = rows(section)
        for i, (name, each) in enumerate(models.items()):
            with seeded(3, CPU):
                expected = evaluate.similarity_histograms(each.features, given, flipped, negatives=tiled, bins=2000)
            kinds = expected.positive, expected.other, expected.negative
            assert [row["mean"] for row in found[3 * i : 3 * i + 3]] == [kind.mean for kind in kinds]
            assert [row["pairs"] for row in found[3 * i : 3 * i + 3]] == [11, 4 * 3 + 4 * 3 + 3 * 2, 11]
            record = section.record["models"][name]
            assert record["patch negative"]["mean"] == expected.negative.mean
            assert sum(record["other image"]["counts"]) == expected.other.total
            assert record["positive_above_patch_negative"] == _similarity.above(expected.positive, expected.negative)
        assert [row["mean − that of before"] for row in found[:3]] == [None] * 3
        assert found[5]["mean − that of before"] == found[5]["mean"] - found[2]["mean"]
        complete(section, tmp_path)

    def test_models_see_the_same_views_and_leave_the_generator_as_it_was(self):
        _, _, given = photos()
        state = torch.get_rng_state()
        section = similarity(
            {"a": embedding(0), "b": embedding(0)}, given, {"a": flipped, "b": flipped}, negatives=tiled
        )
        assert torch.equal(torch.get_rng_state(), state)
        assert [row["mean − that of a"] for row in rows(section)[3:]] == [0.0] * 3
        other = similarity({"a": embedding(0)}, given, {"a": flipped}, negatives=tiled, seed=1)
        assert rows(other)[0]["mean"] != rows(section)[0]["mean"]
        assert "mean − that of a" not in rows(other)[0]

    def test_keys_have_a_network_of_their_own(self):
        _, _, given = photos()
        models = {"a": embedding(0), "b": embedding(0)}

        def opposite(images):
            return -models["b"].features(images)

        section = similarity(
            models, given, dict.fromkeys(models, flipped), key_networks={"b": opposite}, negatives=tiled
        )
        means = [row["mean"] for row in rows(section)]
        assert means[3:] == pytest.approx([-value for value in means[:3]])

    def test_above_is_the_share_of_pairs(self):
        one, other = (1, 0, 3, 2), (2, 1, 1, 0)
        values = [[i for i, count in enumerate(counts) for _ in range(count)] for counts in (one, other)]
        wins = [(a > b) + (a == b) / 2 for a in values[0] for b in values[1]]
        assert _similarity.above(Histogram(one, 0, 0), Histogram(other, 0, 0)) == pytest.approx(mean(wins))
        assert math.isnan(_similarity.above(Histogram(one, 0, 0), Histogram((0, 0, 0, 0), 0, 0)))

    @pytest.mark.parametrize(("lowest", "bins"), [(0, 80), (1000, 200), (1900, 2000), (1999, 2000)])
    def test_bins_can_be_told_apart(self, lowest, bins):
        counts = [0] * 2000
        for place in range(lowest, 2000):
            counts[place] = place
        fine = Histogram(tuple(counts), 0.5, 0.1)
        empty = Histogram((0,) * 2000, math.nan, math.nan)
        drawn = _similarity._readable({"a": evaluate.Similarity(fine, empty, fine)})["a"]
        assert len(drawn.positive.counts) == len(drawn.other.counts) == bins
        assert drawn.positive.total == fine.total
        assert (drawn.positive.mean, drawn.positive.deviation) == (0.5, 0.1)
        assert drawn.positive.counts[-1] == sum(counts[-(2000 // bins) :])

    def test_bad_input(self):
        _, _, given = photos(3)
        with pytest.raises(ValueError, match="models must hold at least one model"):
            similarity({}, given, {})
        with pytest.raises(ValueError, match=r"views must have one for every model, got none for \['b'\]"):
            similarity({"a": embedding(0), "b": embedding(1)}, given, {"a": flipped})
        with pytest.raises(ValueError, match="at least one image"):
            similarity({"a": embedding(0)}, LabeledImages([], CLASSES), {"a": flipped})


VARIANTS = {"plain": None, "diffused": torch.flip}
SILVER = {"plain": 0.5, "diffused": 0.4}


def known(*_, corruption, probability, gold, suppressed, seed, **__):
    """Errors that a formula gives, in place of training."""
    variant = "plain" if suppressed is None else "diffused"
    error = 0.2 + 0.2 * probability + 0.01 * seed - 0.05 * (variant == "diffused") + 0.1 * (corruption == "flip") - gold
    matrix = evaluate.uniform_corruption(3, probability)
    return SimpleNamespace(
        error=error,
        silver_error=SILVER[variant],
        estimate_error=0.25,
        matrix=matrix,
        estimate=matrix.flip(0),
        seconds=(1.0, 2.0),
    )


class TestLabelCorruption:
    IMAGES = torch.zeros(6, 3, 8, 8, dtype=torch.uint8)
    LABELS = torch.arange(6) % 3

    def grid(self, monkeypatch, **given):
        monkeypatch.setattr(_label_corruption, "glc", known)
        settings = {"variants": VARIANTS, "gold": (0.05,), "probabilities": (0.2, 0.6, 1.0), "seeds": (0, 1)}
        return label_corruption(self.IMAGES, self.LABELS, self.IMAGES[:3], self.LABELS[:3], **settings | given)

    def test_errors_are_means_over_the_seeds(self, monkeypatch, tmp_path):
        section = self.grid(monkeypatch, classes=CLASSES)
        found = section.tables[0]
        assert len(found.rows) == 2 * 3 * 2
        first, second = found.rows[:2]
        assert first[:4] == ("uniform", "5 %", 0.2, "plain")
        assert first[4:] == pytest.approx((50, 0, 19.5, 100 * stdev([0.19, 0.2]), 25, 2))
        assert second[:4] == ("uniform", "5 %", 0.2, "diffused")
        assert second[4:7] == pytest.approx((40, 0, 14.5))
        assert found.rows[6][:4] == ("flip", "5 %", 0.2, "plain")
        assert found.rows[6][6] == pytest.approx(29.5)
        complete(section, tmp_path)

    def test_areas_are_of_every_seed(self, monkeypatch):
        section = self.grid(monkeypatch, corruptions=("uniform",))
        plain_row, diffused = section.tables[1].rows[:2]
        # The error is a line: over 0.8 its area is 0.8 times that in the middle, p = 0.6.
        areas = [0.8 * (0.2 + 0.12 - 0.05 + 0.01 * seed) for seed in (0, 1)]
        assert plain_row[:3] == ("uniform", "5 %", "plain")
        assert plain_row[3:7] == pytest.approx((0.4, 0, mean(areas), stdev(areas)))
        assert math.isnan(plain_row[7])
        assert diffused[5] == pytest.approx(mean(areas) - 0.04)
        assert diffused[7:] == pytest.approx((-0.04, 0))

    def test_one_seed_has_no_deviation_and_one_probability_no_area(self, monkeypatch):
        section = self.grid(monkeypatch, seeds=(4,), probabilities=(0.6,), corruptions=("flip",))
        (table,) = section.tables
        assert math.isnan(table.rows[0][5])
        assert "1 seed." in section.text

    def test_one_variant_has_nothing_to_be_compared_with(self, monkeypatch):
        section = self.grid(monkeypatch, variants={"plain": None}, corruptions=("flip",))
        assert section.tables[1].header[-2:] == ("GLC", "GLC, ±")

    def test_figures(self, monkeypatch):
        figures = self.grid(monkeypatch, gold=(0.05, 0.1), classes=CLASSES).figures
        captions = list(figures)
        assert captions[:2] == [
            "Error by probability of uniform corruption, 5 % gold.",
            "Error by probability of uniform corruption, 10 % gold.",
        ]
        assert len(captions) == 4 + 2
        labels = [text.get_text() for text in figures[captions[0]].legends[0].get_texts()]
        assert [label.partition(" (")[0] for label in labels] == [
            "plain, labels alone",
            "plain, GLC",
            "diffused, labels alone",
            "diffused, GLC",
        ]
        # Not p = 1, at which a label says nothing any more.
        assert "uniform, p = 0.6, 10 % gold, plain, seed 0." in captions[4]
        shown = figures[captions[4]].axes[1].images[0].get_array()
        torch.testing.assert_close(torch.from_numpy(shown.data), evaluate.uniform_corruption(3, 0.6).flip(0).float())
        three = self.grid(monkeypatch, variants={**VARIANTS, "again": torch.flip}, corruptions=("flip",)).figures
        assert len(next(iter(three.values())).legends[0].get_texts()) == 3

    def test_the_record_has_every_run(self, monkeypatch):
        told = []
        record = self.grid(monkeypatch, on_run=told.append).record
        assert len(record["runs"]) == len(told) == 2 * 3 * 2 * 2
        places = [tuple(run[key] for key in ("seed", "corruption", "probability", "variant")) for run in record["runs"]]
        assert len(set(places)) == len(places)
        assert places[:2] == [(0, "uniform", 0.2, "plain"), (0, "uniform", 0.2, "diffused")]
        assert [run.error for run in told] == [run["error"] for run in record["runs"]]
        assert (record["images"], record["test_images"]) == (6, 3)

    def test_a_run_is_that_of_glc(self):
        generator = torch.Generator().manual_seed(0)
        labels = torch.arange(90) % 3
        images = torch.randint(0, 256, (90, 3, 8, 8), generator=generator, dtype=torch.uint8)
        settings = {"network": lambda classes: ResNet9(classes, width=2), "epochs": 1, "batch_size": 30, "lr": 0.05}
        given = images[:60], labels[:60], images[60:], labels[60:]
        grid = {"corruptions": ("flip",), "probabilities": (0.6,), "gold": (0.2,), "seeds": (5,)}
        section = label_corruption(*given, variants={"plain": None}, **grid, **settings)
        expected = evaluate.glc(*given, corruption="flip", probability=0.6, gold=0.2, seed=5, **settings)
        (run,) = plain(section.record)["runs"]
        assert (run["error"], run["silver_error"]) == (expected.error, expected.silver_error)
        assert run["estimate"] == expected.estimate.tolist()

    def test_by_default_copies_are_diffused(self, monkeypatch):
        pytest.importorskip("torchvision", reason="needs torchvision")
        made = {}

        def noted(*_, suppressed, **given):
            made.setdefault(suppressed is not None, suppressed)
            return known(suppressed=suppressed, **given)

        monkeypatch.setattr(_label_corruption, "glc", noted)
        section = label_corruption(
            self.IMAGES, self.LABELS, self.IMAGES, self.LABELS, gold=(0.1,), corruptions=("flip",)
        )
        assert section.record["variants"] == ["baseline", "diffusion"]
        image = torch.randint(0, 256, (1, 3, 9, 9), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
        from texfilters import anisotropic_diffusion

        assert torch.equal(made[True](image), anisotropic_diffusion(image, 20, 20.0))

    def test_bad_input(self, monkeypatch):
        for name in ("variants", "corruptions", "gold", "probabilities", "seeds"):
            with pytest.raises(ValueError, match=f"{name} must be at least one and all different, got"):
                self.grid(monkeypatch, **{name: {} if name == "variants" else ()})
        with pytest.raises(ValueError, match=r"seeds must be at least one and all different, got \[0, 0\]"):
            self.grid(monkeypatch, seeds=(0, 0))
        with pytest.raises(ValueError, match=r"probabilities must rise, got \[0.6, 0.2\]"):
            self.grid(monkeypatch, probabilities=(0.6, 0.2))
        with pytest.raises(ValueError, match="variants must be at most 5"):
            self.grid(monkeypatch, variants=dict.fromkeys("abcdef"))


class TestOnAGPU:
    """As on the CPU; images come from there."""

    pytestmark = MARKS

    def test_saliency(self):
        _, _, given = photos()
        boxes = [torch.tensor([[6.0, 8, 12, 16]])] * 11
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            found = [
                saliency({"a": model(2, device=device)}, given, boxes=boxes, neurons=3, shown=2)
                for device in (CPU, torch.device(DEVICE))
            ]
        expected, got = (section.record["models"]["a"] for section in found)
        for kind in expected:
            for measure, within in {"area": 0.02, "entropy": 1e-3, "goodness": 1e-3}.items():
                values = [each[kind][measure]["by_image"] for each in (expected, got)]
                assert values[1] == pytest.approx(values[0], abs=within, nan_ok=True), (kind, measure)

    def test_similarity(self):
        _, _, given = photos()
        found = [
            similarity(
                {"a": embedding(0, device=device)},
                given,
                {"a": lambda batch: batch[0].float()},
                negatives=lambda views: views.flip(-1),
            )
            for device in (CPU, torch.device(DEVICE))
        ]
        for expected, got in zip(*map(rows, found), strict=True):
            assert got["mean"] == pytest.approx(expected["mean"], abs=1e-5)
            assert got["pairs"] == expected["pairs"]

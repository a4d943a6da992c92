"""The section of label corruption: means, deviations and areas over a grid of runs, each of which is one of glc."""

import math
from statistics import mean, stdev
from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("matplotlib", reason="needs matplotlib")

from section_cases import CLASSES, complete
from texfilters import anisotropic_diffusion, evaluate
from texfilters.evaluate.report import plain
from texfilters.evaluate.resnet9 import ResNet9
from texfilters.evaluate.sections import _label_corruption, label_corruption

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

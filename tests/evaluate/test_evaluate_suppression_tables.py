"""Tables, claims and figures of suppressed copies, from results whose numbers follow by hand."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

for package in ("lightning", "matplotlib", "torchvision"):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs {package}", allow_module_level=True)

from PIL import Image  # noqa: E402

ROOT = Path(__file__).parent.parent.parent
sys.path.append(str(ROOT / "benchmarks"))

import suppression_figures as figures  # noqa: E402
import suppression_studies as studies  # noqa: E402
import tables_claims as claims  # noqa: E402
import tables_suppression as tables  # noqa: E402
from suppression_summary import SHAPE_BIAS, Difference, Summary  # noqa: E402


def result(study, variant, seed, decisions=None, **accuracies):
    found = {
        "study": study, "variant": variant, "seed": seed, "date": "2026-11-21", "commit": "abc", "cpu": "a CPU",
        "cores": 1, "packages": {"torch": "2.15"}, "images": 2_975, "epochs": 12, "steps": 1_116, "width": 8,
        "side": 64,
        "tests": {
            name: {"images": 100, "accuracy": value, "balanced_accuracy": value / 2}
            for name, value in accuracies.items()
        },
    }  # fmt: skip
    if decisions is not None:
        counts = {name: decisions.count(name[0]) for name in ("shape", "texture", "other")}
        either = counts["shape"] + counts["texture"]
        found["conflict"] = {
            "shape_bias": counts["shape"] / either if either else None,
            **counts,
            "decisions": decisions,
        }
    return found


def kept(folder, *results):
    for one in results:
        name = studies.Cell(one["study"], one["variant"], one["seed"]).name
        (folder / f"{name}.json").write_text(json.dumps(one))
    return folder


@pytest.fixture
def pacs(tmp_path):
    plain = [result("pacs-reduced", "plain", s, photo=0.7, sketch=v) for s, v in enumerate((0.30, 0.31, 0.35))]
    same = [result("pacs-reduced", "diffusion-20", s, photo=0.6, sketch=v) for s, v in enumerate((0.40, 0.42, 0.45))]
    wide = [result("pacs-reduced", "tukey-20", s, photo=0.7, sketch=v) for s, v in enumerate((0.30, 0.41, 0.34))]
    blur = [result("pacs-reduced", "gaussian", s, photo=0.7, sketch=v) for s, v in enumerate((0.30, 0.32, 0.35))]
    other = result("pacs", "plain", 0, photo=0.1, sketch=0.1)
    return kept(tmp_path, *plain, *same, *wide, *blur, other)


class TestTable:
    def test_means_deviations_and_differences(self, pacs):
        text = tables.table_of("pacs-reduced", pacs)
        assert "|  | photo | sketch | sketch, by class | runs |" in text
        # 32 and the root of (2**2 + 1**2 + 3**2) / 2, by hand.
        assert "| plain | 70.0 ± 0.0 | 32.0 ± 2.6 | 16.0 ± 1.3 | 3 |" in text
        # From plain 10, 11 and 10 points: mean 10.3, deviation 0.6, an interval of 4.3 * 0.6 / 1.7 to either side.
        assert "| diffusion 20 | **60.0 ± 0.0** | **42.3 ± 2.5** |" in text
        # 0, 10 and -1 points: mean 3, deviation 6.1.
        assert "| Tukey 20 | 70.0 ± 0.0 | 35.0 ± 5.6 |" in text
        assert "1,116 steps; but for plain on 2,975 images" in text
        assert "Reduced: " in text
        assert text.endswith("<sub>a CPU, 1 core; 2026-11-21; commit abc; torch 2.15.</sub>\n")

    def test_one_seed_tells_nothing_apart(self, tmp_path):
        runs = [
            result("cifar10", "plain", 0, "st" * 50, test=0.5, edges=0.2),
            result("cifar10", "diffusion-20", 0, "s" * 99 + "t", test=0.9, edges=0.9),
        ]
        text = tables.table_of("cifar10", kept(tmp_path, *runs))
        assert "**" not in text
        assert "| diffusion 20 | 90.0 | 90.0 | 99.0 | 97.0 to 100.0 | 1 |" in text
        assert "in % of 100 to 100 decisions a run, for shape or texture, on 100 stimuli" in text

    def test_results_of_other_lengths_are_not_mixed(self, tmp_path):
        runs = [result("pacs", "plain", seed, sketch=0.3) | {"epochs": 10 + seed} for seed in range(2)]
        with pytest.raises(ValueError, match=r"results of pacs must be of one number of epochs, got \[10, 11\]"):
            tables.table_of("pacs", kept(tmp_path, *runs))

    def test_without_results(self, tmp_path):
        assert tables.table_of("pacs", tmp_path) == "Not yet measured on a GPU.\n"
        assert tables.table_of("cifar10-reduced", tmp_path) == "Not yet measured.\n"


def verdicts(text):
    """What was measured of a claim, and what holds, by claim."""
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("|")]
    return {claim: (measured, verdict) for claim, measured, verdict in rows}


class TestClaims:
    def test_judged_by_the_differences(self, pacs):
        found = verdicts(claims.table_of(pacs))
        measured, verdict = found["Diffused copies help on ordinary photos (ImageNet 76.1 to 77.0 %)"]
        # The full study has plain runs alone: the reduced one tells.
        assert measured == "PACS, reduced, 3 seeds: diffusion 20 −10.0, Tukey 20 +0.0"
        assert verdict == "the opposite holds in 1 of 2, open in 1 of 2"
        measured, verdict = found["Diffused copies help on sketches (Sketch-ImageNet 13.0 to 24.5 %)"]
        assert measured.endswith("diffusion 20 +10.3, Tukey 20 +3.0")
        assert verdict == "holds in 1 of 2, open in 1 of 2"
        measured, verdict = found["Diffusion, 20 iterations, helps there more than other filters"]
        assert (measured, verdict) == ("PACS, reduced, 3 seeds: over Gaussian blur +10.0", "holds")
        assert found["Diffused copies help on edges"] == ("not yet measured", "open")

    def test_one_seed_leaves_open(self, tmp_path):
        cells = [result("cifar10", v, 0, "st" * 9, test=t) for v, t in (("plain", 0.1), ("tukey-20", 0.9))]
        found = verdicts(claims.table_of(kept(tmp_path, *cells)))
        assert found["The same on CIFAR-10's own test images"] == ("CIFAR-10, 1 seed: Tukey 20 +80.0", "open")
        assert found["Diffused copies raise the shape bias"] == ("CIFAR-10, 1 seed: Tukey 20 +0.0", "open")

    def test_wrong_labels(self, tmp_path):
        for variant, more in (("baseline", 0.0), ("diffusion", 0.02)):
            for p in (0.2, 0.6, 1.0):
                one = {"corruption": "flip", "gold": 0.1, "probability": p, "variant": variant, "seed": 0}
                path = tmp_path / f"label_corruption_reduced_flip_p{p}_gold0.1_{variant}_seed0.json"
                path.write_text(json.dumps({**one, "error": p / 2 + more}))
        *_, (measured, verdict) = verdicts(claims.table_of(tmp_path)).values()
        assert (measured, verdict) == ("CIFAR-10, reduced, 1 seed, GLC: flip, gold 0.1: error +2.0", "open")
        path.unlink()  # a seed without all probabilities does not count
        assert [*verdicts(claims.table_of(tmp_path)).values()][-1] == ("not yet measured", "open")

    def test_texture(self, tmp_path):
        def curve(name, kept):
            both = {"filter": name, "parameter": "niter", "fixed": "", "values": [1, 2], "removed": [0.4, 0.6]}
            return {**both, "kept": kept, "better_than_blur": [3, 4]}

        names = ("diffusion, exponential", "diffusion, rational", "bilateral filter", "Gaussian blur")
        kept_at = dict(zip(names, ([0.9, 0.7], [1.0, 0.8], [0.8, 0.7], [0.6, 0.4]), strict=True))
        rows = [{"tolerance": 0, "margin": 5, "kept": dict.fromkeys(names, 0.25)}]
        for blur, verdict in (([0.6, 0.4], "holds near boundaries"), ([1.0, 0.9], "does not hold")):
            kept_at["Gaussian blur"] = blur
            found = {"images": 4, "tolerance": 2, "curves": [curve(*each) for each in kept_at.items()]}
            (tmp_path / "texture_bsds500.json").write_text(json.dumps(found))
            (tmp_path / "texture_bsds500_settings.json").write_text(json.dumps({"images": 2, "rows": rows}))
            measured, said = verdicts(claims.table_of(tmp_path))[
                "Diffusion takes texture away and keeps edges better than blur"
            ]
            assert "exponential diffusion 80.0 %, rational diffusion 90.0 %" in measured
            assert "(2 photos) exponential diffusion 25.0 %" in measured
            assert said == verdict


class TestShapeBias:
    def test_pooled_over_seeds_with_an_interval(self, tmp_path):
        decisions = ["s" * 60 + "t" * 30 + "o" * 10, "s" * 50 + "t" * 40 + "o" * 10]
        plain = [result("cifar10", "plain", s, "s" * 20 + "t" * 70 + "o" * 10, test=0.5) for s in range(2)]
        found = Summary(
            "cifar10",
            kept(tmp_path, *plain, *(result("cifar10", "cartoon", s, d, test=0.5) for s, d in enumerate(decisions))),
        )
        bias = found.bias("cartoon")
        assert bias.value == pytest.approx(100 * 110 / 180)
        assert found.biases("cartoon") == pytest.approx([200 / 3, 500 / 9])
        # Answers of both seeds to a stimulus together: as wide as 90 decisions, and wider by what seeds differ.
        half = 196 * (11 / 18 * 7 / 18 / 90) ** 0.5
        assert half < (bias.interval[1] - bias.interval[0]) / 2 < 1.5 * half
        assert found.difference("cartoon", SHAPE_BIAS) == Difference(
            pytest.approx(bias.value - 100 * 2 / 9), clear=False
        )
        # Of 180 decisions; 66.7 and 55.6 by seed.
        assert "| cartoon | 50.0 ± 0.0 | 61.1 ± 7.9 |" in tables.table_of("cifar10", tmp_path)

    @pytest.mark.parametrize(
        ("shape", "clear"),
        [
            ((70, 71, 72), True),
            ((40, 70, 95), False),  # the seeds differ too much
            ((53, 54, 55), False),  # they agree, but 90 stimuli cannot tell
        ],
    )
    def test_clear_over_seeds_and_over_stimuli(self, tmp_path, shape, clear):
        cells = [result("cifar10", "plain", s, "st" * 50, test=0.5) for s in range(3)]
        cells += [result("cifar10", "cartoon", s, "s" * n + "t" * (100 - n), test=0.5) for s, n in enumerate(shape)]
        found = Summary("cifar10", kept(tmp_path, *cells)).difference("cartoon", SHAPE_BIAS)
        assert (found.value, found.clear) == (pytest.approx(sum(shape) / 3 - 50), clear)
        assert tables.table_of("cifar10", tmp_path).count("**") == 2 * clear

    def test_an_observer_paired_with_itself_differs_by_nothing(self, tmp_path):
        decisions = ["sto" * 30, "tso" * 30]
        cells = [result("cifar10", v, s, d, test=0.5) for s, d in enumerate(decisions) for v in ("plain", "tukey-50")]
        found = Summary("cifar10", kept(tmp_path, *cells))
        assert found.difference("tukey-50", SHAPE_BIAS) == Difference(0, clear=False)

    @pytest.mark.parametrize(("decisions", "value"), [("s" * 9 + "o", 100), ("o" * 10, None)])
    def test_one_sided_or_no_decisions_have_no_interval(self, tmp_path, decisions, value):
        cells = [result("cifar10", "plain", seed, decisions, test=0.5) for seed in range(2)]
        bias = Summary("cifar10", kept(tmp_path, *cells)).bias("plain")
        assert bias.value == (value if value else pytest.approx(float("nan"), nan_ok=True))
        text = tables.table_of("cifar10", tmp_path)
        assert f"| plain | 50.0 ± 0.0 | {'100.0 ± 0.0' if value else '–'} | – | 2 |" in text


class TestFigures:
    def test_a_panel_a_test_and_a_row_a_variant(self, pacs):
        figure = figures.drawn(Summary("pacs-reduced", pacs))
        photo, sketch = figure.axes
        assert [axes.get_title() for axes in (photo, sketch)] == ["photo", "sketch"]
        assert [label.get_text() for label in photo.get_yticklabels()] == [
            "plain",
            "Gaussian blur",
            "diffusion 20",
            "Tukey 20",
        ]
        points = [tuple(line.get_xdata()) for line in sketch.lines if len(line.get_xdata()) == 3]
        assert points[2] == pytest.approx((40.0, 42.0, 45.0))

    def test_the_command_draws_the_studies_that_have_results(self, pacs, monkeypatch, tmp_path):
        out = tmp_path / "pictures"
        cells = [result("cifar10", v, 0, d, test=0.5) for v, d in (("plain", "sst"), ("cartoon", "ooo"))]
        kept(pacs, *cells)
        monkeypatch.setattr(sys, "argv", ["figures", f"--results={pacs}", f"--out={out}"])
        figures.main()
        assert sorted(path.name for path in out.iterdir()) == [
            "suppression-cifar10.png",
            "suppression-pacs-reduced.png",
            "suppression-pacs.png",
        ]
        with Image.open(out / "suppression-cifar10.png") as picture:
            assert picture.width > 500

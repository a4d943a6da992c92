"""The benchmark of label corruption: its cells, what a run writes, its table."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch

for package in ("kornia", "lightning", "torchvision"):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs {package}", allow_module_level=True)

ROOT = Path(__file__).parent.parent.parent
sys.path.append(str(ROOT / "benchmarks"))

import label_corruption_runs as runs  # noqa: E402
import label_corruption_studies as studies  # noqa: E402
import tables_label_corruption as tables  # noqa: E402


def result(cell, silver, error, commit="abc"):
    about = {"date": "2026-11-21", "commit": commit, "cpu": "a CPU", "cores": 2, "packages": {"torch": "2.15"}}
    numbers = {"silver_error": silver, "error": error, "epochs": 10, "images": 50_000, "test_images": 10_000}
    return {**vars(cell), **about, **numbers, "training_seconds": [4.0, 6.0]}


class TestCells:
    def test_the_grid(self):
        cells = studies.cells("cifar10")
        assert len(cells) == len({cell.name for cell in cells}) == 2 * 3 * 2 * 2 * 3
        assert {(c.corruption, c.probability, c.gold, c.variant, c.seed) for c in cells} == {
            (corruption, p, gold, variant, seed)
            for corruption in ("uniform", "flip")
            for p in (0.2, 0.6, 1.0)
            for gold in (0.05, 0.1)
            for variant in ("baseline", "diffusion")
            for seed in range(3)
        }
        # Both variants of a setting follow one another, so that a grid that was cut short still compares.
        assert all(
            vars(a) | {"variant": 0} == vars(b) | {"variant": 0} for a, b in zip(cells[::2], cells[1::2], strict=True)
        )
        assert cells[0].name == "label_corruption_cifar10_uniform_p0.2_gold0.05_baseline_seed0"

    def test_only_the_reduced_study_runs_without_a_gpu(self, monkeypatch, capsys, tmp_path):
        assert [name for name, study in studies.STUDIES.items() if not study.needs_gpu] == ["reduced"]
        assert studies.STUDIES["reduced"].reduced
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.setattr(sys, "argv", ["runs", "DATA", "--study=cifar10", f"--results={tmp_path}"])
        with pytest.raises(SystemExit):
            runs.main()
        assert "takes hours without a GPU" in capsys.readouterr().err

    def test_what_has_a_result_is_left_out(self, monkeypatch, capsys, tmp_path):
        for cell in studies.cells("reduced"):
            (tmp_path / f"{cell.name}.json").write_text("{}")
        monkeypatch.setattr(sys, "argv", ["runs", "nowhere", "--study=reduced", f"--results={tmp_path}"])
        runs.main()
        assert capsys.readouterr().out == "12 cells, 0 to do\n"


class TestRun:
    @pytest.mark.parametrize("variant", ["baseline", "diffusion"])
    def test_on_drawn_images(self, variant):
        labels = torch.arange(10).repeat_interleave(240)
        data = [torch.randint(256, (2400, 3, 8, 8), dtype=torch.uint8), labels] * 2
        cell = studies.Cell("reduced", "flip", 0.6, 0.1, variant, 2)
        if torch.cuda.is_available():
            pytest.skip("the reduced study is that of a CPU")
        found = json.loads(json.dumps(runs.run(cell, data, epochs=1)))
        assert (found["images"], found["test_images"]) == (200, 480)
        assert found["reduced"] is True
        assert (found["diffusion"] is None) == (variant == "baseline")
        assert "training_seconds" not in found
        assert found["command"].endswith(f"--study reduced --cells {cell.name} --epochs 1")
        assert torch.tensor(found["estimate"]).sum(1) == pytest.approx(torch.ones(10), abs=1e-3)
        assert 0.5 < found["error"] <= 1


class TestTable:
    def test_means_deviations_and_areas(self, tmp_path):
        for cell in studies.cells("cifar10"):
            if (cell.corruption, cell.gold) != ("flip", 0.1) or (cell.variant, cell.seed) == ("diffusion", 2):
                continue
            worse = 0.01 * cell.seed
            silver, error = cell.probability * 0.9 + worse, cell.probability * 0.5 + worse
            if cell.variant == "diffusion":
                error -= 0.05
            (tmp_path / f"{cell.name}.json").write_text(json.dumps(result(cell, silver, error)))
        text = tables.table_of("cifar10", tmp_path)
        # The area of 0.5 p from 0.2 to 1 is 0.24; 0.01 more error is 0.008 more area.
        assert "| flip | 0.1 | 0.2 | 19.0 ± 1.0 | 11.0 ± 1.0 | 18.5 ± 0.7 | 5.5 ± 0.7 | 3 + 2 |" in text
        assert "| flip | 0.1 | 1.0 | 91.0 ± 1.0 | 51.0 ± 1.0 | 90.5 ± 0.7 | 45.5 ± 0.7 | 3 + 2 |" in text
        assert "| flip | 0.1 | area | 44.0 ± 0.8 | 24.8 ± 0.8 | 43.6 ± 0.6 | 20.4 ± 0.6 | 3 + 2 |" in text
        assert "uniform" not in text
        assert "5.0 s a phase" in text

    def test_an_unfinished_grid_has_no_area(self, tmp_path):
        cell = studies.Cell("reduced", "uniform", 0.6, 0.1, "baseline", 0)
        (tmp_path / f"{cell.name}.json").write_text(json.dumps(result(cell, 0.7, 0.5)))
        text = tables.table_of("reduced", tmp_path)
        assert "| uniform | 0.1 | 0.6 | 70.0 | 50.0 |  |  | 1 + 0 |" in text
        assert "| area |" not in text
        assert "Reduced: one image in 12" in text

    def test_without_results(self, tmp_path):
        assert tables.table_of("cifar10", tmp_path) == "Not yet measured on a GPU.\n"
        assert tables.table_of("reduced", tmp_path) == "Not yet measured.\n"

"""Texture suppression as a section, and the benchmark of it."""

import json
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

import texfilters

pytest.importorskip("matplotlib", reason="needs matplotlib")

from texfilters.evaluate import report
from texfilters.evaluate.sections import texture
from texfilters.evaluate.texture import BLUR, FILTERS, Strengths, boundary_pairs, robust_kappa, suppression_curves

sys.path.append(str(Path(__file__).parent.parent.parent / "benchmarks"))

import tables_texture
import texture_quality

FEW = {
    "diffusion, exponential": FILTERS["diffusion, exponential"],
    "median": FILTERS["median"],
    BLUR: Strengths(texfilters.gaussian_blur, "sigma", (0.4, 0.6, 1, 2)),
}


def drawn(noise, height=48, width=64):
    """Two textured halves and the edge between them."""
    generator = torch.Generator().manual_seed(int(noise))
    image = torch.full((height, width), 70.0)
    image[:, width // 2 :] = 180
    image = image + noise * torch.randn(3, height, width, generator=generator)
    boundary = torch.zeros(height, width, dtype=torch.uint8)
    boundary[:, width // 2] = 255
    return image.round().clamp(0, 255).byte(), boundary


@pytest.fixture(scope="module")
def pairs():
    return [drawn(noise) for noise in (14, 18, 22)]


@pytest.fixture(scope="module")
def section(pairs):
    return texture(iter(pairs), filters=FEW)


class TestSection:
    def test_the_record_is_that_of_the_functions(self, section, pairs):
        curves = suppression_curves(pairs, FEW)
        record = section.record
        assert (record["images"], record["tolerance"], record["margin"]) == (3, 2, 5)
        assert [each["filter"] for each in record["curves"]] == list(FEW)
        for each, curve in zip(record["curves"], curves, strict=True):
            assert (each["parameter"], each["values"]) == (curve.parameter, list(curve.values))
            assert each["removed"] == pytest.approx(curve.removed, abs=1e-5)
            assert each["kept"] == pytest.approx(curve.kept, abs=1e-5)
        kappas = sorted(robust_kappa(image[None], option=1).item() for image, _ in pairs)
        assert record["robust_kappa"]["median"] == pytest.approx(kappas[1], abs=1e-3)

    def test_the_table(self, section, pairs):
        (table,) = section.tables
        rows = {row[0]: row for row in table.rows}
        curves = {curve.name: curve for curve in suppression_curves(pairs, FEW)}
        for name, curve in curves.items():
            expected = [100 * curve.kept_at(at) for at in (0.25, 0.5, 0.75)]
            assert rows[name][2:5] == pytest.approx(expected, nan_ok=True)
        assert rows["diffusion, exponential"][1] == "niter 1 to 200, kappa 20"
        assert rows["diffusion, exponential"][5] == "3 of 3"
        assert rows[BLUR][5] is None
        assert table.rows[0][0] == "diffusion, exponential"

    def test_what_beats_blur_is_counted_over_images_that_both_reach(self, section, pairs):
        curves = {curve.name: curve for curve in suppression_curves(pairs, FEW)}
        for each in section.record["curves"]:
            kept, blur = (curves[name].kept_at_by_image(0.5) for name in (each["filter"], BLUR))
            reached = [not (a.isnan() or b.isnan()) for a, b in zip(kept, blur, strict=True)]
            more = [bool(a > b) for a, b in zip(kept, blur, strict=True)]
            assert each["better_than_blur"] == (None if each["filter"] == BLUR else (sum(more), sum(reached)))

    def test_its_text_names_what_was_measured(self, section):
        assert "on 3 images" in section.text
        assert "farther than 5 pixels" in section.text
        assert "within 2 pixels" in section.text

    def test_files_and_page(self, section, tmp_path):
        names = [path.name for path in report.write(section, tmp_path)]
        assert sorted(names) == ["texture-2.png", "texture-3.png", "texture.csv", "texture.json", "texture.png"]
        assert json.loads((tmp_path / "texture.json").read_text())
        assert "Texture suppression" in report.page("A report", [section], {})

    def test_without_blur_and_with_other_filters(self, pairs):
        one = texture(pairs[:1], filters={"halved": Strengths(lambda image, c: (image / c).byte(), "c", (1.5, 2, 4))})
        assert len(one.tables[0].header) == 5
        assert "on 1 image," in one.text
        assert "blur" not in one.text

    def test_bad_input(self, pairs, tmp_path):
        with pytest.raises(ValueError, match="count must be None for pairs, all of which are measured, got 2"):
            texture(pairs, 2)
        with pytest.raises(ValueError, match="at least one image, got none"):
            texture([])
        with pytest.raises(ValueError, match=r"images must be uint8 \[3, H, W\], got torch.float32"):
            texture([(pairs[0][0].float(), pairs[0][1])])
        with pytest.raises(FileNotFoundError, match="folder must hold photos"):
            texture(tmp_path)


class TestBenchmark:
    @pytest.fixture
    def folder(self, pairs, tmp_path):
        for i, (image, boundary) in enumerate(pairs):
            Image.fromarray(image.movedim(0, -1).numpy()).save(tmp_path / f"{i}.jpg", quality=95)
            Image.fromarray(boundary.numpy()).save(tmp_path / f"{i}_boundary.png")
        return tmp_path

    @pytest.fixture
    def result(self, folder, monkeypatch):
        file = folder / "result.json"
        monkeypatch.setattr(texture_quality, "texture", lambda folder, count: texture(folder, count, FEW))
        monkeypatch.setattr(sys, "argv", ["quality", str(folder), "--count", "2", f"--result={file}"])
        texture_quality.main()
        return file

    def test_the_result_says_how_it_came_about(self, result, tmp_path):
        found = json.loads(result.read_text())
        assert found["command"] == "python benchmarks/texture_quality.py DATA --count 2"
        assert found["images"] == 2
        assert {"date", "commit", "cpu", "cores", "packages"} <= set(found)
        assert str(tmp_path) not in result.read_text()
        assert [curve.name for curve in texture_quality.curves(found)] == list(FEW)

    def test_the_table(self, result):
        found = json.loads(result.read_text())
        text = tables_texture.table_of(result)
        (line,) = [line for line in text.splitlines() if line.startswith("| diffusion, exponential")]
        kept = texture_quality.curves(found)[0].kept_at(0.5)
        assert f" {100 * kept:.1f} " in line
        assert f" {found['curves'][0]['better_than_blur'][0]} of 2 |" in line
        assert "2 photos" in text
        assert found["commit"] in text
        assert tables_texture.table_of(result.with_name("none.json")) == "Not yet measured.\n"

    def test_other_settings(self, folder, monkeypatch):
        file = folder / "settings.json"
        monkeypatch.setattr(texture_quality, "SOME", ("diffusion, exponential", "median"))
        monkeypatch.setattr(texture_quality, "SETTINGS", ((2, 5), (0, 9)))
        monkeypatch.setattr(sys, "argv", ["quality", str(folder), "--settings", f"--result={file}"])
        texture_quality.main()
        found = json.loads(file.read_text())
        assert found["command"] == "python benchmarks/texture_quality.py DATA --settings"
        assert [(row["tolerance"], row["margin"]) for row in found["rows"]] == [(2, 5), (0, 9)]
        pairs = list(boundary_pairs(folder))
        (curve,) = suppression_curves(pairs, {"median": FILTERS["median"]}, tolerance=0, margin=9)
        kept, expected = found["rows"][1]["kept"]["median"], curve.kept_at(0.5)
        assert kept is None if expected != expected else kept == pytest.approx(expected, abs=1e-5)
        kept = found["rows"][1]["kept"]["diffusion, exponential"]
        text = tables_texture.table_of_settings(file)
        (line,) = [line for line in text.splitlines() if line.startswith("| 0 and 9 pixels |")]
        assert f" {100 * kept:.1f} " in line
        assert "mean of 3 photos" in text

"""What docs/evaluation.md shows runs as it stands; its pictures come from the committed results."""

import json
import re
import sys
from pathlib import Path

import pytest
import torch

for package in ("matplotlib", "PIL", "skimage", "kornia", "torchvision"):
    pytest.importorskip(package, reason=f"needs {package}")

from texfilters import evaluate  # noqa: E402

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/evaluation.md").read_text()
sys.path.append(str(ROOT / "benchmarks"))

import evaluation_figures  # noqa: E402
import published_shape_bias  # noqa: E402


@pytest.fixture
def answers(tmp_path):
    """A table as that of the published answers: 2 decisions for the shape, 3 for the texture, 1 for neither."""
    given = ("cat", "cat", "dog", "dog", "dog", "na")
    rows = [f"alexnet,{given[i]},000{i}_s5n_dnn_0_cat_00_cat{i + 1}-dog1.png" for i in range(6)]
    path = tmp_path / "answers.csv"
    path.write_text("\n".join(["subj,object_response,imagename", *rows]) + "\n")
    return path


def test_code_runs(tmp_path, monkeypatch, answers):
    """In one namespace, as a reader would who goes from top to bottom."""
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    namespace = {"__name__": "page"}
    for block in re.finditer(r"```python\n(.*?)```", PAGE, re.DOTALL):
        code = "\n" * PAGE.count("\n", 0, block.start(1)) + block[1]
        exec(compile(code, "docs/evaluation.md", "exec"), namespace)
    assert namespace["published"].counts == (2, 3, 1)
    assert namespace["curves"][0].images == 1
    assert namespace["kappa"].shape == (36,)
    saved = set(re.findall(r'"([a-z-]+\.png)"\)', PAGE))
    assert len(saved) >= 7
    assert {path.name for path in tmp_path.glob("*.png")} == saved


def test_it_names_every_measurement():
    for measurement in (
        "shape_bias",
        "transfer",
        "accuracy_by_radius",
        "corruption_errors",
        "glc",
        "grad_cam",
        "shared_confidence",
        "similarity_histograms",
        "suppression_curves",
        "robust_kappa",
    ):
        assert measurement in PAGE


def test_pictures_and_links_lead_somewhere():
    targets = [target for target in re.findall(r"\]\(([^)#]+)[^)]*\)", PAGE) if not target.startswith("http")]
    assert len(targets) >= 3
    for target in targets:
        assert (ROOT / "docs" / target).exists(), target


class TestPublishedShapeBias:
    def test_the_result(self, answers, monkeypatch):
        file = answers.with_name("result.json")
        monkeypatch.setattr(sys, "argv", ["published", str(answers), f"--result={file}"])
        published_shape_bias.main()
        result = json.loads(file.read_text())
        assert result["counts"] == {"shape": 2, "texture": 3, "other": 1}
        assert result["shape_bias"] == 0.4
        assert "CC BY 4.0" in result["source"]
        assert published_shape_bias.bias(result).counts_by_class["cat"] == (2, 3, 1)

    def test_the_committed_one_is_the_published_one(self):
        bias = published_shape_bias.bias(json.loads(published_shape_bias.RESULT.read_text()))
        assert bias.counts[:2] == (283, 376)
        assert f"{100 * bias.overall:.1f}" == "42.9"
        assert len(bias.by_class) == 16
        for place in (0, 1, 2):
            assert sum(counts[place] for counts in bias.counts_by_class.values()) == bias.counts[place]
        lower, upper = evaluate.shape_bias_interval(bias).overall
        assert f"(95 % bootstrap interval {100 * lower:.1f} to {100 * upper:.1f} %)" in PAGE


def test_figures_are_drawn_from_the_committed_results(tmp_path):
    evaluation_figures.draw(tmp_path)
    names = {"kappa.jpg", "shape-bias.png", "texture-suppression.png"}
    assert {path.name for path in tmp_path.iterdir()} == names
    for name in names:
        assert (tmp_path / name).stat().st_size > 10_000
        assert f"]({name})" in PAGE

"""The benchmark of a pretraining step, with a network that takes no time: what it runs, writes and tells."""

import importlib.util
import itertools
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

import ssl_step  # noqa: E402
import tables  # noqa: E402
from texfilters.ssl.moco_v2 import MoCoV2  # noqa: E402

CPU = torch.device("cpu")


@pytest.fixture
def tiny(monkeypatch):
    """A real step, of the smallest network on images of 32 pixels."""
    monkeypatch.setattr(ssl_step, "SIDE", 32)
    monkeypatch.setattr(ssl_step, "STORED", 36)
    settings = {"network": "resnet18", "batch": 4, "queue": 10, "steps": 1, "rounds": 2}
    monkeypatch.setitem(ssl_step.SETTINGS, "cpu", ssl_step.SETTINGS["cpu"] | settings)
    monkeypatch.setattr(ssl_step.machine, "cores", lambda: 1)
    build = ssl_step.MoCoV2
    monkeypatch.setattr(ssl_step, "MoCoV2", lambda *args, **options: build(*args, norm_splits=1, **options))


def test_the_stage_is_told_from_the_step(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(ssl_step.time, "perf_counter", lambda: clock[0])

    def spend(seconds, value=None):
        clock[0] += seconds
        return value

    class Step:
        device = CPU

        def __call__(self, batch, stage, seed):
            spend(3.0)
            for _ in range(2):  # views
                if stage is not None:
                    stage(batch)

    stage = ssl_step.Timed(lambda images: spend(0.5, images), CPU)
    found = ssl_step.turn(Step(), itertools.repeat(torch.zeros(1)), stage, [0, 1, 2])
    assert found == {"ms": 4e3, "stage_ms": 1e3, "stage_share": 0.25}
    again = ssl_step.turn(Step(), itertools.repeat(torch.zeros(1)), stage, [0])
    assert again == found  # what came before is forgotten
    plain = ssl_step.turn(Step(), itertools.repeat(torch.zeros(1)), None, [0])
    assert plain == {"ms": 3e3, "stage_ms": 0.0, "stage_share": 0.0}


def test_a_row():
    settings = ssl_step.SETTINGS["cpu"] | {"batch": 8, "steps": 2}
    without = [{"ms": ms, "stage_ms": 0.0, "stage_share": 0.0} for ms in (100.0, 200.0, 110.0)]
    suppressed = [{"ms": ms, "stage_ms": 4.0, "stage_share": 4 / ms} for ms in (102.0, 204.0, 132.0)]
    row = ssl_step.row(settings, without, suppressed)
    assert (row["without_ms"], row["ms"], row["stage_ms"], row["images_per_s"]) == (110.0, 132.0, 4.0, 60.61)
    assert row["added_share"] == 0.02  # of the rounds, not of the medians
    assert (row["stage_share"], row["at_most"], row["met"]) == (0.0303, 0.03, False)


def test_a_step_sees_the_views_and_trains(tiny):
    step = ssl_step.Step("resnet18", 8, CPU)
    assert isinstance(step.method, MoCoV2)
    queries = []
    step.method.backbone.register_forward_pre_hook(lambda module, inputs: queries.append(inputs[0].clone()))
    batch = next(ssl_step.photos(4, CPU))
    weight = step.method.backbone.model.conv1.weight.detach().clone()
    step(batch, None, seed=7)
    assert not torch.equal(step.method.backbone.model.conv1.weight, weight)
    stage = ssl_step.Timed(lambda images: 1 - images, CPU)
    step(batch, stage, seed=7)
    assert len(stage.spans) == 2  # both views
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (step.method.views.mean, step.method.views.std))
    torch.testing.assert_close(queries[1], (1 - 2 * mean) / std - queries[0])
    step(batch, None, seed=8)
    assert not torch.equal(queries[2], queries[0])


def test_a_run_and_its_table(tiny, tmp_path, monkeypatch):
    out = tmp_path / "cpu_ssl_step_some.json"
    ssl_step.main(["--device", "cpu", "--out", str(out)])
    result = json.loads(out.read_text())
    (row,) = result["rows"]
    assert (row["network"], row["batch"], row["side"], row["rounds"]) == ("resnet18", 4, 32, 2)
    assert 0 < row["stage_ms"] < row["ms"]
    assert result["packages"]["torch"] == torch.__version__.split("+")[0]
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    text = tables.rewritten("<!-- table: cpu-ssl-step -->\nold\n<!-- end -->")
    assert "| ResNet-18, 4 x RGB 32x32 |" in text
    assert "old" not in text
    gpu = tables.rewritten("<!-- table: gpu-ssl-step -->\nold\n<!-- end -->")
    assert "Not yet measured on a GPU." in gpu


def test_the_tables_words(tmp_path, monkeypatch):
    row = {"network": "resnet50", "batch": 256, "side": 224, "ms": 300.0, "stage_ms": 4.5, "stage_share": 0.015}
    row |= {"images_per_s": 853.3, "added_share": 0.0123, "added_quartiles": [0.011, 0.013], "rounds": 9}
    row |= {"at_most": 0.01, "met": False}
    result = {"date": "2026-11-20", "commit": "abc", "device": "NVIDIA H200", "driver": "1", "cuda": "13.0"}
    result |= {"python": "3.12.3", "packages": {"torch": "2.11.0"}, "rows": [row]}
    (tmp_path / "gpu_ssl_step_h200.json").write_text(json.dumps(result))
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    text = tables.filled("gpu-ssl-step")
    assert "| ResNet-50, 256 x RGB 224x224 | 300 | 853 | 4.50 | 1.5 | 1.0 | 1.2 (1.1 to 1.3) |" in text
    assert "over 9 rounds" in text
    assert "Missed target: the share of the step." in text
    assert ssl_step.path_name("cuda", result) == "gpu_ssl_step_nvidia-h200.json"


def test_no_more_rounds_than_there_is_time_for(tiny):
    settings = ssl_step.SETTINGS["cpu"] | {"rounds": 50}
    assert ssl_step.measure(settings, CPU, deadline=0.0)["rounds"] == ssl_step.FEWEST_ROUNDS

"""The benchmark of the loader, with a step and images that take no time: what it runs, writes and tells."""

import importlib.util
import itertools
import json
import sys
from pathlib import Path

import pytest
import torch

if importlib.util.find_spec("torchvision") is None:
    pytest.skip("needs torchvision", allow_module_level=True)

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "benchmarks"))

import gpu_cases  # noqa: E402
import gpu_parts  # noqa: E402
import gpu_report  # noqa: E402
import loader_step  # noqa: E402
import machine  # noqa: E402
import moco_step  # noqa: E402
import tables  # noqa: E402

CPU = torch.device("cpu")


@pytest.fixture
def tiny(monkeypatch):
    """A step that does nothing, on images of 16 pixels."""
    taken = []
    monkeypatch.setattr(moco_step, "training_step", lambda device, queue: taken.append)
    monkeypatch.setattr(loader_step, "SIDE", 16)
    monkeypatch.setattr(moco_step, "_STORED", 20)
    monkeypatch.setattr(loader_step, "_ROUNDS", 2)
    return taken


@pytest.mark.parametrize("ahead", [True, False])
def test_a_turn_prepares_a_batch_for_each_step(ahead):
    asked, done = [], []
    batches = (asked.append(i) or torch.full((1,), float(i)) for i in itertools.count())
    contender = loader_step.Contender("some", lambda batch: batch * 10, ahead)
    for _ in range(2):
        found = loader_step.turn(contender, batches, lambda views: done.append(views.item()), 3, CPU)
        assert 0 <= found["transform_ms"] <= found["idle_ms"] <= found["ms"]
    assert done == [0, 10, 20, 30, 40, 50, 60, 70]  # the first of each turn is not timed
    assert asked == list(range(8))


def test_waiting_is_told_from_transforming(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(loader_step.time, "perf_counter", lambda: clock[0])

    def spend(seconds, value=None):
        clock[0] += seconds
        return value

    batches = (spend(2.0, torch.zeros(1)) for _ in itertools.count())
    contender = loader_step.Contender("some", lambda batch: spend(3.0, batch))
    found = loader_step.turn(contender, batches, lambda views: spend(5.0), 4, CPU)
    assert found == {"ms": 10e3, "idle_ms": 5e3, "fetch_ms": 2e3, "transform_ms": 3e3, "transform_share": 0.3}


def test_a_run(tiny, tmp_path):
    out = tmp_path / "out.json"
    options = ["--device", "cpu", "--batch", "3", "--steps", "2", "--rounds", "3", "--workers", "1"]
    with pytest.raises(SystemExit) as ended:
        loader_step.main([*options, "--out", str(out)])
    assert ended.value.code == 0
    result = json.loads(out.read_text())
    kinds = [(row["case"], row["peer"]) for row in result["rows"]]
    peers = (loader_step.WITHOUT, loader_step.WITH)
    assert kinds == list(itertools.product((loader_step.IN_MEMORY, loader_step.DECODED), peers))
    assert [row["rounds"] for row in result["rows"]] == [3] * 4
    assert result["rows"][0]["added_share"] is None
    assert result["rows"][1]["added_share"] > -1
    assert all(image.shape == (3, 3, 16, 16) and image.dtype == torch.float32 for views in tiny for image in views)
    plain, suppressed = tiny[0], tiny[2]  # a turn of warming up has two steps
    assert torch.equal(*plain)
    assert not torch.equal(*suppressed)
    assert list(tmp_path.iterdir()) == [out]
    text = tables.TABLES["cpu-loader"](result)
    assert text.startswith("| 3 x RGB 16x16, MoCoV2 step | ms a step | images/s | waits for the loader (ms) |")
    assert f"processes that decode JPEG files: {result['workers']}." in text
    assert text.count("| JPEG files, with") == text.count("| batches in memory, with suppression |") * 2 == 2


def test_no_more_rounds_than_there_is_time_for(tiny):
    step = moco_step.training_step(CPU, 0)
    batches = moco_step.in_memory(2, 16, False)
    settings = {"batch": 2, "steps": 1, "rounds": 50}
    rows = loader_step.measure("some", batches, step, settings, CPU, deadline=0.0)
    assert {row["rounds"] for row in rows} == {loader_step.FEWEST_ROUNDS}


def test_a_case_that_fails_leaves_the_others(tiny, tmp_path, monkeypatch):
    def broken(*arguments):
        raise OSError("no space left")

    monkeypatch.setattr(moco_step, "decoded", broken)
    out = tmp_path / "out.json"
    with pytest.raises(SystemExit, match="failed: JPEG files"):
        loader_step.main(["--device", "cpu", "--batch", "2", "--steps", "1", "--rounds", "2", "--out", str(out)])
    rows = json.loads(out.read_text())["rows"]
    assert [row["ms"] is None for row in rows] == [False, False, True]
    assert rows[-1]["why"] == "OSError: no space left"


def test_the_step_learns():
    """One real step on images of 32 pixels: the loss has gradients, the key follows, the queue turns."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = moco_step.MoCo(queue=4)
    key, queue = model.key.conv1.weight.clone(), model.queue.clone()
    model((torch.randn(2, 3, 32, 32), torch.randn(2, 3, 32, 32))).backward()
    assert model.query.conv1.weight.grad.abs().max() > 0
    assert model.key.conv1.weight.grad is None
    assert torch.equal(model.key.conv1.weight, key)  # as the query's, which has not moved yet
    with torch.no_grad():
        model.query.conv1.weight += 1
    model((torch.randn(2, 3, 32, 32), torch.randn(2, 3, 32, 32)))
    torch.testing.assert_close(model.key.conv1.weight, key + 0.001)
    assert not torch.isclose(model.queue, queue).any()


STEP = {"case": "batches in memory", "batch": 256, "side": 224, "ms": 100.0, "images_per_s": 2560.0}
STEP |= {"idle_ms": 0.02, "fetch_ms": 0.03, "transform_ms": 0.5, "added_share": None, "peer": loader_step.WITHOUT}
STEPS = [STEP, STEP | {"peer": loader_step.WITH, "added_share": 0.012, "ms": 101.2}]
STEPS += [{"case": "JPEG files", "peer": loader_step.WITH, "ms": None, "why": "RuntimeError: no shared memory"}]
OTHERS = ("build", "tests", "timings", "sanitize")
OVERHEAD = [{"call": "a list", "us": 1.0}, {"call": "DeviceLoader(list, transform=...)", "us": 41.0}]


class TestInTheReport:
    def result(self, tmp_path, **parts):
        parts = {name: {"ok": True} for name in OTHERS} | parts
        facts = {"date": "2026-11-20", "commit": "abc", "device": "NVIDIA H200", "driver": "1", "cuda": "13.0"}
        facts |= {"python": "3.12.3", "packages": {"torch": "2.11.0"}, "parts": parts, "rows": [{}], "steps": STEPS}
        facts |= {"targets": gpu_report.targets(STEPS, "NVIDIA H200", gpu_cases.STEP_TARGETS)}
        (tmp_path / "gpu-nvidia-h200.json").write_text(machine.as_json(facts))
        return facts

    def test_targets(self):
        assert {target.case for target in gpu_cases.STEP_TARGETS} <= {loader_step.IN_MEMORY, loader_step.DECODED}
        assert {target.peer for target in gpu_cases.STEP_TARGETS} == {loader_step.WITH}
        (target,) = gpu_report.targets(STEPS, "NVIDIA H200", gpu_cases.STEP_TARGETS)
        assert (target["met"], target["measured"], target["at_most"]) == (False, 0.012, 0.01)

    def test_it_stands_beside_the_timings(self, monkeypatch, tmp_path):
        fakes = {
            "timings": lambda seconds, logs, cases: {"ok": True, "rows": []},
            "loader": lambda seconds, logs: {"ok": True, "steps": STEPS, "overhead": OVERHEAD, "workers": 9},
        }
        monkeypatch.setattr(gpu_parts, "PARTS", fakes)
        *_, result = gpu_report.measured(list(fakes), None, 1e12, tmp_path, {"device": "NVIDIA H200"})
        assert result["steps"] == STEPS
        assert result["parts"]["loader"]["overhead"] == OVERHEAD
        aims = [*gpu_report.ALL_TARGETS, *gpu_cases.STEP_TARGETS]
        assert [target["case"] for target in result["targets"]] == [aim.case for aim in aims]

    def test_at_the_end_of_the_output(self, tmp_path):
        text = gpu_report.table(self.result(tmp_path) | {"rows": []})
        assert "step, batches in memory, with suppression: ms 101, added_share 0.012, idle_ms 0.02" in text
        assert "step, JPEG files, with suppression: why RuntimeError: no shared memory" in text
        assert "batches in memory, with suppression: added_share 0.012, to be <= 0.01: MISSED" in text

    def test_the_table(self, monkeypatch, tmp_path):
        self.result(tmp_path, loader={"ok": True, "overhead": OVERHEAD, "workers": 9})
        monkeypatch.setattr(tables, "RESULTS", tmp_path)
        text = tables.rewritten("<!-- table: gpu-loader -->\nold\n<!-- end -->")
        assert "| 256 x RGB 224x224, MoCoV2 step | ms a step |" in text
        assert "| batches in memory, without suppression | 100 | 2,560 |  | 0.0200 | 0.0300 | 0.500 |" in text
        assert "| batches in memory, with suppression | 101 | 2,560 | 1.2 | 0.0200 | 0.0300 | 0.500 |" in text
        assert "| JPEG files, with suppression | – | – | – | – | – | – |" in text
        assert "costs the host 40 us a batch." in text
        assert "Processes that decode JPEG files: 9." in text
        assert "Missed target: at most 1 % added." in text

    def test_a_part_that_failed_is_not_shown_and_takes_no_other_along(self, monkeypatch, tmp_path):
        monkeypatch.setattr(tables, "RESULTS", tmp_path)
        monkeypatch.setitem(tables.TABLES, "gpu-diffusion", lambda result: "as ever")
        for parts in ({}, {"loader": {"ok": False, "why": "broken"}}):
            self.result(tmp_path, **parts)
            assert "Not yet measured on a GPU." in tables.rewritten("<!-- table: gpu-loader -->\nold\n<!-- end -->")
            assert "as ever" in tables.rewritten("<!-- table: gpu-diffusion -->\nold\n<!-- end -->")

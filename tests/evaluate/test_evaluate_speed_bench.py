"""The benchmark of the measurements, with the smallest network: every measurement runs, and its table tells of it."""

import json
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

pytest.importorskip("torchvision", reason="needs torchvision")

sys.path.append(str(Path(__file__).parent.parent.parent / "benchmarks"))

import measurement_speed
import tables


class Passes(nn.Module):
    """1,000 scores that depend on the image; counts what passes."""

    def __init__(self):
        super().__init__()
        self.first, self.maps, self.scores = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 4, 16, 16), nn.Linear(4, 1000)
        self.images, self.to_maps, self.to_first = 0, 0, 0

    def forward(self, images):
        self.images += len(images)
        first = self.first(images)
        maps = self.maps(first)
        if maps.requires_grad:
            first.register_hook(lambda gradient: self._passed_back("to_first", gradient))
            maps.register_hook(lambda gradient: self._passed_back("to_maps", gradient))
        return self.scores(maps.mean((2, 3)))

    def _passed_back(self, name, gradient):
        setattr(self, name, getattr(self, name) + len(gradient))


@pytest.fixture
def network(monkeypatch):
    network = Passes()
    monkeypatch.setattr(measurement_speed, "SIDE", 32)
    monkeypatch.setattr(measurement_speed, "BATCH", 8)
    monkeypatch.setattr(measurement_speed.torchvision.models, "get_model", lambda name, weights: network)
    return network


def test_every_measurement_is_set_beside_the_passes_it_needs(network, monkeypatch):
    passed = {}

    def timed(call, device):
        network.images = network.to_maps = network.to_first = 0
        call()
        passed.setdefault("both", []).append((network.images, network.to_maps, network.to_first))
        return float(network.images)

    monkeypatch.setattr(measurement_speed, "timed", timed)
    rows = measurement_speed.measure("tiny", 16, 1, torch.device("cpu"))
    measured, alone = passed["both"][::2], passed["both"][1::2]
    assert measured == alone
    assert alone[-1] == (16, 16, 0)  # Grad-CAM goes back to the last maps, no further
    assert [row["ratio"] for row in rows] == [1.0] * 6
    assert [row["s"] for row in rows[:4]] == [0.016, 0.016, 0.080, 0.080]
    assert [row["measurement"] for row in rows][-1] == "Grad-CAM"


def test_the_result_has_a_table(network, monkeypatch, tmp_path):
    monkeypatch.setattr(torch, "set_num_threads", lambda threads: None)
    out = tmp_path / "cpu_measurements_a-cpu.json"
    measurement_speed.main(
        ["--device", "cpu", "--images", "16", "--rounds", "1", "--network", "tiny", "--out", str(out)]
    )
    result = json.loads(out.read_text())
    assert (result["images"], result["network"], result["rounds"]) == (16, "tiny", 1)
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    text = tables.rewritten("<!-- table: cpu-measurements -->\n<!-- end -->")
    assert all(f"| {row['measurement']} |" in text for row in result["rows"])
    assert "Not yet measured on a GPU." in tables.rewritten("<!-- table: gpu-measurements -->\n<!-- end -->")

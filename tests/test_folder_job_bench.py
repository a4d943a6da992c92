"""The benchmark of the folder job: the photos it makes, the pace it sees, the table that the README shows."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from PIL import Image

sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))

import folder_job
import folder_photos
import machine
import photos
import tables
import watched_job

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    built = tmp_path_factory.mktemp("photos")
    folder_photos.build(built, 60, 24, 50, photos.paths())
    return built


def test_the_photos_are_all_different_and_of_the_sizes_asked(folder, tmp_path):
    files = sorted(folder.rglob("*.jpg"))
    assert len({path.read_bytes() for path in files}) == len(files) == 60
    longer = {max(Image.open(path).size) for path in files}
    assert longer <= set(range(24, 51))
    assert len(longer) > 15
    assert {Image.open(path).mode for path in files} == {"RGB"}
    folder_photos.build(tmp_path, 60, 24, 50, photos.paths())
    assert [path.read_bytes() for path in sorted(tmp_path.rglob("*.jpg"))] == [path.read_bytes() for path in files]


def test_the_parts_are_measured_one_by_one(folder, tmp_path):
    sample = sorted(folder.rglob("*.jpg"))[:20]
    alone = folder_job.parts_alone(sample, tmp_path)
    assert list(alone) == ["decode", "to_planes", "filter", "from_planes", "encode", "files"]
    assert all(0 < ms < 100 for ms in alone.values())
    assert folder_job.all_cores_at_once(sample, tmp_path, 2).keys() == alone.keys()


def test_the_pace_between_two_looks():
    watch = watched_job.Watch(counts=[(1.0, 10), (2.0, 20), (4.0, 100)])
    assert (watch.reached(10), watch.reached(15), watch.reached(60)) == (1.0, 1.5, 3.0)
    with pytest.raises(ValueError, match="100 files were recorded"):
        watch.reached(101)


def test_the_table(tmp_path, monkeypatch):
    result = {"date": "2026-11-20", "commit": "abc", "cpu": "some", "cores": 4, "instruction_set": "avx2"}
    result |= {
        "python": "3.12.3",
        "packages": {"torch": "2.11.0"},
        "compiler": None,
        "photos": 700,
        "origin": "a and b",
        "file_system": "ext4",
    }
    result |= {"images": 5000, "sample": 500, "niter": 20, "quality": 95, "longer_side": [224, 500]}
    result |= {"mean_pixels": 100_000, "mean_bytes": 40_000, "medpy_ms": 60.0}
    besides = {"to_planes": 0.25, "from_planes": 0.75, "files": 0.5}
    result["alone_ms"] = [{"decode": 0.75, "filter": ms, "encode": 1.25, **besides} for ms in (4.0, 6.0)]
    result["all_cores_at_once_ms"] = {"decode": 1.0, "filter": 5.5, "encode": 1.3, **besides}
    memory = {"parent_mb": 150.0, "worker_mb": 80.0, "together_mb": 500.0}
    seconds = [(10.4, 12.0), (11.0, 13.0), (30.0, 40.0)]  # the median counts
    result["rows"] = [{"steady_s": a, "wall_s": b, "nothing_to_do_s": 3.0, **memory} for a, b in seconds]
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    (tmp_path / "folder_job_some.json").write_text(machine.as_json(result))
    text = tables.rewritten("<!-- table: folder-job -->\n<!-- end -->")
    for line in (
        "| filter, alone on one core | 5.00 | 200 |  |",
        "| their sum, divided by 4 cores | 2.00 | 500 | 1 |",
        "| `texfilters suppress`, 4 cores, steady | 2.20 | 455 | 1.10 |",
        "| the same, with its start | 2.60 | 385 | 1.30 |",
        "| MedPy, the filter alone on one core | 60.0 | 16.7 |  |",
    ):
        assert line in text
    assert "median of 3 jobs (ratios 1.04 to 3.00), with the files on ext4." in text
    assert "take 1.10 of their sum" in text
    assert "and back (1.00 ms) in the sum, the ratio is 1.26." in text
    assert "writing the files is not in the sum: 0.500 ms" in text
    assert "500 MB, of which each worker has at most 80.0 MB to itself" in text
    assert "700 photos of a and b" in text


@pytest.mark.slow
def test_a_whole_run(tmp_path):
    command = [
        sys.executable,
        ROOT / "benchmarks" / "folder_job.py",
        "--images",
        "1000",
        "--sample",
        "40",
        "--rounds",
        "1",
    ]
    environment = {**os.environ, "PYTHONPATH": os.fspath(ROOT)}
    subprocess.run([*command, "--out", tmp_path / "out.json"], check=True, env=environment)
    result = json.loads((tmp_path / "out.json").read_text())
    (row,) = result["rows"]
    assert 0 < row["steady_s"] < row["wall_s"]
    assert row["first_s"] < row["wall_s"]
    assert result["file_system"] == machine.file_system(Path(tempfile.gettempdir()))
    assert row["nothing_to_do_s"] < row["wall_s"]
    assert 0 < row["worker_mb"] < row["together_mb"]

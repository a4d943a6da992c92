"""The GPU report's own logic, on machines without a GPU: deadlines, verdicts, records, tables."""

import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT / "benchmarks"))

import gpu_cases  # noqa: E402
import gpu_filter_peers  # noqa: E402
import gpu_filters  # noqa: E402
import gpu_parts  # noqa: E402
import gpu_recorder  # noqa: E402
import gpu_report  # noqa: E402
import machine  # noqa: E402
import tables  # noqa: E402


def group_is_there(group):
    """Zombies aside, which only wait for whoever is to collect them."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, of = path.read_text().rpartition(") ")[2].split()[:3]
        except OSError:
            continue
        if int(of) == group and state != "Z":
            return True
    return False


class TestParts:
    def test_a_part_gets_its_share_and_what_others_left(self):
        shares = {"a": 3.0, "b": 1.0}
        assert gpu_report.budget("a", ["a", "b"], 40, shares) == 30
        assert gpu_report.budget("b", ["a", "b"], 37, shares) == 37
        assert gpu_report.budget("a", ["a"], -1, shares) == 0
        assert sum(gpu_report.SHARES.values()) <= 480

    def test_what_overruns_is_killed_with_its_children(self, tmp_path):
        """The child holds the output open and ignores the first signal."""
        child = "trap '' TERM; echo up; sleep 60; true"
        parent = f'echo $$ > {tmp_path / "pid"}; sh -c "{child}"; true'
        start = time.monotonic()
        ended = gpu_parts.run(["sh", "-c", parent], 4, tmp_path / "log")
        assert ended.code is None
        assert time.monotonic() - start < 20
        assert ended.tail() == "up"
        group = int((tmp_path / "pid").read_text())
        assert not group_is_there(group)

    def test_without_time_nothing_is_started(self, tmp_path):
        assert gpu_parts.run(["no-such-command"], 0.0, tmp_path / "log").code is None

    def test_the_result_is_whole_after_every_part(self, monkeypatch, tmp_path):
        def timings(seconds, logs, cases):
            return {"ok": True, "rows": [row("exponential", "native", ms=0.5, images_per_s=512_000)]}

        def broken(seconds, logs):
            raise OSError("no room")

        fakes = {"build": lambda seconds, logs: {"ok": True, "seconds": seconds}, "tests": broken, "timings": timings}
        monkeypatch.setattr(gpu_parts, "PARTS", fakes)
        described = {"device": "NVIDIA H200"}
        deadline = time.monotonic() + 100
        first, second, third = gpu_report.measured(list(fakes), None, deadline, tmp_path, described)
        assert list(first["parts"]) == ["build"]
        assert gpu_report.failed(second) == ["tests"]
        assert second["parts"]["tests"]["why"] == "OSError: no room"
        assert third["targets"][0] | {"met": True, "measured": 512_000} == third["targets"][0]
        assert {t["met"] for t in third["targets"][1:]} == {None}

    def test_out_of_time_is_told_for_every_part(self, tmp_path, monkeypatch):
        monkeypatch.setattr(gpu_parts, "sanitizer", lambda: "/no/compute-sanitizer")
        assert gpu_parts.build(0, tmp_path) | {"ok": False, "why": "out of time"} == gpu_parts.build(0, tmp_path)
        assert gpu_parts.tests(0, tmp_path)["why"] == "out of time"
        found = gpu_parts.timings(0, tmp_path)
        assert (found["ok"], found["why"], found["rows"]) == (True, "out of time", [])
        found = gpu_parts.loader(0, tmp_path)
        assert (found["ok"], found["why"], "steps" in found) == (True, "out of time", False)
        found = gpu_parts.sanitize(0, tmp_path)
        assert found["ok"]
        assert found["memcheck"] == "out of time"

    def test_without_a_gpu_it_says_so_and_writes_nothing(self, tmp_path):
        if torch.cuda.is_available():
            pytest.skip("there is a GPU")
        command = [sys.executable, str(ROOT / "benchmarks" / "gpu_report.py"), "--out", str(tmp_path / "out.json")]
        result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        assert result.returncode == 2
        assert "no NVIDIA GPU" in result.stderr
        assert list(tmp_path.iterdir()) == []

    def test_where_the_json_goes(self, tmp_path):
        assert gpu_report.path_of(None, None, "NVIDIA H200") == ROOT / "benchmarks/results/gpu-nvidia-h200.json"
        assert gpu_report.path_of(None, ["build"], "NVIDIA H200") is None
        assert gpu_report.path_of(tmp_path, ["build"], "NVIDIA H200") == tmp_path / "gpu-nvidia-h200.json"
        assert gpu_report.path_of(tmp_path / "x.json", None, "NVIDIA H200") == tmp_path / "x.json"


CLEAN = "========= COMPUTE-SANITIZER\ncases: 81 of 81, 0 wrong\n========= ERROR SUMMARY: 0 errors\n"
RACE_FREE = (
    "========= COMPUTE-SANITIZER\ncases: 40 of 81, 0 wrong\n"
    "========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)\n"
)
OUT_OF_BOUNDS = """========= COMPUTE-SANITIZER
========= Invalid __global__ write of size 1 bytes
=========     at void texfilters::tile_kernel<1>()+0x2f0
=========     by thread (31,0,0) in block (0,0,0)
cases: 81 of 81, 0 wrong
========= ERROR SUMMARY: 57 errors (37 not printed)
"""
RACE = """========= COMPUTE-SANITIZER
========= Error: Race reported between Write access at tile_kernel+0x120 and Read access at tile_kernel+0x1f0
cases: 81 of 81, 1 wrong
========= RACECHECK SUMMARY: 2 hazards displayed (2 errors, 0 warnings)
"""
UNSUPPORTED = """========= COMPUTE-SANITIZER
========= Error: Device not supported. Please refer to the "Supported Devices" section of the sanitizer documentation
Traceback (most recent call last):
RuntimeError: CUDA error: unknown error
========= ERROR SUMMARY: 1 error
"""


@pytest.mark.parametrize(
    ("text", "code", "verdict"),
    [
        (CLEAN, 0, "clean: 81 of 81 cases"),
        (RACE_FREE, 0, "clean: 40 of 81 cases"),
        (OUT_OF_BOUNDS, 0, "errors: 57: Invalid __global__ write of size 1 bytes; at void texfilters::tile_kernel"),
        (RACE, 1, "errors: 2: Error: Race reported between Write access"),
        (UNSUPPORTED, 1, "refused: Error: Device not supported."),
        (CLEAN.replace("0 wrong", "3 wrong"), 1, "failed: 3 of 81 cases are wrong"),
        # Nothing ran, yet the summary is clean.
        ("========= COMPUTE-SANITIZER\n========= ERROR SUMMARY: 0 errors\n", 0, "failed: the cases ended with code 0"),
        ("========= COMPUTE-SANITIZER\n", None, "out of time"),
        ("sh: compute-sanitizer: cannot execute\n", 126, "refused: sh: compute-sanitizer: cannot execute"),
        ("", 1, "refused: no output"),
    ],
)
def test_what_the_sanitizer_found(text, code, verdict):
    assert gpu_parts.sanitizer_verdict(text, code).startswith(verdict)


class TestRecords:
    @staticmethod
    def record(test, outcome, text=""):
        return {"test": test, "outcome": outcome, "seconds": 1.0, "text": text}

    def test_each_test_counts_once(self):
        lines = [
            ("a", "started"),
            ("a", "passed"),
            ("b", "started"),
            ("b", "passed"),
            ("b", "failed"),
            ("c", "skipped"),
        ]
        found = gpu_parts.tests_found([self.record(*line) for line in lines], [])
        assert (found["ok"], found["passed"], found["failed"], found["skipped"]) == (False, 1, 1, 1)
        assert gpu_parts.tests_found([self.record("a", "started"), self.record("a", "passed")], [])["ok"]

    def test_a_test_that_took_its_process_along_has_failed(self):
        found = gpu_parts.tests_found([self.record("a", "passed"), self.record("b", "started")], [])
        assert found["failures"] == [{"test": "b", "text": "was running when its process ended"}]

    def test_nothing_run_is_no_success(self):
        assert not gpu_parts.tests_found([], [])["ok"]
        assert not gpu_parts.tests_found([self.record("a", "skipped", "needs an NVIDIA GPU")], [])["ok"]

    def test_a_run_goes_on_where_the_last_one_died(self, tmp_path):
        """Four tests in two shards; one kills its process, one fails."""
        (tmp_path / "test_some.py").write_text(
            "import os, pytest\n"
            "def test_a(): pass\n"
            "def test_b(): os.abort()\n"
            "def test_c(): assert 1 == 2\n"
            "def test_d(): pytest.skip('not here')\n"
        )
        record = tmp_path / "record.jsonl"
        for shard in ("1/2", "1/2", "2/2", "2/2"):
            command = [sys.executable, "-m", "pytest", "-p", "gpu_recorder", "-p", "no:cacheprovider", str(tmp_path)]
            command += [f"--record={record}", f"--shard={shard}", f"--rootdir={tmp_path}", "-c", "/dev/null"]
            gpu_parts.run(command, 60, tmp_path / "log")
        found = gpu_parts.tests_found(gpu_recorder.read(record), [])
        assert (found["passed"], found["failed"], found["skipped"]) == (1, 2, 1)
        assert found["why_skipped"] == {"Skipped: not here": 1}
        assert {f["text"] for f in found["failures"]} == {"was running when its process ended", "assert 1 == 2"}

    def test_half_a_line_is_dropped(self, tmp_path):
        (tmp_path / "record").write_text('{"test": "a", "outcome": "passed"}\n{"test": "b", "outc')
        assert [record["test"] for record in gpu_recorder.read(tmp_path / "record")] == ["a"]

    def test_every_file_with_gpu_tests_is_found(self):
        names = {path.name for path in gpu_parts.cuda_tests(ROOT / "tests")}
        assert {"test_cuda.py", "test_cuda_tiles.py", "test_cuda_calls.py"} <= names
        assert "test_medpy.py" not in names


def row(case, peer, **facts):
    base = {"case": case, "peer": peer, "shape": [256, 3, 224, 224], "dtype": "uint8", "option": 1, "coupling": "none"}
    base |= {"niter": 20, "images": 256, "ms": None, "images_per_s": None, "bound_ms": 0.4, "share_of_bound": 0.8}
    return base | {"error_max": 0.5, "peak_mb": 38.5, "content": "photos"} | facts


def filter_row(case, peer, **facts):
    described = gpu_filter_peers.described(case, peer) | {"images": case.images, "images_per_s": 1.0}
    described |= {"bound_ms": 0.1, "share_of_bound": 0.8, "error_max": 0.5, "differing": 0.0001, "peak_mb": 38.5}
    return described | {"content": "photos"} | facts


def report(rows, **facts):
    described = {"date": "2026-11-20", "commit": "abc", "device": "NVIDIA H200", "driver": "1", "cuda": "13.0"}
    described |= {"python": "3.12.3", "packages": {"torch": "2.11.0"}, "parts": {}}
    return described | {"targets": gpu_report.targets(rows, "NVIDIA H200"), "rows": rows} | facts


class TestTables:
    ROWS = (
        row("exponential", "native", ms=0.6, images_per_s=427_000),
        row("exponential", "triton", why="triton is not installed"),
        row("exponential", "torch eager", ms=40.0, images_per_s=1600, images=64),
        row("Tukey", "native", option=3, why="out of time", error_max=None, peak_mb=None, share_of_bound=None),
    )

    def test_of_the_readme(self, monkeypatch, tmp_path):
        parts = {part: {"ok": True} for part in ("build", "tests", "timings", "sanitize")}
        (tmp_path / "gpu-nvidia-h200.json").write_text(machine.as_json(report(self.ROWS, parts=parts)))
        (tmp_path / "gpu-other.json").write_text(machine.as_json(report([], date="2026-12-01")))  # without timings
        monkeypatch.setattr(tables, "RESULTS", tmp_path)
        text = tables.rewritten("<!-- table: gpu-diffusion -->\nold\n<!-- end -->")
        assert "| 256 x RGB 224x224, uint8 | 0.600 | 427,000 | 80% | – | 40.0 for 64 |  | 0.50 | 38.5 |" in text
        assert "| 256 x RGB 224x224, uint8, Tukey | – |  |  |  |  |  |  |  |" in text
        assert "Missed targets: exponential (native)." in text
        assert "NVIDIA H200, driver 1, CUDA 13.0; 2026-11-20; commit abc" in text

    @pytest.mark.parametrize("parts", [{}, {"tests": {"ok": False}}])
    def test_of_a_run_that_failed_or_left_parts_out_is_refused(self, monkeypatch, tmp_path, parts):
        whole = {part: {"ok": True} for part in ("build", "timings", "sanitize")} if parts else {}
        (tmp_path / "gpu-nvidia-h200.json").write_text(machine.as_json(report(self.ROWS, parts=whole | parts)))
        monkeypatch.setattr(tables, "RESULTS", tmp_path)
        with pytest.raises(SystemExit, match=r"not ok: .*tests"):
            tables.rewritten("<!-- table: gpu-diffusion -->\nold\n<!-- end -->")

    def test_without_a_result_it_says_so(self, monkeypatch, tmp_path):
        monkeypatch.setattr(tables, "RESULTS", tmp_path)
        for name in ("gpu-diffusion", "gpu-filters", "gpu-loader"):
            text = tables.rewritten(f"<!-- table: {name} -->\nold 123\n<!-- end -->")
            assert text == f"<!-- table: {name} -->\n\nNot yet measured on a GPU.\n\n<!-- end -->"

    def test_at_the_end_of_the_output(self):
        parts = {"tests": {"ok": False, "failed": 1, "failures": [{"test": "a", "text": "wrong"}], "why": None}}
        text = gpu_report.table(report(self.ROWS, parts=parts))
        assert "tests: FAILED" in text
        assert "exponential, native: images_per_s 427000, to be >= 500,000: MISSED" in text
        assert "Tukey, native: images_per_s None, to be >= 600,000: open" in text
        everything = [row(case.name, peer, ms=1.0, images_per_s=1.0) for case in gpu_cases.CASES for peer in case.peers]
        everything += [
            filter_row(case, peer, ms=123.456, graph_ms=123.456) for case in gpu_filters.FILTERS for peer in case.peers
        ]
        whole = gpu_report.table(report(everything))
        assert len(whole.splitlines()) < 100
        assert len(whole) < 12_000  # what is kept of an output
        line = next(line for line in whole.splitlines() if line.startswith("median 3:"))
        assert "native 123.5, triton 123.5, CV-CUDA 123.5" in line
        assert "differing 0.0001" in line

    FILTERS = (
        (0, "native", {"ms": 0.2, "images_per_s": 1_280_000}),
        (0, "triton", {"ms": 0.5}),
        (0, "CV-CUDA", {"why": "CV-CUDA is not installed"}),
        (0, "kornia", {"ms": 40.0, "images": 32, "dtype": "float32"}),
        (1, "native", {"ms": 0.05, "images_per_s": 5_120_000, "differing": 0.0}),
        (-1, "native", {"ms": 0.25}),
        (-1, "torch.compile", {"ms": 3.0}),
    )

    def test_of_the_filters(self, monkeypatch, tmp_path):
        rows = [filter_row(gpu_filters.FILTERS[i], peer, **facts) for i, peer, facts in self.FILTERS]
        parts = {part: {"ok": True} for part in ("build", "tests", "timings", "sanitize")}
        (tmp_path / "gpu-nvidia-h200.json").write_text(machine.as_json(report([*self.ROWS, *rows], parts=parts)))
        monkeypatch.setattr(tables, "RESULTS", tmp_path)
        text = tables.rewritten("<!-- table: gpu-filters -->\nold\n<!-- end -->")
        assert "| bilateral d=9, RGB, 256 x 224x224 | 0.200 | 1,280,000 | 80% | 0.500 | – | 40.0 for 32 |" in text
        assert "|  |  | 3.00 | 0.50 | 0.010 | 38.5 |" in text
        assert "| median 3, 256 x 224x224 | 0.0500 | 5,120,000 |" in text
        assert "Missed targets: median 3 (native)." in text
        assert "exponential" not in text
        assert "bilateral" not in tables.rewritten("<!-- table: gpu-diffusion -->\nold\n<!-- end -->")

    def test_targets_are_an_h200s(self):
        met = {t["met"] for t in gpu_report.targets(list(self.ROWS), "NVIDIA A100")}
        assert met == {None}

"""The timings of the GPU report, on machines without a GPU: bounds, and rows by a timer that tells times by rote."""

import dataclasses
import importlib.util
import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from texfilters import _backends

sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))

import gpu_bounds
import gpu_cases
import gpu_filters
import gpu_peers
import gpu_timing
import timed_filters

H200 = gpu_bounds.Rates(multiprocessors=132, capability=(9, 0), clock_mhz=1900.0, copy_gb_s=4300.0)


class TestBounds:
    def work(self, shape=(256, 3, 224, 224), steps=256 * 20, size=1, **other):
        arguments = {"ndim": len(shape) - 2, "option": 1, "coupling": "none"} | other
        return gpu_bounds.work(shape, steps, element_size=size, **arguments)

    def test_special_functions_bound_the_exponential(self):
        limits = gpu_bounds.bounds(self.work(), H200)
        assert max(limits, key=limits.get) == "special functions"
        assert limits["special functions"] == pytest.approx(2 * 256 * 3 * 224**2 * 20 / 16 / (132 * 1.9e9) * 1e3)
        assert limits["memory"] == pytest.approx(2 * 256 * 3 * 224**2 / 4300e9 * 1e3)

    def test_tukey_has_none(self):
        limits = gpu_bounds.bounds(self.work(option=3), H200)
        assert set(limits) == {"issue", "memory"}
        assert limits["issue"] == pytest.approx(2 * 5 * 256 * 3 * 224**2 * 20 / 128 / (132 * 1.9e9) * 1e3)

    def test_coupled_channels_share_an_edge(self):
        alone, coupled = self.work(), self.work(coupling="l2")
        assert (coupled.edges, coupled.channels) == (alone.edges / 3, 3)

    def test_volumes_have_three_edges_a_pixel(self):
        assert self.work((1, 1, 8, 9, 10), 20).edges == 3 * 720 * 20

    def test_untouched_images_are_still_moved(self):
        half = self.work(steps=128 * 15)
        assert half.bytes_once == self.work().bytes_once
        assert half.edges == self.work().edges * 0.375

    def test_what_is_unknown_gives_no_bound(self):
        unknown = gpu_bounds.Rates(132, (9, 0), None, None)
        assert gpu_bounds.bounds(self.work(), unknown) == {}
        assert gpu_bounds.launched_bound(self.work(), unknown) is None
        assert gpu_bounds.launched_bound(self.work(), H200) == pytest.approx(1.434, rel=1e-3)


class TestFilterBounds:
    def bounds(self, filter, dtype="uint8"):
        shape = (256, filter.channels, 224, 224)
        return gpu_bounds.filter_bounds(filter, shape, dtype, H200)

    def test_memory_is_read_and_written_once(self):
        pixels = 256 * 224**2
        assert self.bounds(timed_filters.GRAY) == {"memory": pytest.approx(4 * pixels / 4300e9 * 1e3)}
        assert self.bounds(timed_filters.gaussian(2, 3), "float32")["memory"] == pytest.approx(24 * pixels / 4300e6)
        assert self.bounds(timed_filters.median(3))["memory"] == pytest.approx(2 * pixels / 4300e6)

    def test_a_round_window_of_9_has_49_neighbors(self):
        limits = self.bounds(timed_filters.bilateral(9, 3))
        clocks = 132 * 1.9e6
        assert limits["issue"] == pytest.approx(49 * 6 * 256 * 224**2 / 128 / clocks)
        assert limits["shared memory"] == pytest.approx(49 * 256 * 224**2 / 32 / clocks)
        assert self.bounds(timed_filters.bilateral(9, 3), "float32")["special functions"] == pytest.approx(
            0.157, rel=0.01
        )

    def test_targets_leave_room_above_the_bound(self):
        cases = {case.name: case for case in gpu_filters.FILTERS}
        for target in gpu_filters.FILTER_TARGETS:
            case = cases[target.case]
            least = max(gpu_bounds.filter_bounds(case.filter, case.shape, case.dtype, H200).values())
            assert 0.2 * target.value < least < target.value, target

    def test_what_is_unknown_gives_no_bound(self):
        unknown = gpu_bounds.Rates(132, (9, 0), None, None)
        assert gpu_bounds.filter_bounds(timed_filters.CARTOON, (1, 3, 8, 8), "uint8", unknown) == {}


class FakeTimer:
    """Runs what it is given, on any device, and tells times by rote."""

    def __init__(self):
        self.told = 0

    def ms(self, call, calls, host_ms=0.0):
        for _ in range(calls):
            call()
        self.told += 1
        return 0.5 + 0.01 * (self.told % 3)

    def host_ms(self, call, calls):
        return 0.02

    wall_ms = host_ms

    def peak_mb(self, call):
        return 1.5

    def graph_ms(self, call, calls):
        raise RuntimeError("no graphs here")


@pytest.fixture
def fast(monkeypatch):
    torch.set_num_threads(1)  # tiny images; conftest.py puts the threads back
    monkeypatch.setattr(gpu_timing, "SAMPLED", 1.0)
    monkeypatch.setattr(gpu_timing, "NEEDED", {})


def measure(case, left=100.0, mhz=1800.0):
    clock = SimpleNamespace(mhz=lambda spans: mhz)
    return gpu_timing.measure(case, FakeTimer(), clock, H200, lambda: left, "cpu", 1000)


class TestTimings:
    def test_rows(self, fast):
        if _backends._absence("native", "cpu") is not None:
            pytest.skip("needs the native backend")
        peers = ("native", "native, all at 20", "triton", "torch eager")
        case = gpu_cases.Case("some", (4, 3, 32, 40), mixed=True, peers=peers, small=True)
        ours, whole, triton, eager = measure(case)
        assert ours["ms"] == pytest.approx(0.51, abs=0.01)
        assert ours["images_per_s"] == pytest.approx(4e3 / ours["ms"], rel=1e-3)
        assert ours["error_ok"]
        assert 0.4 < ours["error_max"] <= ours["error_bound"] == 0.52
        assert ours["share_of_bound"] == pytest.approx(ours["bound_ms"] / ours["ms"], rel=2e-3)
        assert ours["clock_mhz"] == 1800
        assert ours["share_of_all_at_20"] == pytest.approx(ours["ms"] / whole["ms"], rel=1e-3)
        assert ours["why_no_graph"] == "RuntimeError: no graphs here"
        assert whole["niter"] == 20
        assert triton["ms"] is None
        assert "TRITON_INTERPRET" in triton["why"] or "not installed" in triton["why"]
        assert eager["error_ok"]
        json.dumps([ours, whole, triton, eager])

    @pytest.mark.parametrize("options", [{"option": 3}, {"coupling": "l2"}, {"dtype": "float16"}, {"dtype": "float32"}])
    def test_every_kind_of_case(self, fast, options):
        for shape in ((2, 3, 32, 33), (1, 1, 16, 16, 16)):
            (eager,) = measure(gpu_cases.Case("some", shape, peers=("torch eager",), **options))
            assert eager["error_ok"], eager

    def test_a_contender_that_fails_leaves_the_others(self, fast, monkeypatch):
        real = gpu_peers.job

        def job(name, case, device):
            if name == "torch.compile":
                raise RuntimeError("no compiler")
            return real(name, case, device)

        monkeypatch.setattr(gpu_peers, "job", job)
        case = gpu_cases.Case("some", (2, 3, 32, 32), peers=("torch.compile", "torch eager"))
        compiled, eager = measure(case)
        assert (compiled["ms"], compiled["why"]) == (None, "RuntimeError: no compiler")
        assert eager["error_ok"]
        assert eager["images_per_s"] == pytest.approx(1e3 * 2 / eager["ms"], rel=1e-3)
        assert {row["why"] for row in measure(case, left=1.0)} == {"out of time"}

    def test_the_whole_process(self, fast, monkeypatch):
        """On a device that is not there: what is written after each case, and what time does not allow."""
        properties = SimpleNamespace(major=9, minor=0, multi_processor_count=132, L2_cache_size=1000)
        monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: properties)
        monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
        timer = FakeTimer()
        timer.spin_mhz = lambda: 1755.0
        monkeypatch.setattr(gpu_timing.gpu_clock, "CudaTimer", lambda: timer)
        monkeypatch.setattr(gpu_timing.gpu_clock, "copy_gb_s", lambda timer: 4000.0)
        monkeypatch.setattr(gpu_timing, "libraries", dict)
        case = gpu_cases.Case("some", (2, 3, 16, 17), peers=("torch eager",))
        records = []
        gpu_timing.run([case], records.append, time.monotonic() + 100, "cpu")
        assert records[0] == {"copy_gb_s": 4000.0, "spin_mhz": 1755.0, "l2_mb": 0.001}
        (timed,) = records[1]["rows"]
        assert (timed["clock_mhz"], timed["clock_source"]) == (1755.0, "a kernel that counts cycles")
        late = []
        gpu_timing.run([case], late.append, time.monotonic() - 1, "cpu")
        assert late[1]["rows"][0]["why"] == "out of time"

    def test_the_clock_is_that_of_the_spans(self):
        clock = gpu_timing.gpu_clock.SmClock.__new__(gpu_timing.gpu_clock.SmClock)
        clock._times, clock._mhz = [1.0, 2.0, 3.0, 4.0], [100.0, 200.0, 300.0, 400.0]
        assert clock.mhz([(1.5, 2.5), (3.9, 9.0)]) == 300
        assert clock.mhz([(5.0, 6.0)]) is None

    def test_a_wrong_result_is_told(self):
        case = gpu_cases.Case("some", (1, 1, 9, 9), "float32")
        image, niter = torch.rand(1, 1, 9, 9) * 255, torch.tensor([20])
        assert not gpu_peers.errors(case, image, image, niter)["error_ok"]
        broken = gpu_peers.errors(case, image, image * torch.nan, niter)
        assert (broken["error_ok"], broken["error_max"]) == (False, None)

    def test_cases_have_names_of_their_own_and_targets_exist(self):
        names = [case.name for case in gpu_filters.ALL_CASES]
        assert len(set(names)) == len(names)
        for target in gpu_filters.ALL_TARGETS:
            assert target.peer in next(case for case in gpu_filters.ALL_CASES if case.name == target.case).peers

    def test_what_has_a_target_comes_first_and_the_diffusion_before_the_others(self):
        aimed_at = {target.case for target in gpu_filters.ALL_TARGETS}
        cases = gpu_filters.ALL_CASES
        assert {case.name for case in cases[: len(aimed_at)]} == aimed_at
        kinds = [isinstance(case, gpu_filters.FilterCase) for case in cases[: len(aimed_at)]]
        assert kinds == sorted(kinds)
        assert cases[0] is gpu_cases.CASES[0]

    def test_half_of_the_images_are_untouched(self):
        niter = gpu_cases.Case("some", (256, 3, 224, 224), mixed=True).niter()
        assert (niter == 0).sum() == 128
        assert niter[niter > 0].unique().tolist() == list(range(10, 21))

    def test_drawn_images_take_the_place_of_photos(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "photos", None)
        for shape in ((2, 3, 30, 40), (1, 1, 8, 9, 10)):
            image, content = gpu_cases.images(gpu_cases.Case("some", shape), "cpu")
            assert content == "drawn"
            assert (tuple(image.shape), image.dtype) == (shape, torch.uint8)
            assert image.float().std() > 10


class TestFilters:
    """Every contender that a CPU can run, with the reference in the place of our kernels."""

    @pytest.fixture
    def by_reference(self, fast, monkeypatch):
        bound = timed_filters.Filter.bound
        monkeypatch.setattr(timed_filters.Filter, "bound", lambda self, backend: bound(self, "reference"))
        monkeypatch.setattr(gpu_timing.gpu_filter_peers, "absence", lambda name, case, device: None)

    @pytest.mark.parametrize(
        "case",
        list({case.filter.name + case.dtype: case for case in gpu_filters.FILTERS}.values()),
        ids=lambda case: case.name,
    )
    def test_rows(self, by_reference, case):
        peers = tuple(name for name in case.peers if name not in ("CV-CUDA", "cupy", "torch.compile"))
        case = dataclasses.replace(case, images=3, side=80, peers=peers)
        rows = {row["peer"]: row for row in measure(case)}
        assert set(rows) == set(peers)
        ours = rows["native"]
        assert ours["error_ok"], ours
        assert ours["share_of_bound"] == pytest.approx(ours["bound_ms"] / ours["ms"], rel=2e-3)
        assert ours.get("why_no_graph") == ("RuntimeError: no graphs here" if case.small else None)
        for row in rows.values():
            assert row["ms"] is not None, row
            assert row["images"] == 3
        if "kornia" in rows and case.filter.function == "gaussian_blur":
            assert rows["kornia"]["error_max"] < 1e-3
        json.dumps(list(rows.values()))

    @pytest.mark.parametrize("name", ["adaptive mean 9", "Gaussian sigma 2, RGB", "bilateral d=9, RGB"])
    def test_what_is_compiled_is_the_reference(self, monkeypatch, name):
        monkeypatch.setattr(torch, "compile", lambda function, dynamic: function)
        case = next(case for case in gpu_filters.FILTERS if case.note == "compiled" and case.filter.name == name)
        job = gpu_timing.gpu_filter_peers.job("torch.compile", case, "cpu")
        image, _ = gpu_cases.images(dataclasses.replace(case, images=1, side=40), "cpu")
        assert torch.equal(job.run(image), case.filter.bound("reference")(image))

    def test_who_is_not_there_says_so(self):
        case = gpu_filters.FILTERS[0]
        absence = gpu_timing.gpu_filter_peers.absence
        if not importlib.util.find_spec("cvcuda"):
            assert absence("CV-CUDA", case, "cuda") == "CV-CUDA is not installed"
        assert absence("torch eager", case, "cuda") is None
        odd = SimpleNamespace(filter=SimpleNamespace(function="sharpen"))
        assert absence("reference", odd, "cpu") == "reference has no sharpen"

    def test_a_wrong_result_is_told(self):
        errors = gpu_timing.gpu_filter_peers.errors
        cases = {case.name: case for case in gpu_filters.FILTERS}
        exact = dataclasses.replace(cases["median 3"], images=1)
        image = (torch.rand(1, 1, 40, 40) * 255).to(torch.uint8)
        right = exact.filter.bound("reference")(image)
        wrong = right.clone()
        wrong[0, 0, 7, 7] ^= 1
        assert errors(exact, "native", image, right)["error_ok"]
        assert not errors(exact, "native", image, wrong)["error_ok"]
        average = cases["bilateral d=9, RGB"]
        image = (torch.rand(1, 3, 40, 40) * 255).to(torch.uint8)
        right = average.filter.bound("reference")(image)
        for rows, far, ok in ((0, 0, True), (1, 1, False), (1, 2, False)):
            result = right.clone()
            result[..., :rows, :] = (right[..., :rows, :].int() + far).clamp(0, 255).to(torch.uint8)
            assert errors(average, "native", image, result)["error_ok"] is ok
        whole = cases["bilateral d=9, RGB, float32"]
        broken = errors(whole, "native", image.float(), image.float() * torch.nan)
        assert (broken["error_ok"], broken["error_max"]) == (False, None)

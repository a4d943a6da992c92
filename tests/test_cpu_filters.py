"""The benchmark of the filters on the CPU: who is timed computes what is asked, and what the README makes of it."""

import sys
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))

import cpu_filters
import filter_peers
import machine
import tables
import tables_cpu
from peers import Peer
from timed_filters import PATCHES, bilateral, gaussian, median

FILTERS = {filter.name: filter for filters in cpu_filters.PARTS.values() for filter in filters}


@pytest.fixture
def picture(photo):
    return photo[None, :, 100:160, 100:170].contiguous()


def case_of(filter, picture, dtype=torch.uint8):
    return filter_peers.Case(filter, picture[:, : filter.channels].to(dtype))


class TestPeers:
    @pytest.mark.parametrize("name", FILTERS)
    def test_cv2_is_the_definition_but_for_its_own_roundings(self, picture, name):
        pytest.importorskip("cv2")
        case = case_of(FILTERS[name], picture)
        if not filter_peers.suits_opencv(case):
            pytest.skip("cv2 has nothing of the kind")
        errors = case.errors(Peer("cv2", filter_peers.opencv), filter_peers.opencv(case)(), case.truth())
        if case.filter.function in ("median_blur", "rgb_to_gray", "adaptive_threshold"):
            assert errors["differing"] == 0
        elif case.filter.function == "gaussian_blur":
            assert errors["error_max"] < 2.5  # its weights have 8 bits
        else:
            assert errors["error_max"] <= 1  # gray images with d up to 5 are truncated, where IPP is on

    @pytest.mark.parametrize("name", FILTERS)
    def test_floats_agree_to_1e_3(self, picture, name):
        case = case_of(FILTERS[name], picture, torch.float32)
        for peer, suits in ((filter_peers.opencv, filter_peers.suits_opencv), (filter_peers.kornia, suits_kornia)):
            if suits(case):
                errors = case.errors(Peer("some", peer), peer(case)(), case.truth())
                assert errors["error_max"] < 1e-3 * 255
                assert "differing" not in errors

    def test_the_loop_pastes_patches_of_the_image(self):
        torch.manual_seed(0)
        image = torch.arange(80 * 80, dtype=torch.float32).reshape(1, 1, 80, 80)
        result = filter_peers.python_loop(filter_peers.Case(PATCHES, image))()
        assert result.shape == (1, 1, 1, 80, 80)
        corner = result[0, 0, 0, :16, :16]  # within the first patch, whatever its size
        assert torch.equal(corner - corner[0, 0], image[0, 0, :16, :16])
        assert not torch.equal(result[0, 0, 0], image[0, 0])

    def test_a_large_image_is_judged_by_its_first_rows(self):
        image = (torch.rand(1, 1, 600, 20) * 255).to(torch.uint8)
        case = filter_peers.Case(median(5), image)
        right = case.filter(image, "reference")
        assert case.truth().shape[-2] < 200
        below = right.clone()
        below[..., 300:, :] ^= 1
        within = right.clone()
        within[..., 127, :] ^= 1
        peer = Peer("texfilters", filter_peers.torch_eager)
        assert case.errors(peer, below, case.truth())["differing"] == 0
        assert case.errors(peer, within, case.truth())["differing"] == 1 / 128

    def test_random_patches_have_no_truth(self, picture):
        assert case_of(PATCHES, picture).truth() is None


def suits_kornia(case):
    """Where it computes the same: its bilateral window is square, and the border of its median another one."""
    pytest.importorskip("kornia")
    return case.filter.function in ("gaussian_blur", "rgb_to_gray")


def row(filter, peer, shape, ms, **facts):
    case = filter_peers.Case(filter, torch.empty(shape, dtype=facts.pop("dtype", torch.uint8), device="meta"))
    described = case.described(Peer(peer, filter_peers.opencv))
    base = {"part": "some", "peer": peer, "instruction_set": None, "threads": 1, "ms": ms, "quartiles": [ms, ms]}
    return base | described | {"error_max": 0.5, "differing": 0.0, "peak_mb": 2.5, "same_scheme": True} | facts


class TestTables:
    SMALL, LARGE = (8, 1, 224, 224), (1, 1, 1080, 1920)

    def rows(self):
        d = bilateral(9, 1)
        yield from (row(d, "cv2", self.SMALL, 8.0), row(d, "cv2", self.LARGE, 30.0))
        yield from (row(d, "cv2", self.SMALL, 8.0, threads=2), row(d, "cv2", self.LARGE, 20.0, threads=2))
        facts = {"differing_from_cv2": 0.00001}
        yield from (row(d, "texfilters", self.SMALL, 4.0, **facts), row(d, "texfilters", self.LARGE, 10.0, **facts))
        yield from (row(d, "texfilters", self.SMALL, 2.0, threads=2), row(d, "texfilters", self.LARGE, 5.0, threads=2))
        for shape in ((8, 3, 224, 224), (1, 3, 1080, 1920)):
            loop = row(PATCHES, "Python loop", shape, 40.0)
            ours = row(PATCHES, "texfilters", shape, 1.0)
            for one in (loop, ours):
                del one["error_max"], one["differing"]
                yield one
        blur = gaussian(2, 3)
        for peer, ms, mb in (("cv2", 10.0, 5.0), ("kornia", 80.0, 60.0), ("texfilters", 5.0, 4.9)):
            yield row(blur, peer, (8, 3, 224, 224), ms, dtype=torch.float32, peak_mb=mb)

    @pytest.fixture
    def results(self, monkeypatch, tmp_path):
        monkeypatch.setattr(tables, "RESULTS", tmp_path)
        return tmp_path / "cpu_filters_some.json"

    def write(self, path):
        described = {"date": "2026-11-20", "commit": "abc", "cpu": "some", "cores": 2, "instruction_set": "avx2"}
        described |= {"python": "3.12.3", "packages": {"torch": "2.11.0"}, "compiler": None, "threads": [1, 2]}
        path.write_text(machine.as_json(described | {"rows": list(self.rows())}))

    def test_of_bytes(self, results):
        self.write(results)
        text = tables.rewritten("<!-- table: cpu-filters -->\n<!-- end -->")
        line = "| bilateral d=9, gray | 0.500 | 1.00 | 2.00 | 4.00 | 10.0 | 30.0 | 3.00 | 4.00 | 0.0010 | 0.50 | 2.50 |"
        assert line in text
        assert "| patch negatives | 0.125 | 5.00 * | 40.0 |  | 1.00 | 40.0 * | 40.0 |  |  |  | 2.50 |" in text
        assert "Gaussian sigma 2" not in text
        assert "(RGB: 6.2 MB)" in text

    def test_in_brief(self, results, monkeypatch):
        monkeypatch.setattr(tables_cpu, "BRIEF", ("bilateral d=9, gray", "patch negatives"))
        self.write(results)
        lines = tables.rewritten("<!-- table: cpu-filters-brief -->\n<!-- end -->").splitlines()
        assert [line for line in lines if line.startswith(("| bilateral", "| patch"))] == [
            "| bilateral d=9, gray | 0.500 | 2.00 | 4.00 | 10.0 | 3.00 | 4.00 |",
            "| patch negatives * | 0.125 | 40.0 |  | 1.00 | 40.0 |  |",
        ]

    def test_of_floats(self, results):
        self.write(results)
        text = tables.rewritten("<!-- table: cpu-filters-float -->\n<!-- end -->")
        assert (
            "| Gaussian sigma 2, RGB | 5.00 | 10.0 | 80.0 | 2.00 | 16.0 |  | 0.50 | 0.50 | 4.90 | 5.00 | 60.0 |" in text
        )
        assert "bilateral d=9" not in text

    def test_without_a_result_they_say_so(self, results):
        for name in ("cpu-filters", "cpu-filters-float"):
            text = tables.rewritten(f"<!-- table: {name} -->\nold 123\n<!-- end -->")
            assert text == f"<!-- table: {name} -->\n\nNot yet measured.\n\n<!-- end -->"

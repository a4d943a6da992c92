"""What runners of studies share: what is left out, what is written, and what a failure does."""

import argparse
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))

import study_runner


@dataclass(frozen=True)
class Study:
    needs_gpu: bool


@dataclass(frozen=True)
class Cell:
    name: str


CELLS = [Cell("study_a_seed0"), Cell("study_b_seed0"), Cell("study_a_seed1")]


def run_all(run, cells, results):
    with ThreadPoolExecutor(1) as pool:
        return study_runner.run_all(pool, run, cells, 3, results, lambda result: f"{result['epochs']} epochs")


class TestArguments:
    def test_a_study_of_hours_wants_a_gpu(self, monkeypatch, capsys, tmp_path):
        studies = {"long": Study(needs_gpu=True), "short": Study(needs_gpu=False)}
        parser = study_runner.parser("Text.", list(studies), tmp_path / "results", "a_*")
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        monkeypatch.setattr(sys, "argv", ["runs", "DATA", "--study=long"])
        with pytest.raises(SystemExit):
            study_runner.parsed(parser, studies)
        assert "study long takes hours without a GPU, and there is none" in capsys.readouterr().err
        assert not (tmp_path / "results").exists()

        monkeypatch.setattr(sys, "argv", ["runs", "DATA", "--study=short", "--at-once=4"])
        given = study_runner.parsed(parser, studies)
        assert vars(given) == vars(
            argparse.Namespace(
                data=Path("DATA"), study="short", cells="*", epochs=None, at_once=4, results=tmp_path / "results"
            )
        )
        assert (tmp_path / "results").is_dir()

    def test_cells_by_pattern_in_their_order(self):
        assert study_runner.chosen(CELLS, "*_a_*") == [CELLS[0], CELLS[2]]
        assert study_runner.chosen(CELLS, "*") == CELLS
        assert study_runner.chosen(CELLS, "a_*") == []


class TestRuns:
    def test_what_has_a_result_is_left_out(self, capsys, tmp_path):
        (tmp_path / "study_b_seed0.json").write_text("{}")
        assert study_runner.missing(CELLS, tmp_path) == [CELLS[0], CELLS[2]]
        assert capsys.readouterr().out == "3 cells, 2 to do\n"

    def test_one_that_fails_leaves_the_others(self, capsys, tmp_path):
        def run(cell, epochs):
            if cell == CELLS[1]:
                raise ValueError("the loss must stay finite")
            return {"name": cell.name, "epochs": epochs}

        assert run_all(run, CELLS, tmp_path) is False
        assert "study_b_seed0: ValueError: the loss must stay finite\n" in (printed := capsys.readouterr().out)
        assert "study_a_seed1: 3 epochs\n" in printed
        # Nothing half written or temporary beside them.
        assert sorted(path.name for path in tmp_path.iterdir()) == ["study_a_seed0.json", "study_a_seed1.json"]
        assert json.loads((tmp_path / "study_a_seed1.json").read_text()) == {"name": "study_a_seed1", "epochs": 3}
        assert run_all(run, CELLS[:1], tmp_path) is True

    def test_a_result_that_cannot_be_written_leaves_no_file_and_starts_no_other_run(self, tmp_path):
        begun = []

        def run(cell, epochs):
            begun.append(cell)
            time.sleep(0.02)
            return {"epochs": object()}

        with pytest.raises(TypeError, match="not JSON serializable"):
            run_all(run, CELLS * 20, tmp_path)
        assert list(tmp_path.iterdir()) == []
        assert len(begun) < len(CELLS * 20)

    def test_workers_share_the_cores(self, monkeypatch):
        monkeypatch.setattr(study_runner.machine, "cores", lambda: 4)
        with study_runner.processes(2, _noted, "given") as pool:
            assert pool.submit(_found).result() == ("given", 2)


_note: list[str] = []


def _noted(value):
    _note.append(value)


def _found():
    return _note[0], torch.get_num_threads()


def test_a_result_says_what_it_was_measured_with():
    about = study_runner.described()
    assert about["packages"]["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert {"date", "commit"} <= about.keys()
    assert ("device" in about) == torch.cuda.is_available()

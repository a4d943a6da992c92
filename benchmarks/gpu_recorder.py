"""A plugin of pytest that writes a line of JSON for every test, so that a run that dies leaves what it knew.

    pytest -p gpu_recorder --record FILE [--shard 2/4]

Tests that FILE already names are not run again: a run goes on where the last one died. It stops by itself after an
error that the GPU does not recover from, since every test after it would fail as well.
"""

import json
from pathlib import Path
from typing import Any

import pytest

_LINES, _CHARACTERS = 6, 600


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record", type=Path, help="append what every test came to")
    parser.addoption("--shard", default="1/1", help="I/N: every Nth test, from the Ith on")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Recorder(config.getoption("--record"), config.getoption("--shard")))


class Recorder:
    def __init__(self, path: Path, shard: str) -> None:
        self._path = path
        self._first, self._every = map(int, shard.split("/"))
        self._session: pytest.Session | None = None

    def _write(self, test: str, outcome: str, seconds: float = 0.0, text: str = "") -> None:
        with self._path.open("a") as file:
            line = {"test": test, "outcome": outcome, "seconds": round(seconds, 2), "text": text}
            file.write(json.dumps(line) + "\n")

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        self._session = session

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        known = {record["test"] for record in read(self._path)}
        mine = items[self._first - 1 :: self._every]
        rest = [item for item in mine if item.nodeid not in known]
        config.hook.pytest_deselected(items=[item for item in items if item not in set(rest)])
        items[:] = rest

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._write(report.nodeid, "failed", text=ending(report.longreprtext))

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._write(nodeid, "started")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or report.failed or report.skipped:
            text = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longreprtext
            self._write(report.nodeid, report.outcome, report.duration, ending(text))
        if report.failed and self._session is not None and not gpu_is_well():
            self._session.shouldstop = "the GPU no longer answers this process"


def gpu_is_well() -> bool:
    import torch

    try:
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
    except RuntimeError:
        return False
    return True


def ending(text: str) -> str:
    """What pytest marks as the error, or else the last lines."""
    lines = text.splitlines()
    marked = [line[1:].strip() for line in lines if line.startswith("E ")]
    return "\n".join(marked[:_LINES] or lines[-_LINES:])[:_CHARACTERS]


def read(path: Path) -> list[dict[str, Any]]:
    """The lines written so far; one that a killed process left half written is dropped."""
    records = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            records.append(json.loads(line))
        except ValueError:
            continue
    return records

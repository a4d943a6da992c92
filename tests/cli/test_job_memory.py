"""The memory of a folder job does not grow with the folder."""

import contextlib
import time
from pathlib import Path

import pytest

from cli_helpers import Outcome
from job_helpers import Job, contents

# An index of 16 bytes a file, and what the allocator and a growing manifest's page tables make of it.
BYTES_A_FILE = 100
SLACK = 8 << 20


def own_memory(pid: int) -> int:
    """Bytes that a process shares with no file."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


def peaks(*arguments: object) -> tuple[int, int, Outcome]:
    """The most memory of the job's first process, and of any of its workers."""
    parent = worker = 0
    with Job(*arguments, fresh=True) as job:
        while job.poll() is None:
            with contextlib.suppress(OSError):  # one that has just ended
                parent = max(parent, own_memory(job.pid))
                worker = max([worker, *map(own_memory, job.workers())])
            time.sleep(0.02)
        return parent, worker, job.finish()


@pytest.mark.slow
def test_many_small_files(tmp_path):
    header = b"P5 4 4 255\n"
    folders, each = 40, 1000
    for folder in range(folders):
        (tmp_path / "many" / str(folder)).mkdir(parents=True)
        for i in range(each):
            (tmp_path / "many" / str(folder) / f"{i}.pgm").write_bytes(header + (folder * each + i).to_bytes(16, "big"))
    (tmp_path / "few").mkdir()
    (tmp_path / "many" / "0").rename(tmp_path / "few" / "0")

    few_parent, few_worker, outcome = peaks(tmp_path / "few", tmp_path / "few target")
    assert (outcome.code, outcome.err) == (0, "")
    parent, worker, outcome = peaks(tmp_path / "many", tmp_path / "many target")
    assert (outcome.code, outcome.err) == (0, "")
    files = (folders - 1) * each
    assert len(contents(tmp_path / "many target")) == files
    assert parent - few_parent < SLACK + BYTES_A_FILE * files
    assert worker - few_worker < SLACK
    # The same of a run that finds all of it done, and keeps its index of what is.
    parent, _, outcome = peaks(tmp_path / "many", tmp_path / "many target")
    assert (outcome.code, outcome.err) == (0, "")
    assert parent - few_parent < SLACK + BYTES_A_FILE * files

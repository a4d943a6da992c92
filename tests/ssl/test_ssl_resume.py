"""A run that is killed at any moment, and resumed, gives the weights of the undisturbed one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("lightning", reason="needs lightning")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_run_that_is_killed_and_resumed_is_the_undisturbed_one(tmp_path):
    script = Path(__file__).with_name("killed_runs.py")
    result = subprocess.run(
        [sys.executable, script, tmp_path, "0"],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout.splitlines()[-1])
    assert report["killed"] >= 4
    assert report["steps"] == sorted(report["steps"])  # a checkpoint once there is never lost
    assert len(set(report["steps"])) >= 4
    assert report["end"] == 40
    assert report["different"] == []

"""What the emulated kernels are measured by, summed up at the end."""

import sys
from pathlib import Path

import pytest
import torch

# The tests share modules that stand beside them.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def filled_memory():
    """New memory holds NaN, or the largest integer: so what nobody has written shows."""
    torch.set_num_threads(1)  # others would wait for each other longer than they work
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def pytest_terminal_summary(terminalreporter):
    cases = sys.modules.get("emulated_cases")
    if cases is None or not cases.differences:
        return
    terminalreporter.section("CUDA kernels on the emulator")
    worst, of = max(cases.differences)
    terminalreporter.line(f"{len(cases.differences)} comparisons with the definition in float64")
    terminalreporter.line(f"largest difference beyond rounding: {worst:.2g} grey levels ({of})")
    if cases.defects:
        terminalreporter.line(f"planted defects found: {sum(cases.defects)} of {len(cases.defects)}")

"""What a call adds to a process's memory at its peak, measured in a process of its own."""

import subprocess
import sys
from pathlib import Path

# VmHWM, not getrusage(): the latter begins at the size of the process that started this one.
_PEAK = """
import re, torch
from texfilters import anisotropic_diffusion
def peak(): return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
"""


def run(script: str) -> list[float]:
    """The numbers that a script prints, which finds torch, anisotropic_diffusion and peak() in MiB."""
    result = subprocess.run(
        [sys.executable, "-c", _PEAK + script], capture_output=True, text=True, check=True, cwd=Path(__file__).parent
    )
    return [float(word) for word in result.stdout.split()]

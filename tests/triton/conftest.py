"""These tests run Triton's kernels on the CPU, in a process of their own: `TRITON_INTERPRET=1 pytest tests/triton`.

Triton decides when it is imported whether its kernels are compiled or interpreted, for good and for all of them.
"""

import os
from pathlib import Path

import pytest


def pytest_collection_modifyitems(items):
    if os.environ.get("TRITON_INTERPRET") != "1":
        skip = pytest.mark.skip(reason="runs in a process of its own, under TRITON_INTERPRET=1")
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(skip)

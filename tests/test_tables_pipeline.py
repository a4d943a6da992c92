"""The README's table of pipelines: ratios are those of the parts; what was not measured has no line."""

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent.parent / "benchmarks"))

import tables_pipeline

JOB = {
    "images": 1000,
    "cores": 2,
    "cpu": "a CPU",
    "commit": "abc1234",
    "file_system": "tmpfs",
    # Files are read and written meanwhile, but are no part of the least.
    "alone_ms": [
        {"decode": 0.5, "filter": 1.0, "encode": 0.5, "files": 7.0},
        {"decode": 1.5, "filter": 1.0, "encode": 1.5, "files": 9.0},
    ],
    "rows": [{"steady_s": seconds} for seconds in (1.5, 2.25, 9.0)],
}
STEP = {
    "cpu": "a CPU",
    "commit": "def5678",
    "rows": [
        {"case": "files", "peer": "without suppression", "batch": 4, "side": 224, "images_per_s": 4.0},
        {
            "case": "files",
            "peer": "with suppression",
            "batch": 4,
            "side": 224,
            "images_per_s": 3.0,
            "transform_share": 0.025,
            "added_share": 0.0321,
        },
    ],
}


def test_ratio_and_shares_are_those_of_the_results():
    text = tables_pipeline.brief({"folder-memory": JOB, "cpu-loader": STEP}.get)
    # 2.25 ms an image on two cores, beside 3 ms of work for one.
    assert "1,000 JPEGs on tmpfs, 2 cores | 444 | 1.50 x the least |" in text
    assert "4 x 224x224, a thread of the CPU; files | 3.00 | 2.5 % of the step; in turns 3.2 % longer |" in text
    assert "without" not in text
    assert "<sub>a CPU; commits abc1234, def5678.</sub>" in text


@pytest.mark.parametrize(("there", "lines"), [({}, 0), ({"cpu-loader": STEP}, 1), ({"folder-job": JOB}, 1)])
def test_what_was_not_measured_has_no_line(there, lines):
    text = tables_pipeline.brief(there.get)
    assert text.count("\n| ") == lines + bool(lines)  # under the headings a line of dashes
    assert ("Not yet measured." in text) == (not there)

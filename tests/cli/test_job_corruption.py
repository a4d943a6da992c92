"""A folder of every kind of image with one in a hundred corrupted: the good are done, the bad are named."""

import json

import pytest
from PIL import Image

from job_corpus import Corpus, bomb, mixed
from job_helpers import Job, assert_true_records, contents, records, touched

FLAGS = ("--niter", "3")


def failures_in(stderr: str) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in stderr.splitlines())


def check(source, target, corpus: Corpus, outcome, report) -> None:
    found = records(target)
    assert outcome.code == 1
    assert found.keys() == corpus.good.keys() | corpus.bad.keys()

    # Every good one is done: it is there, whole, of its size and mode.
    assert {name for name, record in found.items() if record["status"] == "done"} == corpus.good.keys()
    assert contents(target).keys() == corpus.good.keys()
    for name, (size, mode) in corpus.good.items():
        with Image.open(target / name) as image:
            image.load()
            assert (image.size, "I;16" if image.mode.startswith("I") else image.mode) == (size, mode), name
    assert {name for name, record in found.items() if record.get("note")} == corpus.noted
    assert all("PNG" in found[name]["note"] and "JPEG" in found[name]["note"] for name in corpus.noted)
    assert_true_records(source, target)

    # Every bad one is named with its reason, on stderr, in the manifest and in the report.
    told = failures_in(outcome.err)
    assert told.keys() == {f"{source}/{name}" for name in corpus.bad}
    reported = report.read_text()
    json.loads(reported)
    for name, word in corpus.bad.items():
        reason = found[name]["reason"]
        assert word in reason
        assert told[f"{source}/{name}"] == reason
        assert json.dumps(name)[1:-1] in reported
        assert json.dumps(reason)[1:-1] in reported


def corrupted(folder, call, files: int, largest: int) -> None:
    source, target, report = folder / "source", folder / "target", folder / "report.json"
    corpus = mixed(source, files, largest=largest)
    assert len(corpus.bad) + len(corpus.noted) >= files / 100
    # The bombs' bytes are valid: decoded, one would take 3.6 GB, which no process can have.
    limit = "import resource; resource.setrlimit(resource.RLIMIT_DATA, (3 << 30, 3 << 30))"
    with Job(source, target, *FLAGS, "--report", report, before=limit) as job:
        outcome = job.finish(600)
    check(source, target, corpus, outcome, report)
    before = touched(target)
    again = call("suppress", source, target, *FLAGS, "--report", report)
    assert (again.code, again.err) == (1, outcome.err)
    assert touched(target) == before
    check(source, target, corpus, again, report)


def test_three_hundred_files(tmp_path, call):
    corrupted(tmp_path, call, 300, largest=80)


@pytest.mark.slow
def test_ten_thousand_files(tmp_path, call):
    corrupted(tmp_path, call, 10_000, largest=300)


def test_the_limit_of_pixels(tmp_path, call):
    (tmp_path / "source").mkdir()
    for side in (100, 101):
        (tmp_path / "source" / f"{side}.png").write_bytes(bomb(side, side))
    outcome = call("suppress", tmp_path / "source", tmp_path / "target", "--max-pixels", "10000")
    assert outcome.code == 1
    assert list(failures_in(outcome.err)) == [f"{tmp_path}/source/101.png"]
    assert "101 x 101 pixels, more than the limit of 10000" in outcome.err
    assert call("suppress", tmp_path / "source", tmp_path / "target", "--max-pixels", "0").code == 0
    assert contents(tmp_path / "target").keys() == {"100.png", "101.png"}
    (tmp_path / "source" / "wide.png").write_bytes(bomb(1_000_001, 100))
    outcome = call("suppress", tmp_path / "source", tmp_path / "target")
    assert outcome.code == 1
    assert list(failures_in(outcome.err)) == [f"{tmp_path}/source/wide.png"]

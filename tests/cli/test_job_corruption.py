"""A folder of every kind of image with one in a hundred corrupted: the good are done, the bad are named."""

import json

import pytest
from PIL import Image

from job_corpus import Corpus, bomb, mixed
from job_helpers import assert_true_records, contents, records, run_job

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
    outcome = call("suppress", source, target, *FLAGS, "--report", report)
    check(source, target, corpus, outcome, report)
    again = call("suppress", source, target, *FLAGS, "--report", report)
    assert (again.code, again.err) == (1, outcome.err)
    check(source, target, corpus, again, report)


def test_three_hundred_files(tmp_path, call):
    corrupted(tmp_path, call, 300, largest=80)


@pytest.mark.slow
def test_ten_thousand_files(tmp_path, call):
    corrupted(tmp_path, call, 10_000, largest=300)


def test_a_bomb_costs_no_memory(tmp_path):
    """It is refused by what its header says; its bytes are valid, so that it would be decoded."""
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "bomb.png").write_bytes(bomb(60_000, 60_000))
    (tmp_path / "source" / "fuse.png").write_bytes(bomb(600, 600))
    # Ten times what one worker needs at most, a third of what the pixels would take in a byte each.
    limit = "import resource; resource.setrlimit(resource.RLIMIT_DATA, (1 << 30, 1 << 30))"
    outcome = run_job(tmp_path / "source", tmp_path / "target", "--workers", "2", before=limit)
    assert outcome.code == 1
    assert "3600000000 pixels" in outcome.err.replace(",", "").replace("60000x60000", "3600000000 pixels")
    assert contents(tmp_path / "target").keys() == {"fuse.png"}


def test_the_limit_of_pixels(tmp_path, call):
    (tmp_path / "source").mkdir()
    for side in (100, 101):
        (tmp_path / "source" / f"{side}.png").write_bytes(bomb(side, side))
    outcome = call("suppress", tmp_path / "source", tmp_path / "target", "--max-pixels", "10000")
    assert outcome.code == 1
    assert list(failures_in(outcome.err)) == [f"{tmp_path}/source/101.png"]
    assert "--max-pixels" in outcome.err
    assert call("suppress", tmp_path / "source", tmp_path / "target", "--max-pixels", "0").code == 0
    assert contents(tmp_path / "target").keys() == {"100.png", "101.png"}
    (tmp_path / "source" / "wide.png").write_bytes(bomb(1_000_001, 100))
    outcome = call("suppress", tmp_path / "source", tmp_path / "target")
    assert outcome.code == 1
    assert list(failures_in(outcome.err)) == [f"{tmp_path}/source/wide.png"]

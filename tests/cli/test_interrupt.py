"""Ctrl-C and its relatives: the process ends at once, with the right code, and leaves nothing half-written."""

import os
import signal
import threading
import time

import pytest
from PIL import Image

from cli_helpers import MANIFEST, files_in, finish, start
from texfilters.cli import atomic, interrupts

# Whoever runs the tests in the background may have silenced Ctrl-C for everything below.
LISTENING = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"


def wait_for(condition, process) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.01)


def stop(process, number: int):
    sent = time.monotonic()
    process.send_signal(number)
    outcome = finish(process)
    assert time.monotonic() - sent < 5
    return outcome


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_while_files_are_being_written(tmp_path, small, number):
    (tmp_path / "source").mkdir()
    for i in range(9):
        small.save(tmp_path / "source" / f"{i}.png")
    target = tmp_path / "target"
    # A disk so slow that the signal comes while temporary files lie there.
    slow = LISTENING + "import os, time; os.link = lambda *names: time.sleep(60)"
    process = start("suppress", tmp_path / "source", target, "--workers", "3", before=slow)
    temporaries = {f".texfilters-1-of-1-{slot}.tmp" for slot in range(3)}
    wait_for(lambda: files_in(target) == temporaries | {".texfilters-1-of-1.lock", MANIFEST}, process)
    outcome = stop(process, number)
    assert outcome.code == 128 + number
    assert outcome.err == "texfilters: interrupted\n"
    assert files_in(target) == {MANIFEST}


def test_while_kernels_compute(tmp_path, astronaut):
    (tmp_path / "source").mkdir()
    astronaut.crop((0, 0, 40, 40)).save(tmp_path / "source" / "0.png")
    astronaut.resize((2000, 2000)).save(tmp_path / "source" / "1.png", compress_level=1)
    target = tmp_path / "target"
    process = start("suppress", tmp_path / "source", target, "--niter", "30000", before=LISTENING)
    wait_for((target / "0.png").exists, process)
    assert stop(process, signal.SIGINT).code == 130
    assert files_in(target) == {"0.png", MANIFEST}
    with Image.open(target / "0.png") as image:
        image.load()


def test_compare_while_a_kernel_computes(tmp_path, astronaut):
    astronaut.resize((2000, 2000)).save(tmp_path / "a.png", compress_level=1)
    busy = (
        "import texfilters.cli.filters as f; apply = f.apply\n"
        f"f.apply = lambda *a: (open({str(tmp_path / 'started')!r}, 'w').close(), apply(*a))[1]"
    )
    process = start("compare", "a.png", "--niter", "30000", cwd=tmp_path, before=LISTENING + busy)
    wait_for((tmp_path / "started").exists, process)
    time.sleep(0.5)  # until the kernel runs, which hears no signal
    assert stop(process, signal.SIGINT).code == 130
    assert files_in(tmp_path) == {"a.png", "started"}


def test_a_silenced_signal_stays_silenced_and_handlers_come_back():
    before = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGTERM)}
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interrupts.ending_at_once():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGTERM) != before[signal.SIGTERM]
        assert signal.getsignal(signal.SIGTERM) == before[signal.SIGTERM]
    finally:
        signal.signal(signal.SIGHUP, before[signal.SIGHUP])


def test_a_second_signal_does_not_break_into_the_cleaning_up_unless_it_takes_long(monkeypatch):
    ended, cleaned = [], []
    monkeypatch.setattr(os, "_exit", ended.append)
    monkeypatch.setattr(atomic, "_abandoned", False)  # the tests after this one write files
    monkeypatch.setattr(interrupts, "_PATIENCE", 0.2)

    def clean_up():
        os.kill(os.getpid(), signal.SIGTERM)
        cleaned.append("at once")
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGTERM)
        cleaned.append("after all")

    before = signal.getsignal(signal.SIGTERM)
    with interrupts.ending_at_once():
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            clean_up()
    assert cleaned == ["at once"]
    assert ended == [128 + signal.SIGTERM]
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_finished_call_aside_leaves_no_thread():
    """Workers are forked after it."""
    threads = threading.active_count()
    assert interrupts.aside(lambda: threading.active_count()) == threads + 1
    assert threading.active_count() == threads

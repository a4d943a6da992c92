"""The command itself: its version, `info`, its help, and what happens without the packages it needs."""

import importlib.metadata
import os
import pty
import re
import subprocess
import sys

import pytest

import texfilters
import texfilters.cli
from cli_helpers import start
from texfilters.cli.filters import FILTERS, Filter, choose, written
from texfilters.cli.messages import Refused


def test_info_is_plain_in_a_pipe(call, capsys):
    texfilters.show_config()
    expected = capsys.readouterr().out
    assert call("info") == (0, expected, "")


def test_info_on_a_terminal_says_the_same(capsys):
    terminal, its_end = pty.openpty()
    process = start("info", stdout=its_end, env={**os.environ, "TERM": "xterm", "COLUMNS": "300"})
    os.close(its_end)
    shown = b""
    while True:
        try:
            shown += os.read(terminal, 4096)
        except OSError:  # the other end is closed
            break
    assert process.wait() == 0
    assert b"\x1b[1m" in shown  # bold
    texfilters.show_config()
    for line in capsys.readouterr().out.splitlines():
        assert line.partition(": ")[2] in shown.decode()


def test_version_and_module():
    command = [sys.executable, "-m", "texfilters.cli", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"texfilters {texfilters.__version__}\n"


def test_entry_point():
    (script,) = importlib.metadata.entry_points(group="console_scripts", name="texfilters")
    assert script.load() is texfilters.cli.main


def test_help_names_the_verbs(call):
    shown = call("--help").out
    assert all(verb in shown for verb in ("info", "suppress", "compare"))


@pytest.mark.parametrize("verb", ["suppress", "compare"])
def test_help_shows_every_flag_and_the_defaults_in_80_columns(call, monkeypatch, verb):
    monkeypatch.setenv("COLUMNS", "80")
    shown = call(verb, "--help").out
    assert max(map(len, shown.splitlines())) <= 80
    options, _, table = shown.partition("\n  Flags of each filter, ")
    table = dict(re.findall(r"^  (\S+) +(--.*\n(?: {10,}--.*\n)*)", table, re.MULTILINE))
    assert list(table) == list(FILTERS)
    for name, filter in FILTERS.items():
        flags = re.findall(r"--(\S+) (\S+)", table[name])
        assert [flag.replace("-", "_") for flag, _ in flags] == list(filter.flags)
        assert all(re.search(rf"^  --{flag} <(int|float|str)>  +\S", options, re.MULTILINE) for flag, _ in flags)
        for (_, value), (parameter, default) in zip(flags, filter.flags.items(), strict=True):
            strength, values = filter.strength
            several = verb == "compare" and parameter == strength
            assert value == (",".join(f"{v:g}" for v in values) if several else written(default))


def test_without_the_extra():
    code = """
import sys
from texfilters.cli import main
for package in ("typer", "rich", "PIL"):
    sys.modules[package] = None
    try:
        main()
    except SystemExit as stop:
        print(stop.code)
    del sys.modules[package]
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        f"texfilters: {package} is not installed; the command line needs it: pip install 'texfilters[cli]'"
        for package in ("typer", "rich", "PIL")
    ]


def test_the_library_does_not_load_the_command_line():
    code = "import sys, texfilters; print(sorted({'texfilters.cli', 'typer', 'rich', 'PIL'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_a_closed_pipe_is_no_traceback():
    reading, writing = os.pipe()
    os.close(reading)
    process = start("info", stdout=writing)
    os.close(writing)
    assert process.communicate()[1] == ""


def test_a_filter_takes_only_its_own_flags(monkeypatch):
    half = Filter(lambda image, by_how_much, backend: image // by_how_much, {"by_how_much": 2}, ("by_how_much", (2, 4)))
    monkeypatch.setitem(FILTERS, "half", half)
    assert choose("half", {"by_how_much": 4, "kappa": None})(8) == 2
    with pytest.raises(Refused, match=r"^--kappa is no flag of half, which takes --by-how-much$"):
        choose("half", {"kappa": 3.0})

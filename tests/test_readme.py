"""What the README shows runs as it stands, and its tables are those of the committed results."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("code", blocks("python"), ids=lambda code: code.splitlines()[0])
def test_code_runs(code):
    exec(compile(code, "README.md", "exec"), {})


def test_commands_exist():
    from texfilters.cli.app import app

    verbs = {command.name or command.callback.__name__ for command in app.registered_commands}
    shown = re.findall(r"^texfilters (\S+)", "\n".join(blocks("sh")), re.MULTILINE)
    assert shown
    assert set(shown) <= verbs
    targets = re.findall(r"^make (\S+)", "\n".join(blocks("sh")), re.MULTILINE)
    makefile = (ROOT / "Makefile").read_text()
    assert targets == ["demo", "test"]
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE)


def test_pictures_and_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target


def test_tables_are_those_of_the_committed_results():
    result = subprocess.run(
        [sys.executable, "benchmarks/tables.py", "--check"], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr

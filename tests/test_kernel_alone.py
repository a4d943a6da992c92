"""The CPU kernel by itself: for this machine, and for aarch64 where a cross compiler and an emulator are there."""

import shutil
import subprocess
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLAGS = [
    "-std=c++17",
    "-O2",
    "-ffp-contract=off",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-unknown-pragmas",
]


def build_and_run(tmp_path, compiler, emulator=()):
    for tool in (compiler, *emulator[:1]):
        if shutil.which(tool) is None:
            pytest.skip(f"needs {tool}")
    program = tmp_path / "kernel_alone"
    torch = Path(sysconfig.get_paths()["purelib"], "torch", "include")
    source = ROOT / "tests" / "native" / "kernel_alone.cpp"
    static = ["-static"] if emulator else []
    subprocess.run(
        [compiler, *FLAGS, *static, f"-I{ROOT / 'csrc'}", "-isystem", str(torch), str(source), "-o", str(program)],
        check=True,
    )
    result = subprocess.run([*emulator, str(program)], capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
def test_on_this_machine(tmp_path, compiler):
    assert "baseline" in build_and_run(tmp_path, compiler)


def test_on_aarch64(tmp_path):
    assert "baseline" in build_and_run(tmp_path, "aarch64-linux-gnu-g++", ["qemu-aarch64-static"])

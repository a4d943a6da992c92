"""The emulator that runs CUDA kernels on the CPU, checked by toy kernels, in each way it can be built."""

import platform
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
FLAGS = ["-std=c++17", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas", f"-I{HERE}"]
BUILDS = {
    "assembly": ["-O2"],
    "ucontext": ["-O2", "-DTEXFILTERS_EMULATOR_UCONTEXT"],
    "sanitized": ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"],
}


def build(folder, compiler, flags):
    if shutil.which(compiler) is None:
        pytest.skip(f"needs {compiler}")
    program = folder / "emulator_test"
    subprocess.run([compiler, *FLAGS, *flags, str(HERE / "emulator_test.cpp"), "-o", str(program)], check=True)
    return str(program)


def run(*command):
    # A deadlock that the emulator does not report would hang.
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("name", BUILDS)
def test_toy_kernels(tmp_path, name):
    program = build(tmp_path, "g++", BUILDS[name])
    result = run(program)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout == "all good\n"
    if name == "sanitized":
        for overrun in ("overrun", "overrun_array"):
            result = run(program, overrun)
            assert result.returncode != 0, overrun
            assert "AddressSanitizer: heap-buffer-overflow" in result.stderr, overrun


def test_on_aarch64(tmp_path):
    if platform.machine() == "aarch64":
        pytest.skip("is this machine")
    if shutil.which("qemu-aarch64-static") is None:
        pytest.skip("needs qemu-aarch64-static")
    result = run("qemu-aarch64-static", build(tmp_path, "aarch64-linux-gnu-g++", ["-O2", "-static"]))
    assert result.returncode == 0, result.stdout + result.stderr

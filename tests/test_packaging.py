"""What holds the package together: imports in one direction, the rules about ssl/, a build that fails in the open."""

import ast
import os
import re
import shutil
import statistics
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import torch

import texfilters
from texfilters import _backends

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "texfilters"

NO_COMPILER = {"CXX": "no-such-compiler", "CC": "no-such-compiler", "TEXFILTERS_REQUIRE": ""}

# The flow of architecture: nothing imports from a line above its own.
LAYERS = [
    ["cli"],
    ["ssl"],
    ["evaluate"],
    ["transforms", "loader", "compat"],
    ["functional"],
    ["_ops"],
    ["_check", "_gradients"],
    ["_backends"],
    ["_triton"],
    ["reference"],
    ["_version"],
]


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        cwd=ROOT / "tests",
    )


def layer(name):
    return next(i for i, names in enumerate(LAYERS) if name in names)


def imports(path):
    """The parts of the package that a file imports, wherever in it; "" is the package's own face."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively, which this test does not follow"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            package, _, rest = name.partition(".")
            if package == "texfilters":
                part = rest.split(".")[0]
                yield "" if part in texfilters.__all__ else part


def test_imports_run_in_one_direction():
    for path in PACKAGE.rglob("*.py"):
        part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if part == "__init__":
            continue
        for other in imports(path):
            if other != part:
                # The face imports functional and shows what it holds, so it stands just above.
                reached = layer(other) if other else layer("functional") - 0.5
                assert layer(part) < reached, f"{path} imports {other or 'texfilters'}"


def test_the_direction_is_really_looked_at(tmp_path):
    for line in ("import texfilters", "from texfilters import functional", "import texfilters.functional as f"):
        file = tmp_path / "file.py"
        file.write_text(f"def late():\n    {line}\n")
        assert all(layer("_check") >= (layer(other) if other else layer("functional") - 0.5) for other in imports(file))


def test_only_ops_registers():
    for path in PACKAGE.rglob("*.py"):
        if path.name != "_ops.py":
            assert not re.search(r"torch\.library\.(custom_op|define|impl|register)|triton_op", path.read_text()), path


def test_the_version_is_said_once():
    metadata = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert texfilters.__version__ == metadata["project"]["version"]
    assert f"## {texfilters.__version__}" in (ROOT / "CHANGELOG.md").read_text()


class TestTheFolderSsl:
    """A top-level ssl/ holds scripts; as a package it would shadow Python's own for whatever starts in the root."""

    def test_it_is_no_package_and_shadows_nothing(self):
        scripts = ROOT / "ssl"
        assert not (scripts / "__init__.py").exists()
        assert [p.name for p in scripts.glob("*.py") if p.stem in sys.stdlib_module_names] == []

    def test_a_wheel_does_not_take_it_in(self, tmp_path):
        copy = tmp_path / "copy"
        shutil.copytree(PACKAGE, copy / "texfilters", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        for name in ("pyproject.toml", "setup.py", "build_cuda.py", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, copy)
        (copy / "ssl").mkdir()
        (copy / "ssl" / "pretrain.py").write_text("")
        build = "from setuptools import build_meta; build_meta.build_wheel('dist')"
        result = subprocess.run(
            [sys.executable, "-c", build], cwd=copy, capture_output=True, text=True, env={**os.environ, **NO_COMPILER}
        )
        assert result.returncode == 0, result.stderr
        (wheel,) = (copy / "dist").glob("*.whl")
        names = zipfile.ZipFile(wheel).namelist()
        assert {name.split("/")[0] for name in names} == {
            "texfilters",
            f"texfilters-{texfilters.__version__}.dist-info",
        }
        installed = [name for name in names if name.startswith("texfilters/")]
        assert "texfilters/py.typed" in installed
        expected = {p.relative_to(ROOT).as_posix() for p in PACKAGE.rglob("*.py")}
        assert expected <= set(installed)  # no folder forgotten in pyproject.toml

    def test_pythons_own_ssl_is_found_from_the_root(self):
        code = "import ssl, sys; sys.exit(not hasattr(ssl, 'SSLContext'))"
        assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


class TestTheBuild:
    def build(self, tmp_path, **environment):
        for name in ("setup.py", "build_cuda.py", "pyproject.toml", "README.md"):
            shutil.copy(ROOT / name, tmp_path)
        shutil.copytree(ROOT / "csrc", tmp_path / "csrc")
        shutil.copytree(
            PACKAGE, tmp_path / "texfilters", ignore=shutil.ignore_patterns("*.so", "*.json", "__pycache__")
        )
        return subprocess.run(
            [sys.executable, "setup.py", "-q", "build_ext", "--inplace"],
            cwd=tmp_path, capture_output=True, text=True, env={**os.environ, "TEXFILTERS_REQUIRE": "", **environment},
        )  # fmt: skip

    def test_without_a_compiler_it_installs_and_says_so(self, tmp_path):
        result = self.build(tmp_path, **NO_COMPILER)
        assert result.returncode == 0, result.stderr
        assert "native kernels are not built" in result.stderr
        code = (
            "import torch, texfilters; texfilters.show_config();"
            "print(texfilters.anisotropic_diffusion(torch.ones(3, 3), 2).sum().item())"
        )
        used = run("-c", code, PYTHONPATH=str(tmp_path), TEXFILTERS_REQUIRE="")
        assert used.returncode == 0, used.stderr
        assert "native on cpu: absent, the build failed" in used.stdout
        assert "native on cuda: absent, it needs the CPU part, which is not built" in used.stdout
        assert "9.0" in used.stdout
        required = run("-c", "import texfilters", PYTHONPATH=str(tmp_path), TEXFILTERS_REQUIRE="native")
        assert required.returncode == 1
        assert "ImportError: TEXFILTERS_REQUIRE asks for 'native', which is absent: the build failed" in required.stderr

    def test_required_parts_fail_the_build(self, tmp_path):
        result = self.build(tmp_path, **NO_COMPILER | {"TEXFILTERS_REQUIRE": "native"})
        assert result.returncode != 0
        assert "TEXFILTERS_REQUIRE asks for 'native'" in result.stderr

    @pytest.mark.skipif("native" not in _backends.available("cpu"), reason="needs a compiler")
    def test_what_was_built_is_written_down(self):
        assert _backends.build_info()["native"]["built"] is True
        assert _backends.build_info()["native"]["compiler"]


def test_an_unknown_required_part_is_an_error():
    result = run("-c", "import texfilters", TEXFILTERS_REQUIRE="natve")
    assert "ImportError: TEXFILTERS_REQUIRE asks for 'natve', which is absent: no such part" in result.stderr


def test_show_config_names_every_backend(capsys):
    texfilters.show_config()
    text = capsys.readouterr().out
    for device in ("cpu", "cuda"):
        for backend in _backends.BACKENDS:
            assert re.search(rf"^{backend} on {device}: \S", text, re.MULTILINE)
    assert torch.__version__ in text


def test_import_takes_less_than_a_fifth_of_a_second_beyond_torch():
    code = """
import time, torch
start = time.perf_counter()
import texfilters
print(time.perf_counter() - start)
"""
    times = [float(run("-c", code).stdout) for _ in range(3)]
    assert statistics.median(times) < 0.2, times


def test_import_loads_no_optional_package():
    optional = "triton torchvision typer rich PIL skimage medpy cv2 matplotlib"
    code = f"import torch, sys; before = set(sys.modules); import texfilters, texfilters.compat.medpy; \
print([m for m in '{optional}'.split() if m in set(sys.modules) - before])"
    assert run("-c", code).stdout.strip() == "[]"


def test_a_call_costs_less_than_40_microseconds():
    # In a process of its own: measuring coverage would cost more than the call.
    code = """
import timeit, torch
from texfilters import anisotropic_diffusion
image = torch.rand(4, 4)
print(min(timeit.repeat(lambda: anisotropic_diffusion(image, 1, 0.5), number=500, repeat=9)) / 500)
"""
    assert float(run("-c", code).stdout) < 40e-6

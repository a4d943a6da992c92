"""The build of the CUDA part, and the check of what the compiler makes of its kernels. None of it needs a GPU."""

import json
import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parent.parent
sys.path += [str(ROOT), str(ROOT / "benchmarks")]

import build_cuda  # noqa: E402
import cuda_check  # noqa: E402

try:
    build_cuda.toolkit()
    NO_NVCC = ""
except FileNotFoundError as error:
    NO_NVCC = str(error)
needs_nvcc = pytest.mark.skipif(bool(NO_NVCC), reason=NO_NVCC)

# As printed by nvcc 13.0 for a kernel of two instantiations.
REPORT = """\
ptxas info    : 0 bytes gmem, 24 bytes cmem[4]
ptxas info    : Compiling entry function '_ZN10texfilters4planILNS_6OptionE1EEEvPf' for 'sm_90'
ptxas info    : Function properties for _ZN10texfilters4planILNS_6OptionE1EEEvPf
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 128 registers, used 1 barriers, 57344 bytes smem, 408 bytes cmem[0], 8 bytes cmem[2]
ptxas info    : Compile time = 12.132 ms
ptxas info    : Compiling entry function '_ZN10texfilters4planILNS_6OptionE2EEEvPf' for 'sm_90'
ptxas info    : Function properties for _ZN10texfilters4planILNS_6OptionE2EEEvPf
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 26 registers, used 0 barriers
ptxas info    : Compile time = 1203.963 ms
"""


class TestTheReport:
    def test_is_read(self):
        first, second = cuda_check.parse(REPORT)
        assert first == ("_ZN10texfilters4planILNS_6OptionE1EEEvPf", 90, 128, 0, 0)
        assert second == ("_ZN10texfilters4planILNS_6OptionE2EEEvPf", 90, 26, 0, 0)
        assert cuda_check.problems([first, second], (90,)) == []
        assert str(first._replace(name="plan<1>")) == "plan<1> sm_90 registers=128 spill=0"

    def test_a_spill_is_found(self):
        (spilling,) = cuda_check.parse(
            "ptxas info    : 0 bytes gmem\n"
            "ptxas info    : Compiling entry function '_Z5spillPf' for 'sm_90'\n"
            "ptxas info    : Function properties for _Z5spillPf\n"
            "    1112 bytes stack frame, 1068 bytes spill stores, 1080 bytes spill loads\n"
            "ptxas info    : Used 32 registers, used 1 barriers, 1112 bytes cumulative stack size\n"
            "ptxas info    : Compile time = 20.059 ms\n"
        )
        assert str(spilling) == "_Z5spillPf sm_90 registers=32 spill=2148 stack=1112"
        assert cuda_check.problems([spilling], (90,)) == [f"spills or uses more than 128 registers: {spilling}"]

    @pytest.mark.parametrize("spill", ["4 bytes spill stores, 0", "0 bytes spill stores, 4"])
    def test_a_spill_either_way_is_found(self, spill):
        kernels = cuda_check.parse(REPORT.replace("0 bytes spill stores, 0", spill, 1))
        assert [kernel.fits for kernel in kernels] == [False, True]

    def test_a_register_too_many_is_found(self):
        kernels = cuda_check.parse(REPORT.replace("Used 128 registers", "Used 129 registers"))
        assert [kernel.fits for kernel in kernels] == [False, True]
        assert len(cuda_check.problems(kernels, (90,))) == 1

    @pytest.mark.parametrize(
        ("old", "new"),
        [
            ("bytes spill", "bytes spilt"),
            ("Used 26 registers", "Used 26 uniform registers"),
            ("ptxas info    : Used", "ptxas warning : Used"),
            ("    0 bytes stack frame, ", "    "),
            ("'sm_90'", "'sm_90a'"),
            ("ptxas info    : 0 bytes gmem", "csrc/cuda/x.cu(11): warning #177-D: something\n"),
            # a function that was not inlined: its spills would be nobody's
            ("ptxas info    : Compile time = 1203", "ptxas info    : Function properties for _Z3foof\nptxas"),
            ("properties for _ZN10texfilters4planILNS_6OptionE2", "properties for _ZN10texfilters4planILNS_6OptionE1"),
        ],
    )  # fmt: skip
    def test_what_is_not_understood_is_an_error(self, old, new):
        assert old in REPORT
        with pytest.raises(ValueError, match=r"the report must be of|a line that is not understood"):
            cuda_check.parse(REPORT.replace(old, new))

    def test_a_report_that_breaks_off_is_an_error(self):
        lines = REPORT.splitlines()
        for end in (8, 9):
            with pytest.raises(ValueError, match="breaks off within '_ZN10texfilters4planILNS_6OptionE2EEEvPf'"):
                cuda_check.parse("\n".join(lines[:end]))

    def test_kernels_must_be_there_on_every_architecture(self):
        kernels = [cuda_check.Kernel("k", 80, 8, 0, 0), cuda_check.Kernel("k", 90, 8, 0, 0)]
        assert cuda_check.problems(kernels, (80, 90)) == []
        assert cuda_check.problems([*kernels, kernels[0]], (80, 90)) == ["sm_90 lacks k"]
        assert cuda_check.problems(kernels, (80, 90, 100)) == ["sm_100 lacks k"]
        assert cuda_check.problems([], (80, 90)) == ["there is no kernel"]

    def test_names_are_readable(self):
        plane = "_ZN10texfilters36_GLOBAL__N__caf4a1aa_4_k_cu_112c36657diffuse"
        names = cuda_check.readable([
            f"{plane}INS0_4TileILi7ELi14ELi16ELi1EEELi1EhLb1EEEvPKT1_PS4_d",
            f"{plane}INS0_4TileILi7ELi14ELi16ELi1EEELi2E6__halfLb0EEEvPKT1_PS5_d",
            "_ZN10texfilters4planILNS_6OptionE1EEEvPf",
            "_ZN10texfilters5spillEPf",
        ])  # fmt: skip
        assert names == [
            "diffuse<Tile<7,14,16,1>,1,uint8_t,true>",
            "diffuse<Tile<7,14,16,1>,2,__half,false>",
            "plan<(Option)1>",
            "spill",
        ]

    @needs_nvcc
    def test_a_spill_that_the_compiler_makes_is_found(self, tmp_path):
        source = tmp_path / "spill.cu"
        source.write_text("""
__global__ void __launch_bounds__(1024, 2) spill(float* p) {
  float a[64];
#pragma unroll
  for (int i = 0; i < 64; ++i) a[i] = p[i * blockDim.x + threadIdx.x];
  __syncthreads();
#pragma unroll
  for (int i = 0; i < 64; ++i) p[i * blockDim.x + threadIdx.x] = a[63 - i] * a[i];
}
__global__ void twice(float* p) { p[threadIdx.x] *= 2; }
""")
        kernels = cuda_check.check_sources([source], build_cuda.toolkit().nvcc, (80, 90))
        assert {(k.name, k.architecture, k.fits) for k in kernels} == {
            ("spill", 80, False), ("spill", 90, False), ("twice", 80, True), ("twice", 90, True)
        }  # fmt: skip
        assert len(cuda_check.problems(kernels, (80, 90))) == 2


def fake_toolkit(folder, script):
    for name in ("bin/nvcc", "include/cuda_runtime.h", "lib64/libcudart_static.a"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / "bin/nvcc").chmod(0o755)
    return folder


class TestTheToolkit:
    def test_is_the_one_that_is_named(self, tmp_path):
        first, second = fake_toolkit(tmp_path / "1", "exit 1"), fake_toolkit(tmp_path / "2", "exit 1")
        for environment, folder in [
            ({"CUDA_HOME": str(first), "CUDA_PATH": str(second)}, first),
            ({"CUDA_HOME": str(tmp_path / "no"), "CUDA_PATH": str(second)}, second),
            ({"CUDA_PATH": str(second), "PATH": str(first / "bin")}, second),
        ]:
            assert build_cuda.toolkit(environment) == (
                folder / "bin" / "nvcc", folder / "include", folder / "lib64"
            )  # fmt: skip

    def test_is_found_behind_a_script_on_the_path(self, tmp_path):
        true = fake_toolkit(tmp_path / "true", f"echo '#$ TOP={tmp_path}/true/bin/..' >&2")
        script = tmp_path / "bin" / "nvcc"
        script.parent.mkdir()
        script.write_text(f'#!/bin/sh\nexec {true}/bin/nvcc "$@"\n')
        script.chmod(0o755)
        *_, last = build_cuda._toolkit_folders({"PATH": str(script.parent)})
        assert last == true

    @pytest.mark.parametrize(
        ("asked", "gpus", "expected"),
        [
            ("", set(), [80, 90]),
            ("90;80", {75}, [80, 90]),
            (" 75, 90 ,", set(), [75, 90]),
            ("", {90}, [90]),
            ("", {75, 86}, [75, 80]),  # code for sm_80 runs on sm_86
            ("", {130}, [100]),  # its PTX does
            ("", {61}, [80, 90]),
        ],
    )
    def test_architectures(self, tmp_path, monkeypatch, asked, gpus, expected):
        nvcc = fake_toolkit(tmp_path, "echo sm_70; echo sm_75; echo sm_80; echo sm_90; echo sm_100") / "bin" / "nvcc"
        monkeypatch.setattr(build_cuda, "gpus_present", lambda: gpus)
        assert build_cuda.architectures(nvcc, {"TEXFILTERS_CUDA_ARCHS": asked}) == expected

    @pytest.mark.parametrize("value", ["9.0", "sm_90", "70", "81", "native"])
    def test_architectures_that_nvcc_does_not_know(self, tmp_path, value):
        nvcc = fake_toolkit(tmp_path, "echo sm_70; echo sm_75; echo sm_80; echo sm_90") / "bin" / "nvcc"
        with pytest.raises(ValueError) as raised:  # noqa: PT011
            build_cuda.architectures(nvcc, {"TEXFILTERS_CUDA_ARCHS": f"80;{value}"})
        assert str(raised.value) == (
            f"TEXFILTERS_CUDA_ARCHS must name architectures that nvcc knows, 75, 80, 90, got {value!r}"
        )

    def test_gpus_present(self, tmp_path, monkeypatch):
        script = tmp_path / "nvidia-smi"
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
        for answer, expected in [("echo 9.0; echo 8.6; echo 12.0", {90, 86, 120}), ("echo No devices; exit 6", set())]:
            script.write_text(f"#!/bin/sh\n{answer}\n")
            script.chmod(0o755)
            assert build_cuda.gpus_present() == expected


class TestTheBuild:
    """Of a package that has the shape of this one and compiles in seconds."""

    @pytest.fixture(autouse=True)
    def _sources(self, tmp_path):
        for name in ("setup.py", "build_cuda.py", "pyproject.toml", "README.md", "LICENSE"):
            (tmp_path / name).write_bytes((ROOT / name).read_bytes())
        packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
        for name in (*(package.replace(".", "/") for package in packages), "csrc/cpu"):
            (tmp_path / name).mkdir(parents=True)
            (tmp_path / name / "__init__.py").touch()
        (tmp_path / "csrc/cuda").mkdir()
        (tmp_path / "csrc/ops.cpp").write_text("")
        (tmp_path / "csrc/cpu/anisotropic_diffusion.cpp").write_text("")
        (tmp_path / "csrc/cuda/twice.cu").write_text(
            "__global__ void kernel(float* p) { p[threadIdx.x] *= 2; }\n"
            "int twice(float* p) { kernel<<<1, 32>>>(p); return cudaGetLastError(); }\n"
        )
        (tmp_path / "csrc/cuda/caller.cpp").write_text(
            "#include <cuda_runtime_api.h>\n#include <torch/csrc/stable/tensor.h>\n"
            "int twice(float*);\n"
            'extern "C" __attribute__((visibility("default"))) int caller() { return twice(nullptr); }\n'
        )

    def build(self, folder, **environment):
        clean = {name: value for name, value in os.environ.items() if not name.startswith("TEXFILTERS_")}
        code = "from setuptools import build_meta; build_meta.build_wheel('dist')"
        result = subprocess.run(
            [sys.executable, "-P", "-c", code], cwd=folder, capture_output=True, text=True, env=clean | environment
        )
        if result.returncode:
            return result, None, None
        (wheel,) = (folder / "dist").glob("*.whl")
        with zipfile.ZipFile(wheel) as file:
            libraries = {Path(name).name for name in file.namelist() if name.endswith(".so")}
            return result, libraries, json.loads(file.read("texfilters/_build_info.json"))

    @needs_nvcc
    @pytest.mark.skipif(
        not (Path(torch.__file__).parent / "lib/libtorch_cuda.so").exists(), reason="this torch has no CUDA"
    )
    def test_a_wheel_holds_the_cuda_part(self, tmp_path):
        result, libraries, info = self.build(tmp_path, TEXFILTERS_CUDA_ARCHS="80;90", TEXFILTERS_REQUIRE="native,cuda")
        assert result.returncode == 0, result.stderr
        assert libraries == {"_C.so", "_C_cuda.so"}
        compiler = info["cuda"].pop("compiler")
        assert compiler.startswith("nvcc ")
        assert info["cuda"] == {"built": True, "archs": ["sm_80", "sm_90"], "ptx": "compute_90"}
        (library,) = tmp_path.glob("build/lib*/texfilters/_C_cuda.so")
        code = f"import ctypes, torch; print(ctypes.CDLL({str(library)!r}).caller() >= 0)"
        used = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert used.stdout == "True\n", used.stderr

        # nvcc runs again for what it has not compiled yet, and for that only.
        (compiled,) = tmp_path.glob("build/cuda/*.o")
        before = compiled.stat().st_mtime_ns
        with (tmp_path / "csrc/cuda/caller.cpp").open("a") as file:
            file.write("int another;\n")
        assert self.build(tmp_path, TEXFILTERS_CUDA_ARCHS="80;90")[2]["cuda"]["built"]
        assert (list(tmp_path.glob("build/cuda/*.o")), compiled.stat().st_mtime_ns) == ([compiled], before)
        (tmp_path / "csrc/twice.h").touch()
        assert self.build(tmp_path, TEXFILTERS_CUDA_ARCHS="80;90")[2]["cuda"]["built"]
        assert len(list(tmp_path.glob("build/cuda/*.o"))) == 2

        # What an earlier build left behind is not taken along.
        _, libraries, info = self.build(tmp_path, TEXFILTERS_CUDA="0")
        assert libraries == {"_C.so"}
        assert info["cuda"] == {"built": False, "why": "TEXFILTERS_CUDA=0 left it out"}

    @needs_nvcc
    @pytest.mark.parametrize("name", ["twice.cu", "caller.cpp"])
    def test_an_error_in_the_sources_leaves_the_cpu_part(self, tmp_path, name):
        (tmp_path / "csrc/cuda" / name).write_text("int f() { return undeclared; }\n")
        _, libraries, info = self.build(tmp_path, TEXFILTERS_CUDA_ARCHS="80")
        assert libraries == {"_C.so"}
        assert info["native"]["built"]
        assert not info["cuda"]["built"]
        assert "undeclared" in info["cuda"]["why"] or "libtorch_cuda" in info["cuda"]["why"]

    def test_a_broken_nvcc_leaves_the_cpu_part(self, tmp_path):
        home = fake_toolkit(tmp_path / "toolkit", "echo this nvcc is broken >&2; exit 3")
        result, libraries, info = self.build(tmp_path, CUDA_HOME=str(home))
        if not info["native"]["built"]:
            pytest.skip(f"needs a C++ compiler: {info['native']['why']}")
        assert libraries == {"_C.so"}
        why = info["cuda"]["why"]
        assert why == f"the build failed: {home}/bin/nvcc ended with code 3: this nvcc is broken" or "CUDA: it" in why
        assert f"cuda kernels are not built: {why}" in result.stderr
        result, _, _ = self.build(tmp_path, CUDA_HOME=str(home), TEXFILTERS_REQUIRE="native,cuda")
        assert result.returncode != 0
        assert f"TEXFILTERS_REQUIRE asks for 'cuda': {why}" in result.stderr

    def test_without_the_cpu_part_it_is_not_tried(self, tmp_path):
        (tmp_path / "csrc/ops.cpp").write_text("#error no\n")
        _, libraries, info = self.build(tmp_path)
        assert libraries == set()
        assert info["cuda"] == {"built": False, "why": "it needs the CPU part, which is not built"}

    def test_a_sanitized_build_leaves_it_out(self, tmp_path):
        _, _, info = self.build(tmp_path, TEXFILTERS_SANITIZE="1")
        assert info["cuda"] == {"built": False, "why": "a sanitized build has the CPU part only"}

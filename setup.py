"""The native extension; everything else stands in pyproject.toml.

`_C.so` (CPU) and `_C_cuda.so` (CUDA) are plain shared objects on libtorch's stable ABI: no Python in them, and each can
be missing without the other. Without a compiler the install still works and `_build_info.json` says what it lacks;
TEXFILTERS_REQUIRE=native[,cuda] turns that into a failure. TEXFILTERS_CUDA=0 leaves the CUDA part out (build_cuda.py
builds it), TEXFILTERS_NATIVE=0 both. TEXFILTERS_SANITIZE=1 builds the CPU part with ASan and UBSan.
"""

import json
import os
import site
import subprocess
import sys
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

sys.path.append(str(Path(__file__).resolve().parent))  # where pip's build does not look
import build_cuda

# The oldest libtorch that the library may be loaded into.
TORCH_TARGET_VERSION = "0x020a000000000000"
FLAGS = [
    "-std=c++17",
    "-O3",
    "-fvisibility=hidden",
    "-ffp-contract=off",
    "-Wall",
    "-Wextra",
    "-Wno-unknown-pragmas",
]
SANITIZE = os.environ.get("TEXFILTERS_SANITIZE") == "1"
LEFT_OUT = os.environ.get("TEXFILTERS_CUDA") == "0"  # the CUDA part, by wish


def torch_folder() -> Path:
    """The installed torch, found without importing it: pip's isolated build has none on its path.

    It may be the environment's own, the system's under it, or the user's.
    """
    base = {"base": sys.base_prefix, "platbase": sys.base_exec_prefix}
    places = [sysconfig.get_path(key, vars=where) for where in ({}, base) for key in ("platlib", "purelib")]
    places = list(
        dict.fromkeys([*places, *site.getsitepackages(), site.getusersitepackages(), *filter(None, sys.path)])
    )
    for place in places:
        if Path(place, "torch", "include", "torch", "csrc", "stable").is_dir():
            return Path(place, "torch")
    raise FileNotFoundError(f"no torch >= 2.11 in {', '.join(places)}: install torch first, then texfilters again")


def native() -> Extension:
    flags, link = FLAGS, ["-Wl,-z,defs"]
    if SANITIZE:
        sanitize = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-g", "-O1"]
        flags, link = flags + sanitize, ["-fsanitize=address,undefined"]
    return Extension(
        "texfilters._C",
        sources=["csrc/ops.cpp", *(str(path) for path in sorted(Path("csrc/cpu").glob("*.cpp")))],
        depends=[str(path) for path in sorted(Path("csrc").rglob("*.h"))],
        define_macros=[("TORCH_TARGET_VERSION", TORCH_TARGET_VERSION)],
        include_dirs=["csrc"],
        extra_compile_args=flags,
        extra_link_args=link,
        libraries=["torch_cpu"],
        language="c++",
    )


class BuildNative(build_ext):
    def get_ext_filename(self, fullname: str) -> str:
        return os.path.join(*fullname.split(".")) + ".so"

    def build_extension(self, extension: Extension) -> None:
        one = self.compiler.compile

        def compile_side_by_side(sources: list[str], **options) -> list[str]:
            with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
                return [path for paths in pool.map(lambda source: one([source], **options), sources) for path in paths]

        self.compiler.compile = compile_side_by_side
        try:
            super().build_extension(extension)
        finally:
            self.compiler.compile = one

    def run(self) -> None:
        inplace = self.inplace  # which setuptools' own run() alters, and does not restore if it fails
        self.force = True  # what another build left behind may be for other flags or another torch
        folder = Path("." if inplace else self.build_lib, "texfilters")
        for name in ("_C.so", "_C_cuda.so"):  # replaced, not overwritten: a process that has it loaded keeps its own
            (folder / name).unlink(missing_ok=True)
        info: dict[str, dict] = {"native": {"built": False}, "cuda": {"built": False}}
        try:
            torch = torch_folder()
            for extension in self.extensions:
                extension.include_dirs.append(str(torch / "include"))
                extension.library_dirs.append(str(torch / "lib"))
            super().run()
            info["native"] = {"built": True, "compiler": compiler_version(self.compiler.compiler_cxx)}
        except Exception as error:  # any failure to build leaves a working install, and says why
            info["native"]["why"] = f"the build failed: {error}"
        try:
            info["cuda"]["why"] = self.no_cuda(info)
            if info["cuda"]["why"] is None:
                compiler = [*self.compiler.compiler_cxx, *FLAGS, f"-DTORCH_TARGET_VERSION={TORCH_TARGET_VERSION}"]
                info["cuda"] = build_cuda.build(folder / "_C_cuda.so", torch, compiler)
        except Exception as error:
            info["cuda"]["why"] = f"the build failed: {error}"
        self.write_info(info, folder)
        required = filter(None, map(str.strip, os.environ.get("TEXFILTERS_REQUIRE", "").split(",")))
        for part in required:
            if not info.get(part, {}).get("built"):
                raise SystemExit(
                    f"TEXFILTERS_REQUIRE asks for {part!r}: {info.get(part, {}).get('why', 'no such part')}"
                )
        for part in ("native", "cuda"):
            if not info[part]["built"] and not (part == "cuda" and LEFT_OUT):
                self.warn(f"{part} kernels are not built: {info[part]['why']}")

    def no_cuda(self, info: dict) -> str | None:
        """Why the CUDA part is not even tried."""
        if LEFT_OUT:
            return "TEXFILTERS_CUDA=0 left it out"
        if SANITIZE:
            return "a sanitized build has the CPU part only"
        return None if info["native"]["built"] else "it needs the CPU part, which is not built"

    def write_info(self, info: dict, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "_build_info.json").write_text(json.dumps(info, indent=2) + "\n")

    def get_outputs(self) -> list[str]:
        return [path for path in super().get_outputs() if os.path.exists(path)]


def compiler_version(command: list[str]) -> str:
    return subprocess.run([*command, "--version"], capture_output=True, text=True).stdout.partition("\n")[0]


extensions = [] if os.environ.get("TEXFILTERS_NATIVE") == "0" else [native()]
setup(ext_modules=extensions, cmdclass={"build_ext": BuildNative})

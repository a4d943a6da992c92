"""Builds `_C_cuda.so`: the kernels by nvcc, which sees no torch header, and what calls them by the host compiler.

TEXFILTERS_CUDA_ARCHS="80;90" names the GPU architectures; otherwise they are those of the GPUs present, or 80 and 90.
TEXFILTERS_CUDA_LINEINFO=1 keeps line numbers for profilers.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent
OLDEST = 75  # the oldest architecture that the kernels are written for
DEFAULT = (80, 90)
# Fused, a flux would be rounded for one end of its edge and not for the other, and the mean would drift.
FLAGS = ["-std=c++17", "-O3", "--fmad=false", "-Icsrc", "-Xcompiler", "-fPIC,-fvisibility=hidden"]


class CommandError(RuntimeError):
    pass


class Toolkit(NamedTuple):
    nvcc: Path
    include: Path
    library: Path  # the folder of libcudart_static.a


def build(target: Path, torch: Path, compiler: list[str]) -> dict[str, Any]:
    """Write the library to `target` with the host `compiler` (and its flags); what `_build_info.json` says of it."""
    kernels = kernel_sources()
    callers = [path.relative_to(ROOT) for path in sorted(ROOT.glob("csrc/cuda/*.cpp"))]
    if not kernels:
        raise FileNotFoundError("there are no kernels in csrc/cuda")
    if not (torch / "lib" / "libtorch_cuda.so").exists():
        raise FileNotFoundError(f"the torch in {torch.parent} was built without CUDA: it has no lib/libtorch_cuda.so")
    tools = toolkit()
    version = nvcc_version(tools.nvcc)
    archs = architectures(tools.nvcc)
    cores = len(os.sched_getaffinity(0))
    with ThreadPoolExecutor(cores) as pool:
        threads = -(-cores // len(kernels))  # of each nvcc, for its architectures
        objects = list(pool.map(lambda source: kernel_object(source, tools.nvcc, version, archs, threads), kernels))
    run([
        *compiler, "-fPIC", "-shared", "-DUSE_CUDA", "-Icsrc", f"-I{torch / 'include'}", f"-I{tools.include}",
        *callers, *objects, "-o", target.resolve(),
        # torch has a CUDA runtime of its own; calls from here must not end up there.
        "-Wl,-z,defs", "-Wl,--exclude-libs,ALL", f"-L{torch / 'lib'}", "-ltorch_cuda", "-ltorch_cpu",
        f"-L{tools.library}", "-lcudart_static", "-lrt", "-lpthread", "-ldl",
    ])  # fmt: skip
    names = [f"sm_{arch}" for arch in archs]
    return {"built": True, "compiler": f"nvcc {version}", "archs": names, "ptx": f"compute_{archs[-1]}"}


def kernel_sources() -> list[Path]:
    return sorted(ROOT.glob("csrc/cuda/*.cu"))


def kernel_object(source: Path, nvcc: Path, version: str, archs: list[int], threads: int) -> Path:
    """Compiled, or kept from an earlier build of the same sources with the same flags."""
    generate = [f"-gencode=arch=compute_{arch},code=sm_{arch}" for arch in archs]
    generate[-1] = f"-gencode=arch=compute_{archs[-1]},code=[sm_{archs[-1]},compute_{archs[-1]}]"
    lines = ["-lineinfo"] if os.environ.get("TEXFILTERS_CUDA_LINEINFO") == "1" else []
    flags = [*FLAGS, *lines, *generate]
    texts = [source, *(path for path in sorted(ROOT.glob("csrc/**/*")) if path.suffix in (".h", ".cuh"))]
    added = sorted((name, value) for name, value in os.environ.items() if name.startswith("NVCC_"))
    key = hashlib.sha256(repr((version, flags, added, [path.read_bytes() for path in texts])).encode())
    folder = ROOT / "build" / "cuda"
    kept = folder / f"{source.stem}-{key.hexdigest()[:16]}.o"
    if not kept.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = kept.with_suffix(f".{os.getpid()}.o")  # renamed when whole, since a build may be interrupted
        run([nvcc, *flags, f"--threads={threads}", "-c", source.relative_to(ROOT), "-o", partial])
        partial.replace(kept)
    return kept


def toolkit(environment: Mapping[str, str] = os.environ) -> Toolkit:
    """The CUDA toolkit: in CUDA_HOME, CUDA_PATH or /usr/local/cuda, else around the nvcc on the PATH."""
    for folder in _toolkit_folders(environment):
        include = _folder_with("cuda_runtime.h", folder, ("include", "targets/*/include"))
        library = _folder_with("libcudart_static.a", folder, ("lib64", "lib", "targets/*/lib", "lib/*-linux-gnu"))
        if (folder / "bin" / "nvcc").is_file() and include and library:
            return Toolkit(folder / "bin" / "nvcc", include, library)
    raise FileNotFoundError(
        "no CUDA toolkit (nvcc, cuda_runtime.h, libcudart_static.a) in CUDA_HOME, CUDA_PATH, /usr/local/cuda or "
        "around an nvcc on the PATH"
    )


def _toolkit_folders(environment: Mapping[str, str]) -> Iterator[Path]:
    for name in ("CUDA_HOME", "CUDA_PATH"):
        if environment.get(name):
            yield Path(environment[name])
    yield Path("/usr/local/cuda")
    if nvcc := shutil.which("nvcc", path=environment.get("PATH")):
        yield Path(nvcc).resolve().parent.parent
        # That nvcc may be a script which calls another one; the true one tells where it lies.
        report = subprocess.run([nvcc, "--dryrun", "-x", "cu", os.devnull], capture_output=True, text=True)
        if top := re.search(r"^#\$ TOP=(.+)$", report.stderr, re.MULTILINE):
            yield Path(top[1]).resolve()


def _folder_with(name: str, folder: Path, places: tuple[str, ...]) -> Path | None:
    return next((path.parent for place in places for path in sorted(folder.glob(f"{place}/{name}"))), None)


def nvcc_version(nvcc: Path) -> str:
    found = re.search(r"\bV(\d[\d.]*)", text := run([nvcc, "--version"]))
    if found is None:
        raise RuntimeError(f"{nvcc} does not tell its version but {text!r}")
    return found[1]


def architectures(nvcc: Path, environment: Mapping[str, str] = os.environ) -> list[int]:
    """Those to compile for, in rising order; the last one also as PTX, for the GPUs to come."""
    known = {int(n) for n in re.findall(r"^sm_(\d+)$", run([nvcc, "--list-gpu-code"]), re.MULTILINE)}
    known = {arch for arch in known if arch >= OLDEST}
    asked = list(filter(None, re.split(r"[;,\s]+", environment.get("TEXFILTERS_CUDA_ARCHS", ""))))
    for value in asked:
        if not value.isdecimal() or int(value) not in known:
            raise ValueError(
                f"TEXFILTERS_CUDA_ARCHS must name architectures that nvcc knows, {', '.join(map(str, sorted(known)))}, "
                f"got {value!r}"
            )
    # A GPU newer than nvcc is served by the PTX of the newest architecture that nvcc knows.
    present = {max(arch for arch in known if arch <= gpu) for gpu in gpus_present() if gpu >= min(known)}
    return sorted(map(int, asked)) if asked else sorted(present or known.intersection(DEFAULT) or {max(known)})


def gpus_present() -> set[int]:
    try:
        report = subprocess.run(
            ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"],
            capture_output=True, text=True, timeout=30,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return set()
    return {int(major + minor) for major, minor in re.findall(r"^(\d+)\.(\d)\s*$", report.stdout, re.MULTILINE)}


def run(command: list[Any]) -> str:
    """What a command prints. If it fails, that goes to stderr, and the end of it into the error."""
    result = subprocess.run(
        list(map(str, command)), cwd=ROOT, stdin=subprocess.DEVNULL, text=True, errors="replace",
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    if result.returncode:
        sys.stderr.write(result.stdout)
        end = result.stdout if len(result.stdout) < 2000 else result.stdout[-2000:].partition("\n")[2]
        raise CommandError(f"{command[0]} ended with code {result.returncode}: {end.strip()}")
    return result.stdout

"""Which backends exist, are built and are preferred.

A backend is a namespace with the same function names: `texfilters.reference`, `texfilters._triton`,
`torch.ops.texfilters_native`. Inside native, torch's own dispatcher picks CPU or CUDA.
"""

import functools
import importlib.util
import json
import os
import platform
import warnings
from pathlib import Path
from typing import Any

import torch
from torch.utils._python_dispatch import _disable_current_modes

from texfilters import reference
from texfilters._version import __version__

BACKENDS = ("native", "triton", "reference")
PREFERENCE = {"cpu": ("native", "reference"), "cuda": ("native", "triton", "reference")}
# Backends whose kernels compute in float32 alone: where one of them is preferred, float64 goes to the definition.
_WITHOUT_FLOAT64 = {("native", "cuda")}

_FOLDER = Path(__file__).parent
_LIBRARIES = {"cpu": "_C.so", "cuda": "_C_cuda.so"}


def namespace(backend: str) -> Any:
    if backend == "native":
        return torch.ops.texfilters_native
    if backend == "triton":
        from texfilters import _triton

        return _triton
    return reference


def resolve(backend: str | None, device: str, index: int | None = None, dtype: torch.dtype = torch.float32) -> str:
    """The backend that will run: the one asked for, or the first in the device's order of preference that is there.

    `index` and `dtype` are those of the image on the device.
    """
    if device == "cuda" and _in_forked_process():
        raise RuntimeError(
            "a CUDA tensor is of no use in a forked process, such as a worker of a DataLoader: filter on the CPU "
            "there, or on the GPU behind the loader (texfilters.loader.DeviceLoader), or start workers by 'spawn'"
        )
    if backend is None:
        if device not in PREFERENCE:
            raise RuntimeError(
                f"no backend for device {device!r}: move the image to one of {', '.join(map(repr, PREFERENCE))}, "
                "or pass backend='reference'"
            )
        name = next(name for name in PREFERENCE[device] if _refusal(name, device, index, warn=True) is None)
        return "reference" if dtype == torch.float64 and (name, device) in _WITHOUT_FLOAT64 else name
    known(backend)
    why = _refusal(backend, device, index)
    if why is None and dtype == torch.float64 and (backend, device) in _WITHOUT_FLOAT64:
        why = "its kernels there compute in float32, got an image of float64; backend=None takes one that can"
    if why is not None:
        raise RuntimeError(f"backend {backend!r} is not available for device {device!r}: {why}")
    return backend


def known(backend: str | None) -> str | None:
    """The name of a backend, whether or not it is there; None leaves the choice."""
    if backend is not None and backend not in BACKENDS:
        raise ValueError(f"backend must be None or one of {', '.join(map(repr, BACKENDS))}, got {backend!r}")
    return backend


def available(device: str) -> list[str]:
    """All backends that can run on a device, in the order of preference, then those that must be asked for."""
    return [name for name in dict.fromkeys((*PREFERENCE.get(device, ()), *BACKENDS)) if _absence(name, device) is None]


def show_config() -> None:
    """Print what is built, for which instruction sets and architectures, and why anything is absent."""
    print(config())


def config() -> str:
    """The text that `show_config` prints."""
    lines = [
        f"texfilters {__version__}, torch {torch.__version__}, "
        f"Python {platform.python_version()}, {platform.system()} {platform.machine()}",
        f"cpu: {torch.get_num_threads()} threads",
    ]
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            major, minor = torch.cuda.get_device_capability(i)
            problem = None if _ABSENCE["native", "cuda"] else _device_problem(i)
            lines.append(
                f"cuda:{i}: {torch.cuda.get_device_name(i)}, sm_{major}{minor}"
                + (f"; native cannot run there: {problem}" if problem else "")
            )
    else:
        lines.append("cuda: no device")
    for device in PREFERENCE:
        for name in dict.fromkeys((*PREFERENCE[device], *BACKENDS)):
            why = _absence(name, device)
            lines.append(f"{name} on {device}: " + (_details(name, device) if why is None else f"absent, {why}"))
    return "\n".join(lines)


def _absence(backend: str, device: str) -> str | None:
    """None if the backend can run on the device, else the reason why not."""
    if backend == "reference":
        return None
    return _ABSENCE.get((backend, device), f"it is written for {' and '.join(PREFERENCE)}")


def _refusal(backend: str, device: str, index: int | None, warn: bool = False) -> str | None:
    """None if the backend can run on this one device, else the reason why not."""
    why = _absence(backend, device)
    if why is None and (backend, device) in _PROBLEM:
        why = _PROBLEM[backend, device](index, warn)
    return why


def _cuda_problem(index: int | None, warn: bool) -> str | None:
    """What keeps the CUDA kernels from a GPU: a driver too old for them, or no code for its architecture.

    Asked with the first image there, not at import: that would initialize CUDA, which no fork survives.
    """
    if index is None or not torch.cuda.is_initialized():
        return None  # an image that is only traced
    return _device_problem(index, warn)


def _in_forked_process() -> bool:
    return torch.cuda._is_in_bad_fork()


# What torch.compiler.assume_constant_result sets: traced, they are asked once and not looked into. The decorator itself
# would take a second to import.
_cuda_problem._dynamo_marked_constant = True  # type: ignore[attr-defined]
_in_forked_process._dynamo_marked_constant = True  # type: ignore[attr-defined]

_PROBLEM = {("native", "cuda"): _cuda_problem}


@functools.cache
def _device_problem(index: int, warn: bool = False) -> str | None:
    with _disable_current_modes():  # a mode that traces or fakes what torch does would take the question for work
        why = torch.ops.texfilters_native.cuda_problem(index) or None
    if why and warn:
        message = f"texfilters filters on cuda:{index} without its CUDA kernels: {why}"
        warnings.warn(message, RuntimeWarning, stacklevel=2)
    return why


def _details(backend: str, device: str) -> str:
    if backend == "native" and device == "cpu":
        try:
            instruction_set = torch.ops.texfilters_native.instruction_set()
        except RuntimeError as error:  # TEXFILTERS_ISA names none of this machine
            return str(error).partition("\n")[0]
        return (
            f"instruction set {instruction_set}, {build_info().get('native', {}).get('compiler', 'unknown compiler')}"
        )
    if backend == "native" and device == "cuda":
        info = build_info().get("cuda", {})
        return ", ".join([info.get("compiler", "unknown compiler"), *info.get("archs", ()), f"PTX {info.get('ptx')}"])
    if backend == "triton":
        return f"triton {importlib.import_module('triton').__version__}"
    return "there"


def build_info() -> dict[str, Any]:
    """What the build wrote about itself."""
    path = _FOLDER / "_build_info.json"
    return json.loads(path.read_text()) if path.exists() else {}


def _load(device: str) -> str | None:
    """Load a library of kernels; None if that went well, else the reason why not."""
    path = _FOLDER / _LIBRARIES[device]
    if not path.exists():
        part, needed = ("native", "a C++ compiler") if device == "cpu" else ("cuda", "a C++ compiler and nvcc")
        return build_info().get(part, {}).get("why", f"{path.name} was not built; install again with {needed}")
    if device == "cuda" and _ABSENCE["native", "cpu"] is not None:
        return f"{path.name} needs {_LIBRARIES['cpu']}, which is absent: {_ABSENCE['native', 'cpu']}"
    try:
        torch.ops.load_library(str(path))
    except OSError as error:
        return f"{path.name} does not load: {error.__cause__ or error}"
    return None


def _triton_absence(device: str) -> str | None:
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed"
    if device == "cpu" and os.environ.get("TRITON_INTERPRET") != "1":
        return "Triton reaches the CPU through its interpreter only: set TRITON_INTERPRET=1 before the start"
    return None


# Looked up once, at import: plain values, which torch.compile can trace. The CPU's library comes first: the other one
# implements what it declares.
_ABSENCE: dict[tuple[str, str], str | None] = {}
for _device in _LIBRARIES:
    _ABSENCE["native", _device] = _load(_device)
_ABSENCE |= {("triton", device): _triton_absence(device) for device in PREFERENCE}

for _part in filter(None, map(str.strip, os.environ.get("TEXFILTERS_REQUIRE", "").split(","))):
    _why = {
        "native": _ABSENCE["native", "cpu"],
        "cuda": _ABSENCE["native", "cuda"],
    }.get(_part, "no such part; parts are native and cuda")
    if _why is not None:
        raise ImportError(f"TEXFILTERS_REQUIRE asks for {_part!r}, which is absent: {_why}")

if _ABSENCE["native", "cpu"] is not None:
    warnings.warn(
        f"texfilters filters on the CPU by its slow reference: {_ABSENCE['native', 'cpu']}",
        RuntimeWarning,
        stacklevel=2,
    )

"""What a result was measured on and with, nothing that names the machine or its paths; and how it is written down."""

import datetime
import importlib.metadata
import json
import os
import platform
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch


def describe(package_names: Iterable[str]) -> dict[str, Any]:
    from texfilters import _backends  # gpu_report.py comes here before there is anything built

    return {
        "date": date(),
        "commit": commit(),
        "cpu": cpu(),
        "cores": cores(),
        "instruction_set": torch.ops.texfilters_native.instruction_set(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": packages(package_names),
        "compiler": _backends.build_info().get("native", {}).get("compiler"),
    }


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu() -> str:
    """The model as the system calls it; hypervisors hide its number, so family and model stand in for one."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n")[0].splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    name = fields.get("model name", platform.machine())
    if not re.search(r"\d", name) and "cpu family" in fields:
        name += f" (family {fields['cpu family']}, model {fields['model']})"
    return name


def file_system(path: Path) -> str:
    """The type of the one that a path is on, such as ext4, or tmpfs for memory."""
    mounts = [line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines()]
    around = [(len(where), kind) for where, kind in mounts if path.resolve().is_relative_to(where)]
    return max(around)[1]


def slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def date() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def packages(names: Iterable[str]) -> dict[str, str]:
    """The versions of those that are installed."""
    return {name: version for name in names if (version := _version(name))}


def commit() -> str:
    """As git describes it; where the files came without git, what TEXFILTERS_COMMIT says."""
    try:
        command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get("TEXFILTERS_COMMIT", "unknown")


def as_json(result: dict[str, Any]) -> str:
    """Indented, but a row on a line, so that two runs can be compared."""
    lines = []
    for key, value in result.items():
        if isinstance(value, list) and value and isinstance(value[0], dict):
            text = "[\n  " + ",\n  ".join(map(json.dumps, value)) + "\n ]"
        else:
            text = json.dumps(value)
        lines.append(f" {json.dumps(key)}: {text}")
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None

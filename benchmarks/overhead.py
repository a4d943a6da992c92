"""What there is to pay before a pixel is computed: the cost of a call, and of the import."""

import statistics
import subprocess
import sys
import time
from typing import Any

import numpy as np
import torch

import peers
import texfilters
from measure import rounded, spread
from texfilters import _backends
from texfilters.compat import medpy as drop_in

CALLS = 2000
IMPORTS = 7


def rows() -> list[dict[str, Any]]:
    peers.set_threads(1)
    return [*call_rows(), *import_rows()]


def call_rows() -> list[dict[str, Any]]:
    """Microseconds for one iteration on 4x4 pixels, in turns."""
    image, gray = torch.arange(48, dtype=torch.uint8).reshape(1, 3, 4, 4), torch.arange(16.0).reshape(4, 4)
    diffuse = texfilters.anisotropic_diffusion
    calls = {
        "texfilters.anisotropic_diffusion": lambda: diffuse(gray, 1, 20.0),
        "texfilters.anisotropic_diffusion, torch eager": lambda: diffuse(gray, 1, 20.0, backend="reference"),
    }
    if "native" in _backends.available("cpu"):
        kernel = torch.ops.texfilters_native.anisotropic_diffusion
        numbers = [torch.tensor(1, dtype=torch.int32), *torch.tensor([20.0, 0.1], dtype=torch.float64)]
        calls["texfilters, the native kernel by itself"] = lambda: kernel(gray, *numbers, 1, "none", [1.0, 1.0], 2)
    everyone = {peer.name: peer for peer in peers.everyone()}
    if "MedPy" in everyone:
        from medpy.filter.smoothing import anisotropic_diffusion

        array: np.ndarray = gray.numpy()
        calls["texfilters.compat.medpy"] = lambda: drop_in.anisotropic_diffusion(array, 1, 20)
        calls["MedPy"] = lambda: anisotropic_diffusion(array, 1, 20)
    if "cv2.ximgproc" in everyone:
        calls["cv2.ximgproc (4x4 RGB)"] = everyone["cv2.ximgproc"].prepare(peers.Case(image, niter=1))

    samples: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(CALLS // 100 + 1):
        for name, call in calls.items():
            for _ in range(100):
                start = time.perf_counter_ns()
                call()
                if number:  # the first round warms up
                    samples[name].append((time.perf_counter_ns() - start) / 1e3)
    return [{"call": name, **spread(times, "us"), "rounds": CALLS} for name, times in samples.items()]


def import_rows() -> list[dict[str, Any]]:
    """Seconds from the start of Python to its end, in turns, and the import of texfilters after torch by itself."""
    alone = "import torch, time; t = time.perf_counter(); import texfilters; print(time.perf_counter() - t)"
    commands = {"import torch": "import torch", "import torch, texfilters": alone}
    process: dict[str, list[float]] = {name: [] for name in commands}
    inside = []
    for _ in range(IMPORTS):
        for name, command in commands.items():
            start = time.perf_counter()
            out = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True).stdout
            process[name].append(1e3 * (time.perf_counter() - start))
            inside += [1e3 * float(out)] if out else []
    torch_ms, both_ms = (statistics.median(times) for times in process.values())
    return [
        *({"import": name, **spread(times, "ms"), "rounds": IMPORTS} for name, times in process.items()),
        {"import": "texfilters, as the difference of the two", "ms": rounded(both_ms - torch_ms), "rounds": IMPORTS},
        {"import": "texfilters, timed after torch", **spread(inside, "ms"), "rounds": IMPORTS},
    ]

"""Times on a GPU by CUDA events, and the clock that it ran at meanwhile."""

import bisect
import ctypes
import shutil
import statistics
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

import torch

Call = Callable[[], Any]
_CYCLES_PER_MS = 2_000_000  # of a spinning kernel, about
_LONGEST_SPIN = 50.0  # ms


class CudaTimer:
    """Milliseconds of calls on the current device and stream."""

    def __init__(self) -> None:
        self._start, self._end = (torch.cuda.Event(enable_timing=True) for _ in range(2))

    def ms(self, call: Call, calls: int, host_ms: float = 0.0) -> float:
        """One of `calls` calls in a row. The GPU spins until the host has queued them, so that it never waits."""
        spin = min(_LONGEST_SPIN, 1.5 * host_ms * calls + 0.05)
        torch.cuda._sleep(int(spin * _CYCLES_PER_MS))
        self._start.record()
        for _ in range(calls):
            call()
        self._end.record()
        self._end.synchronize()
        return self._start.elapsed_time(self._end) / calls

    def host_ms(self, call: Call, calls: int) -> float:
        """How long the host takes to queue a call."""
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(calls):
            call()
        spent = time.perf_counter() - start
        torch.cuda.synchronize()
        return 1e3 * spent / calls

    def wall_ms(self, call: Call, calls: int) -> float:
        """One of `calls` calls in a row by the clock on the wall: the host's part counts where it is the larger one."""
        torch.cuda.synchronize()
        start = time.perf_counter()
        for _ in range(calls):
            call()
        torch.cuda.synchronize()
        return 1e3 * (time.perf_counter() - start) / calls

    def graph_ms(self, call: Call, calls: int, replays: int = 20) -> float:
        """A call out of a CUDA graph of `calls`: the median of its replays."""
        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize()
        with torch.cuda.graph(graph):
            kept = [call() for _ in range(calls)]
        graph.replay()
        median = statistics.median(self.ms(graph.replay, 1) for _ in range(replays)) / calls
        del kept
        return median

    def peak_mb(self, call: Call) -> float:
        """What a call adds to the allocated memory at its peak, its result included."""
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        result = call()
        torch.cuda.synchronize()
        del result
        return (torch.cuda.max_memory_allocated() - before) / 1e6

    def spin_mhz(self) -> float:
        """The clock of the multiprocessors, by a kernel that counts its own cycles."""
        cycles = 4_000_000

        def spin() -> None:
            torch.cuda._sleep(cycles)

        spin()
        return cycles / self.ms(spin, 1) / 1e3


class SmClock:
    """The clock of the multiprocessors, read by a thread: through NVML, as nvidia-smi does, or else from nvidia-smi."""

    def __init__(self) -> None:
        self._times: list[float] = []
        self._mhz: list[float] = []
        self._done = threading.Event()
        uuid = getattr(torch.cuda.get_device_properties(torch.cuda.current_device()), "uuid", None)
        name = None if uuid is None else f"GPU-{uuid}"
        read = nvml_reader(name) or smi_reader(name)
        self._thread = threading.Thread(target=self._keep_reading, args=(read,), daemon=True)
        if read is not None:
            self._thread.start()

    def _keep_reading(self, read: Callable[[], float | None]) -> None:
        while not self._done.wait(0.05):
            mhz = read()
            if mhz:
                self._mhz.append(mhz)
                self._times.append(time.monotonic())

    def mhz(self, spans: list[tuple[float, float]]) -> float | None:
        """The median over spans of time.monotonic(); None where nothing was read in them."""
        seen = []
        for start, end in spans:
            first, last = bisect.bisect_left(self._times, start), bisect.bisect_right(self._times, end)
            seen += self._mhz[first:last]
        return statistics.median(seen) if seen else None

    def stop(self) -> None:
        self._done.set()


def nvml_reader(name: str | None) -> Callable[[], float | None] | None:
    """MHz of the GPU of that UUID, or of the first one; None where the driver's library does not answer."""
    handle, mhz = ctypes.c_void_p(), ctypes.c_uint()
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
        wrong = nvml.nvmlInit_v2()
        if name is not None:
            wrong = wrong or nvml.nvmlDeviceGetHandleByUUID(name.encode(), ctypes.byref(handle))
        else:
            wrong = wrong or nvml.nvmlDeviceGetHandleByIndex_v2(0, ctypes.byref(handle))
        if wrong:
            return None
    except (OSError, AttributeError):
        return None

    def read() -> float | None:
        sm_clock = 1
        wrong = nvml.nvmlDeviceGetClockInfo(handle, sm_clock, ctypes.byref(mhz))
        return None if wrong else float(mhz.value)

    return read if read() else None


def smi_reader(name: str | None) -> Callable[[], float | None] | None:
    smi = shutil.which("nvidia-smi")
    if smi is None:
        return None
    command = [smi, "--query-gpu=clocks.sm", "--format=csv,noheader,nounits", f"--id={name or 0}"]

    def read() -> float | None:
        try:
            return float(subprocess.run(command, capture_output=True, text=True, timeout=10).stdout)
        except (OSError, ValueError, subprocess.TimeoutExpired):
            return None

    return read


def copy_gb_s(timer: CudaTimer) -> float:
    """Bytes read and written by a copy on the device, far larger than its L2."""
    size = min(2**30, torch.cuda.mem_get_info()[0] // 4)
    source = torch.empty(size, dtype=torch.uint8, device="cuda").random_(256)
    target = torch.empty_like(source)
    timer.ms(lambda: target.copy_(source), 3)
    return 2 * size / statistics.median(timer.ms(lambda: target.copy_(source), 3) for _ in range(15)) / 1e6

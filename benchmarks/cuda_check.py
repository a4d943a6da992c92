"""What the compiler makes of the CUDA kernels: registers, spills and stack of every instantiation, by architecture.

Run: python benchmarks/cuda_check.py. Ends with 1 on a spill, on more than 128 registers, on a report that it does not
understand or that lacks a kernel; with 2 where there is no CUDA toolkit.
"""

import functools
import operator
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

sys.path.append(str(Path(__file__).resolve().parent.parent))
import build_cuda

ARCHITECTURES = (80, 90, 100, 120)
REGISTERS = 128  # a thread: with more of them, an SM no longer holds the 16 warps of a plane's block

# The report of a kernel, line by line; anything else in it is an error.
_ENTRY = re.compile(r"ptxas info\s+: Compiling entry function '(\w+)' for 'sm_(\d+)'")
_FUNCTION = re.compile(r"ptxas info\s+: Function properties for (\w+)")
_STACK = re.compile(r"\s+(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads")
_USED = re.compile(r"ptxas info\s+: Used (\d+) registers(, (used )?\d+ (barriers|bytes [\w\[\] ]+))*")
_IDLE = re.compile(r"(ptxas info\s+: (\d+ bytes gmem(, \d+ bytes cmem\[\d+\])*|Compile time = .* ms))?\s*")


class Kernel(NamedTuple):
    name: str
    architecture: int
    registers: int
    spill: int  # bytes stored and loaded
    stack: int  # bytes of it, to which arrays go that are not indexed by constants

    def __str__(self) -> str:
        stack = f" stack={self.stack}" if self.stack else ""
        return f"{self.name} sm_{self.architecture} registers={self.registers} spill={self.spill}{stack}"

    @property
    def fits(self) -> bool:
        return not self.spill and self.registers <= REGISTERS


def parse(report: str) -> list[Kernel]:
    """The kernels of a report of `nvcc --resource-usage`, whose names are still mangled."""
    kernels = []
    expected, name, architecture, stack, spill = (_ENTRY, _IDLE), "", 0, 0, 0
    for line in report.splitlines():
        rule, match = next(((rule, m) for rule in expected if (m := rule.fullmatch(line))), (None, None))
        if match is None:
            raise ValueError(f"the compiler's report has a line that is not understood here: {line!r}")
        if rule is _ENTRY:
            name, architecture, expected = match[1], int(match[2]), (_FUNCTION,)
        elif rule is _FUNCTION:
            # A function that was not inlined has a stack and spills of its own.
            if match[1] != name:
                raise ValueError(f"the report must be of {name!r} here, got {match[1]!r}")
            expected = (_STACK,)
        elif rule is _STACK:
            stack, spill, expected = int(match[1]), int(match[2]) + int(match[3]), (_USED,)
        elif rule is _USED:
            kernels.append(Kernel(name, architecture, int(match[1]), spill, stack))
            expected = (_ENTRY, _IDLE)
    if expected != (_ENTRY, _IDLE):
        raise ValueError(f"the compiler's report breaks off within {name!r}")
    return kernels


def problems(kernels: list[Kernel], architectures: tuple[int, ...] = ARCHITECTURES) -> list[str]:
    """What is wrong with them: too much used, or a kernel that an architecture lacks."""
    found = [f"spills or uses more than {REGISTERS} registers: {kernel}" for kernel in kernels if not kernel.fits]
    counts = [Counter(k.name for k in kernels if k.architecture == architecture) for architecture in architectures]
    whole = functools.reduce(operator.or_, counts)
    if not whole:
        found.append("there is no kernel")
    for architecture, count in zip(architectures, counts, strict=True):
        found += [f"sm_{architecture} lacks {name}" for name in sorted((whole - count).elements())]
    return found


def readable(names: list[str]) -> list[str]:
    """Without return type, namespaces, parameters and blanks: `diffuse_planes<Tile<7,14,16,1>,1,uint8_t>`."""
    result = subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True)
    return [_short(name) for name in result.stdout.splitlines()]


def _short(name: str) -> str:
    name = name.replace("(anonymous namespace)::", "").replace("unsigned char", "uint8_t")
    name = re.sub(r"\b\w+::", "", name)
    depth = 0
    for i, c in enumerate(name):  # the parameters begin with the first parenthesis outside of all template arguments
        depth += (c == "<") - (c == ">")
        if c == "(" and depth == 0:
            name = name[:i]
            break
    name = re.sub(r"^\w+ (?=\w+<)", "", name)  # the return type, which only templates have
    return re.sub(r"\s*([,<>*&])\s*", r"\1", name).replace(" ", "_")


def check_sources(sources: list[Path], nvcc: Path, architectures: tuple[int, ...] = ARCHITECTURES) -> list[Kernel]:
    """Every kernel of the sources on every architecture."""

    def compiled(source: Path, architecture: int) -> list[Kernel]:
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder, "kernels.cubin")
            flags = [*build_cuda.FLAGS, "--resource-usage", "-cubin", f"-arch=sm_{architecture}"]
            return parse(build_cuda.run([nvcc, *flags, source, "-o", target]))

    jobs = [(source, architecture) for source in sources for architecture in architectures]
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        reports = list(pool.map(lambda job: compiled(*job), jobs))
    kernels = [kernel for report in reports for kernel in report]
    names = readable([kernel.name for kernel in kernels]) if kernels else []
    return [kernel._replace(name=name) for kernel, name in zip(kernels, names, strict=True)]


def main() -> int:
    try:
        tools = build_cuda.toolkit()
    except FileNotFoundError as error:
        print(f"cuda-check needs nvcc: {error}", file=sys.stderr)
        return 2
    try:
        sources = [path.relative_to(build_cuda.ROOT) for path in build_cuda.kernel_sources()]
        kernels = check_sources(sources, tools.nvcc)
    except build_cuda.CommandError:  # has been printed
        return 1
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        print(f"cuda-check: {error}", file=sys.stderr)
        return 1
    for kernel in sorted(kernels, key=lambda kernel: (kernel.name, kernel.architecture)):
        print(kernel)
    found = problems(kernels)
    for problem in found:
        print(f"cuda-check: {problem}", file=sys.stderr)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

"""The parts of the GPU report that are processes of their own: each has so many seconds, and leaves what it found."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gpu_recorder

ROOT = Path(__file__).resolve().parent.parent
OUT_OF_TIME = "out of time"
SHARDS = 4  # of the tests, side by side: most of their time goes into compiling Triton's kernels and into launches
RESTARTS = 6  # of a shard whose process died
_SHOWN = 12  # failures whose text is kept
_REFUSALS = (
    "device not supported",
    "no cuda-capable device",
    "terminated before first instrumented",
    "internal sanitizer error",
)

Found = dict[str, Any]
_RUNNING: set[subprocess.Popen] = set()
_STOPPED = threading.Event()


@dataclass
class Ended:
    code: int | None  # None if it had to be killed
    seconds: float
    log: Path

    def text(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def tail(self, lines: int = 8, characters: int = 1200) -> str:
        return "\n".join(self.text().strip().splitlines()[-lines:])[-characters:]


def run(command: list[str], seconds: float, log: Path, *, mode: str = "w", **environment: str) -> Ended:
    """Run a command in a process group of its own, which is killed as a whole once its time is over.

    Its output goes to a file: a pipe would keep us waiting for whatever child still holds it.
    """
    paths = [str(ROOT), str(ROOT / "benchmarks"), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1", **environment}
    start = time.monotonic()
    if mode == "w":
        log.unlink(missing_ok=True)
    if _STOPPED.is_set() or seconds <= 0:
        return Ended(None, 0.0, log)
    with log.open(mode) as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
            process_group=0,
        )  # fmt: skip
        _RUNNING.add(process)
        if _STOPPED.is_set():  # since we last looked
            _signal(process, signal.SIGKILL)
        try:
            code: int | None = process.wait(seconds)
        except subprocess.TimeoutExpired:
            code = None
        finally:  # also when we are interrupted ourselves
            if process.returncode is None:
                _end(process)
            _RUNNING.discard(process)
    return Ended(None if _STOPPED.is_set() else code, round(time.monotonic() - start, 1), log)


def stop() -> None:
    """End whatever runs, and start nothing any more."""
    _STOPPED.set()
    for process in list(_RUNNING):
        _signal(process, signal.SIGKILL)


def _end(process: subprocess.Popen) -> None:
    for number, patience in ((signal.SIGTERM, 2.0), (signal.SIGKILL, 5.0)):
        _signal(process, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(patience)
    # The second signal also went to children that outlived the leader.


def _signal(process: subprocess.Popen, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def build(seconds: float, logs: Path) -> Found:
    """The extension in place, strictly: a part that is missing is a failure."""
    command = [sys.executable, "setup.py", "build_ext", "--inplace"]
    ended = run(command, seconds, logs / "build.log", TEXFILTERS_REQUIRE="native,cuda")
    found: Found = {"ok": ended.code == 0, "seconds": ended.seconds}
    if ended.code == 0:
        found["built"] = json.loads((ROOT / "texfilters" / "_build_info.json").read_text())
    else:
        found["why"] = OUT_OF_TIME if ended.code is None else ended.tail()
    return found


def tests(seconds: float, logs: Path) -> Found:
    """Every test that is marked `cuda`; the shards side by side."""
    start = time.monotonic()
    files = sorted(str(path.relative_to(ROOT)) for path in cuda_tests(ROOT / "tests"))
    with ThreadPoolExecutor(SHARDS) as pool:
        shards = [pool.submit(_shard, i, files, start + seconds, logs) for i in range(1, SHARDS + 1)]
        problems = [problem for shard in shards if (problem := shard.result())]
    records = [record for i in range(1, SHARDS + 1) for record in gpu_recorder.read(logs / f"tests-{i}.jsonl")]
    return {**tests_found(records, problems), "seconds": round(time.monotonic() - start, 1), "shards": SHARDS}


def cuda_tests(folder: Path) -> list[Path]:
    """Named one by one, so that a package which only other tests need may be missing."""
    return [path for path in folder.rglob("test_*.py") if re.search(r"mark\.cuda|cuda_cases", path.read_text())]


def _shard(number: int, files: list[str], deadline: float, logs: Path) -> str | None:
    """Why it did not come to its end; None if it did. What the tests came to is in its record."""
    record = logs / f"tests-{number}.jsonl"
    record.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pytest", "-m", "cuda", "-q", "-p", "no:cacheprovider", "-p", "gpu_recorder"]
    command += ["--tb=short", f"--record={record}", f"--shard={number}/{SHARDS}", *files]
    tail = ""
    log = logs / f"tests-{number}.log"
    log.unlink(missing_ok=True)
    for _ in range(1 + RESTARTS):
        before = _started(record)
        ended = run(command, deadline - time.monotonic(), log, mode="a", TEXFILTERS_REQUIRE="native,cuda")
        if ended.code is None:
            return OUT_OF_TIME
        if ended.code in (0, 1, 5):  # at the end of its list, or nothing was left of it
            return None
        tail = ended.tail()
        if _started(record) == before:
            return f"pytest ended with code {ended.code}: {tail}"
    return f"its process died {1 + RESTARTS} times: {tail}"


def _started(record: Path) -> int:
    return sum(line["outcome"] == "started" for line in gpu_recorder.read(record))


def tests_found(records: list[Found], problems: list[str]) -> Found:
    """Counts, the text of failures, the slowest; a test that started and did not end took its process along."""
    worst = ("started", "passed", "skipped", "failed")  # of a test's lines, the last of these counts
    tests: dict[str, Found] = {}
    for record in records:
        known = tests.get(record["test"], record)
        tests[record["test"]] = max(known, record, key=lambda r: worst.index(r["outcome"]))
    failed = [record for record in tests.values() if record["outcome"] in ("failed", "started")]
    counts = Counter(record["outcome"] for record in tests.values())
    skipped = Counter(record["text"] for record in tests.values() if record["outcome"] == "skipped")
    slowest = sorted(tests.values(), key=lambda record: -record["seconds"])[:5]
    return {
        "ok": counts["passed"] > 0 and not failed and not problems,
        "passed": counts["passed"],
        "failed": len(failed),
        "skipped": counts["skipped"],
        "why_skipped": dict(skipped.most_common(8)),
        "failures": [
            {"test": record["test"], "text": record["text"] or "was running when its process ended"}
            for record in failed[:_SHOWN]
        ],
        "slowest": [[record["test"], record["seconds"]] for record in slowest],
        "why": "; ".join(dict.fromkeys(problems)) or (None if tests else "no test was found"),
    }


def sanitize(seconds: float, logs: Path) -> Found:
    """compute-sanitizer's memcheck and racecheck over gpu_sanitize.py; where it cannot run, that is no failure."""
    tool = sanitizer()
    if tool is None:
        return {"ok": True, "memcheck": "refused: no compute-sanitizer", "racecheck": "refused: no compute-sanitizer"}
    start, found = time.monotonic(), {}
    extra = {"memcheck": ["--report-api-errors", "no"], "racecheck": []}
    for number, (name, options) in enumerate(extra.items()):
        budget = (seconds - (time.monotonic() - start)) / (len(extra) - number)
        command = [tool, "--tool", name, "--show-backtrace", "no", "--print-limit", "20", *options]
        # The rest of its time is for starting up and for the case at work.
        command += [sys.executable, str(ROOT / "benchmarks" / "gpu_sanitize.py"), "--seconds", f"{budget * 0.5:.0f}"]
        # Every tensor its own allocation, so that reading past the end of one is seen.
        environment = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1", "CUDA_MODULE_LOADING": "LAZY", "TEXFILTERS_REQUIRE": ""}
        ended = run(command, budget, logs / f"{name}.log", **environment)
        found[name] = sanitizer_verdict(ended.text(), ended.code)
    ok = not any(verdict.startswith(("errors", "failed")) for verdict in found.values())
    return {"ok": ok, **found, "seconds": round(time.monotonic() - start, 1)}


def sanitizer() -> str | None:
    places = [os.environ.get(name) for name in ("CUDA_HOME", "CUDA_PATH")] + ["/usr/local/cuda"]
    candidates = [
        f"{place}/{folder}/compute-sanitizer" for place in places if place for folder in ("bin", "compute-sanitizer")
    ]
    return shutil.which("compute-sanitizer") or next((path for path in candidates if os.access(path, os.X_OK)), None)


def sanitizer_verdict(text: str, code: int | None) -> str:
    """One of "clean: N cases", "errors: N: ...", "refused: ...", "failed: ..." and "out of time".

    A clean summary alone proves nothing: the tool also prints one over a program that it never started.
    """
    said = [line.removeprefix("=========").strip() for line in text.splitlines() if line.startswith("=========")]
    lines = text.strip().splitlines()
    for line in said:
        if any(refusal in line.lower() for refusal in _REFUSALS):
            return f"refused: {line}"[:300]
    counts = [int(n) for n in re.findall(r"(?:ERROR|RACECHECK) SUMMARY: (\d+) (?:error|hazard)", text)]
    if any(counts):
        first = [line for line in said if line and "COMPUTE-SANITIZER" not in line and "SUMMARY" not in line]
        return f"errors: {max(counts)}: {'; '.join(first[:4])}"[:600]
    cases = re.search(r"^cases: (\d+) of (\d+), (\d+) wrong$", text, re.MULTILINE)
    if cases and cases[3] != "0":
        return f"failed: {cases[3]} of {cases[1]} cases are wrong"
    if cases and counts:
        return f"clean: {cases[1]} of {cases[2]} cases"
    if code is None:
        return OUT_OF_TIME
    if not counts:
        return f"refused: {' / '.join(lines[-2:]) or 'no output'}"[:300]
    return f"failed: the cases ended with code {code}: {' / '.join(lines[-3:])}"[:500]


def timings(seconds: float, logs: Path, cases: list[str] | None = None) -> Found:
    """gpu_timing.py's rows and what else it measured, as far as it came."""
    lines = logs / "timings.jsonl"
    lines.unlink(missing_ok=True)
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu_timing.py"), "--out", str(lines)]
    command += ["--seconds", f"{max(1.0, seconds - 8):.0f}", *(["--cases", *cases] if cases else [])]
    # One process compiles a step or two faster than a pool of them starts.
    ended = run(command, seconds, logs / "timings.log", TEXFILTERS_REQUIRE="", TORCHINDUCTOR_COMPILE_THREADS="1")
    found: Found = {"ok": True, "seconds": ended.seconds, "rows": []}
    for record in gpu_recorder.read(lines):
        found["rows"] += record.pop("rows", [])
        found |= record
    if ended.code != 0:
        found["why"] = OUT_OF_TIME if ended.code is None else ended.tail()
    wrong = [
        r
        for r in found["rows"]
        if r["peer"].startswith(("native", "triton")) and (r.get("failed") or r.get("error_ok") is False)
    ]
    found["wrong"] = [f"{row['case']}, {row['peer']}" for row in wrong]
    found["ok"] = not wrong and ended.code in (0, None)
    return found


def loader(seconds: float, logs: Path) -> Found:
    """loader_step.py's rows, a training step with suppression and without it, as far as it came."""
    out = logs / "loader.json"
    out.unlink(missing_ok=True)
    command = [sys.executable, str(ROOT / "benchmarks" / "loader_step.py"), "--device", "cuda", "--out", str(out)]
    command += ["--seconds", f"{max(1.0, seconds - 15):.0f}"]
    ended = run(command, seconds, logs / "loader.log", TEXFILTERS_REQUIRE="")
    found: Found = {"ok": ended.code in (0, None), "seconds": ended.seconds}
    if out.exists():
        result = json.loads(out.read_text())
        found |= {"steps": result["rows"], "overhead": result["overhead"], "workers": result["workers"]}
    if ended.code != 0:
        found["why"] = OUT_OF_TIME if ended.code is None else ended.tail()
    return found


PARTS: dict[str, Callable[..., Found]] = {
    "build": build,
    "tests": tests,
    "timings": timings,
    "loader": loader,
    "sanitize": sanitize,
}

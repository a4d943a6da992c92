"""The one command for a machine with an NVIDIA GPU: build, test, time, sanitize; one JSON, one table.

    python benchmarks/gpu_report.py [--only PART ...] [--cases NAME ...] [--limit SECONDS] [--out FILE] [--logs FOLDER]

It ends by itself within the limit, whatever happens: each part has its share of what is left, is killed when that is
over, and the JSON is written after every part, as NAME.unfinished until the last. Without a GPU it writes nothing and
ends with code 2; with code 1 if the build, a test, the sanitizer or an error bound fails. A whole run goes to
benchmarks/results/gpu-<device>.json, a part of one only where --out says. Where git cannot tell the commit,
TEXFILTERS_COMMIT does.
"""

import time

STARTED = time.monotonic()  # importing torch takes its time, too

import argparse  # noqa: E402
import platform  # noqa: E402
import shutil  # noqa: E402
import signal  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
from collections.abc import Iterator, Mapping, Sequence  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import torch  # noqa: E402

import gpu_parts  # noqa: E402
import machine  # noqa: E402
from gpu_cases import STEP_TARGETS, Target  # noqa: E402
from gpu_filters import ALL_CASES, ALL_TARGETS, FilterCase  # noqa: E402

RESULTS = Path(__file__).resolve().parent / "results"
# Seconds of the default limit. What a part does not need goes to those after it.
SHARES = {"build": 125.0, "tests": 120.0, "timings": 145.0, "loader": 50.0, "sanitize": 40.0}
TO_FINISH = 9.0  # seconds to end the last part's processes and to write
TARGETED = "H200"  # the device that the targets are set for
AIMS = {"rows": ALL_TARGETS, "steps": STEP_TARGETS}  # of the timings, of the loader
FILTERS = {case.filter.function for case in ALL_CASES if isinstance(case, FilterCase)}
_PACKAGES = ("torch", "torchvision", "triton", "numpy", "scikit-image", "kornia", "cupy-cuda13x", "cvcuda-cu13")

Result = dict[str, Any]


def budget(part: str, parts: Sequence[str], left: float, shares: Mapping[str, float] = SHARES) -> float:
    """The seconds that a part may take out of those that are left for it and the parts after it."""
    later = parts[parts.index(part) :]
    return max(0.0, left) * shares[part] / sum(shares[name] for name in later)


def measured(
    parts: Sequence[str], cases: list[str] | None, deadline: float, logs: Path, described: Result
) -> Iterator[Result]:
    """The result as it is known after each of the parts."""
    result: Result = {**described, "parts": {}}
    for part in parts:
        seconds = budget(part, parts, deadline - time.monotonic())
        arguments = {"cases": cases} if part == "timings" else {}
        try:
            found = gpu_parts.PARTS[part](seconds, logs, **arguments)
        except Exception as error:  # of ours; the other parts are worth having
            found = {"ok": False, "why": f"{type(error).__name__}: {error}"}
        rows = {key: found.pop(key) for key in AIMS if key in found}
        result = {**result, "parts": {**result["parts"], part: found | {"budget_s": round(seconds, 1)}}}
        for key, timed in rows.items():
            reached = targets(timed, result["device"], AIMS[key])
            result = {**result, "targets": [*result.get("targets", []), *reached], key: timed}
        yield result


def describe() -> Result:
    properties = torch.cuda.get_device_properties(torch.cuda.current_device())
    return {
        "date": machine.date(),
        "commit": machine.commit(),
        "device": properties.name,
        "capability": f"{properties.major}.{properties.minor}",
        "multiprocessors": properties.multi_processor_count,
        "memory_gb": round(properties.total_memory / 1e9, 1),
        "driver": _driver(),
        "cuda": torch.version.cuda,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": machine.packages(_PACKAGES),
    }


def _driver() -> str | None:
    smi = shutil.which("nvidia-smi")
    if smi is None:
        return None
    try:
        command = [smi, "--query-gpu=driver_version", "--format=csv,noheader"]
        report = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return report.stdout.partition("\n")[0].strip() or None


def targets(rows: list[Result], device: str, aims: Sequence[Target] = ALL_TARGETS) -> list[Result]:
    """What was to be reached beside what was; `met` is None for another device, and where nothing was measured."""
    found = []
    for target in aims:
        row = next((r for r in rows if (r["case"], r["peer"]) == (target.case, target.peer)), {})
        value = row.get(target.key)
        met = target.met(value) if TARGETED in device else None
        entry = {"case": target.case, "peer": target.peer, "key": target.key, "measured": value, "met": met}
        found.append(entry | {"at_least" if target.at_least else "at_most": target.value})
        if value is None:
            found[-1]["why"] = row.get("why", "not measured in this run")
    return found


def failed(result: Result) -> list[str]:
    return [name for name, found in result["parts"].items() if not found["ok"]]


def table(result: Result) -> str:
    """All that matters, in few lines: often only the end of an output is kept."""
    lines = [
        f"{result['device']}, driver {result['driver']}, CUDA {result['cuda']}, {result['packages']}",
        f"commit {result['commit']}, {result['date']}, {result.get('seconds', 0):.0f} s",
    ]
    for name, found in result["parts"].items():
        said = [
            f"{key} {found[key]}" for key in ("passed", "failed", "skipped", "memcheck", "racecheck") if key in found
        ]
        said += [str(found[key]) for key in ("copy_gb_s", "wrong", "why") if found.get(key)]
        state = "ok" if found["ok"] else "FAILED"
        lines.append(f"{name}: {state}, {found.get('seconds', 0):.0f} s; {'; '.join(said)}".replace("\n", " / ")[:600])
        lines += [f"  {f['test']}: {f['text'].splitlines()[0][:110]}" for f in found.get("failures", [])[:8]]
    headings = ("", "", "ms", "images/s", "graph", "bound", "share", "error", "MB")
    lines.append("{:24}{:19}{:>8}{:>11}{:>8}{:>8}{:>7}{:>9}{:>9}".format(*headings))
    rows = result.get("rows", [])
    for row in rows:
        if row.get("function") in FILTERS:
            continue
        if row["ms"] is None:
            lines.append(f"{row['case']:24}{row['peer']:19}{row['why'].splitlines()[0][:70]}")
            continue
        lines.append(
            f"{row['case']:24}{row['peer']:19}{row['ms']:8.4g}{row['images_per_s']:11,.0f}{_short(row.get('graph_ms')):>8}"
            f"{_short(row['bound_ms']):>8}{_short(row['share_of_bound'], 2):>7}{_short(row['error_max'], 2):>9}"
            f"{_short(row['peak_mb']):>9}"
        )
    lines += _filter_lines([row for row in rows if row.get("function") in FILTERS])
    for row in result.get("steps", []):
        facts = ("ms", "added_share", "idle_ms", "fetch_ms", "transform_ms") if row["ms"] else ("why",)
        said = [f"{key} {row[key] if key == 'why' else _short(row[key])}" for key in facts if row[key] is not None]
        lines.append(f"step, {row['case']}, {row['peer']}: {', '.join(said)}"[:200])
    for target in result.get("targets", []):
        goal = f">= {target['at_least']:,}" if "at_least" in target else f"<= {target['at_most']}"
        met = {True: "met", False: "MISSED", None: "open"}[target["met"]]
        lines.append(f"{target['case']}, {target['peer']}: {target['key']} {target['measured']}, to be {goal}: {met}")
    return "\n".join(lines)


def _filter_lines(rows: list[Result]) -> list[str]:
    """A case a line: the native kernel, then how long the others took."""
    cases: dict[str, list[Result]] = {}
    for row in rows:
        cases.setdefault(row["case"], []).append(row)
    lines = []
    for name, contenders in cases.items():
        said = []
        for row in contenders:
            fewer = f" for {row['images']}" if row["ms"] and row["images"] != row["shape"][0] else ""
            said.append(
                f"{row['peer']} " + (_short(row["ms"], 4) + fewer if row["ms"] else row["why"].splitlines()[0][:40])
            )
        ours = contenders[0]
        facts = {
            "graph": "graph_ms",
            "bound": "bound_ms",
            "error": "error_max",
            "differing": "differing",
            "MB": "peak_mb",
        }
        said += [f"{what} {_short(ours[key])}" for what, key in facts.items() if ours.get(key) is not None]
        lines.append(f"{name}: {', '.join(said)}"[:300])
    return lines


def _short(value: float | None, digits: int = 3) -> str:
    return "" if value is None else f"{value:.{digits}g}"


def path_of(out: Path | None, only: list[str] | None, device: str) -> Path | None:
    """Where the JSON goes: a file, a folder that is there, or for a whole run the committed results."""
    name = f"gpu-{machine.slug(device)}.json"
    if out is not None:
        return out / name if out.is_dir() else out
    return None if only else RESULTS / name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="PART", choices=SHARES, help=f"some of {', '.join(SHARES)}")
    parser.add_argument("--cases", nargs="+", metavar="NAME", choices=[c.name for c in ALL_CASES], help="some timings")
    parser.add_argument("--limit", type=float, default=480, help="seconds until the end (default %(default)s)")
    parser.add_argument("--out", type=Path, help="where the JSON goes: a file, or a folder that is there")
    parser.add_argument("--logs", type=Path, help="a folder for what every part printed")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print(
            "no NVIDIA GPU that PyTorch can use: there is nothing to report, and nothing was written", file=sys.stderr
        )
        sys.exit(2)

    def interrupted(number: int, frame: Any) -> None:
        gpu_parts.stop()
        sys.exit(128 + number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, interrupted)
    described = describe()
    partial = arguments.only or arguments.cases
    target = path_of(arguments.out, partial, described["device"])
    parts = [part for part in SHARES if not arguments.only or part in arguments.only]
    result: Result = {}
    with tempfile.TemporaryDirectory() as scratch:
        logs = (arguments.logs or Path(scratch)).resolve()
        logs.mkdir(parents=True, exist_ok=True)
        deadline = STARTED + arguments.limit - TO_FINISH
        for result in measured(parts, arguments.cases, deadline, logs, described):
            result["seconds"] = round(time.monotonic() - STARTED, 1)
            last = list(result["parts"])[-1]
            print(f"{last}: {'ok' if result['parts'][last]['ok'] else 'FAILED'}", flush=True)
            if target is not None:  # an earlier result stays until this one is whole
                target.parent.mkdir(parents=True, exist_ok=True)
                unfinished = target.with_name(target.name + ".unfinished")
                unfinished.write_text(machine.as_json(result))
    print(table(result))
    if target is not None:
        unfinished.replace(target)
        print(f"wrote {target.name}")
    wrong = failed(result)
    sys.exit(f"failed: {', '.join(wrong)}" if wrong else 0)


if __name__ == "__main__":
    main()

"""Write the tables of README.md from the committed results: python benchmarks/tables.py [--check].

A table stands between `<!-- table: NAME -->` and `<!-- end -->`; NAME is one of those in TABLES below.
"""

import argparse
import difflib
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
MARKED = re.compile(r"(<!-- table: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)

Row = dict[str, Any]
Result = dict[str, Any]


def cpu_diffusion(result: Result) -> str:
    """8 RGB images of 224x224, 20 iterations: everyone on one core, and on all of them."""
    rows = part(result, "headline")
    images = rows[0]["shape"][0]
    medpy = find(rows, "MedPy")
    headings = ["", "ms/image", "images/s", "x MedPy", "largest error (grey levels)", "peak memory (MB)"]
    lines = []
    for threads in result["threads"]:
        for row in rows:
            best = row["instruction_set"] in (None, result["instruction_set"])
            if row["threads"] != threads or (threads > 1 and not best):
                continue
            ms = row["ms"] / images
            lines.append(
                [
                    label(row) + (f", {threads} threads" if threads > 1 else ""),
                    number(ms),
                    number(1e3 / ms),
                    ratio(medpy, row),
                    number(row["error_max"], 2) + ("" if row["same_scheme"] else " *"),
                    number(row["peak_mb"]),
                ]
            )
    compiled = [row["compile_s"] for row in rows if "compile_s" in row]
    steps = f"{rows[0]['niter']} iterations, kappa {rows[0]['kappa']:g}"
    notes = [
        f"{images} RGB photos of 224x224, float32 (cv2: uint8), {steps}; one thread where no number is given.",
        "Errors are against the definition in float64; memory is what a call adds at its peak, its result included.",
        "\\* Another scheme (8 neighbors, coupled channels, uint8 after every iteration): a difference, not an error.",
    ]
    if compiled:
        notes.append(f"torch.compile: one step, looped; {number(max(compiled), 2)} s to compile are not counted.")
    return table(headings, lines) + "\n" + " ".join(notes) + "\n"


def cpu_sizes(result: Result) -> str:
    """Other sizes, numbers of iterations and options, beside MedPy and cv2."""
    many = max(result["threads"])
    headings = ["", "MedPy (ms)", "cv2.ximgproc (ms)", "texfilters (ms)", "x MedPy", "x cv2.ximgproc"]
    if many > 1:
        headings.append(f"texfilters, {many} threads (ms)")
    lines = []
    for rows in cases(result, ("batches", "headline", "sizes", "niter", "options")):
        medpy, cv2, ours = (find(rows, peer) for peer in ("MedPy", "cv2.ximgproc", "texfilters"))
        line = [case_name(rows[0]), *(cell(row) for row in (medpy, cv2, ours)), ratio(medpy, ours), ratio(cv2, ours)]
        lines.append(line + ([cell(find(rows, "texfilters", many))] if many > 1 else []))
    note = "A whole call, one thread where no number is given; 20 iterations and option 1 (exponential) unless named."
    return table(headings, lines) + "\n" + note + "\n"


def cpu_dtypes(result: Result) -> str:
    """Ours by dtype and by coupling of the channels."""
    many = max(result["threads"])
    headings = ["texfilters", "1 thread (ms)", *([f"{many} threads (ms)"] if many > 1 else [])]
    headings += ["largest error (grey levels)", "mean error (grey levels)", "peak memory (MB)"]
    lines = []
    for name in ("dtypes", "coupling"):
        ours = [row for row in part(result, name) if row["peer"] == "texfilters"]
        for row in (row for row in ours if row["threads"] == 1):
            same = [other for other in ours if all(other[key] == row[key] for key in ("dtype", "coupling"))]
            what = row["dtype"] if name == "dtypes" else f'{row["dtype"]}, coupling "{row["coupling"]}"'
            times = [cell(find(same, "texfilters", threads)) for threads in sorted({1, many})]
            errors = [number(row[key], 2) for key in ("error_max", "error_mean")]
            lines.append([what, *times, *errors, number(row["peak_mb"])])
    note = f"{case_name(part(result, 'dtypes')[0])}; the error of uint8 and float16 is their rounding of the result."
    return table(headings, lines) + "\n" + note + "\n"


def overhead(result: Result) -> str:
    """What a call and the import cost before a pixel is computed."""
    calls = [[row["call"], number(row["us"])] for row in result["overhead"] if "call" in row]
    imports = [[row["import"], number(row["ms"])] for row in result["overhead"] if "import" in row]
    return table(["one iteration on 4x4 pixels, 1 thread", "us"], calls) + "\n" + table(["import", "ms"], imports)


def gpu_diffusion(result: Result) -> str:
    """Every case of the GPU report: ours by CUDA and by Triton, and torch where it was timed."""
    headings = [
        "",
        "CUDA (ms)",
        "images/s",
        "share of the bound",
        "Triton (ms)",
        "torch eager (ms)",
        "torch.compile (ms)",
    ]
    headings += ["largest error (grey levels)", "peak memory (MB)"]
    groups: dict[str, dict[str, Row]] = {}
    for row in result["rows"]:
        groups.setdefault(row["case"], {})[row["peer"]] = row
    lines = []
    for rows in groups.values():
        ours = rows["native"]
        share = ours.get("share_of_bound")
        lines.append(
            [
                gpu_case_name(ours),
                gpu_cell(ours),
                number(ours["images_per_s"]),
                "" if share is None else f"{share:.0%}",
                *(gpu_cell(rows.get(peer), ours) for peer in ("triton", "torch eager", "torch.compile")),
                number(ours.get("error_max"), 2),
                number(ours.get("peak_mb")),
            ]
        )
    missed = [f"{t['case']} ({t['peer']})" for t in result["targets"] if t["met"] is False]
    notes = [
        f"{gpu_content(result)}, kappa 20, 20 iterations and exponential unless named; device time, cold caches.",
        "The bound is what takes longest at the clock that was read: the special functions, issuing instructions, or",
        "reading and writing the image once. Errors are against float64, on the first, middle and last image, with the",
        "rounding to the dtype; memory is what a call adds at its peak, its result included. torch.compile: one step,",
        f"looped. Missed targets: {', '.join(missed) or 'none'}. A dash: not measured.",
    ]
    return table(headings, lines) + "\n" + " ".join(notes) + "\n"


TABLES: dict[str, Callable[[Result], str]] = {
    "cpu-diffusion": cpu_diffusion,
    "cpu-sizes": cpu_sizes,
    "cpu-dtypes": cpu_dtypes,
    "overhead": overhead,
    "gpu-diffusion": gpu_diffusion,
}


def part(result: Result, name: str) -> list[Row]:
    return [row for row in result["rows"] if row["part"] == name]


def cases(result: Result, parts: tuple[str, ...]) -> list[list[Row]]:
    """The rows of each case: images before volumes, small before large."""
    groups: dict[tuple, list[Row]] = {}
    for name in parts:
        for row in part(result, name):
            key = (*row["shape"], row["niter"], row["option"])
            groups.setdefault(key, []).append(row)
    return [groups[key] for key in sorted(groups, key=lambda key: (len(groups[key][0]["shape"]) != 4, key[-3], key))]


def find(rows: list[Row], peer: str, threads: int = 1) -> Row | None:
    """A peer's row; of ours the one with the best instruction set, which comes first."""
    return next((row for row in rows if row["peer"] == peer and row["threads"] == threads), None)


def label(row: Row) -> str:
    return row["peer"] + (f", {row['instruction_set']}" if row["instruction_set"] else "")


def case_name(row: Row) -> str:
    sides = "x".join(map(str, row["shape"][-2:] if len(row["shape"]) == 4 else row["shape"]))
    name = f"{row['shape'][0]} x RGB {sides}" if len(row["shape"]) == 4 else f"volume {sides}"
    if row["niter"] != 20:
        name += f", {row['niter']} iterations"
    if row["option"] != 1:
        name += f", option {row['option']}"
    return name


def gpu_case_name(row: Row) -> str:
    images, channels, *sides = row["shape"]
    kind = {3: " RGB", 1: ""}.get(channels, f" {channels} channels") if len(sides) == 2 else " volume"
    name = f"{images} x{kind} {'x'.join(map(str, sides))}, {row['dtype']}"
    if row["option"] != 1:
        name += {2: ", rational", 3: ", Tukey"}[row["option"]]
    if row["coupling"] != "none":
        name += ", coupled channels"
    return name + ("" if row["niter"] == 20 else f", iterations {row['niter']}")


def gpu_cell(row: Row | None, ours: Row | None = None) -> str:
    """The time; that of fewer images than ours says how many. A contender that was not asked for has no row."""
    if row is None:
        return ""
    if row["ms"] is None:
        return "–"
    fewer = ours is not None and ours["ms"] is not None and row["images"] != ours["images"]
    return number(row["ms"]) + (f" for {row['images']}" if fewer else "")


def gpu_content(result: Result) -> str:
    return "Photos" if all(row.get("content", "photos") == "photos" for row in result["rows"]) else "Drawn images"


def cell(row: Row | None) -> str:
    return number(row["ms"]) if row else ""


def ratio(slow: Row | None, fast: Row | None) -> str:
    return number(slow["ms"] / fast["ms"]) if slow and fast else ""


def number(value: float | None, digits: int = 3) -> str:
    """Three digits that mean something, without an exponent where it can be had."""
    if value is None:
        return ""
    value = float(f"{value:.{digits}g}")
    if value and abs(value) < 1e-4:
        return f"{value:.{digits}g}"
    decimals = max(0, digits - 1 - int(f"{value:e}".partition("e")[2])) if value else 0
    return f"{value:,.{decimals}f}"


def table(headings: list[str], lines: list[list[str]]) -> str:
    """Markdown: the first column to the left, numbers to the right."""
    rows = [headings, ["---", *["---:"] * (len(headings) - 1)], *lines]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def provenance(result: Result) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in result["packages"].items())
    when = f"{result['date']}; commit {result['commit']}; Python {result['python']}, {versions}"
    if "device" in result:
        return f"{result['device']}, driver {result['driver']}, CUDA {result['cuda']}; {when}; medians by CUDA events."
    compiler = f", {result['compiler']}" if result["compiler"] else ""
    where = f"{result['cpu']}, {result['cores']} cores, {result['instruction_set']}"
    return f"{where}; {when}{compiler}; medians of turns in one process."


def newest(kind: str) -> Result | None:
    """The latest result of cpu_diffusion.py ("cpu") or gpu_report.py ("gpu") that has timings."""
    pattern = {"cpu": "cpu_diffusion_*.json", "gpu": "gpu-*.json"}[kind]
    results = [json.loads(path.read_text()) for path in sorted(RESULTS.glob(pattern))]
    return max((r for r in results if r.get("rows")), key=lambda result: result["date"], default=None)


def filled(name: str) -> str:
    """A table and where its numbers come from; a GPU may be missing, a CPU is always at hand."""
    kind = "gpu" if name.startswith("gpu-") else "cpu"
    result = newest(kind)
    if result is None and kind == "gpu":
        return "Not yet measured on a GPU.\n"
    parts = ("build", "tests", "timings", "sanitize") if kind == "gpu" else ()
    if wrong := [part for part in parts if not result["parts"].get(part, {}).get("ok")]:
        raise SystemExit(f"the result of {result['device']} is not fit to be shown, not ok: {', '.join(wrong)}")
    if result is None:
        raise SystemExit("no results yet: python benchmarks/cpu_diffusion.py measures and writes them")
    return f"{TABLES[name](result)}\n<sub>{provenance(result)}</sub>\n"


def rewritten(text: str) -> str:
    def fill(match: re.Match) -> str:
        head, name, tail = match.groups()
        if name not in TABLES:
            raise SystemExit(f"README.md asks for table {name!r}; there are {', '.join(TABLES)}")
        return f"{head}\n{filled(name)}\n{tail}"

    return MARKED.sub(fill, text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if README.md differs")
    check = parser.parse_args().check
    readme = ROOT / "README.md"
    old = readme.read_text()
    new = rewritten(old)
    if check:
        lines = difflib.unified_diff(old.splitlines(), new.splitlines(), "README.md", "from the results", lineterm="")
        sys.exit("\n".join(lines) or None)
    if new != old:
        readme.write_text(new)
    print(f"README.md: {'written' if new != old else 'as it was'}, {len(MARKED.findall(new))} tables")


if __name__ == "__main__":
    main()

"""Write the tables of the README and the pages beside it: python benchmarks/tables.py [--check].

A table stands between `<!-- table: NAME -->` and `<!-- end -->`; NAME is one of those in TABLES below. The
numbers are those of the committed results.
"""

import argparse
import difflib
import json
import re
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import label_corruption_studies
import pretraining_studies
import suppression_studies
import tables_claims
import tables_cpu
import tables_gpu
import tables_label_corruption
import tables_loader
import tables_measurements
import tables_pipeline
import tables_ssl
import tables_studies
import tables_suppression
import tables_texture
import texture_quality
from table_cells import Result

ROOT = Path(__file__).parent.parent
PAGES = ("README.md", "docs/measurements.md", "docs/evaluation.md", "ssl/README.md")
RESULTS = ROOT / "benchmarks" / "results"
MARKED = re.compile(r"(<!-- table: (\S+) -->\n).*?(<!-- end -->)", re.DOTALL)

TABLES: dict[str, Callable[[Result], str]] = {
    "cpu-diffusion": tables_cpu.cpu_diffusion,
    "cpu-sizes": tables_cpu.cpu_sizes,
    "cpu-dtypes": tables_cpu.cpu_dtypes,
    "cpu-filters": tables_cpu.cpu_filters,
    "cpu-filters-brief": tables_cpu.cpu_filters_brief,
    "cpu-filters-float": tables_cpu.cpu_filters_float,
    "cpu-loader": tables_loader.on_cpu,
    "folder-job": tables_cpu.folder_job,
    "folder-memory": tables_cpu.folder_job,
    "overhead": tables_cpu.overhead,
    "transform-draws": tables_cpu.transform_draws,
    "gpu-diffusion": tables_gpu.gpu_diffusion,
    "gpu-filters": tables_gpu.gpu_filters,
    "gpu-loader": tables_loader.on_gpu,
    "cpu-ssl-step": tables_ssl.on_cpu,
    "gpu-ssl-step": tables_ssl.on_gpu,
    "cpu-measurements": tables_measurements.speeds,
    "gpu-measurements": tables_measurements.speeds,
}
KINDS = {
    "cpu": "cpu_diffusion_*.json",
    "cpu-filters": "cpu_filters_*.json",
    "cpu-loader": "cpu_loader_*.json",
    "folder-job": "folder_job_*.json",
    "folder-memory": "memory_folder_job_*.json",
    "transform-draws": "transform_draws_*.json",
    "gpu": "gpu-*.json",
    "cpu-ssl-step": "cpu_ssl_step_*.json",
    "gpu-ssl-step": "gpu_ssl_step_*.json",
    "cpu-measurements": "cpu_measurements_*.json",
    "gpu-measurements": "gpu_measurements_*.json",
}


# Tables of more than one result, which say by themselves where their numbers come from.
STUDIES: dict[str, Callable[[], str]] = {
    "pipelines": lambda: tables_pipeline.brief(newest),
    **{
        f"study-{name}": partial(tables_studies.table_of, name, RESULTS / "ssl") for name in pretraining_studies.STUDIES
    },
    **{
        f"label-corruption-{name}": partial(tables_label_corruption.table_of, name, RESULTS / "evaluate")
        for name in label_corruption_studies.STUDIES
    },
    "texture-bsds500": partial(tables_texture.table_of, texture_quality.RESULT),
    "texture-settings": partial(tables_texture.table_of_settings, texture_quality.SETTINGS_RESULT),
    **{
        f"suppression-{name}": partial(tables_suppression.table_of, name, RESULTS / "evaluate")
        for name in suppression_studies.STUDIES
    },
    "claims": partial(tables_claims.table_of, RESULTS / "evaluate"),
}


def provenance(result: Result) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in result["packages"].items())
    when = f"{result['date']}; commit {result['commit']}; Python {result['python']}, {versions}"
    if "device" in result:
        return f"{result['device']}, driver {result['driver']}, CUDA {result['cuda']}; {when}; medians by CUDA events."
    compiler = f", {result['compiler']}" if result["compiler"] else ""
    where = f"{result['cpu']}, {result['cores']} cores, {result['instruction_set']}"
    photos = f"; {result['photos']} photos of {result['origin']}" if "origin" in result else ""
    how = "medians of turns in one process" if not photos else "parts and jobs in turns"
    return f"{where}; {when}{compiler}{photos}; {how}."


def newest(kind: str) -> Result | None:
    """The latest result of a kind that has timings: "cpu" is cpu_diffusion.py's, "gpu" that of gpu_report.py."""
    results = [json.loads(path.read_text()) for path in sorted(RESULTS.glob(KINDS[kind]))]
    return max((r for r in results if r.get("rows")), key=lambda result: result["date"], default=None)


def filled(name: str) -> str:
    """A table and where its numbers come from."""
    if name in STUDIES:
        return STUDIES[name]()
    kind = next((kind for kind in sorted(KINDS, key=len, reverse=True) if name.startswith(kind)), "cpu")
    result = newest(kind)
    if result is None or (name == "gpu-loader" and not tables_loader.is_there(result)):
        return "Not yet measured on a GPU.\n" if kind.startswith("gpu") else "Not yet measured.\n"
    parts = ("build", "tests", "timings", "sanitize") if kind == "gpu" else ()
    if wrong := [part for part in parts if not result["parts"].get(part, {}).get("ok")]:
        raise SystemExit(f"the result of {result['device']} is not fit to be shown, not ok: {', '.join(wrong)}")
    return f"{TABLES[name](result)}\n<sub>{provenance(result)}</sub>\n"


def rewritten(text: str) -> str:
    def fill(match: re.Match) -> str:
        head, name, tail = match.groups()
        if name not in (known := [*TABLES, *STUDIES]):
            raise SystemExit(f"a page asks for table {name!r}; there are {', '.join(known)}")
        return f"{head}\n{filled(name)}\n{tail}"

    return MARKED.sub(fill, text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a page differs")
    check = parser.parse_args().check
    differences: list[str] = []
    for page in PAGES:
        path = ROOT / page
        old = path.read_text()
        new = rewritten(old)
        if check:
            lines = old.splitlines(), new.splitlines()
            differences += difflib.unified_diff(*lines, page, "from the results", lineterm="")
            continue
        if new != old:
            path.write_text(new)
        print(f"{page}: {'written' if new != old else 'as it was'}, {len(MARKED.findall(new))} tables")
    sys.exit("\n".join(differences) or None)


if __name__ == "__main__":
    main()

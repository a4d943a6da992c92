"""The README's table of whole pipelines: a line a folder job, and one for the training step."""

from collections.abc import Callable
from statistics import median

from table_cells import Result, Row, number, table


def brief(newest: Callable[[str], Result | None]) -> str:
    """What suppression costs a pipeline, from the newest result of each kind."""
    lines, commits = [], []
    for kind in ("folder-memory", "folder-job"):
        if job := newest(kind):
            lines.append(_folder(job))
            commits.append(job["commit"])
    if step := newest("cpu-loader"):
        lines += _steps(step)
        commits.append(step["commit"])
    if not lines:
        return "Not yet measured.\n"
    note = "The least: decoding, filtering and encoding, each alone on one core, divided by the cores."
    origin = f"<sub>{(step or job)['cpu']}; commits {', '.join(dict.fromkeys(commits))}.</sub>"
    return f"{table(['', 'images/s', 'what suppression costs'], lines)}\n{note}\n\n{origin}\n"


def _folder(job: Result) -> list[str]:
    parts = sum(sum(turn.values()) - turn["files"] for turn in job["alone_ms"]) / len(job["alone_ms"])
    steady = 1e3 * median(row["steady_s"] for row in job["rows"]) / job["images"]
    name = f"`texfilters suppress`, {job['images']:,} JPEGs on {job['file_system']}, {job['cores']} cores"
    return [name, number(1e3 / steady), f"{number(steady * job['cores'] / parts)} x the least"]


def _steps(step: Result) -> list[list[str]]:
    with_it = [row for row in step["rows"] if row["peer"] == "with suppression"]
    batch, side = with_it[0]["batch"], with_it[0]["side"]
    name = f"MoCoV2 step, ResNet-50, {batch} x {side}x{side}, a thread of the CPU"
    return [[f"{name}; {row['case']}", number(row["images_per_s"]), _of_step(row)] for row in with_it]


def _of_step(row: Row) -> str:
    """The time in the transforms, and beside it what the whole step took longer in turns."""
    share = f"{number(100 * row['transform_share'], 2)} % of the step"
    added = row.get("added_share")
    return share if added is None else f"{share}; in turns {number(100 * added, 2)} % longer"

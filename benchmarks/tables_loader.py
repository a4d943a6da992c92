"""The tables from loader_step.py, on the CPU and as a part of gpu_report.py."""

from table_cells import Result, Row, number, table


def is_there(result: Result) -> bool:
    """Whether a GPU report has the part: it may fail, for want of torchvision or of shared memory, by itself."""
    return bool(result["parts"].get("loader", {}).get("ok") and result.get("steps"))


def on_cpu(result: Result) -> str:
    headings = ["{} x RGB {}x{}, MoCoV2 step", "ms a step", "images/s", "waits for the loader (ms)"]
    headings += ["transforms (ms)", "of the step (%)"]
    columns = ("ms", "images_per_s", "fetch_ms", "transform_ms", "transform_share")
    notes = [
        f"ResNet-50, float32, threads: {result['threads']}; processes that decode JPEG files: {result['workers']}.",
        "The transforms run in line: normalizing, and the papers' mixture for both views of a batch.",
        _costs(result["overhead"]),
    ]
    return _table(headings, columns, result["rows"]) + "\n" + " ".join(notes) + "\n"


def on_gpu(result: Result) -> str:
    headings = ["{} x RGB {}x{}, MoCoV2 step", "ms a step", "images/s", "added (%)", "GPU waits for the batch (ms)"]
    headings += ["host waits for the loader (ms)", "host in the transforms (ms)"]
    columns = ("ms", "images_per_s", "added_share", "idle_ms", "fetch_ms", "transform_ms")
    missed = [target for target in result["targets"] if target["key"] == "added_share" and target["met"] is False]
    notes = [
        "ResNet-50, bfloat16 autocast, channels last; the papers' mixture for both views of a batch. Added: the median",
        'over rounds in which both took turns. "In the loop": copied and transformed on the stream of the step.',
        f"Processes that decode JPEG files: {result['parts']['loader']['workers']}.",
        "Missed target: at most 1 % added." if missed else "",
        _costs(result["parts"]["loader"]["overhead"]),
    ]
    return _table(headings, columns, result["steps"]) + "\n" + " ".join(filter(None, notes)) + "\n"


def _table(headings: list[str], columns: tuple[str, ...], rows: list[Row]) -> str:
    first = next(row for row in rows if row["ms"] is not None)
    headings = [headings[0].format(first["batch"], first["side"], first["side"]), *headings[1:]]
    return table(headings, [[f"{row['case']}, {row['peer']}", *(_cell(row, key) for key in columns)] for row in rows])


def _cell(row: Row, key: str) -> str:
    value = row.get(key)
    if value is None:
        return "–" if row["ms"] is None else ""
    return number(100 * value, 2) if key.endswith("share") else number(value)


def _costs(overhead: list[Row]) -> str:
    bare, ours = overhead[0]["us"], overhead[-1]["us"]
    return f"DeviceLoader itself costs the host {number(ours - bare, 2)} us a batch."

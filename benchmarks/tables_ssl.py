"""The tables of README.md from ssl_step.py."""

from table_cells import Result, number, table

_NAMES = {"resnet18": "ResNet-18", "resnet50": "ResNet-50"}


def on_cpu(result: Result) -> str:
    return _steps(result, f"float32, threads: {result['threads']}")


def on_gpu(result: Result) -> str:
    return _steps(result, "bfloat16 autocast, channels last")


def _steps(result: Result, how: str) -> str:
    headings = ["MoCoV2 step", "ms a step", "images/s", "suppression (ms)", "of the step (%)", "at most (%)"]
    headings += ["added to a step without it (%)"]
    lines = []
    for row in result["rows"]:
        name = f"{_NAMES[row['network']]}, {row['batch']} x RGB {row['side']}x{row['side']}"
        low, high = (number(100 * share, 2) for share in row["added_quartiles"])
        added = f"{number(100 * row['added_share'], 2)} ({low} to {high})"
        shares = (number(100 * row[key], 2) for key in ("stage_share", "at_most"))
        lines.append([name, *(number(row[key]) for key in ("ms", "images_per_s", "stage_ms")), *shares, added])
    rounds = result["rows"][0]["rounds"]
    notes = [
        f"{how}; both views of a batch, the papers' mixture. Added: median and quartiles over {rounds} rounds in which",
        "steps with suppression and without took turns.",
        "" if all(row["met"] for row in result["rows"]) else "Missed target: the share of the step.",
    ]
    return table(headings, lines) + "\n" + " ".join(filter(None, notes)) + "\n"

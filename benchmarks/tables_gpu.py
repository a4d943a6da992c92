"""The tables from gpu_report.py."""

from table_cells import Result, Row, number, table


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
    for row in of_diffusion(result):
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
    notes = [
        f"{gpu_content(result)}, kappa 20, 20 iterations and exponential unless named; device time, cold caches.",
        "The bound is what takes longest at the clock that was read: the special functions, issuing instructions, or",
        "reading and writing the image once. Errors are against float64, on the first, middle and last image, with the",
        "rounding to the dtype; memory is what a call adds at its peak, its result included. torch.compile: one step,",
        f"looped. Missed targets: {missed(result, set(groups))}. A dash: not measured.",
    ]
    return table(headings, lines) + "\n" + " ".join(notes) + "\n"


def gpu_filters(result: Result) -> str:
    """The other filters: ours by CUDA and by Triton beside every library that was installed."""
    peers = {"triton": "Triton"} | {
        name: name for name in ("CV-CUDA", "kornia", "cupy", "torch eager", "torch.compile")
    }
    headings = ["ms", "CUDA", "images/s", "share of the bound", *peers.values(), "largest error (grey levels)"]
    headings += ["unlike the definition (% of values)", "peak memory (MB)"]
    groups: dict[tuple, dict[str, Row]] = {}
    dtypes = {row["case"]: row["dtype"] for row in result["rows"] if row["peer"] == "native"}
    for row in result["rows"]:
        if "filter" in row:  # a filter's compiled reference has a case of its own, and stands beside the others
            key = (row["filter"], dtypes[row["case"]], *row["shape"])
            groups.setdefault(key, {}).setdefault(row["peer"], row)
    lines = []
    for rows in groups.values():
        ours = rows["native"]
        share, differing = ours.get("share_of_bound"), ours.get("differing")
        lines.append(
            [
                gpu_filter_name(ours),
                gpu_cell(ours),
                number(ours["images_per_s"]),
                "" if share is None else f"{share:.0%}",
                *(gpu_cell(rows.get(peer), ours) for peer in peers),
                number(ours.get("error_max"), 2),
                "" if differing is None else number(100 * differing, 2),
                number(ours.get("peak_mb")),
            ]
        )
    cases = {row["case"] for row in result["rows"] if "filter" in row}
    notes = [
        f"{gpu_content(result)}; device time, cold caches. kornia takes float32, cupy too, but for medians; CV-CUDA",
        "wants the channels last, and gets them so. The bound is what takes longest: memory, read and written once,",
        "or the least arithmetic that is known. Errors are against float64, on the first, middle and last image.",
        f"Missed targets: {missed(result, cases)}. A dash: not measured, or not installed.",
    ]
    return table(headings, lines) + "\n" + " ".join(notes) + "\n"


def of_diffusion(result: Result) -> list[Row]:
    return [row for row in result["rows"] if "filter" not in row]


def missed(result: Result, cases: set[str]) -> str:
    targets = [target for target in result["targets"] if target["met"] is False and target["case"] in cases]
    return ", ".join(f"{target['case']} ({target['peer']})" for target in targets) or "none"


def gpu_filter_name(row: Row) -> str:
    images, _, height, width = row["shape"]
    return f"{row['filter']}, {images} x {height}x{width}" + ("" if row["dtype"] == "uint8" else f", {row['dtype']}")


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

"""The tables from cpu_diffusion.py, cpu_filters.py and folder_job.py."""

from statistics import mean, median

from table_cells import Result, Row, cell, find, number, ratio, table


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


def transform_draws(result: Result) -> str:
    """Drawing the numbers of a batch, on the host."""
    own = {row["transform"]: row for row in result["rows"] if row["generator"] == "its own"}
    headings = [f"numbers for {result['batch']} samples, 1 thread", "torch's generator (us)", "its own (us)"]
    drawn = [row for row in result["rows"] if row["generator"] == "torch's"]
    return table(headings, [[f"`{r['transform']}`", number(r["us"]), number(own[r["transform"]]["us"])] for r in drawn])


def cpu_filters(result: Result) -> str:
    """Every filter on uint8 beside cv2, on small images and on a large one."""
    many = max(result["threads"])
    headings = ["uint8, ms an image"]
    for size in ("224x224", "1080p"):
        headings += [f"{size}: texfilters", "cv2", "x cv2", *([f"x cv2, {many} threads"] if many > 1 else [])]
    headings += ["unlike cv2 (% of values)", "largest error (grey levels)", "peak memory (MB)"]
    lines = []
    for small, large in filter_cases(result, "uint8"):
        line = [small[0]["filter"]]
        for rows in (small, large):
            ours, theirs = find(rows, "texfilters"), beside(rows)
            line += [per_image(ours), per_image(theirs) + ("" if is_cv2(theirs) else " *"), ratio(theirs, ours)]
            line += [ratio(beside(rows, many), find(rows, "texfilters", many))] if many > 1 else []
        ours = find(small, "texfilters") or {}
        share, large_ours = ours.get("differing_from_cv2"), find(large, "texfilters") or {}
        line += ["" if share is None else number(100 * share, 2), number(ours.get("error_max"), 2)]
        lines.append([*line, number(large_ours.get("peak_mb"))])
    whole = max(row["result_mb"] for row in result["rows"] if row["dtype"] == "uint8" and "1080" in size_of(row))
    notes = [
        "224x224: a call on 8 photos, divided by 8, while cv2 takes one after the other; 1080p: one image. One thread",
        "where no number is given. Errors are those of 224x224 against the definition in float64, to which a rounded",
        "average cannot come closer than 0.5. cv2 truncates gray images with d up to 5, and rounds the weights of a",
        "Gaussian to 8 bits. Memory is what a call on 1080p adds at its peak, its result included",
        f"(RGB: {number(whole, 2)} MB). \\* In place of cv2 the usual Python loop, a patch at a time.",
    ]
    return table(headings, lines) + "\n" + " ".join(notes) + "\n"


BRIEF = (
    *("bilateral d=9, RGB", "median 3", "median 7", "adaptive mean 9", "RGB to gray"),
    *("Gaussian sigma 1, RGB", "Gaussian sigma 5, RGB", "cartoon", "patch negatives"),
)


def cpu_filters_brief(result: Result) -> str:
    """A line or two for every filter, best and worst ones among them."""
    many = max(result["threads"])
    headings = ["uint8, one thread"]
    for size in ("224x224", "1080p"):
        headings += [f"{size}: ms an image", "x cv2", *([f"x cv2, {many} threads"] if many > 1 else [])]
    lines = []
    for sizes in filter_cases(result, "uint8"):
        if (name := sizes[0][0]["filter"]) not in BRIEF:
            continue
        line = [name + ("" if is_cv2(beside(sizes[0])) else " *")]
        for rows in sizes:
            ours = find(rows, "texfilters")
            line += [per_image(ours), ratio(beside(rows), ours)]
            line += [ratio(beside(rows, many), find(rows, "texfilters", many))] if many > 1 else []
        lines.append(line)
    note = "Times of 224x224 are those of a batch of 8, divided by 8. \\* In place of cv2 the usual Python loop; "
    note += "calls in a row find warm memory, in turns with the loop 1080p is some 30 x (benchmarks/NOTES.md)."
    return table(headings, lines) + "\n" + note + "\n"


def cpu_filters_float(result: Result) -> str:
    """float32 beside cv2 and kornia, with what they take of memory."""
    many = max(result["threads"])
    headings = ["8 images of 224x224, float32", "texfilters (ms)", "cv2 (ms)", "kornia (ms)", "x cv2", "x kornia"]
    headings += [*([f"x cv2, {many} threads"] if many > 1 else []), "largest error (grey levels)", "that of cv2"]
    headings += [f"{name} (MB)" for name in ("texfilters", "cv2", "kornia")]
    lines = []
    for rows, _ in filter_cases(result, "float32"):
        ours, cv2, kornia = (find(rows, peer) for peer in ("texfilters", "cv2", "kornia"))
        line = [rows[0]["filter"], *map(cell, (ours, cv2, kornia)), ratio(cv2, ours), ratio(kornia, ours)]
        line += [ratio(find(rows, "cv2", many), find(rows, "texfilters", many))] if many > 1 else []
        line += [number((row or {}).get("error_max"), 2) for row in (ours, cv2)]
        lines.append([*line, *(number((row or {}).get("peak_mb")) for row in (ours, cv2, kornia))])
    note = (
        "A whole call, one thread where no number is given; MB is what it adds to the process at its peak, its result "
        "included. kornia's bilateral window is square, OpenCV's and ours round."
    )
    return table(headings, lines) + "\n" + note + "\n"


def folder_job(result: Result) -> str:
    """The folder job beside its parts, each alone on one core."""
    cores, images = result["cores"], result["images"]
    alone = {name: mean(turn[name] for turn in result["alone_ms"]) for name in result["alone_ms"][0]}
    parts = {
        "decode": alone["decode"] + alone["to_planes"],
        "filter": alone["filter"],
        "encode": alone["from_planes"] + alone["encode"],
    }
    best = sum(parts.values()) / cores
    conversions = alone["to_planes"] + alone["from_planes"]
    strictly = best - conversions / cores
    steady, whole, again = (
        1e3 * median(row[key] for row in result["rows"]) / images for key in ("steady_s", "wall_s", "nothing_to_do_s")
    )
    shortest, longest = result["longer_side"]
    headings = [f"{images:,} JPEGs, {shortest} to {longest} pixels wide or high", "ms an image", "images/s", "ratio"]
    lines = [[f"{name}, alone on one core", number(ms), number(1e3 / ms), ""] for name, ms in parts.items()]
    lines.append([f"their sum, divided by {cores} cores", number(best), number(1e3 / best), "1"])
    for name, ms in ((f"`texfilters suppress`, {cores} cores, steady", steady), ("the same, with its start", whole)):
        lines.append([name, number(ms), number(1e3 / ms), number(ms / best)])
    if result["medpy_ms"]:
        medpy = result["medpy_ms"]
        lines.append(["MedPy, the filter alone on one core", number(medpy), number(1e3 / medpy), ""])
    busy = sum(ms for name, ms in result["all_cores_at_once_ms"].items() if name != "files") / cores
    together, worker = (max(row[f"{key}_mb"] for row in result["rows"]) for key in ("together", "worker"))
    ratios = sorted(1e3 * row["steady_s"] / images / best for row in result["rows"])
    notes = [
        f"{result['niter']} iterations, quality {result['quality']}; {number(result['mean_pixels'] / 1e3)} thousand",
        f"pixels and {number(result['mean_bytes'] / 1e3)} kB an image on average. The parts are those of",
        f"{result['sample']} of the images, between the jobs; steady is the pace between a tenth and nine tenths of",
        f"the images, median of {len(result['rows'])} jobs (ratios {number(ratios[0])} to {number(ratios[-1])}), with",
        f"the files on {result['file_system']}. Decoding ends and encoding begins with a tensor; without",
        f"the way from Pillow's pictures to tensors and back ({number(conversions)} ms) in the sum, the ratio is",
        f"{number(steady / strictly)}. Reading, hashing and writing the files is not in the sum:",
        f"{number(alone['files'])} ms. On all cores at once, without a job around them, the parts take",
        f"{number(busy / best)} of their sum. A second run, which has nothing to do, takes",
        f"{number(again * images / 1e3)} s. All processes together take {number(together)} MB, of which each worker",
        f"has at most {number(worker)} MB to itself.",
    ]
    return table(headings, lines) + "\n" + " ".join(notes) + "\n"


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


def filter_cases(result: Result, dtype: str) -> list[tuple[list[Row], list[Row]]]:
    """The rows of each filter: those of small images, those of the large one."""
    groups: dict[str, tuple[list[Row], list[Row]]] = {}
    for row in result["rows"]:
        if row["dtype"] == dtype:
            groups.setdefault(row["filter"], ([], []))["1080" in size_of(row)].append(row)
    return list(groups.values())


def size_of(row: Row) -> str:
    return "x".join(map(str, row["shape"][-2:]))


def beside(rows: list[Row], threads: int = 1) -> Row | None:
    """What ours is set beside: cv2, or where cv2 has nothing of the kind, the usual loop."""
    return find(rows, "cv2", threads) or find(rows, "Python loop", threads)


def is_cv2(row: Row | None) -> bool:
    return row is None or row["peer"] == "cv2"


def per_image(row: Row | None) -> str:
    return number(row["ms"] / row["shape"][0]) if row else ""


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

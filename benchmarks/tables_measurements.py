"""The tables from measurement_speed.py."""

from table_cells import Result, number, table


def speeds(result: Result) -> str:
    headings = ["", "s", "the network alone (s)", "ratio"]
    lines = [[row["measurement"], *(number(row[key]) for key in ("s", "network_s", "ratio"))] for row in result["rows"]]
    side, threads = result["side"], f", threads: {result['threads']}" if "threads" in result else ""
    notes = [
        f"{result['images']:,} images of {side}x{side}, {result['network']}, float32,",
        f"batches of {result['batch']}{threads}.",
        "Alone: as many passes through the network as the measurement needs, its input normalized;",
        f"ratio: median over {result['rounds']} turns.",
    ]
    return table(headings, lines) + "\n" + " ".join(notes) + "\n"

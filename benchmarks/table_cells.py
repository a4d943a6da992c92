"""What the tables are made of: rows of a result, found and put into words and numbers."""

from typing import Any

Row = dict[str, Any]
Result = dict[str, Any]


def find(rows: list[Row], peer: str, threads: int = 1) -> Row | None:
    """A peer's row; of ours the one with the best instruction set, which comes first."""
    return next((row for row in rows if row["peer"] == peer and row["threads"] == threads), None)


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

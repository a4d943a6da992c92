"""What measurements give to a command: sections, written as files, and together as one HTML page."""

import csv
import dataclasses
import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from texfilters.evaluate import figures as drawn
from texfilters.evaluate._page import html

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Cell = str | int | float | None

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z][a-z0-9]*)*")


@dataclass(frozen=True)
class Table:
    """Rows of words and numbers. A number that is not defined, or was not measured, is NaN or None.

    The first cell of a row says what the row is about.

    Raises:
        ValueError: for no column, or a row of another length than the header.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def __post_init__(self) -> None:
        if not self.header:
            raise ValueError(f"header of table {self.title!r} must name at least one column, got none")
        for row in self.rows:
            if len(row) != len(self.header):
                raise ValueError(f"rows of table {self.title!r} must have {len(self.header)} cells, got {row}")


@dataclass(frozen=True)
class Section:
    """What one measurement gives.

    Attributes:
        name: the word of the command and the stem of the files, such as "shape-bias".
        title: for people, such as "Shape bias".
        text: what was measured on how many images, how to read it, and its source; paragraphs, a blank line between.
        record: everything measured, as `plain` makes JSON of it.
        figures: by their captions.

    Raises:
        ValueError: for a name of anything but lowercase words with hyphens between, each of which begins with a letter.
    """

    name: str
    title: str
    text: str
    record: dict[str, Any]
    tables: tuple[Table, ...] = ()
    figures: Mapping[str, "Figure"] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # A word of digits at the end would be taken for the number of a file.
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"name must be lowercase words with hyphens between, got {self.name!r}")


def page(title: str, sections: Sequence[Section], about: Mapping[str, str]) -> str:
    """One HTML page with everything in it, which needs neither a network nor scripts.

    Args:
        sections: in their order on the page.
        about: what the reader has to know first: checkpoints, data, time, versions, commands. What stands under a
            heading that begins with "command" is shown as such, line by line.

    Raises:
        ValueError: for no section, or two of one name.
        ImportError: where there are figures and no matplotlib.
    """
    if not sections:
        raise ValueError("sections must be at least one, got none")
    names = [section.name for section in sections]
    if len(set(names)) != len(names):
        raise ValueError(f"sections must have different names, got {names}")
    return html(title, sections, about)


def write(section: Section, folder: Path) -> list[Path]:
    """Write NAME.json, and NAME.csv, NAME-2.csv ... with the tables, NAME.png, NAME-2.png ... with the figures.

    A CSV holds the numbers in full, and nothing in place of a missing one. The JSON comes last, complete or not at all:
    where it is, all the others are, and none of an earlier measurement with more of them.

    Returns: the files, the JSON last.

    Raises:
        OSError: for what cannot be written.
        TypeError, ValueError: for a record that is not JSON.
        ImportError: where there are figures and no matplotlib.
    """
    text = _as_json(section)
    folder.mkdir(parents=True, exist_ok=True)
    last = folder / f"{section.name}.json"
    last.unlink(missing_ok=True)
    files = []
    for path, table in zip(_files(section, folder, "csv", len(section.tables)), section.tables, strict=True):
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([table.header, *([_in_csv(cell) for cell in row] for row in table.rows)])
        files.append(path)
    pictures = _files(section, folder, "png", len(section.figures))
    for path, figure in zip(pictures, section.figures.values(), strict=True):
        drawn.save(figure, path)
        files.append(path)
    write_whole(last, text)
    return [*files, last]


def write_whole(path: Path, text: str) -> None:
    """Write a file completely or not at all; until then one that is there stays.

    Raises:
        OSError: for what cannot be written.
    """
    unfinished = path.with_name(f"{path.name}.unfinished")
    try:
        with unfinished.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


def plain(value: Any) -> Any:
    """A measurement as JSON has it: NaN becomes None, a tensor or an array lists, a dataclass a mapping.

    Raises:
        TypeError: for anything else that JSON does not have.
        ValueError: for infinity.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [plain(each) for each in value]
    if isinstance(value, bool | int | str | None):
        return value
    if isinstance(value, float):
        if math.isinf(value):
            raise ValueError(f"a record must hold no infinity, got {value}")
        return None if math.isnan(value) else float(value)
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"a record must hold what JSON has, got {type(value).__name__}")


def _as_json(section: Section) -> str:
    try:
        return json.dumps(plain(section.record), indent=2, allow_nan=False) + "\n"
    except (TypeError, ValueError) as error:
        raise type(error)(f"the record of {section.name} cannot be written: {error}") from error


def _files(section: Section, folder: Path, kind: str, count: int) -> list[Path]:
    """The names of files of a kind. Those after them, of an earlier measurement with more of them, go away."""

    def named(i: int) -> Path:
        return folder / f"{section.name}{f'-{i}' * (i > 1)}.{kind}"

    extra = count + 1
    while named(extra).exists():
        named(extra).unlink()
        extra += 1
    return [named(i) for i in range(1, count + 1)]


def _in_csv(cell: Cell) -> Cell:
    return None if isinstance(cell, float) and math.isnan(cell) else cell

"""The HTML of a report: its head, its tables and its figures, all in one page."""

import base64
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import count
from typing import TYPE_CHECKING, Any

from texfilters.evaluate._page_style import STYLE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from texfilters.evaluate.report import Cell, Section, Table

_MISSING = "–"
_LEGEND = f"{_MISSING} in a table: not defined, or not measured."
_LARGE = 400_000  # bytes of SVG above which a figure of many points is smaller as pixels
_DPI = 150
# A number alone, or with its deviation or its interval: what is lined up on the right.
_NUMBER = re.compile(r"[-−+±]?\d[\d.,]*( ?%)?( ?±.*| ?\(.*\)| ?\[.*\]| ?(to|–) ?[-−+]?\d[\d., %]*)?")
_SOURCES = re.compile(r"(?P<arxiv>arXiv:\d{4}\.\d{4,5})|(?P<doi>doi:10\.\d{4,9}/[^\s,;]*[^\s,;.)])", re.IGNORECASE)


def html(title: str, sections: "Sequence[Section]", about: Mapping[str, str]) -> str:
    """The page of `report.page`."""
    numbers = {"Table": count(1), "Figure": count(1)}
    parts = [f'<section id="{section.name}" aria-labelledby="{section.name}-title">' for section in sections]
    for i, section in enumerate(sections):
        parts[i] = "\n".join([parts[i], *_section(section, numbers), "</section>"])
    body = "\n".join(parts)
    entries = "\n".join(f'<li><a href="#{each.name}">{escape(each.title)}</a></li>' for each in sections)
    facts = "\n".join(f"<dt>{escape(key)}</dt><dd>{_fact(key, value)}</dd>" for key, value in about.items())
    missing = any(_is_missing(cell) for each in sections for table in each.tables for row in table.rows for cell in row)
    legend = f'<p class="legend">{escape(_LEGEND)}</p>' if missing else ""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(title)}</title>
<style>
{STYLE}</style>
</head>
<body>
<header>
<h1>{escape(title)}</h1>
{f"<dl>{chr(10)}{facts}{chr(10)}</dl>" if facts else ""}
</header>
<nav aria-labelledby="contents">
<h2 id="contents">Contents</h2>
<ol>
{entries}
</ol>
</nav>
<main>
{legend}
{body}
</main>
</body>
</html>
"""


def _fact(key: str, value: str) -> str:
    if key.lower().startswith("command"):
        return f"<pre><code>{escape(value)}</code></pre>"
    return escape(value)


def _section(section: "Section", numbers: Mapping[str, Iterator[int]]) -> Iterator[str]:
    yield f'<h2 id="{section.name}-title">{escape(section.title)}</h2>'
    for paragraph in re.split(r"\n\s*\n", section.text.strip()):
        if paragraph:
            yield f"<p>{_linked(paragraph)}</p>"
    for table in section.tables:
        yield from _table(table, next(numbers["Table"]))
    for caption, figure in section.figures.items():
        yield from _figure(caption, figure, next(numbers["Figure"]))


def _linked(text: str) -> str:
    """Text with the papers that it names as links, which nothing follows before the reader does."""

    def link(found: re.Match[str]) -> str:
        word = found.group()
        name = word.partition(":")[2]
        return f'<a href="https://{"arxiv.org/abs" if found["arxiv"] else "doi.org"}/{name}">{word}</a>'

    return _SOURCES.sub(link, escape(text))


def _table(table: "Table", number: int) -> Iterator[str]:
    columns = list(zip(*table.rows, strict=True)) or [()] * len(table.header)
    kinds = [' class="number"' if _of_numbers(column) else "" for column in columns]
    decimals = [_decimals(column) for column in columns]
    # A region that scrolls must be reached from the keyboard, and have a name.
    yield f'<div class="table" role="region" aria-labelledby="table-{number}" tabindex="0">'
    yield "<table>"
    title = f"<b>Table {number}.</b> {escape(table.title)}"
    yield f'<caption id="table-{number}">{title}</caption>'
    heads = "".join(
        f'<th scope="col"{kind}>{escape(name)}</th>' for name, kind in zip(table.header, kinds, strict=True)
    )
    yield f"<thead><tr>{heads}</tr></thead>"
    yield "<tbody>"
    for row in table.rows:
        cells = [escape(_shown(cell, places)) for cell, places in zip(row, decimals, strict=True)]
        first = f'<th scope="row"{kinds[0]}>{cells[0]}</th>'
        rest = (f"<td{kind}>{cell}</td>" for kind, cell in zip(kinds[1:], cells[1:], strict=True))
        yield f"<tr>{first}{''.join(rest)}</tr>"
    yield "</tbody>"
    yield "</table>"
    yield "</div>"


def _is_missing(cell: "Cell") -> bool:
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def _of_numbers(column: "Sequence[Cell]") -> bool:
    return all(not isinstance(cell, str) or _NUMBER.fullmatch(cell) for cell in column)


def _decimals(column: "Sequence[Cell]") -> int:
    """Decimals of all fractions of a column: those that they were rounded to, or four digits of the greatest one."""
    sizes = [abs(cell) for cell in column if isinstance(cell, float) and math.isfinite(cell)]
    written = max((len(f"{size:.9f}".rstrip("0").partition(".")[2]) for size in sizes), default=0)
    greatest = max((size for size in sizes if size), default=1.0)
    return max(1, written if written <= 4 else min(3 - math.floor(math.log10(greatest)), 8))


def _shown(cell: "Cell", decimals: int) -> str:
    if _is_missing(cell):
        return _MISSING
    if isinstance(cell, bool):
        return "yes" if cell else "no"
    if isinstance(cell, float):
        if math.isinf(cell):
            return "∞" if cell > 0 else "−∞"
        return f"{cell:.{decimals}f}".replace("-", "−")
    return str(cell).replace("-", "−") if isinstance(cell, int) else str(cell)


def _figure(caption: str, figure: "Figure", number: int) -> Iterator[str]:
    kind, data = _picture(figure)
    width, height = (round(96 * inches) for inches in figure.get_size_inches())
    source = f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
    yield "<figure>"
    yield f'<div class="picture" role="region" aria-labelledby="figure-{number}" tabindex="0">'
    # Narrower than that its words could not be read: it scrolls.
    least = f"min-width:min({width}px,36rem)"
    alt = escape(_described(figure) or caption)
    yield f'<img src="{source}" alt="{alt}" width="{width}" height="{height}" style="{least}">'
    yield "</div>"
    yield f'<figcaption id="figure-{number}"><b>Figure {number}.</b> {escape(caption)}</figcaption>'
    yield "</figure>"


def _picture(figure: "Figure") -> tuple[str, bytes]:
    """Lines as SVG, photos as JPEG, and what has maps or very many points in it as PNG.

    Each is an image of its own in the page, so that the names within one SVG cannot meet those of another.
    """
    from matplotlib import rc_context
    from matplotlib.image import AxesImage

    def saved(kind: str, **options: Any) -> bytes:
        file = io.BytesIO()
        figure.savefig(file, format=kind, **options)
        return file.getvalue()

    shown = [image.get_array() for image in figure.findobj(AxesImage)]
    if any(pixels is not None and pixels.ndim == 3 for pixels in shown):
        quality = {"quality": 88, "subsampling": 0, "optimize": True}  # words stay sharp without subsampling
        return "jpeg", saved("jpeg", dpi=_DPI, pil_kwargs=quality)
    if not shown:
        # Without a date or random names in it: the same measurement gives the same page.
        with rc_context({"svg.hashsalt": "texfilters", "svg.fonttype": "path"}):
            svg = saved("svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
        if len(svg) <= _LARGE:
            return "svg+xml", svg
    return "png", saved("png", dpi=_DPI, metadata={"Software": None}, pil_kwargs={"optimize": True})


def _described(figure: "Figure") -> str:
    """What is written on a figure, for who cannot see it: its title, and titles, axes and legends of its panels."""
    title = figure.get_suptitle().replace("\n", " ")
    said = [title] if title else []
    for axes in figure.axes:
        labels = [axes.get_title(loc) for loc in ("left", "center", "right")]
        labels += [f"{axis}: {label}" for axis, label in (("x", axes.get_xlabel()), ("y", axes.get_ylabel())) if label]
        if (legend := axes.get_legend()) is not None:
            labels += [text.get_text() for text in legend.get_texts()]
        said += [label.replace("\n", " ") for label in labels if label]
    for legend in figure.legends:
        said += [text.get_text() for text in legend.get_texts()]
    return "; ".join(dict.fromkeys(said))

"""Pictures side by side, labeled: for `texfilters compare`, the demo and the figures of the documentation."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

Box = tuple[float, float, float, float]  # left, top, right, bottom as fractions of a picture

_INK = (28, 28, 30)
_PALE_INK = (118, 118, 124)
_WHITE = (255, 255, 255)


def contact_sheet(
    rows: Sequence[Sequence[tuple[str, Image.Image]]],
    *,
    cell: int = 360,
    zoom: Box | None = None,
    text: int | None = None,
) -> Image.Image:
    """Draw rows of labeled pictures on white, all cells of one size.

    Args:
        rows: lists of (label, picture); lines of a label after the first are set smaller and paler.
        cell: the longest side of a drawn picture in pixels; larger ones are shrunk, much smaller ones enlarged.
        zoom: a part, in fractions of a picture, that is drawn enlarged below each of them and marked in it.
        text: the size in pixels of the first line of a label; None is an 18th of the cell.
    Returns: an RGB image.
    """
    flat = [entry for row in rows for entry in row]
    if not flat:
        raise ValueError("rows must hold at least one picture, got none")
    drawn = {id(picture): _fitted(_on_white(picture), cell) for _, picture in flat}
    width = max(cell // 2, *(picture.width for picture in drawn.values()))  # a label wants room above a narrow one, too
    height = max(picture.height for picture in drawn.values())

    gap, margin = cell // 18, cell // 9
    sizes = _sizes(text or max(12, cell // 18))
    headers = [_header_height(row, sizes) for row in rows]
    block = height + (height + gap // 2 if zoom else 0)
    columns = max(len(row) for row in rows)
    size = (columns * (width + gap) - gap, sum(headers) + len(rows) * (block + 2 * gap) - 2 * gap)
    sheet = Image.new("RGB", (size[0] + 2 * margin, size[1] + 2 * margin), _WHITE)
    draw = ImageDraw.Draw(sheet)
    y = margin
    for row, header in zip(rows, headers, strict=True):
        for i, (label, picture) in enumerate(row):
            x, top = margin + i * (width + gap), y + header
            small = drawn[id(picture)]
            _draw_label(draw, x, y, label, width, sizes)
            sheet.paste(small, (x, top))
            if zoom:
                _draw_frame(draw, x, top, _pixels(zoom, small))
                whole = _on_white(picture)
                enlarged = whole.resize(small.size, Image.Resampling.BICUBIC, box=_pixels(zoom, whole))
                sheet.paste(enlarged, (x, top + height + gap // 2))
        y += header + block + 2 * gap
    return sheet


def _sizes(text: int) -> tuple[int, int]:
    """The sizes of type of a label's first line and of the others."""
    return text, max(10, round(0.75 * text))


def _header_height(row: Sequence[tuple[str, Image.Image]], sizes: tuple[int, int]) -> int:
    first, other = sizes
    return round(1.7 * first) + max((label.count("\n") for label, _ in row), default=0) * round(1.5 * other)


def _draw_label(draw: ImageDraw.ImageDraw, x: int, y: int, label: str, width: int, sizes: tuple[int, int]) -> None:
    first, other = sizes
    baseline = y + first
    for number, line in enumerate(label.split("\n")):
        size = other if number else first
        while (font := ImageFont.load_default(size)).getlength(line) > width and size > 8:
            size -= 1
        draw.text((x, baseline), line, font=font, fill=_PALE_INK if number else _INK, anchor="ls")
        baseline += round(1.5 * other)


def _draw_frame(draw: ImageDraw.ImageDraw, x: int, y: int, part: Box) -> None:
    """White between dark lines, to be seen on any picture."""
    left, top, right, bottom = (round(value) for value in part)
    for inset, color in enumerate((_INK, _WHITE, _WHITE, _INK)):
        near = (x + left + inset, y + top + inset)
        far = (max(near[0], x + right - 1 - inset), max(near[1], y + bottom - 1 - inset))
        draw.rectangle((*near, *far), outline=color)


def _pixels(part: Box, picture: Image.Image) -> Box:
    left, top, right, bottom = part
    return left * picture.width, top * picture.height, right * picture.width, bottom * picture.height


def _on_white(picture: Image.Image) -> Image.Image:
    if "A" not in picture.getbands():
        return picture.convert("RGB")
    white = Image.new("RGBA", picture.size, (*_WHITE, 255))
    return Image.alpha_composite(white, picture.convert("RGBA")).convert("RGB")


def _fitted(picture: Image.Image, cell: int) -> Image.Image:
    scale = cell / max(picture.size)
    if scale < 1:
        width, height = (max(1, round(side * scale)) for side in picture.size)
        return picture.resize((width, height), Image.Resampling.LANCZOS)
    # Whole factors and square pixels: a thumbnail is shown as it is, not smoothed by the sheet.
    return picture.resize((picture.width * int(scale), picture.height * int(scale)), Image.Resampling.NEAREST)

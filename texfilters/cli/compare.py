"""`texfilters compare`: one image, every filter or several strengths of one, one sheet."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageChops

from texfilters.cli import filters, image_files
from texfilters.cli.contact_sheet import Box, contact_sheet
from texfilters.cli.messages import Refused, reason, say, shown

COLUMNS = 4
ZOOM = 4  # the enlarged part is a fourth of the image in width and in height
_SMALLEST_TO_ZOOM = 128
_LINE = 48  # characters of a label


@dataclass(frozen=True)
class Cell:
    """A picture of the sheet, beside the original."""

    filter: str
    parameters: Mapping[str, Any]
    varied: str | None = None  # the parameter in which the cells differ, where it is not the filter

    def label(self) -> str:
        """The filter and what is varied, then its other parameters, without words that are left at their defaults."""
        flags = filters.FILTERS[self.filter].flags
        title, words = self.filter, []
        for name, value in {**flags, **self.parameters}.items():
            word = f"{name} {filters.written(value)}"
            if name == self.varied:
                title += f", {word}"
            elif value != flags[name] or not isinstance(value, str | None):
                words.append(word)
        commas = [f"{word}," for word in words[:-1]] + words[-1:]
        return "\n".join([title, *filters.in_lines(commas, _LINE)])


def all_filters(given: Mapping[str, Sequence[Any]]) -> list[Cell]:
    """Each filter once, with those of the flags that it takes."""
    for name, values in given.items():
        if len(values) > 1:
            raise Refused(f"{filters.flag(name)} may be repeated beside --filter only")
    return [
        Cell(name, {flag: values[0] for flag, values in given.items() if flag in filter.flags})
        for name, filter in filters.FILTERS.items()
    ]


def strengths(filter: str, given: Mapping[str, Sequence[Any]]) -> list[Cell]:
    """One filter, once for every value of the flag that is repeated, or else of the flag that is its strength."""
    repeated = [name for name, values in given.items() if len(values) > 1]
    if len(repeated) > 1:
        raise Refused(f"one flag may be repeated, got {' and '.join(map(filters.flag, repeated))}")
    strength, usual = filters.named(filter).strength
    varied = repeated[0] if repeated else strength
    fixed = {name: values[0] for name, values in given.items() if name != varied}
    return [Cell(filter, {**fixed, varied: value}, varied) for value in given.get(varied, usual)]


def target_of(source: str, output: str | None) -> str:
    """Where the sheet goes, refused if that is no image's name, or the image itself."""
    if not os.path.exists(source):
        raise Refused(f"IMAGE does not exist: {shown(source)}")
    if os.path.isdir(source):
        raise Refused(f"IMAGE must be a file, got the folder {shown(source)}")
    name = os.path.splitext(os.path.basename(source))[0] + "-compare.png"
    target = name if output is None else output
    if os.path.isdir(target) or target.endswith(os.sep):
        target = os.path.join(target, name)
    if not image_files.is_image(target):
        raise Refused(f"output must end in one of {' '.join(image_files.SUFFIXES)}, got {shown(target)}")
    if os.path.exists(target) and os.path.samefile(source, target):
        raise Refused(f"output is IMAGE: {shown(source)} would be overwritten")
    return target


def compare(
    source: str,
    target: str,
    cells: Sequence[Cell],
    backend: str | None,
    zoom: bool,
    max_pixels: int | None = image_files.MAX_PIXELS,
) -> None:
    """Write the sheet: the image as it is, then filtered for every cell. `max_pixels` None: no limit."""
    functions = [filters.choose(cell.filter, cell.parameters, backend) for cell in cells]
    try:
        original = image_files.read(source, max_pixels=max_pixels)
        before = _upright(original.image, original)
        pictures = [(f"original\n{before.width} x {before.height}", before)]
        for cell, function in zip(cells, functions, strict=True):
            try:
                filtered = filters.apply(function, original.image)
            except filters.WrongColors as error:
                if cell.varied:
                    raise
                say(f"texfilters: {shown(source)}: {error}: left out", error=True)
                continue
            pictures.append((cell.label(), _upright(filtered, original)))
    except image_files.TooLarge as error:
        raise Refused(f"{shown(source)}: {error} (--max-pixels)", code=1) from error
    except Exception as error:  # decoders raise whatever they like
        raise Refused(f"{shown(source)}: {reason(error)}", code=1) from error
    rows = -(-len(pictures) // COLUMNS)
    columns = -(-len(pictures) // rows)
    sheet = contact_sheet(
        [pictures[i : i + columns] for i in range(0, len(pictures), columns)],
        zoom=_where_it_changes(before, [after for _, after in pictures[1:]]) if zoom else None,
    )
    try:
        icc_profile = original.icc_profile if original.image.mode in ("RGB", "RGBA") else None
        image_files.write(image_files.Picture(sheet, icc_profile=icc_profile), target)
    except Exception as error:
        raise Refused(f"cannot write {shown(target)}: {reason(error)}", code=1) from error


def _upright(image: Image.Image, original: image_files.Picture) -> Image.Image:
    """For the eye: turned as its EXIF says, 16 bits as 8."""
    if image.mode == "I;16":
        image = Image.fromarray((np.asarray(image) / 257).round().astype(np.uint8))
    return image_files.Picture(image, original.exif).upright().image


def _where_it_changes(before: Image.Image, after: Sequence[Image.Image]) -> Box | None:
    """The part in which they differ most from the original, as fractions of it; None for an image too small for one."""
    if min(before.size) < _SMALLEST_TO_ZOOM:
        return None
    cells = 8 * ZOOM
    change = np.zeros((cells, cells))
    for image in after:
        difference = ImageChops.difference(before.convert("RGB"), image.convert("RGB")).convert("L")
        change += np.asarray(difference.resize((cells, cells), Image.Resampling.BOX))
    windows = np.lib.stride_tricks.sliding_window_view(change, (cells // ZOOM, cells // ZOOM)).sum((-2, -1))
    top, left = np.unravel_index(int(windows.argmax()), windows.shape)
    return left / cells, top / cells, left / cells + 1 / ZOOM, top / cells + 1 / ZOOM

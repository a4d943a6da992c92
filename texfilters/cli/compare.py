"""`texfilters compare`: one image, several strengths, one sheet."""

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageChops, ImageOps

from texfilters.cli import filters, image_files
from texfilters.cli.contact_sheet import Box, contact_sheet
from texfilters.cli.messages import Refused, reason, shown

FILTER = "anisotropic-diffusion"
COLUMNS = 4
ZOOM = 4  # the enlarged part is a fourth of the image in width and in height
_SMALLEST_TO_ZOOM = 128


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
    source: str, target: str, kappas: Sequence[float], given: Mapping[str, Any], backend: str | None, zoom: bool
) -> None:
    """Write the sheet: the image as it is, then once for every kappa."""
    functions = [filters.choose(FILTER, {**given, "kappa": kappa}, backend) for kappa in kappas]
    flags = {**filters.FILTERS[FILTER].flags, **{flag: value for flag, value in given.items() if value is not None}}
    common = ", ".join(f"{flag} {value}" for flag, value in flags.items() if flag != "kappa" and value != "none")
    try:
        original = image_files.read(source)
        shown_first = _upright(original.image, original)
        pictures = [(f"original\n{shown_first.width} x {shown_first.height}", shown_first)]
        for kappa, function in zip(kappas, functions, strict=True):
            pictures.append((f"kappa {kappa:g}\n{common}", _upright(filters.apply(function, original.image), original)))
    except Exception as error:  # decoders raise whatever they like
        raise Refused(f"{shown(source)}: {reason(error)}", code=1) from error
    rows = -(-len(pictures) // COLUMNS)
    columns = -(-len(pictures) // rows)
    sheet = contact_sheet(
        [pictures[i : i + columns] for i in range(0, len(pictures), columns)],
        zoom=_where_it_changes(pictures[0][1], pictures[-1][1]) if zoom else None,
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
    shown_as = image.copy()
    shown_as.info["exif"] = original.exif or b""
    return ImageOps.exif_transpose(shown_as)


def _where_it_changes(before: Image.Image, after: Image.Image) -> Box | None:
    """The part in which the two differ most, as fractions of the image; None for an image too small to enlarge."""
    if min(before.size) < _SMALLEST_TO_ZOOM:
        return None
    cells = 8 * ZOOM
    difference = ImageChops.difference(before.convert("RGB"), after.convert("RGB")).convert("L")
    change = np.asarray(difference.resize((cells, cells), Image.Resampling.BOX), dtype=np.float64)
    windows = np.lib.stride_tricks.sliding_window_view(change, (cells // ZOOM, cells // ZOOM)).sum((-2, -1))
    top, left = np.unravel_index(int(windows.argmax()), windows.shape)
    return left / cells, top / cells, left / cells + 1 / ZOOM, top / cells + 1 / ZOOM

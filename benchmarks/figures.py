"""Draw the figures of the README and of docs/evaluation.md.

python benchmarks/figures.py [--out docs]
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageOps

import demo
import evaluation_figures
import photos
from texfilters.cli.contact_sheet import contact_sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs"), help="folder for the figures (default %(default)s)")
    folder = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    pictures = photos.load()
    for name, rows, cell, text in (
        ("suppressed.jpg", {name: demo.strengths(pictures[name]) for name in ("chelsea", "coffee")}, 480, None),
        ("suppressors.jpg", {name: demo.suppressors(pictures[name]) for name in ("astronaut", "chelsea")}, 288, 22),
    ):
        path = folder / name
        draw(rows, cell, text).save(path, "JPEG", quality=85, optimize=True, progressive=True)
        print(f"wrote {path}, {path.stat().st_size / 1e3:.0f} kB")
    evaluation_figures.draw(folder)


def draw(rows: dict[str, Sequence[tuple[str, Image.Image]]], cell: int, text: int | None) -> Image.Image:
    """Photos below one another, each whole and in part, below one line of labels."""
    strips = []
    for name, ((_, photo), *filtered) in rows.items():
        row = [("Original\n ", photo), *filtered]  # without its size, which is that of the first photo only
        labeled = [("" if strips else label, _enlarged(picture)) for label, picture in row]
        sheet = contact_sheet([labeled], cell=cell, zoom=demo.ZOOMS[name], text=text)
        strips.append(sheet.crop(ImageOps.invert(sheet).getbbox()))
    gap, width = 48, max(strip.width for strip in strips)
    height = sum(strip.height for strip in strips) + gap * (len(strips) + 1)
    whole, y = Image.new("RGB", (width + 2 * gap, height), "white"), gap
    for strip in strips:
        whole.paste(strip, (gap, y))
        y += strip.height + gap
    return whole


def _enlarged(picture: Image.Image) -> Image.Image:
    """So that photos of several sizes are all shrunk to the width of a cell."""
    return picture.resize((2 * picture.width, 2 * picture.height), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()

"""Suppress the texture of some photos, write the results to demo/, and count images a second beside MedPy's.

python benchmarks/demo.py [--out demo] [--readme docs/suppressed.jpg]
"""

import argparse
import importlib.util
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

import photos
import texfilters
from texfilters import _backends
from texfilters.cli.contact_sheet import Box, contact_sheet

ROUNDS = 9
MILD: dict[str, Any] = {"niter": 20, "kappa": 20}
STRONG: dict[str, Any] = {"niter": 60, "kappa": 30, "gamma": 0.2, "coupling": "l2"}
SETTINGS = {"Texture suppressed": MILD, "Stronger": STRONG}

# Where texture lies beside an edge, as fractions of each photo.
ZOOMS: dict[str, Box] = {
    "astronaut": (0.36, 0.04, 0.60, 0.28),
    "chelsea": (0.28, 0.26, 0.56, 0.54),
    "coffee": (0.60, 0.08, 0.88, 0.36),
    "rocket": (0.02, 0.66, 0.28, 0.92),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("demo"), help="folder for the pictures (default %(default)s)")
    parser.add_argument("--readme", type=Path, help="write the figure of the README to this JPEG instead")
    arguments = parser.parse_args()
    console = Console(highlight=False)
    pictures = photos.load()
    if arguments.readme:
        figure(pictures, arguments.readme)
        console.print(f"wrote [bold]{arguments.readme}[/], {arguments.readme.stat().st_size / 1e3:.0f} kB")
        return

    backend = _backends.resolve(None, "cpu")
    how = torch.ops.texfilters_native.instruction_set() if backend == "native" else "[red]not built: plain torch[/]"
    console.rule(f"[bold]texfilters {texfilters.__version__}[/]  {backend} {how}, {torch.get_num_threads()} threads")
    arguments.out.mkdir(parents=True, exist_ok=True)
    with console.status("suppressing texture"):
        sheets = [write(name, photo, arguments.out) for name, photo in pictures.items()]
    with console.status("timing, in turns with MedPy" if importlib.util.find_spec("medpy") else "timing"):
        grid, summary = timed(pictures)
    console.print(grid)
    console.print(summary)
    console.print()
    for sheet in sheets:
        console.print(f"  [bold]{sheet}[/]", soft_wrap=True)
    for title, setting in SETTINGS.items():
        files = f"*_{stem(setting)}.png"
        console.print(f"  {arguments.out / files}  [dim]{title.lower()}: {described(setting)}[/]", soft_wrap=True)


def suppressed(photo: Image.Image, setting: dict[str, Any]) -> Image.Image:
    return photos.to_image(texfilters.anisotropic_diffusion(photos.to_tensor(photo), **setting))


def write(name: str, photo: Image.Image, folder: Path) -> Path:
    """The filtered photos as PNG files, and a sheet of before and after."""
    row = [(f"Original\n{photo.width} x {photo.height}", photo)]
    for title, setting in SETTINGS.items():
        result = suppressed(photo, setting)
        result.save(folder / f"{name}_{stem(setting)}.png")
        row.append((f"{title}\n{described(setting)}", result))
    path = folder / f"{name}_before_after.png"
    contact_sheet([row], cell=480, zoom=ZOOMS[name]).save(path)
    return path


def stem(setting: dict[str, Any]) -> str:
    return f"niter{setting['niter']}_kappa{setting['kappa']}"


def described(setting: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in setting.items())


def timed(pictures: dict[str, Image.Image]) -> tuple[Table, str]:
    """Medians of a few rounds in turns, on one thread, then ours on all of them."""
    threads = torch.get_num_threads()
    contenders = {"texfilters": ours, **({"MedPy": medpy} if importlib.util.find_spec("medpy") else {})}
    grid = Table(box=SIMPLE_HEAD, title=f"{described(MILD)}, one thread", title_justify="left")
    grid.add_column("photo")
    grid.add_column("pixels")
    for name in contenders:
        grid.add_column(f"{name}\nms", justify="right", style="bold green" if name == "texfilters" else "")
    grid.add_column("times\nfaster", justify="right")

    totals = dict.fromkeys([*contenders, "all threads"], 0.0)
    for name, photo in pictures.items():
        samples: dict[str, list[float]] = {key: [] for key in totals}
        runs = {key: prepare(photo) for key, prepare in contenders.items()}
        for number in range(-1, ROUNDS):  # the first one warms up
            torch.set_num_threads(1)
            times = {key: seconds(run) for key, run in runs.items()}
            torch.set_num_threads(threads)
            times["all threads"] = seconds(runs["texfilters"])
            for key in times if number >= 0 else ():
                samples[key].append(times[key])
        medians = {key: statistics.median(times) for key, times in samples.items()}
        totals = {key: total + medians[key] for key, total in totals.items()}
        cells = [f"{1e3 * medians[key]:.3g}" for key in contenders]
        faster = f"{medians['MedPy'] / medians['texfilters']:.1f}" if "MedPy" in medians else ""
        grid.add_row(name, f"{photo.width}x{photo.height} RGB", *cells, faster)
    rates = {key: f"[bold]{len(pictures) / total:.3g}[/]" for key, total in totals.items()}
    beside = f", MedPy {rates['MedPy']}" if "MedPy" in rates else ""
    return grid, (
        f"images a second: texfilters {rates['texfilters']}{beside} on one thread; "
        f"texfilters {rates['all threads']} on {threads}"
    )


def ours(photo: Image.Image) -> Callable[[], Any]:
    image = photos.to_tensor(photo)
    return lambda: texfilters.anisotropic_diffusion(image, **MILD)


def medpy(photo: Image.Image) -> Callable[[], Any]:
    """A channel at a time: across the channels of a color image it would diffuse as well."""
    from medpy.filter.smoothing import anisotropic_diffusion

    planes = photos.to_tensor(photo).numpy().astype(np.float32)
    return lambda: np.stack([anisotropic_diffusion(plane, **MILD) for plane in planes])


def seconds(run: Callable[[], Any]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def figure(pictures: dict[str, Image.Image], path: Path) -> None:
    """1600 pixels wide: two photos, each whole and in part, below one line of labels."""
    strips = []
    for name in ("chelsea", "coffee"):
        photo = pictures[name]
        entries = [("Original\n ", photo)]
        entries += [
            (f"{title}\n{described(setting)}", suppressed(photo, setting)) for title, setting in SETTINGS.items()
        ]
        row = [("" if strips else label, _doubled(picture)) for label, picture in entries]
        sheet = contact_sheet([row], cell=480, zoom=ZOOMS[name])
        left, top, right, bottom = ImageOps.invert(sheet).getbbox()
        strips.append(sheet.crop((left, top, right, bottom)))
    gap, width = 48, max(strip.width for strip in strips)
    height = sum(strip.height for strip in strips) + gap * (len(strips) + 1)
    whole, y = Image.new("RGB", (width + 2 * gap, height), "white"), gap
    for strip in strips:
        whole.paste(strip, (gap, y))
        y += strip.height + gap
    path.parent.mkdir(parents=True, exist_ok=True)
    whole.save(path, "JPEG", quality=85, optimize=True, progressive=True)


def _doubled(picture: Image.Image) -> Image.Image:
    """So that photos of several sizes are all shrunk to the width of a cell."""
    return picture.resize((2 * picture.width, 2 * picture.height), Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()

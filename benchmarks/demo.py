"""Suppress the texture of some photos, write the results to demo/, and count images a second beside MedPy's.

python benchmarks/demo.py [--out demo]
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
from PIL import Image
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from torch import Tensor

import photos
import texfilters
from texfilters import _backends
from texfilters.cli.contact_sheet import Box, contact_sheet

ROUNDS = 9
MILD: dict[str, Any] = {"niter": 20, "kappa": 20}
STRONG: dict[str, Any] = {"niter": 60, "kappa": 30, "gamma": 0.2, "coupling": "l2"}
SETTINGS = {"Texture suppressed": MILD, "Stronger": STRONG}

# The first three each leave half of the contrast of the cat's fur: of its standard deviation about a blur of sigma 4.
SUPPRESSORS: dict[str, tuple[Callable[..., Tensor], dict[str, Any]]] = {
    "Anisotropic diffusion": (texfilters.anisotropic_diffusion, {"niter": 40, "kappa": 40, "coupling": "l2"}),
    "Bilateral filter": (texfilters.bilateral_filter, {"d": 13, "sigma_color": 100, "sigma_space": 75}),
    "Gaussian blur": (texfilters.gaussian_blur, {"sigma": 2}),
    "Cartoon": (texfilters.cartoonize, {"d": 9, "sigma_color": 300, "c": 9}),
}

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
    arguments = parser.parse_args()
    console = Console(highlight=False)
    pictures = photos.load()

    backend = _backends.resolve(None, "cpu")
    how = torch.ops.texfilters_native.instruction_set() if backend == "native" else "[red]not built: plain torch[/]"
    console.rule(f"[bold]texfilters {texfilters.__version__}[/]  {backend} {how}, {torch.get_num_threads()} threads")
    arguments.out.mkdir(parents=True, exist_ok=True)
    with console.status("suppressing texture"):
        sheets = [path for name, photo in pictures.items() for path in write(name, photo, arguments.out)]
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


def strengths(photo: Image.Image) -> list[tuple[str, Image.Image]]:
    """The photo and its diffusion at two strengths, labeled."""
    results = [(f"{title}\n{described(setting)}", suppressed(photo, setting)) for title, setting in SETTINGS.items()]
    return [original(photo), *results]


def suppressors(photo: Image.Image) -> list[tuple[str, Image.Image]]:
    """The photo and what each suppressor makes of it, labeled."""
    image = photos.to_tensor(photo)
    return [
        original(photo),
        *(
            (f"{title}\n{described(setting)}", photos.to_image(function(image, **setting)))
            for title, (function, setting) in SUPPRESSORS.items()
        ),
    ]


def original(photo: Image.Image) -> tuple[str, Image.Image]:
    return f"Original\n{photo.width} x {photo.height}", photo


def write(name: str, photo: Image.Image, folder: Path) -> list[Path]:
    """The photos after diffusion as PNG files, and two sheets: before and after, and all suppressors."""
    before, *after = strengths(photo)
    for setting, (_, result) in zip(SETTINGS.values(), after, strict=True):
        result.save(folder / f"{name}_{stem(setting)}.png")
    sheets = {"before_after": [before, *after], "suppressors": suppressors(photo)}
    paths = []
    for sheet, row in sheets.items():
        paths.append(folder / f"{name}_{sheet}.png")
        contact_sheet([row], cell=480, zoom=ZOOMS[name]).save(paths[-1])
    return paths


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


if __name__ == "__main__":
    main()

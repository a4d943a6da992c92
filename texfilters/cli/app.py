"""The commands and their flags."""

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

import texfilters
from texfilters import _backends
from texfilters.cli import compare, filters, interrupts, progress, suppress
from texfilters.cli.messages import Refused, say, shown

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Texture-suppressing image filters.",
)

_DIFFUSION = filters.FILTERS["anisotropic-diffusion"].flags


def _flag(name: str, text: str) -> Any:
    return typer.Option(help=text, show_default=str(_DIFFUSION[name]))


Niter = Annotated[int | None, _flag("niter", "Number of steps; 0 changes nothing.")]
Kappa = Annotated[float | None, _flag("kappa", "Edges stronger than this survive, in grey levels of 0..255.")]
Gamma = Annotated[float | None, _flag("gamma", "Size of a step, at most 0.25.")]
Option = Annotated[int | None, _flag("option", "1 favors strong edges, 2 wide regions, 3 stops at strong edges.")]
Coupling = Annotated[str | None, _flag("coupling", "'none': each channel by itself; 'l2': the channels share edges.")]
Backend = Annotated[str | None, typer.Option(help="native, triton or reference.", show_default="the first there is")]
Quality = Annotated[int, typer.Option(help="Of JPEG and WebP files, 1..100.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        say(f"texfilters {texfilters.__version__}")
        raise typer.Exit


@app.callback()
def _texfilters(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    # Pillow warns of oddities (large images, damaged metadata) with lines of source code, which tell a user nothing.
    warnings.filterwarnings("ignore", module="PIL")


@app.command()
def info() -> None:
    """Show what is built, and why anything is absent."""
    console = Console()
    if not console.is_terminal:
        texfilters.show_config()
        return
    title, *lines = _backends.config().splitlines()
    table = Table.grid(padding=(0, 2))
    for line in lines:
        name, _, value = line.partition(": ")
        table.add_row(Text(name, style="bold"), Text(value))
    console.print(Text(title, style="bold"))
    console.print(table)


@app.command("suppress")
def suppress_command(
    src: Annotated[str, typer.Argument(metavar="SRC", help="An image, or a folder whose tree of images is read.")],
    dst: Annotated[
        str, typer.Argument(metavar="DST", help="Where the result goes: a file or a folder; SRC itself is refused.")
    ],
    filter: Annotated[str, typer.Option(help=f"One of: {', '.join(filters.FILTERS)}.")] = "anisotropic-diffusion",
    niter: Niter = None,
    kappa: Kappa = None,
    gamma: Gamma = None,
    option: Option = None,
    coupling: Coupling = None,
    backend: Backend = None,
    quality: Quality = 95,
    workers: Annotated[int | None, typer.Option(help="Images at a time.", show_default="one for each CPU")] = None,
) -> None:
    """Filter an image or a folder of images.

    A tree is mirrored with the same names; an existing output is replaced. Reads and writes jpg, png, webp, bmp, tif,
    ppm and pgm. EXIF and ICC profiles are kept. Exits with 0 if all images are done, with 1 if any failed.
    """
    with _on_one_line(), interrupts.ending_at_once():
        given = {"niter": niter, "kappa": kappa, "gamma": gamma, "option": option, "coupling": coupling}
        function = interrupts.aside(lambda: filters.choose(filter, given, backend))
        _require("quality", quality, 1, 100)
        if workers is not None:
            _require("workers", workers, 1, None)
        planned = suppress.plan(src, dst)
        suppress.prepare(planned)
        results = suppress.run(planned, function, quality, workers)
        failed = progress.watch(results, len(planned.names), planned.left_out, planned.failures)
    raise typer.Exit(1 if failed else 0)


@app.command("compare")
def compare_command(
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="The image to try strengths on.")],
    output: Annotated[str | None, typer.Option(help="The sheet.", show_default="IMAGE's stem and -compare.png")] = None,
    niter: Niter = None,
    kappa: Annotated[list[float] | None, typer.Option(help="May be repeated.", show_default="10, 20 and 40")] = None,
    gamma: Gamma = None,
    option: Option = None,
    coupling: Coupling = None,
    backend: Backend = None,
    zoom: Annotated[bool, typer.Option(help="Show the part that changes most enlarged, too.")] = True,
) -> None:
    """Write a contact sheet of an image filtered with several strengths."""
    with _on_one_line(), interrupts.ending_at_once():
        given = {"niter": niter, "gamma": gamma, "option": option, "coupling": coupling}
        kappas = kappa or [10.0, 20.0, 40.0]
        target = compare.target_of(image, output)
        interrupts.aside(lambda: compare.compare(image, target, kappas, given, backend, zoom))
        say(shown(os.path.abspath(target)))


@contextlib.contextmanager
def _on_one_line() -> Iterator[None]:
    try:
        yield
    except Refused as refused:
        say(f"texfilters: {refused}", error=True)
        sys.exit(refused.code)


def _require(name: str, value: int, least: int, most: int | None) -> None:
    if value < least or (most is not None and value > most):
        rule = f"lie in {least}..{most}" if most is not None else f"be at least {least}"
        raise Refused(f"{name} must {rule}, got {value}")

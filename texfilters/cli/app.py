"""The commands and their flags."""

import contextlib
import os
import sys
import warnings
from collections.abc import Callable, Iterator
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

_PARAMETERS = list(dict.fromkeys(name for filter in filters.FILTERS.values() for name in filter.flags))


def _flag(kind: type, text: str) -> Any:
    # The default depends on the filter: see the table below the flags. Left alone, typer would show a list[int].
    return typer.Option(help=text, show_default=False, metavar=f"<{kind.__name__}>")


NITER = _flag(int, "Number of steps; 0 changes nothing.")
KAPPA = _flag(float, "Edges stronger than this survive, in grey levels of 0..255.")
GAMMA = _flag(float, "Size of a step, at most 0.25.")
OPTION = _flag(int, "1 favors strong edges, 2 wide regions, 3 stops at strong edges.")
COUPLING = _flag(str, "'none': each channel by itself; 'l2': the channels share edges.")
D = _flag(int, "Diameter of the window; 0 leaves it to --sigma-space.")
SIGMA_COLOR = _flag(float, "How far colors may differ to be mixed: grey levels of 0..255, summed over R, G and B.")
SIGMA_SPACE = _flag(float, "How far pixels may lie apart to be mixed.")
BORDER = _flag(str, "What lies beyond the border: reflect101, reflect, replicate, wrap or constant, which is 0.")
SIGMA = _flag(float, "Width of the Gaussian in pixels.")
KERNEL_SIZE = _flag(int, "Width of the window in pixels, odd; by itself it covers 3 sigma to each side.")
KSIZE = _flag(int, "Width of the median's window in pixels, odd.")
PASSES = _flag(int, "How many times the colors are filtered before lines are drawn.")
BLOCK_SIZE = _flag(int, "Width in pixels, odd, of the surroundings that a line is darker than.")
C = _flag(float, "By how many grey levels of 0..255 a line is darker; more of them draw fewer lines.")

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


def _table(title: str, values: Callable[[filters.Filter, str], str]) -> str:
    """The flags of each filter, below a help text of 80 columns."""
    lines = [title]
    indent = 2 + max(map(len, filters.FILTERS))
    for name, filter in filters.FILTERS.items():
        words = [f"{filters.flag(parameter)} {values(filter, parameter)}" for parameter in filter.flags]
        for number, line in enumerate(filters.in_lines(words, 78 - indent)):
            lines.append(f"{'' if number else name:{indent}}{line}")
    return "\b\n" + "\n".join(lines)  # \b: as it stands, not wrapped again


def _default(filter: filters.Filter, parameter: str) -> str:
    return filters.written(filter.flags[parameter])


def _strengths(filter: filters.Filter, parameter: str) -> str:
    strength, values = filter.strength
    return ",".join(map(filters.written, values)) if parameter == strength else _default(filter, parameter)


@app.command("suppress", epilog=_table("Flags of each filter, and their defaults:", _default))
def suppress_command(
    src: Annotated[str, typer.Argument(metavar="SRC", help="An image, or a folder whose tree of images is read.")],
    dst: Annotated[
        str, typer.Argument(metavar="DST", help="Where the result goes: a file or a folder; SRC itself is refused.")
    ],
    context: typer.Context,
    filter: Annotated[str, typer.Option(help=f"One of: {', '.join(filters.FILTERS)}.")] = "anisotropic-diffusion",
    niter: Annotated[int | None, NITER] = None,
    kappa: Annotated[float | None, KAPPA] = None,
    gamma: Annotated[float | None, GAMMA] = None,
    option: Annotated[int | None, OPTION] = None,
    coupling: Annotated[str | None, COUPLING] = None,
    d: Annotated[int | None, D] = None,
    sigma_color: Annotated[float | None, SIGMA_COLOR] = None,
    sigma_space: Annotated[float | None, SIGMA_SPACE] = None,
    border: Annotated[str | None, BORDER] = None,
    sigma: Annotated[float | None, SIGMA] = None,
    kernel_size: Annotated[int | None, KERNEL_SIZE] = None,
    ksize: Annotated[int | None, KSIZE] = None,
    passes: Annotated[int | None, PASSES] = None,
    block_size: Annotated[int | None, BLOCK_SIZE] = None,
    c: Annotated[float | None, C] = None,
    backend: Backend = None,
    quality: Quality = 95,
    workers: Annotated[int | None, typer.Option(help="Images at a time.", show_default="one for each CPU")] = None,
) -> None:
    """Filter an image or a folder of images.

    A tree is mirrored with the same names; an existing output is replaced. Reads and writes jpg, png, webp, bmp, tif,
    ppm and pgm. EXIF and ICC profiles are kept. CMYK images have no cartoon. Exits with 0 if all images are done, with
    1 if any failed.
    """
    with _on_one_line(), interrupts.ending_at_once():
        given = {name: context.params[name] for name in _PARAMETERS}
        function = interrupts.aside(lambda: filters.choose(filter, given, backend))
        _require("quality", quality, 1, 100)
        if workers is not None:
            _require("workers", workers, 1, None)
        planned = suppress.plan(src, dst)
        suppress.prepare(planned)
        results = suppress.run(planned, function, quality, workers)
        failed = progress.watch(results, len(planned.names), planned.left_out, planned.failures)
    raise typer.Exit(1 if failed else 0)


@app.command(
    "compare", epilog=_table("Flags of each filter, their defaults, and the strengths that --filter shows:", _strengths)
)
def compare_command(
    context: typer.Context,
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="The image to try filters on.")],
    output: Annotated[str | None, typer.Option(help="The sheet.", show_default="IMAGE's stem and -compare.png")] = None,
    filter: Annotated[str | None, typer.Option(help="Several strengths of this one.", show_default="all")] = None,
    niter: Annotated[list[int] | None, NITER] = None,
    kappa: Annotated[list[float] | None, KAPPA] = None,
    gamma: Annotated[list[float] | None, GAMMA] = None,
    option: Annotated[list[int] | None, OPTION] = None,
    coupling: Annotated[list[str] | None, COUPLING] = None,
    d: Annotated[list[int] | None, D] = None,
    sigma_color: Annotated[list[float] | None, SIGMA_COLOR] = None,
    sigma_space: Annotated[list[float] | None, SIGMA_SPACE] = None,
    border: Annotated[list[str] | None, BORDER] = None,
    sigma: Annotated[list[float] | None, SIGMA] = None,
    kernel_size: Annotated[list[int] | None, KERNEL_SIZE] = None,
    ksize: Annotated[list[int] | None, KSIZE] = None,
    passes: Annotated[list[int] | None, PASSES] = None,
    block_size: Annotated[list[int] | None, BLOCK_SIZE] = None,
    c: Annotated[list[float] | None, C] = None,
    backend: Backend = None,
    zoom: Annotated[bool, typer.Option(help="Show the part that changes most enlarged, too.")] = True,
) -> None:
    """Write a contact sheet of an image under every filter, or under several strengths of one.

    Without --filter each one takes those of the flags that are its own, with the defaults of suppress. Beside --filter
    one flag may be repeated, for a picture of each of its values.
    """
    with _on_one_line(), interrupts.ending_at_once():
        given = {name: context.params[name] for name in _PARAMETERS if context.params[name]}
        target = compare.target_of(image, output)
        cells = compare.all_filters(given) if filter is None else compare.strengths(filter, given)
        interrupts.aside(lambda: compare.compare(image, target, cells, backend, zoom))
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

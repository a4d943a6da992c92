"""The commands and their flags."""

import contextlib
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Annotated, Any

import torch
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

import texfilters
from texfilters import _backends
from texfilters.cli import compare, filters, image_files, interrupts, suppress, work
from texfilters.cli.job import Job
from texfilters.cli.listing import Shard
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
MaxPixels = Annotated[
    int, typer.Option(help="Larger images are refused before they are decoded; 0: no limit.", metavar="N")
]


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
    src: Annotated[
        str, typer.Argument(metavar="SRC", help="An image, a .tar shard, or a folder whose tree of them is read.")
    ],
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
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:1.")] = "cpu",
    format: Annotated[
        str | None, typer.Option(help="Of the results: png, jpg, webp, ...", show_default="that of each source")
    ] = None,
    quality: Quality = 95,
    metadata: Annotated[
        str, typer.Option(help="keep: EXIF and ICC profiles; drop: turn as EXIF says, then leave both out.")
    ] = "keep",
    max_pixels: MaxPixels = image_files.MAX_PIXELS,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there already.")] = False,
    on_error: Annotated[str, typer.Option(help="skip a file that fails, or stop.")] = "skip",
    shard: Annotated[
        str | None, typer.Option(help="Do part i of n: the same files wherever it runs.", metavar="i/n")
    ] = None,
    report: Annotated[
        str | None, typer.Option(help="Write settings, counts and failures as JSON.", metavar="FILE")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Processes.", show_default="one for each CPU")] = None,
) -> None:
    """Filter an image, a folder of images, or WebDataset shards (.tar).

    A tree is mirrored with the same names. Reads and writes jpg, png, webp, bmp, tif, ppm and pgm. CMYK images have no
    cartoon. DST/texfilters-manifest.jsonl says what has become of each file: the same command goes on where an
    interrupted one has ended. Exits with 0 if all images are done, with 1 if any failed, with 2 if the job is refused.
    """
    with _on_one_line(), interrupts.ending_at_once():
        given = {name: context.params[name] for name in _PARAMETERS if context.params[name] is not None}
        if re.fullmatch(r"cpu|cuda(:\d+)?", device) is None:
            raise Refused(f"--device must be cpu, cuda or cuda:1, got {device!r}")
        interrupts.aside(lambda: filters.choose(filter, given, backend, device))
        _require("--quality", quality, 1, 100)
        _require("--max-pixels", max_pixels, 0, None)
        _require_one_of("--metadata", metadata, ["keep", "drop"])
        _require_one_of("--on-error", on_error, ["skip", "stop"])
        if workers is not None:
            _require("--workers", workers, 1, None)
        settings = work.Settings(
            filter=filter,
            parameters={**filters.FILTERS[filter].flags, **given},
            backend=_resolved(backend, device),
            device=device,
            format=None if format is None else _suffix(format),
            quality=quality,
            metadata=metadata,
            max_pixels=max_pixels or None,
            overwrite=overwrite,
        )
        status = suppress.run(Job(src, dst, settings, workers, on_error == "stop", _shard(shard), report))
    raise typer.Exit(status)


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
    max_pixels: MaxPixels = image_files.MAX_PIXELS,
    zoom: Annotated[bool, typer.Option(help="Show the part that changes most enlarged, too.")] = True,
) -> None:
    """Write a contact sheet of an image under every filter, or under several strengths of one.

    Without --filter each one takes those of the flags that are its own, with the defaults of suppress. Beside --filter
    one flag may be repeated, for a picture of each of its values.
    """
    with _on_one_line(), interrupts.ending_at_once():
        given = {name: context.params[name] for name in _PARAMETERS if context.params[name]}
        _require("--max-pixels", max_pixels, 0, None)
        target = compare.target_of(image, output)
        cells = compare.all_filters(given) if filter is None else compare.strengths(filter, given)
        interrupts.aside(lambda: compare.compare(image, target, cells, backend, zoom, max_pixels or None))
        say(shown(os.path.abspath(target)))


@contextlib.contextmanager
def _on_one_line() -> Iterator[None]:
    try:
        yield
    except Refused as refused:
        say(f"texfilters: {refused}", error=True)
        sys.exit(refused.code)


def _resolved(backend: str | None, device: str) -> str:
    if device == "cpu":
        return _backends.resolve(backend, "cpu")
    index = torch.device(device).index
    return _backends.resolve(backend, "cuda", torch.cuda.current_device() if index is None else index)


def _suffix(format: str) -> str:
    suffix = f".{format.lower().removeprefix('.')}"
    _require_one_of("--format", suffix[1:], [each[1:] for each in image_files.SUFFIXES])
    return suffix


def _shard(text: str | None) -> Shard:
    if text is None:
        return Shard()
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise Refused(f"--shard must be i/n with 1 <= i <= n, got {text!r}")
    return Shard(int(match[1]), int(match[2]))


def _require_one_of(flag: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise Refused(f"{flag} must be one of {', '.join(map(repr, allowed))}, got {value!r}")


def _require(flag: str, value: int, least: int, most: int | None) -> None:
    if value < least or (most is not None and value > most):
        rule = f"lie in {least}..{most}" if most is not None else f"be at least {least}"
        raise Refused(f"{flag} must {rule}, got {value}")

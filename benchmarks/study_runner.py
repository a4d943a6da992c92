"""What the runners of studies share: their arguments, which cells are still to do, and the results that are written."""

import argparse
import fnmatch
import multiprocessing
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, Protocol, TypeVar

import torch

import machine
from texfilters.cli import atomic

RESULTS = Path(__file__).resolve().parent / "results"
PACKAGES = ("torch", "torchvision", "lightning", "kornia", "numpy")

Result = dict[str, Any]


class Study(Protocol):
    @property
    def needs_gpu(self) -> bool: ...


class Cell(Protocol):
    """One run of a study."""

    @property
    def name(self) -> str: ...


C = TypeVar("C", bound=Cell)


def parser(text: str, studies: Sequence[str], results: Path, example: str) -> argparse.ArgumentParser:
    """The arguments that all runners take; `text` is their help, `example` a pattern of cells."""
    result = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("data", type=Path)
    result.add_argument("--study", choices=list(studies), required=True)
    result.add_argument("--cells", default="*", help=f"which of its cells, a pattern such as '{example}'")
    result.add_argument("--epochs", type=int, help="other than the study's")
    result.add_argument("--at-once", type=int, default=1, help="runs side by side")
    result.add_argument("--results", type=Path, default=results)
    return result


def parsed(parser: argparse.ArgumentParser, studies: Mapping[str, Study]) -> argparse.Namespace:
    """The arguments of the command line, of a study that this machine can run."""
    given = parser.parse_args()
    if studies[given.study].needs_gpu and not torch.cuda.is_available():
        parser.error(f"study {given.study} takes hours without a GPU, and there is none")
    given.results.mkdir(parents=True, exist_ok=True)
    return given


def missing(cells: Sequence[C], results: Path) -> list[C]:
    """The cells without a result, in their order; prints how many."""
    found = [cell for cell in cells if not (results / f"{cell.name}.json").exists()]
    print(f"{len(cells)} cells, {len(found)} to do", flush=True)
    return found


def chosen(cells: Sequence[C], pattern: str) -> list[C]:
    return [cell for cell in cells if fnmatch.fnmatch(cell.name, pattern)]


def processes(at_once: int, begin: Callable[..., None], *given: Any) -> ProcessPoolExecutor:
    """Workers that share the cores, each of which begins with `begin(*given)`.

    Processes, not threads: a small network's launches keep one interpreter busy.
    """
    threads = max(1, machine.cores() // at_once)
    return ProcessPoolExecutor(at_once, multiprocessing.get_context("spawn"), _begin, (threads, begin, given))


def run_all(
    pool: Executor,
    run: Callable[[C, int], Result],
    cells: Sequence[C],
    epochs: int,
    results: Path,
    told: Callable[[Result], str],
) -> bool:
    """Write the result of each cell as soon as it is there, whole or not at all; whether all came to one.

    Args:
        told: what of a result is printed.
    """
    jobs: dict[Future[Result], C] = {pool.submit(run, cell, epochs): cell for cell in cells}
    failed = 0
    try:
        for job in as_completed(jobs):
            cell = jobs[job]
            if error := job.exception():  # the others go on
                failed += 1
                print(f"{cell.name}: {type(error).__name__}: {error}", flush=True)
                continue
            result = job.result()
            atomic.write(str(results / f"{cell.name}.json"), machine.as_json(result).encode())
            print(f"{cell.name}: {told(result)}", flush=True)
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        raise
    return not failed


def described() -> Result:
    """What a result was measured on and with."""
    if torch.cuda.is_available():
        device: Result = {"device": torch.cuda.get_device_name(), "cuda": torch.version.cuda}
    else:
        device = {"cpu": machine.cpu(), "cores": machine.cores()}
    return {"date": machine.date(), "commit": machine.commit(), "packages": machine.packages(PACKAGES)} | device


def _begin(threads: int, begin: Callable[..., None], given: tuple[Any, ...]) -> None:
    torch.set_num_threads(threads)
    begin(*given)

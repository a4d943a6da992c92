"""Checkpoints: written whole or not at all, read without running anything, and refused where they do not fit."""

import os
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning import LightningModule, Trainer
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor

from texfilters import _check
from texfilters.ssl._backbones import Backbone

if TYPE_CHECKING:
    from texfilters.ssl._method import Method

KEY = "texfilters"
FORMAT = 1


def header(method: "Method") -> dict[str, Any]:
    """What a checkpoint says about itself, in plain types."""
    backbone, views = method.backbone, getattr(method, "views", None)
    return {
        "format": FORMAT,
        "method": type(method).__name__,
        "backbone": {name: getattr(backbone, name) for name in ("name", "small_images", "norm_splits")},
        "settings": plain(method.settings()),
        "views": {
            **{name: plain(getattr(views, name, None)) for name in ("size", "mean", "std")},
            "all": " ".join(repr(views).split()),
        },
        "recipe": plain(asdict(method.recipe)),
        "seed": method.seed,
    }


def plain(value: Any) -> Any:
    """Numbers, text, lists and dictionaries of what may be tensors, tuples or paths."""
    if isinstance(value, Tensor):
        return value.tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A checkpoint of a method, on the CPU. Nothing in the file is run.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if the file is damaged, holds objects other than tensors and plain values, or is no checkpoint of
            `texfilters.ssl`.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()  # torch itself checks no sums
        if damaged is not None:
            raise zipfile.BadZipFile(f"wrong checksum of {damaged}")
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{path} holds more than tensors and plain values, which could run code and is not loaded: it has been "
            "changed, or texfilters.ssl did not write it"
        ) from error
    except (zipfile.BadZipFile, RuntimeError, EOFError, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} is no checkpoint, or is cut off or damaged: {error}") from error
    about = checkpoint.get(KEY) if isinstance(checkpoint, dict) else None
    if not isinstance(about, dict) or not isinstance(checkpoint.get("state_dict"), dict):
        raise ValueError(f"{path} is no checkpoint of texfilters.ssl: it lacks {KEY!r} or 'state_dict'")
    if about.get("format") != FORMAT:
        raise ValueError(f"{path} must have the format {FORMAT}, got {about.get('format')!r}")
    return checkpoint


def load_backbone(path: str | os.PathLike[str]) -> Backbone:
    """The pretrained network of a checkpoint, on the CPU and in evaluation mode.

    Raises:
        FileNotFoundError, ValueError: as `read`, and if the weights do not fit the network that the file names.
    """
    checkpoint = read(path)
    try:
        backbone = Backbone(**checkpoint[KEY]["backbone"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} names no backbone that there is: {error}") from error
    prefix = "backbone."
    weights = {k.removeprefix(prefix): v for k, v in checkpoint["state_dict"].items() if k.startswith(prefix)}
    if misfits := _misfits(weights, backbone.state_dict()):
        raise ValueError(f"the weights in {path} do not fit {backbone.name}: {misfits}")
    backbone.load_state_dict(weights)
    return backbone.eval()


def check(checkpoint: Mapping[str, Any], method: "Method") -> None:
    """Whether training can go on from a checkpoint as if it had never stopped.

    Raises:
        ValueError: naming all that differs.
    """
    about = checkpoint.get(KEY)
    if not isinstance(about, dict):
        raise ValueError(f"the checkpoint is none of texfilters.ssl: it lacks {KEY!r}")
    here = header(method)
    there = {name: about.get(name) for name in here}
    if there["method"] != here["method"]:
        raise ValueError(f"the checkpoint is of the method {there['method']}, not of {here['method']}")
    if differences := list(_differences(there, here)):
        raise ValueError(f"the checkpoint is of another run: {'; '.join(differences)}")
    if misfits := _misfits(checkpoint["state_dict"], method.state_dict()):
        raise ValueError(f"the checkpoint's weights do not fit {here['method']}: {misfits}")


def _differences(there: Any, here: Any, name: str = "") -> Any:
    if isinstance(there, dict) and isinstance(here, dict):
        for key in {**here, **there}:
            yield from _differences(there.get(key), here.get(key), f"{name}.{key}" if name else key)
    elif there != here:
        if isinstance(there, str) and isinstance(here, str):
            there, here = _apart(there, here)
        yield f"{name} is {there!r} there and {here!r} here"


def _apart(there: str, here: str) -> tuple[str, str]:
    """Two descriptions without the words that both begin and end with."""
    a, b = there.split(), here.split()
    for _ in range(2):
        while a and b and a[0] == b[0]:
            a, b = a[1:], b[1:]
        a, b = a[::-1], b[::-1]
    return " ".join(a), " ".join(b)


def _misfits(there: Mapping[str, Any], here: Mapping[str, Tensor], shown: int = 3) -> str:
    """The first tensors that lack, are too many or have another shape; empty if all fit."""
    found = [f"{name} is missing" for name in here if name not in there]
    found += [f"{name} is unknown" for name in there if name not in here]
    for name in here.keys() & there.keys():
        shape = tuple(there[name].shape) if isinstance(there[name], Tensor) else type(there[name]).__name__
        if shape != tuple(here[name].shape):
            found.append(f"{name} is {shape}, not {tuple(here[name].shape)}")
    more = f" and {len(found) - shown} more" if len(found) > shown else ""
    return "; ".join(sorted(found)[:shown]) + more


def _cause(error: BaseException) -> BaseException:
    """The system's error behind others."""
    while not isinstance(error, OSError) and error.__context__ is not None:
        error = error.__context__
    return error


class AtomicCheckpointIO(TorchCheckpointIO):
    """Files that are either whole or not there, whenever the process is killed or the machine loses power.

    Lightning writes to the system's temporary folder and moves the file, which is a copy where that is another file
    system.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(path.name + ".unfinished")
        try:
            with unfinished.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
        except (OSError, RuntimeError) as error:  # what torch makes of a full disk
            unfinished.unlink(missing_ok=True)
            raise OSError(f"{path} cannot be written, the checkpoint before is kept: {_cause(error)}") from error
        os.replace(unfinished, path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = True) -> dict[str, Any]:
        return read(path)


class EveryEpoch(Checkpoint):
    """Saves `last.ckpt` after every epoch, and keeps `epoch-N.ckpt` after every `keep_every` of them.

    An epoch that was cut short, by `max_time` or `max_steps`, is not saved: resuming repeats it from its beginning.
    """

    LAST = "last.ckpt"

    def __init__(self, folder: str | os.PathLike[str], keep_every: int | None = None) -> None:
        self.folder = Path(folder)
        self.keep_every = None if keep_every is None else _check.whole("keep_every", keep_every, least=1)

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        epochs = trainer.current_epoch + 1
        if not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            rank_zero_info(f"epoch {epochs - 1} is not complete and not saved: {self.folder} holds the one before")
            return
        trainer.save_checkpoint(self.folder / self.LAST, weights_only=False)
        if self.keep_every is not None and epochs % self.keep_every == 0:
            trainer.save_checkpoint(self.folder / f"epoch-{epochs}.ckpt", weights_only=False)

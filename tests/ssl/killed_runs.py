"""A run that is killed again and again, and goes on from its last checkpoint; a command of its own.

    python killed_runs.py FOLDER SEED

It prints a line of JSON. Children are forked from one process that has imported everything, so that every run costs no
more than its steps; no thread of torch's is started before that.
"""

import json
import math
import os
import random
import signal
import sys
import time
import traceback
import warnings
from pathlib import Path

import torch

import texfilters.ssl.data
from ssl_runs import trainer
from texfilters.ssl import Batch, MoCoV2, Recipe, Views
from texfilters.ssl._checkpoint import read

EPOCHS, KILLS = 8, 5


class Drawn(texfilters.ssl.data.ImageData):
    """Images that are drawn."""

    classes = ()

    def _read(self, split, device):
        generator = torch.Generator().manual_seed(1)
        images = torch.randint(256, (40, 3, 18, 18), dtype=torch.uint8, generator=generator)
        return Batch(images, torch.full((40,), -1), torch.full((40, 2), 18.0))


def method():
    """All that a state can hide in: a queue, a momentum encoder, split norms, patch negatives, views, a warm-up."""
    torch.manual_seed(0)
    recipe = Recipe("lars", lr=0.5, warmup=2, every_step=True)
    settings = {"queue": 32, "dim": 8, "m": 0.9, "norm_splits": 2, "nonsemantic": 1}
    return MoCoV2("six_layer", views=Views(16), recipe=recipe, seed=3, **settings)


def train(folder):
    last = folder / "last.ckpt"
    run = trainer(folder, EPOCHS)
    run.fit(method(), Drawn(8, 3), ckpt_path=last if last.exists() else None, weights_only=True)


def forked(folder):
    """A process that trains."""
    pid = os.fork()
    if pid == 0:
        try:
            train(folder)
        except BaseException:
            traceback.print_exc()
        os._exit(0)
    return pid


def watched(pid, last, until=None):
    """When each new checkpoint appeared while a process trained; it is killed at `until(times)`, if that comes."""
    times, seen = [time.monotonic()], written(last)
    while os.waitpid(pid, os.WNOHANG) == (0, 0):
        if written(last) != seen:
            seen = written(last)
            times.append(time.monotonic())
        if until is not None and time.monotonic() > until(times):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return times, True
        time.sleep(0.001)
    return times, False


def written(path):
    return path.stat().st_ino if path.exists() else None


def main(folder, seed):
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    draw = random.Random(seed)
    times, _ = watched(forked(folder / "whole"), folder / "whole" / "last.ckpt")
    begin, epoch = times[1] - times[0], (times[-1] - times[1]) / (EPOCHS - 1)
    last = folder / "killed" / "last.ckpt"
    killed, steps = 0, []
    for attempt in range(KILLS + 1):
        # First before there is a checkpoint, then somewhere in the epoch that follows a new one, or while it is saved.
        delay = draw.uniform(0.2, 0.9) * begin if attempt == 0 else draw.uniform(0.0, 1.1) * epoch
        after = 1 if attempt == 0 else 2
        pid = forked(folder / "killed")
        killed += watched(
            pid, last, lambda times, after=after, delay=delay: times[-1] + delay if len(times) >= after else math.inf
        )[1]
        # Whatever moment it was killed at, what is there can be read.
        steps.append(read(last)["global_step"] if last.exists() else 0)
    assert not watched(forked(folder / "killed"), last)[1]
    whole, rest = (read(folder / name / "last.ckpt") for name in ("whole", "killed"))
    print(json.dumps({"killed": killed, "steps": steps, "different": alike(whole, rest), "end": rest["global_step"]}))


def alike(a, b, name=""):
    """What differs between two checkpoints, bit by bit."""
    if isinstance(a, torch.Tensor):
        same = a.dtype == b.dtype and torch.equal(a, b)
        return [] if same else [name]
    if isinstance(a, dict):
        keys = a.keys() | b.keys()
        return [x for key in sorted(keys, key=str) for x in alike(a.get(key), b.get(key), f"{name}.{key}")]
    if isinstance(a, list | tuple):
        lists = zip(a, b, strict=True)
        return [x for i, (c, d) in enumerate(lists) for x in alike(c, d, f"{name}.{i}")]
    return [] if a == b else [f"{name}: {a} {b}"]


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))

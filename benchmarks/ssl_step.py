"""What texture suppression takes of a MoCoV2 step as the ssl part does it: views, both networks, backward, optimizer.

    python benchmarks/ssl_step.py [--device cpu|cuda] [--batch N] [--steps N] [--rounds N] [--seconds S] [--out FILE]

ResNet-18 on a CPU, ResNet-50 on a GPU, 224x224. Steps with the papers' mixture in both views and steps without it take
turns on the same photos. Without options it writes benchmarks/results/{cpu,gpu}_ssl_step_<name>.json.
"""

import argparse
import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

import gpu_cases
import gpu_report
import machine
from gpu_job import Row, rounded
from loader_step import FEWEST_ROUNDS, milliseconds, moment
from texfilters.ssl import Batch
from texfilters.ssl.moco_v2 import MoCoV2
from texfilters.ssl.views import Views
from texfilters.transforms import RandomTextureSuppression

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("torch", "torchvision", "kornia", "lightning", "numpy", "scikit-image")
SIDE, STORED = 224, 256  # of a view, of the squares that workers make
SETTINGS: dict[str, dict[str, Any]] = {
    "cpu": {"network": "resnet18", "batch": 16, "queue": 65536, "steps": 1, "rounds": 30, "at_most": 0.03},
    "cuda": {"network": "resnet50", "batch": 256, "queue": 65536, "steps": 10, "rounds": 9, "at_most": 0.01},
}


class Timed(nn.Module):
    """A stage, and when its calls began and ended by the device's clock."""

    def __init__(self, stage: Callable[[Tensor], Tensor], device: torch.device) -> None:
        super().__init__()
        self.stage, self.device = stage, device
        self.spans: list[tuple[Any, Any]] = []

    def forward(self, images: Tensor) -> Tensor:
        start = moment(self.device)
        result = self.stage(images)
        self.spans.append((start, moment(self.device)))
        return result


class Step:
    """MoCoV2's step, its views with a stage of suppression or without."""

    def __init__(self, network: str, queue: int, device: torch.device) -> None:
        torch.manual_seed(0)
        torch.backends.cudnn.benchmark = True
        self.device = device
        layout = torch.channels_last if device.type == "cuda" else torch.contiguous_format
        self.method = MoCoV2(network, views=Views(SIDE, suppress=None), queue=queue)
        self.method.to(device, memory_format=layout).train()
        trained = [parameter for parameter in self.method.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.SGD(trained, lr=0.03, momentum=0.9, weight_decay=1e-4)

    def __call__(self, batch: Batch, stage: nn.Module | None, seed: int) -> None:
        torch.manual_seed(seed)
        self.method.views.suppress = stage
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            loss = self.method.loss(batch)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad()


def turn(step: Step, batches: Iterator[Batch], stage: Timed | None, seeds: Sequence[int]) -> Row:
    """Milliseconds a step, one for each of the seeds, and of the stage within it."""
    if stage is not None:
        stage.spans.clear()
    start = moment(step.device)
    for seed in seeds:
        step(next(batches), stage, seed)
    ms = milliseconds(start, moment(step.device)) / len(seeds)
    spent = sum(milliseconds(*span) for span in stage.spans) / len(seeds) if stage is not None else 0.0
    return {"ms": ms, "stage_ms": spent, "stage_share": spent / ms}


def measure(settings: dict[str, Any], device: torch.device, deadline: float) -> Row:
    """As many rounds as fit before the deadline by time.monotonic()."""
    step = Step(settings["network"], settings["queue"] // settings["batch"] * settings["batch"], device)
    batches = photos(settings["batch"], device)
    stage = Timed(RandomTextureSuppression(), device)
    turns: dict[bool, list[Row]] = {False: [], True: []}
    for suppresses in turns:
        turn(step, batches, stage if suppresses else None, [0])  # tunes, compiles, and fills the allocators
    for number in range(settings["rounds"]):
        began = time.monotonic()
        seeds = range(number * settings["steps"], (number + 1) * settings["steps"])
        for suppresses, rows in turns.items():
            rows.append(turn(step, batches, stage if suppresses else None, seeds))
        now = time.monotonic()
        if number + 1 >= FEWEST_ROUNDS and now + (now - began) > deadline:
            break
    return row(settings, turns[False], turns[True])


def row(settings: dict[str, Any], without: list[Row], suppressed: list[Row]) -> Row:
    ratios = [one["ms"] / other["ms"] - 1 for one, other in zip(suppressed, without, strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4, method="inclusive")
    medians = {key: statistics.median(turn[key] for turn in suppressed) for key in ("ms", "stage_ms", "stage_share")}
    return {
        **{key: settings[key] for key in ("network", "batch")},
        "side": SIDE,
        "without_ms": rounded(statistics.median(turn["ms"] for turn in without)),
        **{key: rounded(value) for key, value in medians.items()},
        "images_per_s": rounded(1e3 * settings["batch"] / medians["ms"]),
        # Round by round: a machine that slows down slows down both.
        "added_share": rounded(statistics.median(ratios)),
        "added_quartiles": [rounded(low), rounded(high)],
        "rounds": len(ratios),
        "steps_a_round": settings["steps"],
        "at_most": settings["at_most"],
        "met": medians["stage_share"] <= settings["at_most"],
    }


def photos(batch: int, device: torch.device) -> Iterator[Batch]:
    """Four batches in turn, on the device."""
    pixels, _ = gpu_cases.images(SimpleNamespace(shape=(batch, 3, STORED, STORED), dtype="uint8"), "cpu")
    sizes, labels = torch.tensor([[375.0, 500.0]]).expand(batch, 2), torch.zeros(batch, dtype=torch.int64)
    batches = [Batch(pixels.roll(i, 0), labels, sizes) for i in range(4)]
    return itertools.cycle(Batch(*(values.to(device) for values in batch)) for batch in batches)


def facts(device: str) -> Row:
    """What a result was measured on and with."""
    if device == "cpu":
        return {**machine.describe(PACKAGES), "threads": machine.cores()}
    return {**gpu_report.describe(), "packages": machine.packages(PACKAGES)}


def path_name(device: str, described: Row) -> str:
    kind, name = ("cpu", described["cpu"]) if device == "cpu" else ("gpu", described["device"])
    return f"{kind}_ssl_step_{machine.slug(name)}.json"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=SETTINGS, default="cuda" if torch.cuda.is_available() else "cpu")
    for name in ("batch", "steps", "rounds"):
        parser.add_argument(f"--{name}", type=int, help=" or ".join(f"{SETTINGS[d][name]} on {d}" for d in SETTINGS))
    parser.add_argument("--seconds", type=float, default=3600, help="no round is begun that would not end by then")
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    given = parser.parse_args(arguments)
    changed = {name: value for name in ("batch", "steps", "rounds") if (value := getattr(given, name)) is not None}
    described = facts(given.device)
    target = given.out
    if target is None and not changed:
        target = RESULTS / path_name(given.device, described)
    torch.set_num_threads(machine.cores())
    deadline = time.monotonic() + given.seconds
    found = measure(SETTINGS[given.device] | changed, torch.device(given.device), deadline)
    print(found)
    if target is not None:
        target.write_text(machine.as_json({**described, "rows": [found]}))


if __name__ == "__main__":
    main()

"""What the measurements of texfilters.evaluate take beside the network that they measure.

    python benchmarks/measurement_speed.py [--device cpu|cuda] [--images N] [--network NAME] [--out FILE]

1,280 images of 224x224 through a ResNet-50 on a GPU, 32 through a ResNet-18 on a CPU; random weights, since time does
not depend on them. Each measurement takes turns with the passes through the network that it needs at least, in the
same batches. Without options it writes benchmarks/results/{cpu,gpu}_measurements_<name>.json.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import torch
import torchvision
from torch import Tensor, nn
from torchvision.io import write_jpeg

import gpu_cases
import gpu_report
import machine
from gpu_job import Row, rounded
from loader_step import milliseconds, moment
from texfilters import evaluate

RESULTS = Path(__file__).parent / "results"
PACKAGES = ("torch", "torchvision", "numpy", "scikit-image", "pillow")
SETTINGS = {"cpu": ("resnet18", 32, 3), "cuda": ("resnet50", 1280, 3)}  # network, images, rounds
SIDE, BATCH, RADII = 224, 64, (5, 10, 20, 40)
CATEGORIES = list(evaluate.SIXTEEN_CATEGORIES)
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Case(NamedTuple):
    """A measurement, how often its images pass the network, and the layer that gradients then go back to, if any."""

    name: str
    measure: Callable[[], object]
    forward: int
    layer: nn.Module | None = None


class Batches:
    """Images on the device, in batches; may be passed over again."""

    def __init__(self, images: Tensor) -> None:
        self.images = images
        self.labels = torch.arange(len(images), device=images.device) % 1000

    def __iter__(self):
        return zip(self.images.split(BATCH), self.labels.split(BATCH), strict=True)


def prepared(batch: Sequence[Tensor]) -> Tensor:
    images = batch[0].float().div_(255)
    mean, std = (torch.tensor(values, device=images.device).view(3, 1, 1) for values in (_MEAN, _STD))
    return images.sub_(mean).div_(std)


def cases(network: nn.Module, images: Tensor, folder: Path) -> list[Case]:
    given, common = Batches(images), {"transform": prepared}
    layer = evaluate.saliency.last_maps(network, prepared([images[:1]]))
    names = ("gaussian_noise", "glass_blur", "snow", "jpeg_compression")
    return [
        Case("cue-conflict folder, decoding included", lambda: evaluate.answers_on_folder(network, folder), 1),
        Case("confidence", lambda: evaluate.network_answers(network, given, **common), 1),
        Case(
            f"high frequencies, {len(RADII)} radii",
            lambda: evaluate.accuracy_by_radius(network, given, RADII, **common),
            1 + len(RADII),
        ),
        Case(
            f"corruptions: {', '.join(names)}; severity 3",
            lambda: evaluate.corruption_errors(network, given, corruptions=names, severities=(3,), **common),
            1 + len(names),
        ),
        Case(
            "similarity to positives, others and patch negatives",
            lambda: evaluate.similarity_histograms(network, given, prepared),
            3,
        ),
        Case("Grad-CAM", lambda: [evaluate.grad_cam(network, prepared(batch), layer) for batch in given], 1, layer),
    ]


def alone(network: nn.Module, images: Tensor, case: Case) -> None:
    """The passes that a measurement cannot do without."""
    maps: list[Tensor] = []
    hook = case.layer.register_forward_hook(lambda layer, inputs, output: maps.append(output)) if case.layer else None
    for batch in Batches(images):
        inputs = prepared(batch)
        for _ in range(case.forward):
            maps.clear()
            with torch.set_grad_enabled(hook is not None):
                outputs = network(inputs)
                if hook is not None:
                    torch.autograd.grad(outputs.max(1).values.sum(), maps)
    if hook is not None:
        hook.remove()


def timed(call: Callable[[], object], device: torch.device) -> float:
    start = moment(device)
    call()
    return milliseconds(start, moment(device))


def measure(name: str, count: int, rounds: int, device: torch.device) -> list[Row]:
    torch.manual_seed(0)
    network = torchvision.models.get_model(name, weights=None).to(device).eval()
    images, _ = gpu_cases.images(SimpleNamespace(shape=(count, 3, SIDE, SIDE), dtype="uint8"), "cpu")
    with tempfile.TemporaryDirectory() as folder:
        for i, image in enumerate(images):
            shape, texture = CATEGORIES[i % 16], CATEGORIES[(i // 16 + i + 1) % 16]
            write_jpeg(image, str(Path(folder) / f"{shape}{i}-{texture}{i}.jpg"), quality=95)
        images = images.to(device)
        rows = []
        for case in cases(network, images, Path(folder)):
            least = partial(alone, network, images, case)
            turns = [(timed(case.measure, device), timed(least, device)) for _ in range(rounds + 1)]
            rows.append(row(case.name, turns[1:]))  # the first one tunes and fills the allocators
            print(rows[-1], flush=True)
    return rows


def row(name: str, turns: list[tuple[float, float]]) -> Row:
    taken, bare = (statistics.median(times) / 1e3 for times in zip(*turns, strict=True))
    ratio = statistics.median(whole / least for whole, least in turns)
    return {"measurement": name, "s": rounded(taken), "network_s": rounded(bare), "ratio": rounded(ratio)}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=SETTINGS, default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--network", help="of torchvision")
    parser.add_argument("--images", type=int)
    parser.add_argument("--rounds", type=int)
    parser.add_argument("--out", type=Path, help="where the JSON goes")
    given = parser.parse_args(arguments)
    own = (given.network, given.images, given.rounds)
    name, images, rounds = (value or usual for value, usual in zip(own, SETTINGS[given.device], strict=True))
    if given.device == "cpu":
        described = {**machine.describe(PACKAGES), "threads": machine.cores()}
        torch.set_num_threads(machine.cores())
    else:
        described = {**gpu_report.describe(), "packages": machine.packages(PACKAGES)}
    target = given.out
    if target is None and not any(own):
        kind, device = ("cpu", described["cpu"]) if given.device == "cpu" else ("gpu", described["device"])
        target = RESULTS / f"{kind}_measurements_{machine.slug(device)}.json"
    rows = measure(name, images, rounds, torch.device(given.device))
    if target is not None:
        about = {"network": name, "images": images, "side": SIDE, "batch": BATCH, "rounds": rounds}
        target.write_text(machine.as_json({**described, **about, "rows": rows}))


if __name__ == "__main__":
    main()

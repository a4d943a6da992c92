"""What the GPU report times, the most important first, and what it is to reach."""

import functools
import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

OURS = ("native", "triton")
PEERS = ("torch eager", "torch.compile")
ERROR_BOUND = 0.02  # grey levels beyond the rounding of the result, at 20 iterations
ROUNDING = {"float32": 0.0, "float16": 1 / 16, "bfloat16": 0.5, "uint8": 0.5}


@dataclass(frozen=True)
class Case:
    """`kappa` 20 and `gamma` 0.1 throughout, on 0..255."""

    name: str
    shape: tuple[int, ...]  # [B, C, H, W] or [B, C, D, H, W]
    dtype: str = "uint8"
    option: int = 1
    coupling: str = "none"
    mixed: bool = False  # half of the images at niter 0, the others at 10..20; else all at 20
    peers: tuple[str, ...] = OURS
    small: bool = False  # a launch costs as much as the work: timed as a CUDA graph, too

    @property
    def ndim(self) -> int:
        return len(self.shape) - 2

    def niter(self) -> Tensor:
        """`[B]`, on the CPU."""
        images = self.shape[0]
        if not self.mixed:
            return torch.full((images,), 20, dtype=torch.int32)
        half = torch.cat([torch.zeros(images // 2), 10 + torch.arange(images - images // 2) % 11])
        return half[torch.randperm(images, generator=torch.Generator().manual_seed(0))].int()


@dataclass(frozen=True)
class Target:
    """`value` of a row's `key` that is to be reached on an H200: `at_least`, else at most."""

    case: str
    peer: str
    key: str
    value: float
    at_least: bool = False

    def met(self, found: float | None) -> bool | None:
        if found is None:
            return None
        return found >= self.value if self.at_least else found <= self.value


PRETRAINING = (256, 3, 224, 224)
CASES = (
    Case("exponential", PRETRAINING, peers=(*OURS, *PEERS)),
    Case("Tukey", PRETRAINING, option=3),
    Case("float32", PRETRAINING, "float32"),
    Case("half of them untouched", PRETRAINING, mixed=True, peers=("native", "native, all at 20", "triton")),
    Case("2048x2048", (1, 1, 2048, 2048), "float32", peers=(*OURS, *PEERS), small=True),
    Case("volume 256", (1, 1, 256, 256, 256), "float32", peers=(*OURS, "torch eager")),
    Case("rational", PRETRAINING, option=2),
    Case("coupled", PRETRAINING, coupling="l2", peers=(*OURS, "torch eager")),
    Case("float16", PRETRAINING, "float16"),
    Case("bfloat16", PRETRAINING, "bfloat16"),
    Case("CIFAR", (1024, 3, 32, 32), peers=(*OURS, "torch eager"), small=True),
    Case("STL-10", (256, 3, 96, 96), small=True),
    Case("PACS", (256, 3, 128, 128), small=True),
    Case("512x512", (64, 3, 512, 512)),
    Case("volume 128", (1, 1, 128, 128, 128), "float32", small=True),
    Case("one image", (1, 3, 224, 224), small=True),
    Case("Tukey, float32", PRETRAINING, "float32", option=3, peers=(*OURS, *PEERS)),
)
TARGETS = (
    Target("exponential", "native", "images_per_s", 500_000, at_least=True),
    Target("Tukey", "native", "images_per_s", 600_000, at_least=True),
    Target("float32", "native", "images_per_s", 430_000, at_least=True),
    Target("2048x2048", "native", "ms", 0.1),
    Target("volume 256", "native", "ms", 0.7),
    Target("exponential", "triton", "ms", 1.8),
    Target("half of them untouched", "native", "share_of_all_at_20", 0.45),
    Target("float32", "native", "error_max", ERROR_BOUND),
)
# Of loader_step.py, whose rows stand by themselves.
STEP_TARGETS = (Target("batches in memory", "with suppression", "added_share", 0.01),)


def images(case: Any, device: str) -> tuple[Tensor, str]:
    """In 0..255, in the dtype of the case, and what they show: "photos", or "drawn" where scikit-image is missing."""
    try:
        import photos

        pixels, content = _photos(photos, case.shape), "photos"
    except (ImportError, SystemExit):
        pixels, content = _drawn(case.shape), "drawn"
    return pixels.to(device).to(getattr(torch, case.dtype)), content


def _photos(photos, shape: tuple[int, ...]) -> Tensor:
    if len(shape) == 5:
        return photos.volume(shape[-1]).expand(shape)
    if shape[-1] >= 1024:
        return photos.mosaic(shape[-1])[:, : shape[1]].expand(shape)
    crops = _crops(photos, -(-shape[0] // 4), max(shape[-2:]))
    mirrored = torch.cat([crops, crops.flip(-1), crops.flip(-2), crops.flip(-1, -2)])
    return mirrored[: shape[0], : shape[1], : shape[2], : shape[3]].contiguous()


@functools.cache
def _crops(photos, count: int, size: int) -> Tensor:
    """Cutting takes the CPU some milliseconds a crop; mirrored they are others again."""
    return photos.batch(count, size)


def _drawn(shape: tuple[int, ...]) -> Tensor:
    """Waves with edges and some grain, each image another."""
    axes = torch.meshgrid(*(torch.arange(side, dtype=torch.float32) for side in shape[2:]), indexing="ij")
    generator = torch.Generator().manual_seed(0)
    image = torch.zeros(shape)
    for length in (120.0, 31.0, 7.0):
        direction = torch.randn((*shape[:2], len(axes), *[1] * len(axes)), generator=generator)
        phase = torch.stack([direction[:, :, i] * axis for i, axis in enumerate(axes)]).sum(0) / length
        image += torch.sin(phase).sign() * 25 + torch.sin(2 * phase) * 10
    image += 4 * torch.randn(shape, generator=generator)
    return (image + 128).clamp(0, 255).round().to(torch.uint8)


def libraries() -> dict[str, dict]:
    """Other libraries of filters on the GPU that are installed, and their functions for diffusion, by name."""
    found: dict[str, dict] = {}
    for name, module in (("CV-CUDA", "cvcuda"), ("kornia", "kornia.filters"), ("cupy", "cupyx.scipy.ndimage")):
        try:
            there = importlib.util.find_spec(module.partition(".")[0]) is not None
            functions = dir(importlib.import_module(module)) if there else []
        except Exception as error:  # installed, but broken here: no reason to lose the report
            found[name] = {"installed": True, "why": f"{type(error).__name__}: {error}"[:200]}
            continue
        diffusion = [f for f in functions if "anisotropic" in f.lower() or "perona" in f.lower()]
        found[name] = {"installed": there, "diffusion": diffusion if there else None}
    return found

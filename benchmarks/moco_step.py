"""What the loader is timed with: batches, the two views of each, and a MoCoV2 step of a ResNet-50."""

import copy
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import torch
import torchvision
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

import gpu_cases
import photos

Views = tuple[Tensor, Tensor]

_STORED = 256  # the side of a file, of which a random crop is taken
_FILES = 64
_MEAN, _STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)


class MoCo(nn.Module):
    """He et al. 2020 with the head, the temperature and the rate of version 2, for one GPU."""

    def __init__(self, queue: int) -> None:
        super().__init__()
        self.query = torchvision.models.resnet50(weights=None)
        self.query.fc = nn.Sequential(nn.Linear(2048, 2048), nn.ReLU(), nn.Linear(2048, 128))
        self.key = copy.deepcopy(self.query).requires_grad_(False)
        self.register_buffer("queue", functional.normalize(torch.randn(128, queue), dim=0))
        self.oldest = 0

    def forward(self, views: Views) -> Tensor:
        query = functional.normalize(self.query(views[0]).float())
        with torch.no_grad():
            torch._foreach_lerp_(list(self.key.parameters()), list(self.query.parameters()), 0.001)
            key = functional.normalize(self.key(views[1]).float())
        logits = torch.cat([(query * key).sum(1, keepdim=True), query @ self.queue.clone()], 1) / 0.2
        self.queue[:, self.oldest : self.oldest + len(key)] = key.T
        self.oldest = (self.oldest + len(key)) % self.queue.shape[1]
        return functional.cross_entropy(logits, logits.new_zeros(len(logits), dtype=torch.long))


def training_step(device: torch.device, queue: int) -> Callable[[Views], None]:
    torch.backends.cudnn.benchmark = True
    model = MoCo(queue).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.query.parameters(), lr=0.03, momentum=0.9, weight_decay=1e-4)
    half = torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")

    def step(views: Views) -> None:
        with half:
            loss = model(views)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def views_of(suppress: Callable[[Tensor], Tensor] | None, device: torch.device) -> Callable[[Tensor], Views]:
    """Both views of a batch, each suppressed for itself, normalized."""
    mean, std = (torch.tensor(values, device=device).reshape(3, 1, 1) for values in (_MEAN, _STD))

    def view(batch: Tensor) -> Tensor:
        batch = batch if suppress is None else suppress(batch)
        return batch.contiguous(memory_format=torch.channels_last).float().sub_(mean).div_(std)

    return lambda batch: (view(batch), view(batch))


class Files(Dataset):
    """Some JPEG files over and over, decoded and cropped at random."""

    def __init__(self, folder: Path, side: int) -> None:
        pixels, _ = gpu_cases.images(SimpleNamespace(shape=(_FILES, 3, _STORED, _STORED), dtype="uint8"), "cpu")
        self.paths = [folder / f"{i}.jpg" for i in range(_FILES)]
        for path, image in zip(self.paths, pixels, strict=True):
            photos.to_image(image).save(path, quality=90)
        self.side = side

    def __len__(self) -> int:
        return 10**9

    def __getitem__(self, i: int) -> Tensor:
        top, left = torch.randint(_STORED + 1 - self.side, (2,)).tolist()
        with Image.open(self.paths[i % _FILES]) as image:
            return photos.to_tensor(image.crop((left, top, left + self.side, top + self.side)))


def decoded(folder: Path, batch: int, side: int, workers: int, pin: bool) -> Iterator[Tensor]:
    return iter(DataLoader(Files(folder, side), batch_size=batch, num_workers=workers, pin_memory=pin))


def in_memory(batch: int, side: int, pin: bool) -> Iterator[Tensor]:
    """Four batches in turn, for a loader that never is what limits."""
    pixels, _ = gpu_cases.images(SimpleNamespace(shape=(batch, 3, side, side), dtype="uint8"), "cpu")
    batches = [pixels.roll(i, 0) for i in range(4)]
    return itertools.cycle([batch.pin_memory() for batch in batches] if pin else batches)

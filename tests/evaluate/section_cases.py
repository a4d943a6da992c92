"""What the tests of sections share: images with classes, a small network, what every section must be."""

import json

import torch
from torch import nn

from texfilters.evaluate._training import seeded
from texfilters.evaluate.report import page, plain, write
from texfilters.evaluate.resnet9 import ResNet9
from texfilters.evaluate.sections import LabeledImages, Model

CLASSES = ("left", "right", "both")
CPU = torch.device("cpu")


class Features(nn.Module):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, images):
        return self.network.features(images).amax((2, 3))


def halved(images, sizes=None):
    """The middle 16x16 pixels at half their size, normalized by channel."""
    small = nn.functional.avg_pool2d(images[:, :, 4:-4, 4:-4].float() / 255, 2)
    return (small - torch.tensor([0.4, 0.5, 0.6], device=images.device)[:, None, None]) / 0.25


def model(seed, classes=CLASSES, prepare=halved, device=CPU):
    with seeded(seed, CPU):
        network = ResNet9(3, width=4).eval().to(device)
        network.classifier.weight.data.mul_(50)
    return Model(network, Features(network), prepare, classes, device, network.features[1])


def photos(count=11, batch=4):
    images = torch.randint(0, 256, (count, 3, 24, 24), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    labels = torch.arange(count) % 3
    batches = list(zip(images.split(batch), labels.split(batch), strict=True))
    return images, labels, LabeledImages(batches, CLASSES)


def rows(section, table=0):
    return [dict(zip(section.tables[table].header, row, strict=True)) for row in section.tables[table].rows]


def complete(section, tmp_path):
    """What every section must be: written, shown, all of its record JSON, its columns named apart."""
    assert all(len(set(table.header)) == len(table.header) for table in section.tables)
    files = write(section, tmp_path)
    assert json.loads(files[-1].read_text()) == plain(section.record)
    assert [file.suffix for file in files] == [".csv"] * len(section.tables) + [".png"] * len(section.figures) + [
        ".json"
    ]
    text = page("A report", [section], {})
    assert text.count("<figure>") == len(section.figures)
    assert text.count("<table>") == len(section.tables)
    assert "arxiv.org/abs" in text

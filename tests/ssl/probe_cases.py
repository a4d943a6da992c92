"""A method that is nothing but its backbone, checkpoints of it, features, drawn images, and the scripts of ssl/."""

import importlib.util
from pathlib import Path

import torch
from PIL import Image
from torch import nn

from texfilters.ssl import Backbone, Method, Recipe
from texfilters.ssl._checkpoint import KEY, header
from texfilters.ssl.views import CenterView

ROOT = Path(__file__).parents[2]
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


class Bare(Method):
    """Its loss is the mean square of the features; views are without chance."""

    def __init__(self, name="resnet18", size=32, **options):
        super().__init__(Recipe(lr=0.01, schedule="constant"), seed=0)
        self.backbone = Backbone(name, **options)
        self.views = CenterView(size, mean=MEAN, std=STD)
        settle(self.backbone)

    def loss(self, batch):
        return self.backbone(self.views(batch.images, batch.sizes)).square().mean()


def settle(network):
    """Statistics as of training, so that no two layers of a fresh network could be mistaken for each other."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.running_mean, module.bias.data):
                tensor.uniform_(-0.2, 0.2)
            for tensor in (module.running_var, module.weight.data):
                tensor.uniform_(0.6, 1.4)


def written(method, path):
    torch.save({KEY: header(method), "state_dict": method.state_dict()}, path)
    return path


def blobs(n, classes=4, dim=12, spread=1.0, seed=0):
    """Features around one center a class, and their labels."""
    generator = torch.Generator().manual_seed(seed)
    centers = torch.randn(classes, dim, generator=torch.Generator().manual_seed(99))
    labels = torch.randint(classes, (n,), generator=generator)
    return centers[labels] + spread * torch.randn(n, dim, generator=generator), labels


def draw_folder(folder, classes=("flat", "striped"), count=6, side=24, seed=0, turned=False):
    """Images in folders of their classes: of one color, or striped."""
    generator = torch.Generator().manual_seed(seed)
    for label, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            picture = torch.randint(40, 216, (3, 1, 1), generator=generator).expand(3, side, side).clone()
            if label:
                picture[:, :, i % 2 :: 2] += torch.tensor(60 if label == 1 else -40)
            picture += torch.randint(-8, 9, picture.shape, generator=generator)
            picture = picture.mT if turned else picture
            Image.fromarray(picture.clamp(0, 255).byte().permute(1, 2, 0).numpy()).save(folder / name / f"{i}.png")
    return folder


def script(name):
    """A file of the folder ssl/, which is no package."""
    spec = importlib.util.spec_from_file_location(f"ssl_{name}", ROOT / "ssl" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Net(nn.Module):
    """Convolution and batch normalization, for images of 8 x 8."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.5))
        self.frozen = nn.BatchNorm2d(8).eval()

    def forward(self, images):
        return self.frozen(self.body(images)).mean((2, 3))


def images(n, seed=0):
    """Stripes in two directions under noise: class 1 is class 0 turned."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(2, (n,), generator=generator)
    stripes = torch.sin(torch.arange(8) * 2.0).expand(3, 8, 8)
    pictures = torch.where(labels[:, None, None, None] == 1, stripes.mT, stripes)
    return pictures + 0.3 * torch.randn(n, 3, 8, 8, generator=generator), labels


def copy_of(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}

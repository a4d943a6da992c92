"""What the tests of methods and runs share: one that costs next to nothing, drawn data, a trainer, and looks inside."""

import torch
from lightning import Trainer
from torch import nn

from texfilters.ssl import Backbone, Batch, Method, Recipe
from texfilters.ssl._checkpoint import AtomicCheckpointIO, EveryEpoch
from texfilters.ssl._loaders import FromTensors, Shuffled


class Toy(Method):
    """Classifies noisy images; `broken`, where given, changes the loss of a step."""

    def __init__(self, *, recipe=None, seed=0, width=4, backbone="six_layer", norm_splits=1, broken=None):
        super().__init__(recipe or Recipe(lr=0.05), seed)
        self.backbone = Backbone(backbone, norm_splits=norm_splits)
        self.head = nn.Linear(self.backbone.dim, width)
        self.width, self.broken = width, broken
        self.drawn, self.rates = [], []  # a number and the learning rate of every step

    def loss(self, batch):
        noise = torch.randn(batch.images.shape)  # on the CPU, whatever the device
        self.drawn.append(noise[0, 0, 0, 0].item())
        loss = nn.functional.cross_entropy(
            self.head(self.backbone(batch.images / 255 + 0.1 * noise.to(self.device))), batch.labels
        )
        return loss if self.broken is None else self.broken(self, loss)

    def training_step(self, batch, batch_idx):
        self.rates.append(self.optimizers().param_groups[0]["lr"])
        return super().training_step(batch, batch_idx)

    def settings(self):
        return {"width": self.width}


def loader(count=12, batch_size=4):
    """Images whose order is a function of the epoch."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(256, (count, 3, 16, 16), dtype=torch.uint8, generator=generator)
    batch = Batch(images, torch.arange(count) % 4, torch.full((count, 2), 16.0))
    return FromTensors(batch, Shuffled(count, batch_size, seed=0))


def trainer(folder, epochs, **options):
    settings = {
        "accelerator": "cpu",
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "deterministic": True,
        "use_distributed_sampler": False,
        "log_every_n_steps": 2,
        "callbacks": [EveryEpoch(folder)],
        "plugins": [AtomicCheckpointIO()],
        "default_root_dir": folder,
    }
    return Trainer(max_epochs=epochs, **{**settings, **options})


def fit(method, folder, epochs, *, data=None, resume=None, **options):
    run = trainer(folder, epochs, **options)
    run.fit(method, data or loader(), ckpt_path=resume, weights_only=True)
    return run


def weights(method):
    return {name: value.clone() for name, value in method.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def with_log(method):
    """What it logs goes into a dictionary: there is no trainer."""
    method.logged = {}
    method.log = lambda name, value, **_: method.logged.update({name: value})
    method.log_dict = lambda values, **_: method.logged.update(values)
    return method


def seen_by(module):
    """The inputs of its calls, from now on."""
    inputs = []
    module.register_forward_pre_hook(lambda _, given: inputs.append(given[0]))
    return inputs

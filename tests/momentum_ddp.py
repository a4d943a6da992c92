"""Two processes that train together, for tests/ssl/test_ssl_ddp.py: `python momentum_ddp.py FOLDER`.

Started anew, since a process that has used CUDA cannot be forked, and forked from there, since one import is enough.
"""

import importlib.util
import sys
from datetime import timedelta
from pathlib import Path

import torch
from lightning import Callback, Trainer
from torch import distributed
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from momentum_cases import NormedBackbone, TinyBackbone, TwoViews, batch_of
from texfilters.ssl import Batch, dense_cl, moco_v2
from texfilters.ssl._momentum import gather, shuffled
from texfilters.ssl.views import Views

PROCESSES = 2
OWN = 4  # images of a process
METHODS = {"moco": moco_v2.MoCoV2, "dense": dense_cl.DenseCL}


def trained(name, share, wrap=lambda method: method):
    """Three steps on a share of each batch: gradients and losses of the steps, and the state afterwards."""
    torch.manual_seed(1)
    method = METHODS[name](views=TwoViews(), queue=16, dim=6, norm_splits=1, m=0.9)
    method.forward = method.loss
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.5, momentum=0.9)
    network, steps = wrap(method), []
    for step in range(3):
        batch = Batch(*(field[share] for field in batch_of(PROCESSES * OWN)))
        method.on_train_batch_start(batch, step)
        optimizer.zero_grad()
        loss = network(batch)
        loss.backward()
        gradients = {name: p.grad.clone() for name, p in method.named_parameters() if p.requires_grad}
        steps.append({"loss": loss.detach(), "gradients": gradients})
        optimizer.step()
    return {"steps": steps, "state": method.state_dict()}


def together(rank, folder):
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", f"file://{folder}/store", timeout=timedelta(seconds=30), rank=rank, world_size=PROCESSES
    )
    share = slice(rank * OWN, (rank + 1) * OWN)
    result = {name: trained(name, share, DistributedDataParallel) for name in METHODS}

    values = 10 * rank + torch.arange(3.0)
    images, seen = torch.randn(OWN, 3, 5, 4, generator=torch.Generator().manual_seed(rank)), []
    last = images.contiguous(memory_format=torch.channels_last)
    outputs = shuffled(lambda each: seen.append(each) or 2 * each, last, torch.Generator().manual_seed(3))
    result["gathered"] = {"values": gather(values), "images": gather(images), "last": gather(last)}
    result["shuffled"] = {"images": images, "seen": seen[0], "outputs": outputs}

    method = moco_v2.MoCoV2(views=TwoViews(), queue=12, dim=6, norm_splits=1)
    try:
        method.loss(batch_of(OWN))
    except ValueError as error:
        result["error"] = str(error)
    buffers = DistributedDataParallel(moco_v2.MoCoV2(views=TwoViews(), queue=16, dim=6)).modules_buffers
    result["sent before a step"] = [buffer.numel() for buffer in buffers]
    torch.save(result, folder / f"together{rank}.pt")
    distributed.destroy_process_group()


class Saved(Callback):
    """What a process has in the end, and what it drew in its steps."""

    def __init__(self, folder):
        self.folder, self.steps, self.logged, self.barriers = folder, [], [], []

    def on_train_batch_start(self, trainer, method, batch, batch_idx):
        barrier = distributed.barrier

        def counted(*args, **options):
            self.barriers.append(batch_idx)
            return barrier(*args, **options)

        self.barrier, distributed.barrier = barrier, counted

    def on_train_batch_end(self, trainer, method, outputs, batch, batch_idx):
        distributed.barrier = self.barrier
        self.steps.append((outputs["loss"].detach(), torch.rand(()), method.order_generator().initial_seed()))
        self.logged.append(trainer.callback_metrics["loss_step"])

    def on_train_end(self, trainer, method):
        splits = method.backbone.features[1].splits
        result = {"state": method.state_dict(), "steps": self.steps, "splits": splits}
        result |= {"logged": self.logged, "epoch": trainer.callback_metrics["loss_epoch"], "barriers": self.barriers}
        torch.save(result, self.folder / f"trainer{trainer.global_rank}.pt")


def command():
    """ssl/pretrain.py, which no package holds."""
    path = Path(__file__).parent.parent / "ssl" / "pretrain.py"
    spec = importlib.util.spec_from_file_location("pretrain", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def under_lightning(folder):
    moco_v2.Backbone = NormedBackbone
    torch.manual_seed(2)
    method = moco_v2.MoCoV2(views=Views(16), queue=16, dim=6, norm_splits=4, nonsemantic=2, seed=5)
    images, labels, sizes = batch_of(32, side=18)
    loader = DataLoader(list(zip(images, labels, sizes, strict=True)), batch_size=OWN, shuffle=True)
    trainer = Trainer(
        accelerator="cpu",
        devices=PROCESSES,
        strategy="ddp_fork",
        max_epochs=2,
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        callbacks=[Saved(folder), command().Bar()],
    )
    trainer.fit(method, loader)


def main(folder):
    torch.set_num_threads(1)
    moco_v2.Backbone = dense_cl.Backbone = TinyBackbone
    torch.multiprocessing.start_processes(together, (folder,), nprocs=PROCESSES, start_method="fork")
    under_lightning(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))

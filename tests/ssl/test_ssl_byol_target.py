"""BYOL's target network in a run: it follows the optimizer's steps, and goes on where a run is resumed."""

import math

import numpy as np
import pytest
import torch
from lightning import Callback
from torch.utils.data import IterableDataset

from byol_cases import fit, noise, small
from texfilters.ssl import Recipe
from texfilters.ssl.byol import target_momentum


def test_the_momentum_follows_a_cosine():
    steps = np.arange(101)
    expected = 1 - (1 - 0.996) * (np.cos(np.pi * steps / 100) + 1) / 2
    np.testing.assert_allclose([target_momentum(0.996, int(k), 100) for k in steps], expected, rtol=1e-15)
    assert target_momentum(0.996, 0, 100) == 0.996
    assert target_momentum(0.996, 50, 100) == pytest.approx(0.998)
    assert target_momentum(0.996, 100, 100) == 1
    assert target_momentum(0.996, 10**6, math.inf) == 0.996


class Recorder(Callback):
    """Online and target parameters after every batch."""

    def __init__(self):
        self.online, self.target = [], []

    def on_train_start(self, trainer, method):
        self.on_train_batch_end(trainer, method)

    def on_train_batch_end(self, trainer, method, *_):
        for log, parts in (
            (self.online, (method.backbone, method.projector)),
            (self.target, (method.target_backbone, method.target_projector)),
        ):
            log.append(torch.cat([p.detach().flatten() for part in parts for p in part.parameters()]).double())


@pytest.mark.parametrize("accumulated", [1, 2])
def test_the_target_follows_every_step_of_the_optimizer(accumulated):
    recorder, steps = Recorder(), 8 // accumulated
    method = small(m=0.5, recipe=Recipe("sgd", lr=0.5, schedule="constant"))
    fit(method, [noise(4) for _ in range(4)], 2, [recorder], accumulate_grad_batches=accumulated)
    expected = recorder.online[0]
    for step in range(steps):
        after = (step + 1) * accumulated
        m = 1 - (1 - 0.5) * (math.cos(math.pi * step / steps) + 1) / 2
        expected = m * expected + (1 - m) * recorder.online[after]
        torch.testing.assert_close(recorder.target[after], expected, atol=1e-6, rtol=1e-5)
        # Not before the step that the gradients of several batches are gathered for.
        assert torch.equal(recorder.target[after - 1], recorder.target[after - accumulated])
    assert (recorder.online[-1] - recorder.online[0]).abs().max() > 1e-3
    assert (recorder.target[-1] - recorder.online[-1]).abs().max() > 1e-4


class Unnumbered(IterableDataset):
    """Batches whose number nothing tells."""

    def __iter__(self):
        return iter([noise(4) for _ in range(3)])


def test_the_target_keeps_its_pace_where_the_number_of_steps_is_unknown():
    recorder, method = Recorder(), small(m=0.5, recipe=Recipe("sgd", lr=0.5, schedule="constant"))
    fit(method, Unnumbered(), 1, [recorder])
    expected = recorder.online[0]
    for online, target in zip(recorder.online[1:], recorder.target[1:], strict=True):
        expected = (expected + online) / 2
        torch.testing.assert_close(target, expected, atol=1e-6, rtol=1e-5)
    assert len(recorder.target) == 4


class Stop(Callback):
    """After an epoch, as if the run had been killed then."""

    def __init__(self, epoch, path):
        self.epoch, self.path = epoch, path

    def on_train_epoch_end(self, trainer, method):
        if trainer.current_epoch == self.epoch:
            trainer.save_checkpoint(self.path)
            trainer.should_stop = True


def test_a_resumed_run_is_the_undisturbed_one(tmp_path):
    batches = [noise(4) for _ in range(3)]

    def trained(callbacks=(), resumed_from=None):
        torch.manual_seed(0)
        method = small(m=0.9, nonsemantic=1, recipe=Recipe("lars", lr=0.5, warmup=1, every_step=True))
        return fit(method, batches, 3, callbacks, resumed_from=resumed_from).lightning_module.state_dict()

    whole, path = trained(), tmp_path / "last.ckpt"
    stopped = trained([Stop(0, path)])
    resumed = trained(resumed_from=path)
    for name, value in whole.items():
        assert torch.equal(resumed[name], value), name
    assert not torch.equal(stopped["target_projector.0.weight"], whole["target_projector.0.weight"])

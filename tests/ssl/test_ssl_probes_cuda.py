"""Probes on an NVIDIA GPU: the CPU's results, the same ones every time, nothing else moved."""

import warnings

import pytest
import torch
from torch import nn

from cuda_cases import DEVICE, MARKS
from probe_cases import blobs
from texfilters.evaluate import (
    ProbeRecipe,
    classification,
    features,
    finetune,
    knn,
    linear_probe,
    network_answers,
    probes,
)

pytestmark = MARKS


def test_votes_are_the_cpus():
    train, labels = blobs(3000)
    tested, _ = blobs(500, seed=1)
    expected = knn(train, labels, tested)
    votes = knn(train.to(DEVICE), labels.to(DEVICE), tested.to(DEVICE))
    assert votes.device.type == DEVICE
    torch.testing.assert_close(votes.cpu(), expected, rtol=0, atol=1e-4)


def test_equal_cosines_are_settled_as_on_the_cpu(monkeypatch):
    # Axes: cosines are exactly 0 and 1. Many ties at the border of k, and in every part.
    monkeypatch.setattr(probes, "_CELLS", 2**12)
    train, labels, tested = torch.eye(16).repeat(40, 1), torch.arange(640) % 7, torch.eye(16).repeat(3, 1)
    expected = knn(train, labels, tested, k=50)
    for _ in range(3):
        assert torch.equal(knn(train.to(DEVICE), labels.to(DEVICE), tested.to(DEVICE), k=50).cpu(), expected)


def test_votes_are_the_same_every_time():
    train, labels = blobs(5000)
    train, labels = train.to(DEVICE), labels.to(DEVICE)
    first = knn(train, labels, train, k=300, temperature=0.5)
    for _ in range(5):
        assert torch.equal(knn(train, labels, train, k=300, temperature=0.5), first)


def test_a_linear_probe_is_the_cpus():
    x, y = blobs(400, spread=2.0)
    tested, labels = blobs(100, spread=2.0, seed=1)
    recipe = ProbeRecipe(lr=0.5, epochs=8, milestones=(5,), batch_size=64)
    expected = linear_probe(x, y, tested, labels, recipe, standardize=True)
    before = torch.cuda.get_rng_state(), torch.get_rng_state()
    probe = linear_probe(*(t.to(DEVICE) for t in (x, y, tested, labels)), recipe, standardize=True)
    assert torch.equal(torch.cuda.get_rng_state(), before[0])
    assert torch.equal(torch.get_rng_state(), before[1])
    torch.testing.assert_close(probe.model.weight.cpu(), expected.model.weight, rtol=1e-3, atol=1e-4)
    assert probe.test.accuracy == pytest.approx(expected.test.accuracy, abs=0.02)


def test_features_stay_on_the_device_and_seeds_hold_there():
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 6), nn.BatchNorm1d(6)).to(DEVICE)
    batches = [(torch.rand(8, 3, 4, 4), torch.randint(2, (8,))) for _ in range(3)]
    rows, labels = features(network, batches)
    assert (rows.device.type, labels.device.type, rows.shape) == (DEVICE, DEVICE, (24, 6))

    def noisy(batch):
        return batch[0] + torch.randn_like(batch[0])  # of the GPU's generator

    recipe = ProbeRecipe(lr=0.01, epochs=3, milestones=())
    options = {"transform": noisy, "classes": 2, "seed": 1}
    before = torch.cuda.get_rng_state()
    first, again = (finetune(network, batches, batches, recipe, **options) for _ in range(2))
    assert torch.equal(torch.cuda.get_rng_state(), before)
    assert first.curve[0].train_loss == pytest.approx(again.curve[0].train_loss, rel=1e-5)


def test_confusion_is_counted_on_the_device():
    scores, labels = torch.randn(1000, 12), torch.randint(12, (1000,))
    expected = classification(scores, labels)
    result = classification(scores.to(DEVICE), labels.to(DEVICE))
    assert torch.equal(result.confusion, expected.confusion)
    assert (result.accuracy, result.top5) == (expected.accuracy, expected.top5)


def test_a_default_device_changes_nothing():
    x, y = blobs(60)
    recipe = ProbeRecipe(lr=0.5, epochs=2, milestones=(), batch_size=16)
    expected = linear_probe(x, y, x, y, recipe).curve
    before = torch.cuda.get_rng_state()
    with torch.device(DEVICE):
        assert linear_probe(x, y, x, y, recipe).curve == expected
    assert torch.equal(torch.cuda.get_rng_state(), before)


@pytest.mark.parametrize("measure", [features, network_answers])
def test_the_host_waits_once_and_not_for_every_batch(measure):
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 6)).to(DEVICE)
    batches = [(torch.rand(8, 3, 4, 4), torch.randint(6, (8,)))]
    measure(network, batches)  # sets up streams and libraries

    def waits(count):
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as found:
                warnings.simplefilter("always")
                measure(network, batches * count)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        return sum("synchronizing" in str(warning.message) for warning in found)

    assert waits(20) == waits(2)

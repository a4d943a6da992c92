"""Two processes on the CPU train as one does on the batches of both, and end with the same bits."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import momentum_ddp
import texfilters
from momentum_cases import TinyBackbone
from texfilters.ssl import dense_cl, moco_v2

RANKS = range(momentum_ddp.PROCESSES)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Of both processes, by name; a process that fails ends the other and the test within seconds."""
    folder = tmp_path_factory.mktemp("ddp")
    root = Path(texfilters.__file__).parent.parent
    path = os.pathsep.join([str(root), str(root / "tests"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, momentum_ddp.__file__, folder],
        env={**os.environ, "PYTHONPATH": path, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return {name: [torch.load(folder / f"{name}{rank}.pt") for rank in RANKS] for name in ("together", "trainer")}


@pytest.fixture
def together(results):
    return results["together"]


@pytest.mark.parametrize("name", momentum_ddp.METHODS)
def test_two_processes_are_one_with_the_batches_of_both(together, monkeypatch, name):
    """Without norms, whose statistics are each process's own."""
    for module in (moco_v2, dense_cl):
        monkeypatch.setattr(module, "Backbone", TinyBackbone)
    alone = momentum_ddp.trained(name, slice(None))
    for step, expected in enumerate(alone["steps"]):
        losses = torch.stack([rank[name]["steps"][step]["loss"] for rank in together])
        torch.testing.assert_close(losses.mean(), expected["loss"], rtol=1e-6, atol=1e-6)
        for rank in together:
            for parameter, gradient in rank[name]["steps"][step]["gradients"].items():
                assert gradient.abs().max() > 1e-4 or "head" in parameter
                torch.testing.assert_close(gradient, expected["gradients"][parameter], rtol=1e-5, atol=1e-6)
    for rank in together:
        for entry, value in rank[name]["state"].items():
            torch.testing.assert_close(value, alone["state"][entry], rtol=1e-5, atol=1e-6, msg=entry)


@pytest.mark.parametrize("name", momentum_ddp.METHODS)
def test_both_end_with_the_same_bits(together, name):
    first, second = (rank[name]["state"] for rank in together)
    assert first.keys() == second.keys()
    assert [key for key in first if not torch.equal(first[key], second[key])] == []
    losses = [[step["loss"].item() for step in rank[name]["steps"]] for rank in together]
    assert losses[0] != losses[1]  # each on images of its own


def test_gathering_keeps_the_order_of_ranks_and_the_layout(together):
    images = torch.cat([rank["shuffled"]["images"] for rank in together])
    for rank in together:
        gathered = rank["gathered"]
        assert gathered["values"].tolist() == [0, 1, 2, 10, 11, 12]
        assert torch.equal(gathered["images"], images)
        assert torch.equal(gathered["last"], images)
        assert gathered["images"].is_contiguous()
        assert gathered["last"].is_contiguous(memory_format=torch.channels_last)


def test_shuffled_outputs_return_to_their_process(together):
    images = torch.cat([rank["shuffled"]["images"] for rank in together])
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(3))
    seen = [rank["shuffled"]["seen"] for rank in together]
    assert torch.equal(torch.cat(seen), images[order])
    for rank in together:
        assert torch.equal(rank["shuffled"]["outputs"], 2 * rank["shuffled"]["images"])
        assert rank["shuffled"]["seen"].is_contiguous(memory_format=torch.channels_last)
    # Each process has seen images of the other.
    own = {tuple(image.flatten().tolist()) for image in together[0]["shuffled"]["images"]}
    assert 0 < sum(tuple(image.flatten().tolist()) in own for image in seen[0]) < len(seen[0])


def test_the_global_batch_must_divide_the_queue(together):
    for rank in together:
        assert rank["error"] == "queue must be divisible by the global batch, got 12 entries and 8 keys"


def test_queues_are_not_sent_before_every_step(together):
    assert all(max(rank["sent before a step"], default=0) < 16 * 6 for rank in together)


class TestUnderLightning:
    """MoCoV2 with batch normalization, random views and two patch negatives, four steps in each of two epochs."""

    def test_both_end_with_the_same_bits(self, results):
        first, second = (rank["state"] for rank in results["trainer"])
        differing = [key for key in first if not torch.equal(first[key], second[key])]
        # Statistics are each process's own; DDP takes the first one's before the next step.
        assert [key for key in differing if "running" not in key] == []
        assert any("momentum_backbone" in key for key in differing)
        assert first["queue.oldest"] == 0  # 8 keys in each of 8 steps, of 16

    def test_each_draws_views_of_its_own_and_one_order(self, results):
        first, second = (rank["steps"] for rank in results["trainer"])
        assert len(first) == len(second) == 8
        for mine, others in zip(first, second, strict=True):
            assert mine[0] != others[0]
            assert mine[0].isfinite()
            assert mine[1] != others[1]
            assert mine[2] == others[2]
        assert len({seed for _, _, seed in first}) == 8

    def test_each_normalizes_its_share_of_the_parts(self, results):
        assert [rank["splits"] for rank in results["trainer"]] == [2, 2]

    def test_losses_are_logged_of_both_and_no_step_waits_at_a_barrier(self, results):
        first, second = results["trainer"]
        means = [(a[0] + b[0]) / 2 for a, b in zip(first["steps"], second["steps"], strict=True)]
        for rank in (first, second):
            torch.testing.assert_close(torch.stack(rank["logged"]), torch.stack(means))
            torch.testing.assert_close(rank["epoch"], torch.stack(means[4:]).mean())
            assert rank["barriers"] == []

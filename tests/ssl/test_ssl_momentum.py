"""Momentum encoders, the queue, and batches that are shuffled and come back as they were."""

import numpy as np
import pytest
import torch
from torch import nn

from texfilters import patch_negatives
from texfilters.ssl import _momentum
from texfilters.ssl._momentum import MomentumMethod, Queue, follower, gather, layout, patches, shuffled, update
from texfilters.ssl._norm import SplitBatchNorm2d
from texfilters.ssl._recipe import Recipe


def network():
    return nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3))


class TestUpdate:
    @pytest.mark.parametrize("m", [0.0, 0.4, 0.5, 0.999, 1.0])
    def test_parameters_are_the_papers_mean(self, m):
        online, momentum_net = network(), network()
        expected = [
            m * there.detach().double().numpy() + (1 - m) * here.detach().double().numpy()
            for there, here in zip(momentum_net.parameters(), online.parameters(), strict=True)
        ]
        unchanged = [p.clone() for p in online.parameters()]
        update(online, momentum_net, m)
        for parameter, value in zip(momentum_net.parameters(), expected, strict=True):
            np.testing.assert_allclose(parameter.detach().numpy(), value, rtol=1e-6, atol=1e-7)
            if m in (0, 1):
                assert np.array_equal(parameter.detach(), value.astype(np.float32))
        assert all(map(torch.equal, online.parameters(), unchanged))

    def test_it_is_in_place_without_gradient_and_leaves_buffers(self):
        online, momentum_net = network(), follower(network())
        online(torch.randn(6, 5)).sum().backward()
        places = [p.data_ptr() for p in momentum_net.parameters()]
        update(online, momentum_net, 0.5)
        assert [p.data_ptr() for p in momentum_net.parameters()] == places
        assert not any(p.requires_grad or p.grad_fn for p in momentum_net.parameters())
        assert momentum_net[1].num_batches_tracked == 0
        assert torch.equal(momentum_net[1].running_mean, torch.zeros(4))

    def test_a_follower_starts_equal_and_shares_nothing(self):
        online = network()
        copied = follower(online)
        assert all(map(torch.equal, copied.state_dict().values(), online.state_dict().values()))
        assert not {t.data_ptr() for t in copied.state_dict().values()} & {
            t.data_ptr() for t in online.state_dict().values()
        }
        assert all(p.requires_grad for p in online.parameters())
        assert not any(p.requires_grad for p in copied.parameters())


class TestQueue:
    def test_the_first_entries_are_directions_that_the_seed_tells(self):
        queue = Queue(100, 8, seed=3)
        torch.testing.assert_close(queue.entries.norm(dim=1), torch.ones(100))
        torch.manual_seed(1)
        assert torch.equal(queue.entries, Queue(100, 8, seed=3).entries)
        assert not torch.equal(queue.entries, Queue(100, 8, seed=4).entries)

    def test_first_in_first_out(self):
        queue = Queue(6, 1)
        expected = list(queue.entries)
        for step in range(7):
            keys = torch.tensor([[10.0 * step], [10.0 * step + 1]])
            queue.enqueue(keys)
            expected = [*expected[2:], *keys]
            oldest = int(queue.oldest)
            assert oldest == 2 * (step + 1) % 6
            assert torch.equal(queue.entries.roll(-oldest, 0), torch.stack(expected))

    def test_batches_of_several_sizes_go_around(self):
        """As after a last batch that is smaller."""
        queue = Queue(6, 1)
        for count, value in ((2, 1.0), (1, 2.0), (3, 3.0), (1, 4.0), (2, 5.0), (6, 6.0)):
            before = queue.entries.clone()
            rows = [(int(queue.oldest) + i) % 6 for i in range(count)]
            queue.enqueue(torch.full((count, 1), value))
            before[rows] = value
            assert torch.equal(queue.entries, before)

    @pytest.mark.parametrize("count", [4, 12, 0])
    def test_the_global_batch_must_divide_it(self, count):
        queue = Queue(6, 3)
        before = queue.entries.clone()
        message = f"queue must be divisible by the global batch, got 6 entries and {count} keys"
        with pytest.raises(ValueError, match=message):
            queue.enqueue(torch.ones(count, 3))
        assert torch.equal(queue.entries, before)
        assert queue.oldest == 0

    def test_half_keys_become_float32_and_no_graph_is_kept(self):
        queue = Queue(4, 2)
        keys = torch.ones(2, 2, dtype=torch.bfloat16, requires_grad=True)
        queue.enqueue(keys * 0.5)
        assert queue.entries.dtype == torch.float32
        assert not queue.entries.requires_grad
        assert torch.equal(queue.entries[:2], torch.full((2, 2), 0.5))

    def test_its_state_goes_on_where_it_was(self):
        first, second = Queue(6, 2, seed=1), Queue(6, 2, seed=2)
        first.enqueue(torch.ones(2, 2))
        second.load_state_dict(first.state_dict())
        for queue in (first, second):
            queue.enqueue(torch.zeros(2, 2))
        assert torch.equal(first.entries, second.entries)
        assert first.oldest == second.oldest == 4

    @pytest.mark.parametrize(("arguments", "name"), [((0, 8), "queue"), ((8, 0), "dim")])
    def test_sizes_are_checked(self, arguments, name):
        with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
            Queue(*arguments)


class TestShuffled:
    def generator(self):
        return torch.Generator().manual_seed(5)

    def test_outputs_return_to_where_their_images_came_from(self):
        images, seen = torch.randn(7, 3, 4, 4), []

        def halved(images):
            seen.append(images)
            return images / 2

        assert torch.equal(shuffled(halved, images, self.generator()), images / 2)
        assert torch.equal(seen[0], images[torch.randperm(7, generator=self.generator())])
        assert not torch.equal(seen[0], images)

    def test_several_outputs_do_so_each(self):
        images = torch.randn(5, 3, 4, 4)
        outputs = shuffled(lambda images: (images, images.sum(dim=(1, 2, 3))), images, self.generator())
        assert isinstance(outputs, tuple)
        assert torch.equal(outputs[0], images)
        torch.testing.assert_close(outputs[1], images.sum(dim=(1, 2, 3)))

    def test_a_generator_goes_on_to_another_order(self):
        images, generator, seen = torch.arange(20.0)[:, None], self.generator(), []
        for _ in range(2):
            shuffled(lambda images: seen.append(images) or images, images, generator)
        assert not torch.equal(*seen)

    def test_no_gradient_passes(self):
        layer = nn.Linear(3, 2)
        assert not shuffled(layer, torch.randn(4, 3, requires_grad=True), self.generator()).requires_grad

    def test_a_key_is_normalized_among_other_images_than_its_query(self):
        """What it is for: parts of the batch hold other images in the shuffled pass."""
        images, norm = torch.randn(8, 2, 3, 3), SplitBatchNorm2d(2, 4)
        order = torch.randperm(8, generator=self.generator())
        expected = norm(images[order])[order.argsort()].detach()
        keys = shuffled(norm, images, self.generator())
        assert torch.equal(keys, expected)
        assert not torch.allclose(keys, norm(images), atol=0.1)

    @pytest.mark.parametrize("memory", [torch.channels_last, torch.contiguous_format])
    def test_the_layout_of_images_is_kept(self, memory):
        images, seen = torch.randn(6, 3, 4, 4).contiguous(memory_format=memory), []
        shuffled(lambda images: seen.append(images) or images, images, self.generator())
        assert layout(seen[0]) is layout(images) is memory

    @pytest.mark.parametrize("memory", [torch.channels_last, torch.contiguous_format])
    def test_patches_have_the_layout_of_their_images(self, memory):
        images = torch.randn(4, 3, 8, 6).contiguous(memory_format=memory)
        torch.manual_seed(0)
        found = patches(images, (2, 3), 2)
        torch.manual_seed(0)
        assert torch.equal(torch.stack(found, dim=1), patch_negatives(images, (2, 3), 2))
        assert [layout(each) for each in found] == [memory] * 2

    def test_one_process_gathers_its_own(self):
        values = torch.randn(3, 2, requires_grad=True)
        assert torch.equal(gather(values), values)
        assert not gather(values).requires_grad


class Splitting(MomentumMethod):
    def __init__(self, splits, seed=0):
        super().__init__(Recipe(), seed)
        self.backbone = nn.Sequential(SplitBatchNorm2d(2, splits))
        self.backbone.norm_splits = splits


class TestMethod:
    @pytest.mark.parametrize(("processes", "splits"), [(1, 8), (2, 4), (4, 2), (8, 1), (16, 1)])
    def test_the_parts_of_the_global_batch_are_shared_out(self, monkeypatch, processes, splits):
        method = Splitting(8)
        monkeypatch.setattr(_momentum, "processes", lambda: processes)
        for stage in ("fit", "fit"):
            method.setup(stage)
            assert method.backbone[0].splits == splits

    def test_orders_are_a_function_of_seed_and_step(self):
        def order(seed, batch_idx):
            method = Splitting(1, seed)
            method.on_train_batch_start((torch.zeros(8),), batch_idx)
            torch.rand(3)  # no part of the rank's own draws
            return torch.randperm(100, generator=method.order_generator()).tolist()

        assert order(1, 0) == order(1, 0)
        assert len({tuple(order(seed, step)) for seed in (1, 2) for step in (0, 1)}) == 4

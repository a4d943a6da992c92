"""MoCoV2: a step written down plainly, the order of its parts, and what the patch negatives touch."""

import copy
import inspect
import itertools

import pytest
import torch
from lightning import Callback
from torch.nn.functional import cross_entropy, normalize
from torch.utils.data import DataLoader

from momentum_cases import NormedBackbone, TinyBackbone, TwoViews, batch_of, shaken, told_apart
from ssl_runs import fit
from texfilters import patch_negatives
from texfilters.ssl import Recipe, moco_v2
from texfilters.ssl.moco_v2 import MoCoV2
from texfilters.ssl.views import Views


@pytest.fixture
def tiny(monkeypatch):
    """Makes a MoCoV2 whose network is tiny and free of norms, its two encoders apart."""
    monkeypatch.setattr(moco_v2, "Backbone", TinyBackbone)

    def made(**settings):
        method = MoCoV2(views=TwoViews(), **{"queue": 12, "dim": 6, "norm_splits": 1, **settings})
        shaken(method.backbone)
        shaken(method.head)
        return method

    return made


def views_of(batch):
    views = TwoViews()
    return views(batch.images, batch.sizes), views(batch.images, batch.sizes)


def embedded(backbone, head, images):
    return normalize(head(backbone(images)), dim=1)


def momentum_embedded(method, images):
    return embedded(method.momentum_backbone, method.momentum_head, images)


@pytest.mark.parametrize(
    "settings",
    [{}, {"nonsemantic": 1}, {"nonsemantic": 3, "alpha": 3.0, "patch_size": (2, 5)}, {"temperature": 0.07, "m": 0.5}],
    ids=str,
)
def test_a_step_is_the_authors(tiny, settings):
    """Their order and their logits, written down from their description, by another path than the loss's."""
    method, batch = tiny(**settings), batch_of(4)
    plain, (queries, others) = copy.deepcopy(method), views_of(batch)
    query = embedded(plain.backbone, plain.head, queries)
    with torch.no_grad():
        for online, there in ((plain.backbone, plain.momentum_backbone), (plain.head, plain.momentum_head)):
            for p, p_momentum in zip(online.parameters(), there.parameters(), strict=True):
                p_momentum.copy_(p_momentum * plain.m + p * (1 - plain.m))
        key = momentum_embedded(plain, others)
        torch.manual_seed(7)
        negatives = patch_negatives(queries, plain.patch_size, plain.nonsemantic) if plain.nonsemantic else None
        samples = [momentum_embedded(plain, negatives[:, i]) for i in range(plain.nonsemantic)]
    logits = [(query * key).sum(1, keepdim=True), query @ plain.queue.entries.T]
    logits += [plain.alpha * (query * sample).sum(1, keepdim=True) for sample in samples]
    expected = cross_entropy(torch.cat(logits, 1) / plain.temperature, torch.zeros(4, dtype=torch.long))
    expected.backward()

    torch.manual_seed(7)
    loss = method.loss(batch)
    loss.backward()
    assert loss.item() == pytest.approx(expected.item(), rel=2e-6)
    for (name, p), p_plain in zip(method.named_parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(p, p_plain, msg=name)
        if "momentum" in name:
            assert p.grad is None, name
        else:
            torch.testing.assert_close(p.grad, p_plain.grad, rtol=1e-4, atol=1e-6, msg=name)
    torch.testing.assert_close(method.queue.entries[:4], key)
    assert torch.equal(method.queue.entries[4:], plain.queue.entries[4:])
    assert method.queue.oldest == 4


def test_the_key_encoder_moves_before_it_sees_the_keys(tiny):
    """With m = 0 it is the online network by then; it was another one before."""
    method, batch = tiny(m=0.0), batch_of(4)
    others = views_of(batch)[1]
    before = momentum_embedded(method, others)
    after = embedded(method.backbone, method.head, others)
    assert not torch.allclose(before, after, atol=1e-2)
    method.loss(batch)
    torch.testing.assert_close(method.queue.entries[:4], after)


def test_the_key_encoder_moves_once_in_a_step_of_the_optimizer(tiny, tmp_path):
    """Of two batches each, and of one at the end of an epoch."""
    method, keys, queries = tiny(m=0.25, recipe=Recipe("sgd", lr=0.5, schedule="constant")), [], []

    class Weights(Callback):
        def on_train_batch_start(self, *_):
            queries.append(method.head[0].weight.detach().clone())

        def on_train_batch_end(self, *_):
            keys.append(method.momentum_head[0].weight.clone())

    expected = method.momentum_head[0].weight.clone()
    options = {"accumulate_grad_batches": 2, "callbacks": [Weights()]}
    fit(method, tmp_path, 2, data=DataLoader([batch_of(4) for _ in range(5)], batch_size=None), **options)
    for batch, (query, key) in enumerate(zip(queries, keys, strict=True)):
        if batch % 5 in (0, 2, 4):
            expected = 0.25 * expected + 0.75 * query
        torch.testing.assert_close(key, expected, msg=f"batch {batch}")
    # The optimizer's steps: after batches 1, 3 and 4 of each epoch.
    changed = [not torch.equal(*pair) for pair in itertools.pairwise(queries)]
    assert changed == [False, True, False, True, True, False, True, False, True]


def test_only_keys_enter_the_queue(tiny):
    method, batch = tiny(nonsemantic=3, patch_size=4), batch_of(4)
    before = method.queue.entries.clone()
    method.loss(batch)
    torch.testing.assert_close(method.queue.entries[:4], momentum_embedded(method, views_of(batch)[1]))
    assert torch.equal(method.queue.entries[4:], before[4:])


def test_patches_are_of_the_query_after_augmentation(tiny):
    """Every pixel that passes the key encoder is a pixel of its own query: the key's view has others."""
    method, batch = tiny(nonsemantic=2, patch_size=5), batch_of(4)

    class Marked(torch.nn.Module):
        """Image b of view v has values from 100 (2 b + v) on."""

        calls = 0

        def forward(self, images, sizes):
            pixel = torch.rand(images.shape)
            view = pixel + 100 * (2 * torch.arange(len(images)).reshape(-1, 1, 1, 1) + self.calls)
            self.calls += 1
            return view

    seen = []
    method.views = Marked()
    method.momentum_backbone.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    method.loss(batch)
    keys, *negatives = ((images / 100).floor().flatten(1) for images in seen)
    assert len(negatives) == 2
    # Every pass has an order of its own, and no image of another's pixels.
    orders = [marks[:, 0] for marks in (keys, *negatives)]
    assert all(torch.equal(marks, marks[:, :1].expand_as(marks)) for marks in (keys, *negatives))
    assert orders[0].sort().values.tolist() == [1, 3, 5, 7]
    assert all(order.sort().values.tolist() == [0, 2, 4, 6] for order in orders[1:])
    assert len({tuple((order // 2).tolist()) for order in orders}) > 1


def test_every_query_meets_its_own_samples(tiny):
    """Un-shuffled: the loss over a batch is the mean of losses over single images with the same samples."""
    method, batch = tiny(nonsemantic=2, patch_size=5, m=1.0, queue=1000), batch_of(5)
    queries, others = views_of(batch)
    torch.manual_seed(1)
    negatives = patch_negatives(queries, 5, 2)
    query, key = embedded(method.backbone, method.head, queries), momentum_embedded(method, others)
    similarity = torch.stack([(query * momentum_embedded(method, negatives[:, i])).sum(1) for i in range(2)], dim=1)
    logits = torch.cat([(query * key).sum(1, keepdim=True), query @ method.queue.entries.T, 2 * similarity], 1) / 0.2
    torch.manual_seed(1)
    expected = (logits.logsumexp(1) - logits[:, 0]).mean()
    assert method.loss(batch).item() == pytest.approx(expected.item(), rel=2e-6)


def test_a_shuffled_batch_is_normalized_among_others():
    """With a real network: of two equal images one finds the other as its query's, but not its key's neighbor."""
    method = MoCoV2("resnet18", small_images=True, views=TwoViews(), queue=8, norm_splits=4)
    seen = []
    for network in (method.backbone, method.momentum_backbone):
        network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    batch = batch_of(8, side=32)
    loss = method.loss(batch)
    loss.backward()
    assert loss.isfinite()
    queries, keys = seen
    order = torch.randperm(8, generator=method.order_generator())
    assert torch.equal(keys, queries.flip(-1)[order])
    assert order.tolist() != list(range(8))
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters() if p.requires_grad)


def test_the_same_seeds_give_the_same_step(tiny):
    first = tiny(nonsemantic=2)
    second, batch, losses = copy.deepcopy(first), batch_of(4), []
    for method in (first, second):
        method.on_train_batch_start(batch, 3)
        losses.append(method.loss(batch))
    assert torch.equal(*losses)
    assert torch.equal(first.queue.entries, second.queue.entries)


def test_it_learns_to_tell_images_apart(monkeypatch):
    monkeypatch.setattr(moco_v2, "Backbone", NormedBackbone)
    method = MoCoV2(views=TwoViews(), queue=64, dim=6, norm_splits=2, m=0.9, nonsemantic=1, alpha=1.0)
    batch = batch_of(16)
    optimizer = torch.optim.Adam([p for p in method.parameters() if p.requires_grad], lr=3e-3)
    assert told_apart(method, batch) < 0.1
    for step in range(60):
        method.on_train_batch_start(batch, step)
        optimizer.zero_grad()
        method.loss(batch).backward()
        optimizer.step()
    assert told_apart(method, batch) > 0.5


def test_the_defaults_are_the_papers():
    given = {name: p.default for name, p in inspect.signature(MoCoV2).parameters.items()}
    assert {name: given[name] for name in ("backbone", "dim", "queue", "m", "temperature")} == {
        "backbone": "resnet50", "dim": 128, "queue": 65536, "m": 0.999, "temperature": 0.2,
    }  # fmt: skip
    assert (given["nonsemantic"], given["alpha"], given["alpha_inside"], given["patch_size"]) == (0, 2.0, True, None)
    method = MoCoV2("resnet18")
    assert method.recipe == Recipe(optimizer="sgd", lr=0.03, momentum=0.9, weight_decay=1e-4, schedule="cosine")
    assert isinstance(method.views, Views)
    assert method.views.size == 224
    assert MoCoV2("resnet18", small_images=True, queue=8).views.size == 32
    assert method.queue.entries.shape == (65536, 128)
    assert [str(layer) for layer in method.head] == [
        "Linear(in_features=512, out_features=512, bias=True)",
        "ReLU()",
        "Linear(in_features=512, out_features=128, bias=True)",
    ]


def test_the_state_dict_has_all_that_training_needs(tiny):
    method = tiny()
    method.loss(batch_of(4))
    names = set(method.state_dict())
    assert {"queue.entries", "queue.oldest", "backbone.features.0.weight", "momentum_head.2.bias"} <= names
    other = tiny(seed=1)
    other.load_state_dict(method.state_dict())
    assert torch.equal(other.queue.entries, method.queue.entries)
    assert {name.split(".")[0] for name in names} == {
        "backbone", "head", "momentum_backbone", "momentum_head", "queue",
    }  # fmt: skip


def test_settings_are_what_a_checkpoint_must_agree_in(tiny):
    assert tiny(nonsemantic=2, alpha=3, patch_size=[2, 4]).settings() == {
        "dim": 6, "queue": 12, "m": 0.999, "temperature": 0.2, "nonsemantic": 2, "alpha": 3.0, "alpha_inside": True,
        "patch_size": (2, 4),
    }  # fmt: skip


def test_the_queue_must_fit_the_batch(tiny):
    with pytest.raises(ValueError, match="queue must be divisible by the global batch, got 12 entries and 5 keys"):
        tiny().loss(batch_of(5))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"m": 1.5}, r"m must lie in \[0, 1\], got 1.5"),
        ({"temperature": 0.0}, "temperature must be positive and finite, got 0.0"),
        ({"nonsemantic": -1}, "nonsemantic must be at least 0, got -1"),
        ({"alpha": -2.0}, "alpha must be finite and >= 0, got -2.0"),
        ({"patch_size": (9, 3)}, "patch_size must be a range from a smaller to a larger number"),
        ({"patch_size": 0}, "patch_size must be at least 1, got 0"),
        ({"dim": 0}, "dim must be at least 1, got 0"),
        ({"queue": 0}, "queue must be at least 1, got 0"),
    ],
)
def test_bad_settings(tiny, settings, message):
    with pytest.raises(ValueError, match=message):
        tiny(**settings)

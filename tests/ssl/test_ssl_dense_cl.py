"""DenseCL: its matching and its two contrasts against loops over places."""

import copy
import inspect
import math

import pytest
import torch
from torch.nn.functional import cosine_similarity, normalize

from momentum_cases import TinyBackbone, TwoViews, batch_of, shaken
from texfilters.ssl import dense_cl
from texfilters.ssl.dense_cl import DenseCL, Heads, matched


@pytest.fixture
def tiny(monkeypatch):
    """Makes a DenseCL whose network is tiny and free of norms, its two encoders apart."""
    monkeypatch.setattr(dense_cl, "Backbone", TinyBackbone)

    def made(**settings):
        method = DenseCL(views=TwoViews(), **{"queue": 12, "dim": 6, "norm_splits": 1, **settings})
        shaken(method.backbone)
        shaken(method.head)
        return method

    return made


def naive_match(query, key):
    """For two maps `[C, h, w]` the key's place, counted row by row, of the largest cosine for each of the query's."""
    query, key = query.flatten(1).T, key.flatten(1).T
    return [max(range(len(key)), key=lambda j: cosine_similarity(q, key[j], dim=0).item()) for q in query]


class TestMatched:
    @pytest.mark.parametrize(("height", "width"), [(7, 7), (3, 5), (1, 1)])
    def test_it_is_the_largest_cosine_of_the_backbones_features(self, height, width):
        # Of many lengths, so that a product that is not a cosine finds others.
        query, key = (torch.randn(3, 9, height, width) * torch.rand(3, 1, height, width).exp() ** 3 for _ in range(2))
        places = torch.randn(3, height * width, 4)
        result = matched(query, key, places)
        assert result.shape == places.shape
        for b in range(3):
            assert torch.equal(result[b], places[b, naive_match(query[b], key[b])])

    def test_it_finds_what_moved(self):
        maps = torch.randn(2, 16, 4, 4)
        places = torch.arange(16.0).expand(2, 16)[:, :, None]
        found = matched(maps, 3 * maps.flip(-1), places)[:, :, 0].reshape(2, 4, 4)
        assert torch.equal(found, torch.arange(16.0).reshape(4, 4).flip(-1).expand(2, 4, 4))

    def test_autocast_changes_nothing(self):
        """Behind ReLU all places of an image are alike but for some percent, which bfloat16 does not tell apart."""
        query, key = (5 + torch.rand(2, 64, 5, 5) for _ in range(2))
        places = torch.arange(25.0).expand(2, 25)[:, :, None]
        expected = matched(query, key, places)
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(matched(query, key, places), expected)

    def test_no_gradient_passes(self):
        query, key, places = (torch.randn(1, 4, 2, 2, requires_grad=True) for _ in range(3))
        assert not matched(query, key, places.flatten(2)).requires_grad


class TestHeads:
    def test_they_are_the_authors(self):
        heads, maps = Heads(5, 4), torch.randn(3, 5, 2, 6)
        embedding, places, mean = heads(maps)
        torch.testing.assert_close(embedding, normalize(heads.whole(maps.mean((2, 3))), dim=1))
        dense = heads.dense(maps)
        for b in range(3):
            for y in range(2):
                for x in range(6):
                    torch.testing.assert_close(places[b, 6 * y + x], normalize(dense[b, :, y, x], dim=0))
            torch.testing.assert_close(mean[b], normalize(dense[b].mean((1, 2)), dim=0))
        assert [str(layer) for layer in heads.dense] == [
            "Conv2d(5, 5, kernel_size=(1, 1), stride=(1, 1))", "ReLU()",
            "Conv2d(5, 4, kernel_size=(1, 1), stride=(1, 1))",
        ]  # fmt: skip
        assert [str(layer) for layer in heads.whole] == [
            "Linear(in_features=5, out_features=5, bias=True)", "ReLU()",
            "Linear(in_features=5, out_features=4, bias=True)",
        ]  # fmt: skip


def contrast(query, key, queue, temperature):
    """One query's loss, in Python's numbers."""
    positive = math.exp(float(query @ key) / temperature)
    return -math.log(positive / (positive + sum(math.exp(float(query @ entry) / temperature) for entry in queue)))


@pytest.mark.parametrize(
    "settings", [{}, {"weight": 0.0}, {"weight": 1.0}, {"weight": 0.7, "temperature": 0.1}], ids=str
)
def test_a_step_is_the_authors(tiny, settings):
    method, batch = tiny(m=0.5, **settings), batch_of(3)
    plain, views = copy.deepcopy(method), TwoViews()
    for online, there in ((plain.backbone, plain.momentum_backbone), (plain.head, plain.momentum_head)):
        for p, p_momentum in zip(online.parameters(), there.parameters(), strict=True):
            p_momentum.data = (p_momentum + p.data) / 2
    with torch.no_grad():
        maps = plain.backbone.maps(views(batch.images, batch.sizes))
        key_maps = plain.momentum_backbone.maps(views(batch.images, batch.sizes))
        query, places, _ = plain.head(maps)
        key, key_places, pooled = plain.momentum_head(key_maps)
    t = plain.temperature
    single = [contrast(query[b], key[b], plain.queue.entries, t) for b in range(3)]
    dense = [
        contrast(place, key_places[b, match], plain.dense_queue.entries, t)
        for b in range(3)
        for place, match in zip(places[b], naive_match(maps[b], key_maps[b]), strict=True)
    ]
    expected = (1 - plain.weight) * sum(single) / 3 + plain.weight * sum(dense) / len(dense)

    loss = method.loss(batch)
    assert loss.item() == pytest.approx(expected, rel=2e-6)
    for queue, before, keys in (
        (method.queue, plain.queue, key), (method.dense_queue, plain.dense_queue, pooled),
    ):  # fmt: skip
        torch.testing.assert_close(queue.entries[:3], keys)
        assert torch.equal(queue.entries[3:], before.entries[3:])
        assert queue.oldest == 3
    loss.backward()
    for name, p in method.named_parameters():
        assert (p.grad is None) == ("momentum" in name), name


def test_the_gradient_reaches_both_heads_and_the_backbone(tiny):
    for weight, still in ((0.0, "head.dense"), (1.0, "head.whole")):
        method = tiny(weight=weight)
        method.loss(batch_of(3)).backward()
        for name, p in method.named_parameters():
            if "momentum" not in name:
                assert bool(p.grad.abs().max() == 0) == name.startswith(still), name


def test_the_queues_differ_from_the_start(tiny):
    method = tiny()
    assert not torch.equal(method.queue.entries, method.dense_queue.entries)


def test_a_resnet_trains_in_shuffled_parts():
    method = DenseCL("resnet18", small_images=True, views=TwoViews(), queue=8, norm_splits=2)
    seen = []
    method.momentum_backbone.model.conv1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    batch = batch_of(4, side=32)
    loss = method.loss(batch)
    loss.backward()
    assert loss.isfinite()
    order = torch.randperm(4, generator=method.order_generator())
    assert torch.equal(seen[0], batch.images.flip(-1)[order] / 255)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters() if p.requires_grad)


def test_every_parameter_that_is_trained_has_a_gradient():
    """What DistributedDataParallel asks for; nothing reaches the classifier's hidden layer."""
    method = DenseCL("mobilenet_v3_small", views=TwoViews(), queue=8, norm_splits=1)
    method.loss(batch_of(4, side=64)).backward()
    for name, parameter in method.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name
    assert sum("classifier" in name for name, parameter in method.backbone.named_parameters()) == 2


def test_the_defaults_are_the_papers(tiny):
    given = {name: p.default for name, p in inspect.signature(DenseCL).parameters.items()}
    assert {name: given[name] for name in ("backbone", "dim", "queue", "m", "temperature", "weight")} == {
        "backbone": "resnet50", "dim": 128, "queue": 65536, "m": 0.999, "temperature": 0.2, "weight": 0.5,
    }  # fmt: skip
    recipe = tiny().recipe
    assert (recipe.lr, recipe.momentum, recipe.weight_decay, recipe.schedule) == (0.03, 0.9, 1e-4, "cosine")
    assert tiny(weight=1).settings() == {"dim": 6, "queue": 12, "m": 0.999, "temperature": 0.2, "weight": 1.0}


def test_a_backbone_without_feature_maps(tiny, monkeypatch):
    monkeypatch.setattr(TinyBackbone, "map_dim", None)
    with pytest.raises(ValueError, match="backbone must have feature maps for DenseCL, got 'resnet50'"):
        tiny()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weight": 1.5}, r"weight must lie in \[0, 1\], got 1.5"),
        ({"m": -1}, r"m must lie in \[0, 1\], got -1"),
        ({"temperature": 0.0}, "temperature must be positive and finite, got 0.0"),
    ],
)
def test_bad_settings(tiny, settings, message):
    with pytest.raises(ValueError, match=message):
        tiny(**settings)


def test_the_queue_must_fit_the_batch(tiny):
    with pytest.raises(ValueError, match="queue must be divisible by the global batch, got 12 entries and 5 keys"):
        tiny().loss(batch_of(5))

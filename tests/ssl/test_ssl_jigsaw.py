"""Jigsaw puzzles: tiles in their cells and orders, jitter, gray, normalization, suppressed tiles, labels, training."""

import math

import pytest
import torch
from torch import nn

from texfilters import anisotropic_diffusion
from texfilters.ssl import Batch
from texfilters.ssl.jigsaw import Jigsaw, cut, normalized

SMALL = {"small_images": True, "permutations": 9, "cell": 10, "tile": 8, "jitter": 1, "hidden": 32}


class Plain(nn.Module):
    """The images in [0, 1]."""

    def forward(self, images, sizes):
        return images / 255


def batch(images):
    return Batch(images, torch.full((len(images),), -1), torch.full((len(images), 2), float(images.shape[-1])))


def coordinates(count, side):
    """Channels that are each pixel's row, column and row again."""
    rows = torch.arange(float(side))[:, None].expand(side, side)
    return torch.stack([rows, rows.T, rows]).expand(count, 3, side, side)


def slopes():
    """Nine cells `[9, 10, 10]`, each with a slope of its own direction, and the uint8 image that they make up."""
    angle, at = torch.arange(9.0)[:, None, None] * 0.7, torch.arange(10.0)
    cells = torch.cos(angle) * at[:, None] + torch.sin(angle) * at
    window = cells.view(3, 3, 10, 10).permute(0, 2, 1, 3).reshape(30, 30)
    return cells, ((window - window.min()) / (window.max() - window.min()) * 255).round().to(torch.uint8)


def orders(count, tiles=9):
    return torch.rand(count, tiles).argsort(1)


class TestTiles:
    @pytest.mark.parametrize(("grid", "cell", "tile"), [(3, 12, 9), (3, 5, 5), (2, 7, 3), (3, 85, 64), (3, 75, 64)])
    def test_an_order_undone_gives_the_tiles_in_the_order_of_their_cells(self, grid, cell, tile):
        order = orders(6, grid**2)
        tiles = cut(coordinates(6, grid * cell), order, cell, tile)
        assert tiles.shape == (6, grid**2, 3, tile, tile)
        back = tiles[torch.arange(6)[:, None], order.argsort(1)]
        for row in range(grid):
            for column in range(grid):
                there = back[:, row * grid + column]
                assert there[:, 0].min() >= row * cell
                assert there[:, 0].max() < (row + 1) * cell
                assert there[:, 1].min() >= column * cell
                assert there[:, 1].max() < (column + 1) * cell
        # Each is a square of the image, and all channels are of the same place.
        steps = torch.arange(float(tile))
        assert torch.equal(tiles[:, :, 0] - tiles[:, :, 0, :1, :1], steps[:, None].expand_as(tiles[:, :, 0]))
        assert torch.equal(tiles[:, :, 1] - tiles[:, :, 1, :1, :1], steps.expand_as(tiles[:, :, 1]))
        assert torch.equal(tiles[:, :, 0], tiles[:, :, 2])

    def test_every_sample_and_tile_has_its_own_place_and_all_places_occur(self):
        tiles = cut(coordinates(400, 36), torch.arange(9).expand(400, 9), 12, 9)
        corner = tiles[:, :, :2, 0, 0] % 12  # row and column of the first pixel
        counts = torch.bincount((corner[..., 0] * 4 + corner[..., 1]).long().flatten(), minlength=16)
        assert len(counts) == 16
        assert counts.min() > 3600 / 16 * 0.75
        assert counts.max() < 3600 / 16 * 1.25

    def test_channels_move_against_each_other(self):
        tiles = cut(coordinates(500, 600), torch.arange(9).expand(500, 9), 200, 8, jitter=2)
        shift = (tiles[:, :, 0] - tiles[:, :, 2])[:, :, 0, 0]
        assert torch.equal(shift[..., None, None].expand(-1, -1, 8, 8), tiles[:, :, 0] - tiles[:, :, 2])
        counts = torch.bincount((shift + 4).long().flatten(), minlength=9) / shift.numel()
        # The difference of two numbers from -2..2; borders clip a few.
        expected = torch.tensor([1, 2, 3, 4, 5, 4, 3, 2, 1]) / 25
        assert (counts - expected).abs().max() < 0.03

    @pytest.mark.parametrize("jitter", [2, 30])
    def test_jitter_stays_within_the_cell(self, jitter):
        tiles = cut(coordinates(50, 36), torch.arange(9).expand(50, 9), 12, 9, jitter)
        cell = torch.arange(9)[:, None, None]
        for channel in (0, 2):
            assert (tiles[:, :, channel] // 12 == cell // 3).all()
        assert (tiles[:, :, 1] // 12 == cell % 3).all()

    def test_a_tile_as_large_as_its_cell_leaves_no_gap(self):
        images = torch.rand(2, 3, 12, 12)
        tiles = cut(images, torch.arange(9).expand(2, 9), 4, 4, jitter=2)
        whole = tiles.view(2, 3, 3, 3, 4, 4).permute(0, 3, 1, 4, 2, 5).reshape(2, 3, 12, 12)
        assert torch.equal(whole, images)

    def test_windows_of_another_size(self):
        with pytest.raises(ValueError, match=r"views must have 36 x 36 pixels, 3 cells of 12 each way, got 36 x 35"):
            cut(torch.rand(1, 3, 36, 35), orders(1), 12, 8)


class TestNormalization:
    def test_every_channel_of_every_tile_for_itself(self):
        tiles = torch.rand(2, 9, 3, 8, 8) * torch.rand(2, 9, 3, 1, 1) * 100 + 7
        found = normalized(tiles)
        torch.testing.assert_close(found.mean((-2, -1)), torch.zeros(2, 9, 3), atol=1e-4, rtol=0)
        torch.testing.assert_close(found.std((-2, -1)), torch.ones(2, 9, 3), atol=1e-4, rtol=0)
        tile = tiles[1, 4, 2].double().numpy()
        expected = (tile - tile.mean()) / tile.std(ddof=1)
        torch.testing.assert_close(found[1, 4, 2].double(), torch.from_numpy(expected), atol=1e-4, rtol=0)

    def test_a_tile_of_one_color_is_0(self):
        tiles = torch.full((1, 9, 3, 64, 64), 0.1) * torch.rand(9, 3, 1, 1)
        assert normalized(tiles).abs().max() < 1e-5

    def test_of_the_smallest_content_something_is_left(self):
        tiles = torch.zeros(1, 1, 1, 64, 64)
        tiles[..., 5, 5] = 1 / 255
        assert normalized(tiles).std() > 0.9


class TestSuppressedTiles:
    def test_each_is_diffused_or_left_as_it_is(self):
        method = Jigsaw("resnet18", **SMALL, views=Plain(), suppress_tiles=True)
        images, labels = torch.rand(20, 3, 30, 30), torch.randint(9, (20,))
        torch.manual_seed(3)
        plain = cut(images, method.permutations[labels], 10, 8, 1)
        torch.manual_seed(3)
        found = method.puzzles(images, labels).flatten(0, 1)
        plain, diffused = plain.flatten(0, 1), anisotropic_diffusion(plain.flatten(0, 1), 20, 20 / 255, 0.1)
        applied = method.suppress.last_draw["niter"] > 0
        assert 60 < applied.sum() < 120  # of 180
        torch.testing.assert_close(found[applied], normalized(diffused)[applied], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found[~applied], normalized(plain)[~applied], atol=1e-5, rtol=1e-5)
        assert (normalized(diffused) - normalized(plain)).abs().amax((1, 2, 3)).min() > 0.01

    def test_normalized_views_are_diffused_in_their_own_units(self):
        normalizing = Jigsaw("resnet18", **SMALL, suppress_tiles=True)
        assert normalizing.views.suppress is None
        plain = Jigsaw("resnet18", **SMALL, views=Plain(), suppress_tiles=True)
        images, labels = torch.rand(4, 3, 30, 30), torch.randint(9, (4,))
        mean, std = (torch.tensor(v)[:, None, None] for v in (normalizing.views.mean, normalizing.views.std))
        torch.manual_seed(5)
        expected = plain.puzzles(images, labels)
        torch.manual_seed(5)
        found = normalizing.puzzles((images - mean) / std, labels)
        assert (plain.suppress.last_draw["niter"] > 0).any()
        torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)

    def test_whole_images_by_default(self):
        method = Jigsaw("resnet18", **SMALL)
        assert method.suppress is None
        assert method.views.suppress.weights == (0.5, 0.25, 0.25)


def test_the_share_of_gray_images():
    method = Jigsaw("resnet18", **SMALL)
    images = torch.randint(256, (600, 3, 34, 34), dtype=torch.uint8)
    views = method.views(images, torch.full((600, 2), 34.0))
    mean, std = (torch.tensor(v)[:, None, None] for v in (method.views.mean, method.views.std))
    colors = views * std + mean
    gray = ((colors - colors[:, :1]).abs().amax((1, 2, 3)) < 1e-4).float().mean()
    assert 0.24 < gray < 0.36


def test_labels_are_the_numbers_of_the_orders():
    """The trunk sees tile permutations[label][i] at place i, and the loss compares with the label."""
    method = Jigsaw("resnet18", **SMALL | {"tile": 10, "permutations": 100}, views=Plain())
    seen = {}

    def forward(tiles):
        seen["tiles"] = tiles
        return torch.zeros(len(tiles), 100)

    method.forward = forward
    slope, images = slopes()
    state = torch.manual_seed(1).get_state()
    assert math.isclose(method.loss(batch(images.expand(7, 3, 30, 30))), math.log(100), rel_tol=1e-6)
    torch.set_rng_state(state)
    labels = torch.randint(100, (7,))
    references = normalized(slope)
    similar = torch.einsum("bnhw,thw->bnt", seen["tiles"][:, :, 0], references).argmax(-1)
    assert torch.equal(similar, method.permutations[labels])
    assert len(labels.unique()) > 3


def test_accuracy_is_that_of_the_labels(monkeypatch):
    method = Jigsaw("resnet18", **SMALL, views=Plain())
    logged = {}
    monkeypatch.setattr(method, "log", lambda name, value, **_: logged.update({name: value}))
    monkeypatch.setattr(method, "forward", lambda tiles: torch.eye(9)[4].expand(len(tiles), 9))
    torch.manual_seed(0)
    method.loss(batch(torch.zeros(500, 3, 30, 30, dtype=torch.uint8)))
    torch.manual_seed(0)
    assert torch.isclose(logged["accuracy"], (torch.randint(9, (500,)) == 4).float().mean())


def test_validation_is_of_puzzles_in_which_nothing_is_diffused(monkeypatch):
    method = Jigsaw("resnet18", **SMALL, suppress_tiles=True).eval()
    logged, seen = {}, []
    monkeypatch.setattr(method, "log_dict", lambda values, **_: logged.update(values))

    def forward(tiles):
        seen.append(tiles)
        return torch.eye(9)[2].expand(len(tiles), 9)

    monkeypatch.setattr(method, "forward", forward)
    _, image = slopes()
    torch.manual_seed(0)
    method.validation_step(batch(image.expand(200, 3, 30, 30)), 0)
    torch.manual_seed(0)
    labels = torch.randint(9, (200,))
    assert torch.isclose(logged["val_accuracy"], (labels == 2).float().mean())
    assert logged["val_loss"] > 1
    slope = normalized(slopes()[0][:, :8, :8])  # the same at every place of a cell
    likeness = torch.einsum("bnhw,thw->bnt", seen[0][:, :, 0], slope)
    assert torch.equal(likeness.argmax(-1), method.permutations[labels])
    assert likeness.amax(-1).min() > 0.99 * 63  # nothing is diffused


def test_validation_reads_nothing_back_from_the_device(monkeypatch):
    method = Jigsaw("resnet18", **SMALL).eval()
    puzzles = batch(torch.randint(256, (4, 3, 34, 34), dtype=torch.uint8))
    for name in ("tolist", "item", "numpy", "cpu"):
        monkeypatch.setattr(torch.Tensor, name, lambda *_, name=name: pytest.fail(f"{name}() waits for the device"))
    method.validation_step(puzzles, 0)


def test_the_trunk_is_shared_and_sees_no_context():
    method = Jigsaw("resnet18", **SMALL, views=Plain()).eval()
    tiles = torch.randn(2, 9, 3, 8, 8)
    features = method.backbone(tiles.flatten(0, 1)).view(2, 9, 512)
    expected = method.head(features.flatten(1))
    torch.testing.assert_close(method(tiles), expected)
    assert method.head[0].in_features == 9 * 512
    assert [type(layer) for layer in method.head] == [nn.Linear, nn.ReLU, nn.Dropout, nn.Linear]


def test_the_context_free_network():
    method = Jigsaw("context_free", permutations=16, grid=2, cell=52, tile=40, resize=75, hidden=8).eval()
    assert method.head[0].in_features == 4 * 1024
    shapes = []
    method.backbone.model.features.register_forward_hook(lambda *a: shapes.append(tuple(a[2].shape)))
    images = torch.randint(256, (2, 3, 110, 110), dtype=torch.uint8)
    assert method.loss(batch(images)).isfinite()
    assert shapes == [(8, 256, 3, 3)]


def test_tiles_are_normalized_as_the_trunk_sees_them():
    method = Jigsaw("context_free", permutations=4, grid=2, cell=50, tile=40, resize=75, hidden=8)
    puzzles = method.puzzles(torch.rand(3, 3, 100, 100), torch.arange(3))
    assert puzzles.shape == (3, 4, 3, 75, 75)
    torch.testing.assert_close(puzzles.mean((-2, -1)), torch.zeros(3, 4, 3), atol=1e-5, rtol=0)
    torch.testing.assert_close(puzzles.std((-2, -1)), torch.ones(3, 4, 3))


def test_defaults_are_the_papers():
    method = Jigsaw()
    assert method.backbone.name == "resnet18"
    assert method.permutations.shape == (1000, 9)
    assert (method.cell, method.tile, method.jitter, method.views.size) == (85, 64, 2, 255)
    assert (method.head[0].out_features, method.head[2].p, method.head[3].out_features) == (4096, 0.5, 1000)
    assert method.views.gray == 0.3
    recipe = method.recipe
    assert (recipe.optimizer, recipe.lr, recipe.momentum, recipe.weight_decay) == ("sgd", 0.01, 0.9, 5e-4)
    rates = [recipe.rate(epoch, 90) for epoch in (0, 29, 30, 59, 60, 79, 80, 89)]
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


def test_steps_are_a_function_of_the_seed_and_learn():
    images = slopes()[1].expand(6, 3, 30, 30)

    def run(seed, steps):
        torch.manual_seed(0)
        method = Jigsaw("resnet18", **SMALL | {"small_images": False, "permutations": 4, "hidden": 128}, views=Plain())
        optimizer = torch.optim.SGD(method.parameters(), lr=0.005, momentum=0.9)
        losses = []
        for step in range(steps):
            torch.manual_seed(seed + step)
            loss = method.loss(batch(images))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses

    losses = run(0, 14)
    assert losses[:2] == run(0, 2)
    assert losses[0] != run(1, 1)[0]
    assert sum(losses[-4:]) / 4 < 0.5 * math.log(4)


def test_settings_are_what_a_checkpoint_must_agree_in():
    method = Jigsaw("resnet18", **SMALL, suppress_tiles=True)
    assert method.settings() == {
        "permutations": 9, "tiles": 9, "cell": 10, "tile": 8, "resize": None, "jitter": 1, "suppress_tiles": True,
        "hidden": 32,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tile": 11, "cell": 10}, "tile must be at most as large as its cell of 10 pixels, got 11"),
        ({"permutations": 362_881}, "number of permutations must be at most 362880, all of 9 tiles, got 362881"),
        ({"permutations": 25, "grid": 2}, "number of permutations must be at most 24, all of 4 tiles, got 25"),
        ({"permutations": 0}, "number of permutations must be at least 1, got 0"),
        ({"grid": 4}, "grid must be one of 2, 3, got 4"),
        ({"jitter": -1}, "jitter must be at least 0, got -1"),
        ({"tile": 1}, "tile must be at least 2, got 1"),
        ({"hidden": 0}, "hidden must be at least 1, got 0"),
        ({"resize": 0}, "resize must be at least 1, got 0"),
        ({"backbone": "resnet19"}, "backbone must be one of"),
    ],
)
def test_bad_settings(given, message):
    with pytest.raises(ValueError, match=message):
        Jigsaw(**SMALL | {"backbone": "resnet18"} | given)


def test_views_of_another_size():
    method = Jigsaw("resnet18", **SMALL, views=Plain())
    with pytest.raises(ValueError, match=r"views must have 30 x 30 pixels, 3 cells of 10 each way, got 32 x 32"):
        method.loss(batch(torch.zeros(2, 3, 32, 32, dtype=torch.uint8)))

"""Rotation: turns and their labels, one view for the four copies, and learning."""

import math

import numpy as np
import pytest
import torch
from lightning import Trainer
from torch import nn
from torchvision.utils import save_image

from ssl_runs import seen_by, with_log
from texfilters.ssl import Batch, Recipe
from texfilters.ssl.data import FolderData
from texfilters.ssl.rotation import Rotation, rotations
from texfilters.ssl.views import Views
from texfilters.transforms import RandomTextureSuppression


def still(size):
    """Views that leave an image of this size as it is, but for the normalization."""
    return Views(size, scale=(1.0, 1.0), ratio=(1.0, 1.0), jitter=0.0, gray=0.0, flip=0.0, suppress=None)


def batch_of(images):
    count, _, height, width = images.shape
    return Batch(images, torch.full((count,), -1), torch.tensor([[height, width]] * count, dtype=torch.float32))


def noise(count, side):
    return batch_of(torch.randint(0, 256, (count, 3, side, side), dtype=torch.uint8))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("side", [1, 4, 5])
def test_labels_count_quarters_turned_counterclockwise(side, memory_format):
    images = torch.randn(3, 2, side, side).contiguous(memory_format=memory_format)
    turned, labels = rotations(images)
    assert turned.shape == (12, 2, side, side)
    assert labels.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    for number, (image, label) in enumerate(zip(turned, labels, strict=True)):
        expected = np.rot90(images[number % 3].numpy(), int(label), axes=(1, 2))
        np.testing.assert_array_equal(image.numpy(), expected)
    assert turned.is_contiguous(memory_format=memory_format)


def test_only_squares_are_turned():
    with pytest.raises(ValueError, match=r"images must be square to be turned, got 4 x 6 pixels"):
        rotations(torch.zeros(2, 3, 4, 6))


def test_the_four_copies_are_of_one_view():
    """However much is drawn for it: crop, flip and suppression."""
    method = with_log(Rotation("six_layer", views=Views(16, jitter=0.0)))
    seen, drawn = seen_by(method.backbone), []
    method.views.register_forward_hook(lambda *call: drawn.append(call[2]))
    method.loss(noise(8, 20))
    (view,), (images,) = drawn, seen
    copies = images.unflatten(0, (4, 8))
    for quarters in range(4):
        assert torch.equal(copies[quarters], view.rot90(quarters, (-2, -1)))
    assert not torch.equal(copies[0, 0], copies[0, 1])


def test_turning_before_or_after_normalization_is_the_same():
    views, batch = still(16), noise(2, 16)
    after, _ = rotations(views(batch.images, batch.sizes))
    turned, _ = rotations(batch.images)
    assert torch.equal(after, views(turned, batch.sizes.repeat(4, 1)))


def test_loss_and_accuracy_are_those_of_the_answers():
    method, batch = with_log(Rotation("six_layer", views=still(16))).eval(), noise(5, 16)
    loss = method.loss(batch)
    with torch.no_grad():
        images, labels = rotations(still(16)(batch.images, batch.sizes))
        answers = method.head(method.backbone(images)).double().numpy()
    shares = np.exp(answers) / np.exp(answers).sum(1, keepdims=True)
    right = shares[np.arange(20), labels.numpy()]
    assert loss.item() == pytest.approx(-np.log(right).mean(), abs=1e-6)
    assert method.logged["accuracy"].item() == pytest.approx((answers.argmax(1) == labels.numpy()).mean())


def test_it_learns_where_the_sky_is():
    method = with_log(Rotation("six_layer", views=still(16)))
    images = torch.randint(0, 100, (8, 3, 16, 16), dtype=torch.uint8)
    images[:, :, :8] += 100
    optimizer = torch.optim.SGD(method.parameters(), 0.1, momentum=0.9)
    first = method.loss(batch_of(images)).item()
    assert first == pytest.approx(math.log(4), abs=0.3)
    for _ in range(12):
        optimizer.zero_grad()
        method.loss(batch_of(images)).backward()
        optimizer.step()
    assert method.loss(batch_of(images)).item() < 0.2
    assert method.logged["accuracy"] == 1


def test_validation_is_of_whole_images_without_draws():
    method, batch = with_log(Rotation("six_layer", views=Views(16))).eval(), noise(4, 16)
    seen, state = seen_by(method.backbone), torch.get_rng_state()
    method.validation_step(batch, 0)
    assert torch.equal(torch.get_rng_state(), state)
    torch.testing.assert_close(seen[0], rotations(still(16)(batch.images, batch.sizes))[0], atol=1e-5, rtol=0)
    assert method.logged.keys() == {"val_loss", "val_accuracy"}
    assert 0 <= method.logged["val_accuracy"] <= 1


@pytest.mark.parametrize("held_out", ["val", "other"])
def test_data_may_have_nothing_to_validate_with(tmp_path, held_out):
    for split in ("train", held_out):
        (tmp_path / split / "a").mkdir(parents=True)
        for number in range(3):
            save_image(torch.rand(3, 20, 20), tmp_path / split / "a" / f"{number}.png")
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    data = FolderData(str(tmp_path), 3, side=16, workers=0)
    trainer.fit(Rotation("six_layer", views=still(16)), datamodule=data)
    assert {"loss", "accuracy"} <= trainer.callback_metrics.keys()
    assert ("val_accuracy" in trainer.callback_metrics) == (held_out == "val")


@pytest.mark.parametrize(
    ("name", "options"),
    [("mobilenet_v2", {}), ("efficientnet_b0", {}), ("resnet18", {"small_images": True}), ("resnet18", {})],
)
def test_the_papers_networks(name, options):
    method = with_log(Rotation(name, views=still(32), **options))
    method.loss(noise(2, 32)).backward()
    assert method.head.weight.grad.isfinite().all()
    assert next(method.backbone.parameters()).grad.abs().sum() > 0


def test_the_default_is_the_study():
    method = Rotation()
    assert (method.backbone.name, method.views.size) == ("six_layer", 128)
    assert isinstance(method.views.suppress, RandomTextureSuppression)
    assert (method.views.jitter, method.views.gray, method.views.flip, method.views.blur.p) == (0, 0, 0.5, 0)
    recipe = method.recipe
    assert (recipe.optimizer, recipe.lr, recipe.momentum, recipe.weight_decay) == ("rmsprop", 1e-4, 0.5, 0)
    assert [recipe.rate(epoch, 90) for epoch in (0, 1, 10)] == pytest.approx([1, 0.95, 0.95**10])
    assert Rotation("resnet18", small_images=True).views.size == 32


def test_recipe_and_networks_can_be_others():
    recipe = Recipe("sgd", lr=0.1, nesterov=True, weight_decay=5e-4, schedule="steps", milestones=[60, 120], factor=0.2)
    method = Rotation("resnet18", small_images=True, recipe=recipe)
    assert method.recipe is recipe
    assert isinstance(method.head, nn.Linear)
    assert method.head.weight.shape == (4, 512)

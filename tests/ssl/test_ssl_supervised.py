"""Supervised training: what a batch holds, its metrics, and fine-tuning."""

import numpy as np
import pytest
import torch
from lightning import Trainer
from torch import nn
from torch.utils.data import DataLoader
from torchvision.utils import save_image

from ssl_runs import seen_by, with_log
from texfilters import anisotropic_diffusion
from texfilters.ssl import Batch, Recipe, _checkpoint
from texfilters.ssl.data import FolderData
from texfilters.ssl.rotation import Rotation
from texfilters.ssl.supervised import Supervised, top
from texfilters.ssl.views import Views
from texfilters.transforms import AnisotropicDiffusion, GaussianBlur

SIDE = 16
MEAN, STD = (torch.tensor(v).reshape(3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


def still(suppress):
    """Views that leave an image of this size as it is, but for suppression and normalization."""
    return Views(SIDE, scale=(1.0, 1.0), ratio=(1.0, 1.0), jitter=0.0, gray=0.0, flip=0.0, suppress=suppress)


def small(**options):
    defaults = {"classes": 7, "views": still(AnisotropicDiffusion(20, 20.0))}
    return Supervised("six_layer", **{**defaults, **options})


def batch_of(images, labels):
    return Batch(images, labels, torch.full((len(images), 2), float(SIDE)))


def noise(count, classes=7):
    images = torch.randint(0, 256, (count, 3, SIDE, SIDE), dtype=torch.uint8)
    return batch_of(images, torch.arange(count) % classes)


def plain(images):
    return (images / 255 - MEAN) / STD


def diffused(images):
    return (anisotropic_diffusion(images / 255, 20, 20 / 255) - MEAN) / STD


def same(images, expected):
    return torch.allclose(images, expected, atol=1e-4)


def fit(method, batches=None, *, datamodule=None, **options):
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **options,
    )
    loaders = {"datamodule": datamodule}
    if datamodule is None:
        loaders = dict.fromkeys(("train_dataloaders", "val_dataloaders"), DataLoader(batches, batch_size=None))
    trainer.fit(method, **loaders)
    return trainer


@pytest.fixture
def checkpoint(tmp_path):
    """A trained method and its file."""
    method = small()
    trainer = fit(method, [noise(4)])
    trainer.save_checkpoint(tmp_path / "supervised.ckpt")
    return method, tmp_path / "supervised.ckpt"


def test_a_doubled_batch_holds_every_image_plain_and_suppressed():
    method, batch = with_log(small()), noise(5)
    seen, judged = seen_by(method.backbone), []
    method.head.register_forward_hook(lambda *call: judged.append(call[2]))
    loss = method.loss(batch)
    (images,), (answers,) = seen, judged
    assert len(images) == 10
    assert same(images[:5], plain(batch.images))
    assert same(images[5:], diffused(batch.images))
    assert not same(images[5:], images[:5])
    labels = torch.cat([batch.labels, batch.labels])
    chances = answers.detach().double().softmax(1)[torch.arange(10), labels]
    assert loss.item() == pytest.approx(-chances.log().mean().item(), abs=1e-6)
    assert method.logged["accuracy"].item() == pytest.approx((answers.argmax(1) == labels).float().mean().item())


def test_the_two_copies_have_crops_of_their_own():
    method, batch = with_log(small(views=Views(SIDE, jitter=0.0, suppress=GaussianBlur(0.0)))), noise(4)
    seen = seen_by(method.backbone)
    method.loss(batch)
    first, second = seen[0].chunk(2)
    assert not any(same(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("count", [6, 7])
def test_otherwise_another_half_of_every_batch_is_suppressed(count):
    method, batch = with_log(small(doubled=False)), noise(count)
    seen, halves = seen_by(method.backbone), set()
    with_plain, with_diffused = plain(batch.images), diffused(batch.images)
    for _ in range(4):
        loss = method.loss(batch)
        images, order, suppressed = seen[-1], [], set()
        for image in images:
            number = next(i for i in range(count) if same(image, with_plain[i]) or same(image, with_diffused[i]))
            order.append(number)
            if same(image, with_diffused[number]):
                suppressed.add(number)
        assert sorted(order) == list(range(count))
        assert len(suppressed) == count // 2
        with torch.no_grad():
            answers = method.head(method.backbone(images))
        # Every image with its own label.
        assert loss.item() == pytest.approx(nn.functional.cross_entropy(answers, batch.labels[order]).item(), abs=1e-6)
        halves.add(frozenset(suppressed))
    assert len(halves) > 1


def test_without_a_suppression_it_is_the_baseline():
    method, batch = with_log(small(views=still(None))), noise(4)
    seen = seen_by(method.backbone)
    method.loss(batch)
    assert same(seen[0], plain(batch.images))


def test_labels_are_smoothed():
    method, batch = with_log(small(label_smoothing=0.2, views=still(None))), noise(6)
    loss = method.loss(batch).item()
    with torch.no_grad():
        logs = method.head(method.backbone(plain(batch.images))).double().log_softmax(1)
    wanted = 0.8 * logs[torch.arange(6), batch.labels] + 0.2 * logs.mean(1)
    assert loss == pytest.approx(-wanted.mean().item(), abs=1e-6)


def test_accuracy_counts_the_largest_answers():
    answers, labels = torch.randn(200, 9), torch.randint(9, (200,))
    ranks = (answers.numpy() > answers.numpy()[np.arange(200), labels.numpy()][:, None]).sum(1)
    for k in (1, 5):
        assert top(k, answers, labels).item() == pytest.approx((ranks < k).mean())


def test_validation_is_of_plain_images():
    method, batch = with_log(small()).eval(), noise(6)
    seen, state = seen_by(method.backbone), torch.get_rng_state()
    with torch.no_grad():
        method.validation_step(batch, 0)
        answers = method.head(method.backbone(plain(batch.images)))
    assert torch.equal(torch.get_rng_state(), state)
    assert same(seen[0], plain(batch.images))
    expected = {
        "val_loss": nn.functional.cross_entropy(answers, batch.labels),
        "val_top1": top(1, answers, batch.labels),
        "val_top5": top(5, answers, batch.labels),
    }
    assert method.logged.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(method.logged[name], value, atol=1e-5, rtol=0)


def test_validation_is_of_the_middle_of_large_images():
    method = with_log(small()).eval()
    images = torch.zeros(2, 3, 64, 64, dtype=torch.uint8)
    images[:, :, 4:60, 4:60] = 255
    seen = seen_by(method.backbone)
    method.validation_step(batch_of(images, torch.zeros(2, dtype=torch.int64)), 0)
    assert same(seen[0], plain(torch.full((2, 3, SIDE, SIDE), 255)))


def test_five_classes_have_no_top_5():
    method = with_log(small(classes=5))
    method.validation_step(noise(4, 5), 0)
    assert method.logged.keys() == {"val_loss", "val_top1"}


def test_validation_counts_images_not_batches():
    """Of batches of 6 and 2 images."""
    method, parts = small(classes=2, recipe=Recipe(lr=1e-9)), [noise(6, 2), noise(2, 1)]
    trainer = fit(method, parts, num_sanity_val_steps=0)
    method.eval()
    with torch.no_grad():
        right = [top(1, method.head(method.backbone(plain(p.images))), p.labels) for p in parts]
    assert right[0] != right[1]
    expected = (6 * right[0] + 2 * right[1]) / 8
    torch.testing.assert_close(trainer.callback_metrics["val_top1"], expected)


@pytest.fixture
def photos(tmp_path):
    """Of three classes, 3 to train on and 2 to validate with of each."""
    for split, count in (("train", 3), ("val", 2)):
        for name in "abc":
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(count):
                save_image(torch.rand(3, 20, 20), tmp_path / split / name / f"{number}.png")
    return FolderData(str(tmp_path), 4, side=SIDE, workers=0)


def test_the_datas_val_is_validated_on(photos):
    method = small(classes=3)
    inputs = seen_by(method.backbone)
    trainer = fit(method, datamodule=photos)
    assert [len(images) for images in inputs[-2:]] == [4, 2]
    assert {"val_loss", "val_top1", "accuracy", "loss"} <= trainer.callback_metrics.keys()


def test_the_number_of_classes_is_the_datas(photos, tmp_path):
    with pytest.raises(ValueError, match="classes must be 3, as many as the data's, got 10"):
        fit(small(classes=10), datamodule=photos)
    with pytest.raises(ValueError, match="the data have no labels to train with"):
        fit(small(classes=3), datamodule=FolderData(str(tmp_path / "train" / "a"), 2, side=SIDE, workers=0))


def test_it_learns_two_classes():
    images = torch.randint(0, 100, (8, 3, SIDE, SIDE), dtype=torch.uint8)
    images[::2, 0] += 120
    batch = batch_of(images, torch.arange(8) % 2)
    method = with_log(small(classes=2))
    optimizer = torch.optim.SGD(method.parameters(), 0.1, momentum=0.9)
    for _ in range(8):
        optimizer.zero_grad()
        method.loss(batch).backward()
        optimizer.step()
    assert method.loss(batch).item() < 0.1
    assert method.logged["accuracy"] == 1


def test_fine_tuning_goes_on_with_the_weights_on_plain_images(checkpoint):
    trained, path = checkpoint
    method, batch = with_log(small(fine_tune=path)), noise(4)
    for name, value in trained.state_dict().items():
        assert torch.equal(method.state_dict()[name], value), name
    seen = seen_by(method.backbone)
    method.loss(batch)
    assert same(seen[0], plain(batch.images))


def test_fine_tuning_needs_a_checkpoint_that_fits(checkpoint, tmp_path):
    _, path = checkpoint
    with pytest.raises(ValueError, match=r"fine_tune must have the number of classes 10, got 7 in .*supervised\.ckpt"):
        small(classes=10, fine_tune=path)
    with pytest.raises(ValueError, match=r"fine_tune must have the backbone .*'resnet18'.*, got .*'six_layer'"):
        Supervised("resnet18", classes=7, small_images=True, fine_tune=path)
    with pytest.raises(FileNotFoundError, match="no checkpoint at nowhere"):
        small(fine_tune="nowhere")
    other = Rotation("six_layer", views=still(None))
    fit(other, [noise(4)]).save_checkpoint(tmp_path / "rotation.ckpt")
    with pytest.raises(ValueError, match="fine_tune must have the method Supervised, got Rotation"):
        small(fine_tune=tmp_path / "rotation.ckpt")
    content = torch.load(path, weights_only=True)
    del content["state_dict"]["head.bias"]
    torch.save(content, path)
    with pytest.raises(ValueError, match=r"(?s)the weights in .* do not fit: .*head\.bias"):
        small(fine_tune=path)


def test_a_checkpoint_tells_the_settings(checkpoint):
    _, path = checkpoint
    about = _checkpoint.read(path)[_checkpoint.KEY]
    settings = about["settings"]
    assert about["method"] == "Supervised"
    assert (settings["classes"], settings["doubled"], settings["label_smoothing"]) == (7, True, 0.0)
    assert settings["fine_tunes"] is False
    assert settings["suppress"].startswith("AnisotropicDiffusion(niter=20, kappa=20.0")


def test_the_defaults_are_the_papers(checkpoint):
    _, path = checkpoint
    method = Supervised(classes=1000)
    assert method.backbone.name == "resnet50"
    assert method.head.weight.shape == (1000, 2048)
    views = method.views
    assert (views.size, views.scale, views.jitter, views.gray, views.flip) == (224, (0.08, 1.0), 0, 0, 0.5)
    assert (views.suppress.niter, views.suppress.kappa, views.suppress.p) == (20, 20, 1)
    assert method.plain_views.suppress is None
    cases = (({}, 0.1, (15, 30)), ({"doubled": False}, 0.1, (30, 60)), ({"fine_tune": path}, 0.01, (30,)))
    for options, lr, milestones in cases:
        recipe = small(**options).recipe
        assert (recipe.optimizer, recipe.momentum, recipe.weight_decay) == ("sgd", 0.9, 1e-4)
        assert (recipe.lr, recipe.schedule, tuple(recipe.milestones)) == (lr, "steps", milestones)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"classes": 1}, ValueError, "classes must be at least 2, got 1"),
        ({"label_smoothing": 2}, ValueError, r"label_smoothing must lie in \[0, 1\], got 2"),
        ({"doubled": "yes"}, TypeError, "doubled must be a bool, got str"),
    ],
)
def test_settings_out_of_range(options, error, message):
    with pytest.raises(error, match=message):
        small(**options)


def test_labels_out_of_range():
    with pytest.raises(IndexError, match="Target 7 is out of bounds"):
        with_log(small()).loss(noise(8, 8))

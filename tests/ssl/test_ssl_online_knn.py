"""Measuring during training changes nothing of the training."""

import math

import pytest
import torch
from lightning import LightningDataModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint

from probe_cases import Bare, draw_folder
from texfilters.evaluate import classification, features, knn
from texfilters.ssl import _evaluation
from texfilters.ssl.data import FolderData
from texfilters.ssl.online_knn import OnlineKNN
from texfilters.ssl.views import CenterView


class Noisy(Bare):
    """Draws in every step, as views do, and notes what it drew."""

    def __init__(self):
        super().__init__("resnet18", size=16, small_images=True)
        self.backbone.model.layer4 = torch.nn.Sequential(torch.nn.Dropout(0.5))
        self.backbone.model.layer3 = torch.nn.BatchNorm2d(128)
        self.backbone.model.layer1.eval()
        self.drawn = []

    def loss(self, batch):
        self.drawn.append(torch.rand(()).item())
        return super().loss(batch)


@pytest.fixture
def folder(tmp_path):
    draw_folder(tmp_path / "images" / "train")
    draw_folder(tmp_path / "images" / "val", count=3, seed=1)
    return tmp_path / "images"


def trained(folder, *callbacks, epochs=3, resume=None, workers=0):
    torch.manual_seed(0)
    method = Noisy()
    data = FolderData(str(folder), 4, side=24, workers=workers, resident=not workers)
    trainer = Trainer(
        max_epochs=epochs, accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=any(isinstance(callback, ModelCheckpoint) for callback in callbacks),
        callbacks=list(callbacks), use_distributed_sampler=False, limit_val_batches=0,
    )  # fmt: skip
    trainer.fit(method, data, ckpt_path=resume, weights_only=True)
    return method, trainer


def same(first, second):
    weights = second.state_dict()
    return all(torch.equal(tensor, weights[name]) for name, tensor in first.state_dict().items())


class Watch(OnlineKNN):
    """Compares what is there before a measurement with what is there after it."""

    def __init__(self, **options):
        super().__init__(**options)
        self.logged = []

    def on_train_epoch_end(self, trainer, pl_module):
        before = torch.get_rng_state(), [module.training for module in pl_module.modules()]
        super().on_train_epoch_end(trainer, pl_module)
        assert torch.equal(torch.get_rng_state(), before[0])
        assert [module.training for module in pl_module.modules()] == before[1]
        self.logged.append("knn" in trainer.callback_metrics)


@pytest.mark.filterwarnings(
    "ignore:.*LeafSpec",
    "ignore:Found .* module.s. in eval mode",
    "ignore:Checkpoint directory",
    "ignore:You passed in a .val_dataloader",
    "ignore:Be aware that when using",
)
class TestOnlineKNN:
    def test_a_share_out_of_range_is_told_before_an_epoch_is_over(self):
        with pytest.raises(ValueError, match="share must lie in"):
            OnlineKNN(share=1.5)

    def test_training_and_resuming_are_bitwise_undisturbed(self, folder, tmp_path):
        alone, _ = trained(folder)
        every = ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1)
        watched, _ = trained(folder, Watch(k=5), every)
        assert same(alone, watched)
        assert alone.drawn == watched.drawn
        resumed, _ = trained(folder, Watch(k=5), resume=tmp_path / "epoch=1.ckpt")
        assert same(alone, resumed)
        assert resumed.drawn == alone.drawn[-3:]

    def test_workers_draw_nothing_either(self, folder):
        alone, _ = trained(folder, epochs=1, workers=1)
        watched, _ = trained(folder, Watch(k=5), epochs=1, workers=1)
        assert same(alone, watched)

    def test_it_logs_the_accuracy_of_the_trained_backbone(self, folder):
        method, trainer = trained(folder, OnlineKNN(k=5, temperature=0.2))
        data, view = (
            FolderData(str(folder), 5, side=24, workers=0),
            CenterView(16, mean=method.views.mean, std=method.views.std),
        )
        (x, y), (tested, labels) = (
            features(method.backbone, data.labeled(split), transform=lambda batch: view(batch.images, batch.sizes))
            for split in ("train", "val")
        )
        expected = classification(knn(x, y, tested, k=5, temperature=0.2), labels).accuracy
        assert trainer.callback_metrics["knn"].item() == pytest.approx(expected)

    def test_every_so_many_epochs_and_after_the_last(self, folder):
        watch = Watch(every=2, k=200)  # of 12 images all vote
        trained(folder, watch, epochs=3)
        assert watch.logged == [False, True, True]

    def test_a_loss_that_is_no_number_is_told_as_without_it(self, folder, monkeypatch):
        # The weights are no numbers either by then, and features of them would be the first to be complained of.
        monkeypatch.setattr(Noisy, "loss", lambda self, batch: Bare.loss(self, batch) * math.nan)
        with pytest.raises(FloatingPointError, match="epoch 0"):
            trained(folder, OnlineKNN(k=5))

    def test_what_it_needs(self, folder, tmp_path):
        class Other(LightningDataModule):
            def train_dataloader(self):
                return FolderData(str(folder), 4, side=24, workers=0).train_dataloader()

        method = Bare(size=16, small_images=True)
        trainer = Trainer(
            max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, callbacks=OnlineKNN()
        )
        with pytest.raises(TypeError, match="needs a data module with `labeled`, got Other"):
            trainer.fit(method, Other())
        with pytest.raises(ValueError, match="has no images to validate with"):
            trained(draw_folder(tmp_path / "alone"), OnlineKNN())
        with pytest.raises(ValueError, match="every must be at least 1, got 0"):
            OnlineKNN(0)
        method.views = torch.nn.Identity()
        with pytest.raises(TypeError, match="needs a size: views of Bare say none"):
            trainer.fit(method, FolderData(str(folder), 4, side=24, workers=0))


def test_a_view_is_made_once_for_all_batches():
    first = _evaluation.centered(32, [0.5, 0.5, 0.5], (0.25, 0.25, 0.25))
    assert _evaluation.centered(32, (0.5, 0.5, 0.5), [0.25, 0.25, 0.25]) is first
    assert _evaluation.centered(32, (0.4, 0.5, 0.5), (0.25, 0.25, 0.25)) is not first
    assert _evaluation.centered(32, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25), 1.0) is not first

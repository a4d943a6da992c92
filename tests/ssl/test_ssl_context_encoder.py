"""Context encoders: losses, who learns from what, training."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader

import cuda_cases
from texfilters.ssl import Batch, Recipe, masks
from texfilters.ssl._painting import discriminator
from texfilters.ssl.context_encoder import ContextEncoder, adversarial, reconstruction, weights

SMALL = {"backbone": "resnet18", "small_images": True, "size": 32, "overlap": 1}


def batch(images):
    return Batch(images, torch.full((len(images),), -1), torch.full((len(images), 2), float(images.shape[-1])))


class Plain(nn.Module):
    def forward(self, images, sizes):
        return images / 255 - 0.5


class TestLosses:
    def test_weights(self):
        hole = torch.zeros(1, 1, 20, 20, dtype=torch.bool)
        hole[..., 8:12, 9:11] = True
        expected = np.zeros((20, 20), dtype=np.float32)
        expected[5:15, 6:14] = 10
        expected[8:12, 9:11] = 1
        assert torch.equal(weights(hole, 3)[0, 0], torch.from_numpy(expected))
        assert torch.equal(weights(hole, 0), hole.float())

    def test_reconstruction_against_numpy(self):
        painted, images = torch.randn(3, 2, 8, 8).double(), torch.randn(3, 2, 8, 8).double()
        weight = weights(masks.blocks(3, 8, "cpu") | (torch.rand(3, 1, 8, 8) < 0.1), 1).double()
        each = []
        for f, x, m in zip(painted.numpy(), images.numpy(), weight.numpy(), strict=True):
            each.append((m * (x - f) ** 2).sum() / (2 * (m > 0).sum()))
        assert abs(float(reconstruction(painted, images, weight)) - np.mean(each)) < 1e-12

    def test_a_hole_alone_is_the_papers_formula(self):
        painted, images = torch.randn(4, 3, 16, 16), torch.randn(4, 3, 16, 16)
        hole = masks.central(4, 16, "cpu").float()
        expected = (hole * (images - painted)).norm() ** 2 / (4 * 3 * 64)
        torch.testing.assert_close(reconstruction(painted, images, hole), expected)

    def test_adversarial_against_numpy(self):
        judge = nn.Sequential(nn.Flatten(), nn.Linear(12, 1))
        real, painted = torch.randn(5, 3, 2, 2), torch.randn(5, 3, 2, 2)
        fooled, told = adversarial(judge, real, painted)
        weight, bias = judge[1].weight.detach().double().numpy(), judge[1].bias.detach().double().numpy()

        def probability(x):
            return 1 / (1 + np.exp(-(x.double().numpy().reshape(5, 12) @ weight.T + bias)))

        assert abs(fooled.item() + np.log(probability(painted)).mean()) < 1e-6
        expected = -np.log(probability(real)).mean() - np.log(1 - probability(painted)).mean()
        assert abs(told.item() - expected) < 1e-6

    def test_each_side_learns_from_its_own_loss(self):
        judge = discriminator()
        real, painted = torch.randn(2, 3, 32, 32), torch.randn(2, 3, 32, 32, requires_grad=True)
        fooled, told = adversarial(judge, real, painted)
        fooled.backward()
        assert painted.grad.abs().max() > 0
        assert all(p.grad is None for p in judge.parameters())
        painted.grad = None
        told.backward()
        assert painted.grad is None
        assert all(p.grad is not None for p in judge.parameters())

    def test_confident_logits_stay_finite(self):
        fooled, told = adversarial(nn.Flatten(), torch.full((1, 1), 1e4), torch.full((1, 1), 1e4))
        assert fooled == 0
        assert told == 1e4


def test_defaults_are_the_papers():
    method = ContextEncoder()
    assert (method.backbone.name, method.size, method.views.size) == ("alexnet", 227, 227)
    layer = method.decoder[0]
    assert layer.weight.shape == (256, 36, 36)
    assert (method.hole, method.overlap, method.adversarial) == ("region", 0, 0.001)
    assert ContextEncoder(**SMALL | {"overlap": None, "hole": "central"}).overlap == 7
    assert (method.recipe.optimizer, method.recipe.momentum) == ("adam", 0.5)
    # What no map depends on is not trained, or DistributedDataParallel would wait for it.
    frozen = {name.split(".")[1] for name, p in method.backbone.named_parameters() if not p.requires_grad}
    assert frozen == {"classifier"}
    assert all(p.requires_grad for p in method.backbone.model.features.parameters())
    assert method.backbone.training


def test_the_hole_is_not_seen():
    """Pixels in the hole change neither what is painted nor, outside it, the loss."""
    method = ContextEncoder(**SMALL, views=Plain(), hole="central", adversarial=0).eval()
    seen = {}
    method.backbone.model.conv1.register_forward_hook(lambda _, given, __: seen.update(images=given[0]))
    images = torch.randint(256, (2, 3, 32, 32), dtype=torch.uint8)
    method.loss(batch(images))
    hole = masks.central(2, 32, "cpu").expand(2, 3, 32, 32)
    assert (seen["images"][hole] == 0).all()
    assert torch.equal(seen["images"][~hole], (images / 255 - 0.5)[~hole])


def test_the_loss_is_made_of_its_parts(monkeypatch):
    method = ContextEncoder(**SMALL, views=Plain(), hole="central", adversarial=0.25).eval()
    logged = {}
    monkeypatch.setattr(method, "log", lambda name, value, **_: logged.update({name: value}))
    monkeypatch.setattr(method, "log_dict", lambda values, **_: logged.update(values))
    images = torch.randint(256, (3, 3, 32, 32), dtype=torch.uint8)
    loss = method.loss(batch(images))
    x, hole = images / 255 - 0.5, masks.central(3, 32, "cpu")
    weight = weights(hole, 1)
    painted = method(x * ~hole)
    torch.testing.assert_close(logged["reconstruction"], reconstruction(painted, x, weight))
    real, fake = (method.discriminator(image * (weight > 0)) for image in (x, painted))
    torch.testing.assert_close(logged["adversarial"], functional.softplus(-fake).mean())
    torch.testing.assert_close(
        logged["discriminator"], functional.softplus(-real).mean() + functional.softplus(fake).mean()
    )
    total = 0.75 * logged["reconstruction"] + 0.25 * logged["adversarial"] + logged["discriminator"]
    torch.testing.assert_close(loss, total)


def test_validation_is_the_reconstruction_of_the_middle(monkeypatch):
    method = ContextEncoder(**SMALL, hole="central").eval()
    logged = {}
    monkeypatch.setattr(method, "log", lambda name, value, **_: logged.update({name: value}))
    images = torch.randint(256, (3, 3, 32, 32), dtype=torch.uint8)
    method.validation_step(batch(images), 0)
    mean, std = (torch.tensor(v)[:, None, None] for v in (method.views.mean, method.views.std))
    x, hole = (images / 255 - mean) / std, masks.central(3, 32, "cpu")
    expected = reconstruction(method(x * ~hole), x, weights(hole, 1))
    torch.testing.assert_close(logged, {"val_reconstruction": expected}, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("optimizer", ["adam", "lars"])
def test_the_discriminator_learns_at_a_tenth_of_the_rate(optimizer, monkeypatch):
    recipe = Recipe(optimizer, lr=0.02, schedule="steps", milestones=(1,), warmup=0)
    method = ContextEncoder(**SMALL, recipe=recipe)
    monkeypatch.setattr(ContextEncoder, "trainer", SimpleNamespace(max_epochs=2))
    configured = method.configure_optimizers()
    groups = configured["optimizer"].param_groups
    its = set(method.discriminator.parameters())
    rates = {p: group["lr"] for group in groups for p in group["params"]}
    assert set(rates) == {p for p in method.parameters() if p.requires_grad}
    assert sum(len(group["params"]) for group in groups) == len(rates)
    assert all(rate == pytest.approx(0.002 if p in its else 0.02) for p, rate in rates.items())
    configured["optimizer"].step()
    configured["lr_scheduler"]["scheduler"].step()
    rates = {p: group["lr"] for group in groups for p in group["params"]}
    assert all(rate == pytest.approx(0.0002 if p in its else 0.002) for p, rate in rates.items())


@pytest.mark.parametrize("hole", ["central", "blocks", "region"])
def test_steps_are_a_function_of_the_seed(hole):
    method = ContextEncoder(**SMALL, hole=hole)
    images = torch.randint(256, (4, 3, 36, 36), dtype=torch.uint8)
    losses = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        losses.append(method.loss(batch(images)).item())
    assert losses[0] == losses[1] != losses[2]


class Enlarged(nn.Module):
    def forward(self, images, sizes):
        return functional.interpolate(images / 127.5 - 1, scale_factor=2)


def stripes():
    """Of one direction an image, uint8 `[4, 3, 32, 32]`: the hole goes on as its surroundings."""
    wave = torch.arange(32.0).mul(0.8).sin().expand(4, 3, 32, 32)
    wave = torch.stack([image.mT if i % 2 else image for i, image in enumerate(wave)])
    return ((wave + 1) * 127).to(torch.uint8)


def test_it_learns(monkeypatch):
    logged = {"reconstruction": []}
    method = ContextEncoder("squeezenet1_1", size=64, views=Enlarged(), hole="central", overlap=2)
    monkeypatch.setattr(method, "log", lambda name, value, **_: logged.setdefault(name, []).append(value.item()))
    optimizer = torch.optim.Adam(method.parameters(), lr=1e-3, betas=(0.5, 0.999))
    for _ in range(16):
        loss = method.loss(batch(stripes()))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    losses = logged["reconstruction"]
    assert len(losses) == 16
    assert np.mean(losses[-3:]) < 0.4 * losses[0]


def test_every_parameter_that_is_trained_has_a_gradient():
    """What DistributedDataParallel asks for."""
    method = ContextEncoder("mobilenet_v3_small", size=64, views=Enlarged())
    method.loss(batch(stripes())).backward()
    for name, parameter in method.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad
        assert parameter.requires_grad != ("classifier" in name)


class TestUnderLightning:
    def fit(self, folder, epochs, resume=None):
        torch.manual_seed(0)
        method = ContextEncoder("squeezenet1_1", size=64, views=Enlarged(), seed=3)
        logger = TensorBoardLogger(folder, name=None, version="logs")
        trainer = Trainer(
            max_epochs=epochs, accelerator="cpu", devices=1, logger=logger, deterministic=True, log_every_n_steps=1,
            enable_progress_bar=False, enable_model_summary=False, callbacks=[ModelCheckpoint(folder)],
        )  # fmt: skip
        steps = [batch(stripes()), batch(stripes().flip(3))]
        trainer.fit(method, DataLoader(steps, batch_size=None), ckpt_path=resume)
        return method, trainer

    @pytest.mark.filterwarnings("ignore")  # of few workers, of a CPU
    def test_both_networks_and_their_optimizer_resume_and_pictures_are_logged(self, tmp_path):
        undisturbed, _ = self.fit(tmp_path / "whole", 2)
        first, trainer = self.fit(tmp_path / "first", 1)
        resumed, _ = self.fit(tmp_path / "second", 2, trainer.checkpoint_callback.best_model_path)
        before, after, expected = (method.state_dict() for method in (first, resumed, undisturbed))
        for name, value in expected.items():
            assert torch.equal(after[name], value), name
        for part in ("backbone.model.features.0.weight", "decoder.0.weight", "discriminator.0.weight"):
            assert not torch.equal(before[part], after[part])
        events = EventAccumulator(str(tmp_path / "whole" / "logs"), size_guidance={"images": 0}).Reload()
        tag, *_ = events.Tags()["images"]
        assert tag == "painted"
        assert [event.step for event in events.Images(tag)] == [0, 1]
        assert {"reconstruction", "adversarial", "discriminator"} <= set(events.Tags()["scalars"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"hole": "middle"}, "hole must be one of 'central', 'blocks', 'region', got 'middle'"),
        ({"overlap": -1}, "overlap must be at least 0, got -1"),
        ({"adversarial": 1.5}, r"adversarial must lie in \[0, 1\], got 1.5"),
        ({"size": 15}, "size must be at least 16, got 15"),
        ({"backbone": "shufflenet_v2_x0_5", "small_images": False}, "shufflenet_v2_x0_5 has no feature maps"),
        ({"backbone": "alexnet", "small_images": False}, "size is too small for alexnet, got 32: "),
        ({"small_images": False}, "size must leave maps of at least 2 x 2 of resnet18, got 32: 1 x 1"),
    ],
)
def test_bad_settings(given, message):
    with pytest.raises(ValueError, match=message):
        ContextEncoder(**SMALL | given)


def test_views_of_another_size():
    method = ContextEncoder(**SMALL, views=Plain())
    with pytest.raises(ValueError, match=r"views must have 32 x 32 pixels, got \(36, 32\)"):
        method.loss(batch(torch.zeros(2, 3, 36, 32, dtype=torch.uint8)))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("hole", ["central", "blocks", "region"])
def test_on_a_gpu_nothing_waits_and_steps_are_repeated(hole, monkeypatch):
    cuda_cases.needs("native")
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    method = ContextEncoder(**SMALL, hole=hole).cuda()
    there = Batch(*(tensor.cuda() for tensor in batch(torch.randint(256, (8, 3, 36, 36), dtype=torch.uint8))))
    method.loss(there).backward()
    torch.use_deterministic_algorithms(True)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        results = []
        for _ in range(2):
            torch.manual_seed(1)
            method.zero_grad()
            method.loss(there).backward()
            results.append([parameter.grad.clone() for parameter in method.parameters()])
    finally:
        torch.cuda.set_sync_debug_mode("default")
        torch.use_deterministic_algorithms(False)
    for first, second in zip(*results, strict=True):
        assert torch.equal(first, second)

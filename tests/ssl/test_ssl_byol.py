"""BYOL: its loss against the formula, its views and patches, and what no gradient reaches."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from byol_cases import SIDE, Scaled, batch_of, fit, moved, noise, small, units
from ssl_runs import seen_by
from texfilters import patch_negatives
from texfilters.ssl import Recipe, _checkpoint
from texfilters.ssl.byol import BYOL, asymmetric_views
from texfilters.transforms import AnisotropicDiffusion, GaussianBlur


@pytest.mark.parametrize("n", [0, 1, 3])
def test_the_loss_is_the_papers(n):
    method, batch = moved(small(nonsemantic=n, alpha=0.3)), noise(6)
    online = nn.Sequential(method.backbone, method.projector, method.predictor)
    target = nn.Sequential(method.target_backbone, method.target_projector)
    first, second = batch.images * 0.01, batch.images * -0.02
    expected = 0.0
    torch.manual_seed(5)
    for view, other in ((first, second), (second, first)):
        query, key = units(online, view), units(target, other)
        terms = ((query - key) ** 2).sum(1)
        if n:
            patches = patch_negatives(view, n=n)
            away = [((query - units(target, patches[:, i])) ** 2).sum(1) for i in range(n)]
            terms -= 0.3 * np.mean(away, 0)
        expected += terms.mean()
    torch.manual_seed(5)
    assert method.loss(batch).item() == pytest.approx(expected, abs=2e-6)


def test_the_views_are_interchangeable():
    method, batch = moved(small()), noise(4)
    loss = method.loss(batch)
    method.views, method.second_views = method.second_views, method.views
    torch.testing.assert_close(method.loss(batch), loss)
    # And it is no loss of one of them alone.
    method.second_views = method.views
    assert abs(method.loss(batch) - loss) > 1e-3


def test_one_module_draws_both_views():
    class Drawn(Scaled):
        def forward(self, images, sizes):
            return images + 10 * torch.randn(len(images), 1, 1, 1)

    method = small(views=Drawn(1.0), second_views=None)
    seen = seen_by(method.backbone)
    method.loss(noise(4))
    assert len(seen) == 2
    assert not torch.equal(*seen)


def test_no_gradient_reaches_the_target():
    method = moved(small(nonsemantic=1))
    method.loss(noise(4)).backward()
    for name, p in method.named_parameters():
        if name.startswith("target"):
            assert p.grad is None
            assert not p.requires_grad
        else:
            assert p.grad.abs().sum() > 0, name
    optimizer = method.recipe.configured(method, 1)["optimizer"]
    trained = {id(p) for group in optimizer.param_groups for p in group["params"]}
    assert trained == {id(p) for name, p in method.named_parameters() if not name.startswith("target")}


def test_the_target_starts_as_a_copy():
    method = small()
    for online, target in ((method.backbone, method.target_backbone), (method.projector, method.target_projector)):
        assert online is not target
        for p, followed in zip(online.parameters(), target.parameters(), strict=True):
            assert torch.equal(p, followed)
            assert p.data_ptr() != followed.data_ptr()


def test_patches_are_of_the_querys_own_view():
    """Images of one color each, so that a patch tells where it is from."""
    colors = torch.tensor([10, 90, 170, 250], dtype=torch.uint8)
    batch = batch_of(colors[:, None, None, None].expand(4, 3, SIDE, SIDE).contiguous())
    method = small(nonsemantic=2)
    seen = seen_by(method.target_backbone)
    method.loss(batch)
    # The keys of the second view and of the first, then two negatives of the first and two of the second.
    factors = [-0.02, 0.01, 0.01, 0.01, -0.02, -0.02]
    assert len(seen) == len(factors)
    for images, factor in zip(seen, factors, strict=True):
        torch.testing.assert_close(images, batch.images * factor)


def test_the_layout_of_views_is_kept():
    class Last(Scaled):
        def forward(self, images, sizes):
            return super().forward(images, sizes).contiguous(memory_format=torch.channels_last)

    method = small(views=Last(0.01), second_views=Last(-0.02), nonsemantic=2)
    seen = seen_by(method.target_backbone)
    method.loss(noise(4))
    assert len(seen) == 6
    assert all(images.is_contiguous(memory_format=torch.channels_last) for images in seen)


def test_patches_are_drawn_anew_and_of_the_size_asked_for():
    method, batch = small(nonsemantic=1, patch_size=SIDE), noise(3)
    seen = seen_by(method.target_backbone)
    method.loss(batch)
    assert torch.equal(seen[2], batch.images * 0.01)  # one patch, as large as the image
    method.patch_size = 4
    method.loss(batch)
    method.loss(batch)
    assert not torch.equal(seen[6], seen[10])


def test_it_logs_how_similar_queries_are():
    method, batch = moved(small(nonsemantic=2)), noise(5)
    logged = {}
    method.log = lambda name, value, **_: logged.update({name: value.item()})
    loss = method.loss(batch).item()
    assert logged.keys() == {"similarity", "nonsemantic_similarity"}
    weighted = logged["similarity"] - 0.05 * logged["nonsemantic_similarity"]
    assert loss == pytest.approx(2 * (2 - 2 * 0.05 - 2 * weighted), abs=1e-5)


def test_a_few_steps_bring_the_views_together():
    method, batch = small(recipe=Recipe("sgd", lr=0.05)), noise(8)
    first = method.loss(batch).item()
    fit(method, [batch] * 15, 1)
    method.trainer = None  # or it would log
    assert method.loss(batch).item() < 0.7 * first
    spread = normalize(method.target_projector(method.target_backbone(batch.images * 0.01)), dim=1).std(0)
    assert spread.mean() > 0.02  # not all to one point


def test_a_batch_of_one_is_refused():
    with pytest.raises(ValueError, match=r"batch normalization.*got (a batch of )?1$"):
        fit(small(), [noise(1)], 1)


def test_the_defaults_are_the_papers():
    method = BYOL("resnet18")
    assert [type(layer) for layer in method.projector] == [nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]
    widths = [(m.in_features, m.out_features) for m in method.modules() if isinstance(m, nn.Linear)]
    assert widths == [(512, 4096), (4096, 256), (256, 4096), (4096, 256), (512, 4096), (4096, 256)]
    recipe = method.recipe
    assert (recipe.optimizer, recipe.lr, recipe.momentum, recipe.weight_decay) == ("lars", 3.2, 0.9, 1.5e-6)
    assert (recipe.schedule, recipe.warmup, recipe.every_step) == ("cosine", 10, True)
    assert (method.m, method.alpha, method.nonsemantic) == (0.996, 0.05, 0)
    assert (method.views.size, method.second_views.size) == (224, 224)
    assert BYOL("resnet18", small_images=True).second_views.size == 32


def test_its_own_views_are_asymmetric():
    first, second = asymmetric_views(64, suppressed=False)
    assert (first.blur.p, first.solarize, second.blur.p, second.solarize) == (1, 0, 0.1, 0.2)
    for view in (first, second):
        assert view.suppress is None
        assert (view.size, view.scale, view.jitter, view.gray, view.flip) == (64, (0.08, 1.0), 0.8, 0.2, 0.5)
        assert view.blur.sigma == (0.1, 2.0)


def test_suppressed_views_blur_what_is_not_diffused_as_often():
    for view, blur, solarize in zip(asymmetric_views(32), (1.0, 0.1), (0.0, 0.2), strict=True):
        assert (view.blur.p, view.solarize) == (0, solarize)
        diffusion, gaussian, nothing = view.suppress.filters
        assert isinstance(diffusion, AnisotropicDiffusion)
        assert (diffusion.niter, diffusion.kappa) == ((10, 20), 20)
        assert isinstance(gaussian, GaussianBlur)
        assert nothing is None
        diffused, blurred, plain = view.suppress.weights
        assert diffused == 0.5
        assert blurred / (blurred + plain) == pytest.approx(blur)


def test_a_checkpoint_tells_the_settings(tmp_path):
    method = small(nonsemantic=2, patch_size=(4, 8))
    trainer = fit(method, [noise(4)], 1)
    trainer.save_checkpoint(tmp_path / "byol.ckpt")
    about = _checkpoint.read(tmp_path / "byol.ckpt")[_checkpoint.KEY]
    assert about["method"] == "BYOL"
    assert about["settings"] == {
        "hidden": 24,
        "dim": 8,
        "m": 0.996,
        "nonsemantic": 2,
        "alpha": 0.05,
        "patch_size": [4, 8],
    }
    backbone = _checkpoint.load_backbone(tmp_path / "byol.ckpt")
    for name, value in backbone.state_dict().items():
        assert torch.equal(value, method.backbone.state_dict()[name]), name


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"m": 1.5}, r"m must lie in \[0, 1\], got 1.5"),
        ({"alpha": -1}, "alpha must be finite and >= 0, got -1"),
        ({"nonsemantic": -1}, "nonsemantic must be at least 0, got -1"),
        ({"hidden": 0}, "hidden must be at least 1, got 0"),
        ({"dim": 0}, "dim must be at least 1, got 0"),
        ({"patch_size": (8, 4)}, "patch_size must be a range from a smaller to a larger number"),
        ({"views": None}, "views must be given where second_views are, got None"),
    ],
)
def test_settings_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        small(**options)

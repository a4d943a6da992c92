"""Saliency against formulas in NumPy, and a network that is left as it was."""

import numpy as np
import pytest
import torch
from torch import nn

from texfilters.evaluate.saliency import (
    box_masks,
    goodness,
    grad_cam,
    gradient_saliency,
    last_maps,
    normalized,
    spread,
)


class Small(nn.Module):
    """Convolution, batch norm, an activation in place, pooling, a linear layer."""

    def __init__(self, channels=4, classes=3):
        super().__init__()
        self.maps = nn.Sequential(nn.Conv2d(3, channels, 3, stride=2, padding=1), nn.BatchNorm2d(channels))
        self.relu = nn.ReLU(inplace=True)
        self.drop = nn.Dropout(0.5)
        self.head = nn.Linear(channels, classes)

    def forward(self, x):
        return self.head(self.drop(self.relu(self.maps(x)).mean((2, 3))))


@pytest.fixture
def network():
    network = Small()
    nn.init.normal_(network.head.weight, std=3)
    network.maps[1].running_mean.uniform_(-0.2, 0.2)
    network.maps[1].running_var.uniform_(0.5, 2)
    return network


@pytest.fixture
def images():
    return torch.randn(5, 3, 16, 12)


def state(network):
    return (
        [part.training for part in network.modules()],
        [(len(part._forward_hooks), len(part._forward_pre_hooks)) for part in network.modules()],
        [parameter.requires_grad for parameter in network.parameters()],
        [None if parameter.grad is None else parameter.grad.clone() for parameter in network.parameters()],
        {name: value.clone() for name, value in network.state_dict().items()},
    )


def same(one, other):
    modes, hooks, required, gradients, values = one
    assert modes == other[0]
    assert hooks == other[1]
    assert required == other[2]
    for a, b in zip(gradients, other[3], strict=True):
        assert (a is None and b is None) or torch.equal(a, b)
    assert all(torch.equal(value, other[4][name]) for name, value in values.items())


def bilinear(small, height, width):
    """With pixel centers at halves, as an independent loop."""
    large = np.zeros((height, width))
    h, w = small.shape
    for i in range(height):
        y = min(max((i + 0.5) * h / height - 0.5, 0), h - 1)
        for j in range(width):
            x = min(max((j + 0.5) * w / width - 0.5, 0), w - 1)
            y0, x0 = int(y), int(x)
            y1, x1 = min(y0 + 1, h - 1), min(x0 + 1, w - 1)
            a, b = y - y0, x - x0
            large[i, j] = (1 - a) * ((1 - b) * small[y0, x0] + b * small[y0, x1]) + a * (
                (1 - b) * small[y1, x0] + b * small[y1, x1]
            )
    return large


class TestGradCam:
    @torch.no_grad()
    def expected(self, network, images, classes):
        """By hand: behind the ReLU the logit is linear in the mean of each map, so alpha_c = weight_c / places."""
        network.eval()
        maps = torch.relu(network.maps(images)).double().numpy()
        weights = network.head.weight.double().numpy()
        results = []
        for i in range(len(images)):
            alpha = weights[classes[i]] / maps[i, 0].size
            small = np.maximum((alpha[:, None, None] * maps[i]).sum(0), 0)
            results.append(bilinear(small, *images.shape[2:]))
        return np.stack(results)

    def test_it_is_the_formula(self, network, images):
        classes = torch.tensor([0, 1, 2, 1, 0])
        got = grad_cam(network, images, network.relu, classes=classes, normalize=False, batch_size=2)
        expected = self.expected(network, images, classes.tolist())
        assert expected.max() > 0
        np.testing.assert_allclose(got.numpy(), expected, atol=1e-6 * expected.max())

    def test_in_front_of_an_activation_in_place(self, network, images):
        """The maps are those in front of it, though it overwrites them; its gradient is that of the ReLU."""
        network.eval()
        with torch.no_grad():
            maps = network.maps(images).double().numpy()
        weights = network.head.weight.detach().double().numpy()
        alpha = weights[1][None, :] * (maps > 0).mean((2, 3)) / maps[0, 0].size
        small = np.maximum((alpha[:, :, None, None] * maps).sum(1), 0)
        expected = np.stack([bilinear(each, 16, 12) for each in small])
        got = grad_cam(network, images, "maps", classes=torch.ones(5, dtype=torch.int64), normalize=False)
        np.testing.assert_allclose(got.numpy(), expected, atol=1e-6 * expected.max())

    def test_the_answer_is_the_class_where_none_is_given(self, network, images):
        with torch.no_grad():
            logits = network.eval()(images)
            network.head.bias -= logits.mean(0)
            answers = (logits - logits.mean(0)).argmax(1)
        assert len(set(answers.tolist())) > 1
        assert torch.equal(grad_cam(network, images), grad_cam(network, images, classes=answers))

    def test_normalized_maps_reach_from_0_to_1(self, network, images):
        maps = grad_cam(network, images, "relu")
        raw = grad_cam(network, images, "relu", normalize=False)
        for one, other in zip(maps, raw, strict=True):
            low, high = other.min(), other.max()
            assert high > low
            torch.testing.assert_close(one, (other - low) / (high - low))

    @pytest.mark.parametrize("mode", [True, False])
    def test_the_network_is_left_as_it_was(self, network, images, mode):
        network.train(mode)
        network.maps[1].train(not mode)
        network.head.weight.requires_grad_(False)
        network.maps[0].weight.grad = torch.ones_like(network.maps[0].weight)
        network.maps.register_forward_hook(lambda *_: None)
        before, pixels = state(network), images.clone()
        with torch.no_grad():
            one = grad_cam(network, images)
            gradient_saliency(network, images)
        same(before, state(network))
        assert torch.equal(images, pixels)
        assert not images.requires_grad
        assert not one.requires_grad

    def test_it_is_left_so_after_an_error(self, network, images):
        before = state(network.train())
        with pytest.raises(ValueError, match=r"layer must have outputs \[B, C, h, w\], got \(5, 3\)"):
            grad_cam(network, images, "head")
        with pytest.raises(ValueError, match=r"classes must lie in \[0, 3\), got 0 to 3"):
            grad_cam(network, images, classes=torch.tensor([0, 1, 2, 3, 0]))
        with pytest.raises(ValueError, match=r"neurons must lie in \[0, 3\), got 3 to 3"):
            gradient_saliency(network, images, [3])
        same(before, state(network))

    def test_the_map_of_a_class_lies_on_its_object(self):
        """Maps that see red and blue, and classes that count them."""
        network = nn.Sequential(
            nn.Conv2d(3, 2, 1, bias=False), nn.ReLU(), nn.AvgPool2d(20), nn.Flatten(), nn.Linear(2, 2)
        )
        with torch.no_grad():
            network[0].weight.copy_(torch.tensor([[1.0, -1, -1], [-1, -1, 1]])[..., None, None])
            network[4].weight.copy_(torch.eye(2))
        image = torch.zeros(1, 3, 20, 20)
        image[0, 0, 2:8, 3:9] = 1
        image[0, 2, 11:18, 10:19] = 1
        images = image.expand(2, -1, -1, -1)
        boxes = [torch.tensor([[3, 2, 9, 8]]), torch.tensor([[10, 11, 19, 18]])]
        masks = box_masks(boxes, (20, 20))
        maps = grad_cam(network, images, network[1], classes=torch.tensor([0, 1]))
        assert goodness(maps, masks).by_image.tolist() == [1, 1]
        assert goodness(maps, masks.flip(0)).mean == 0
        assert spread(maps).area.tolist() == [36 / 400, 63 / 400]
        assert goodness(gradient_saliency(network, images, [0]), masks, threshold=0).by_image.tolist() == [1, 0]

    def test_frozen_networks_have_maps_too(self, network, images):
        free = grad_cam(network, images)
        assert torch.equal(free, grad_cam(network.requires_grad_(False), images))

    def test_a_layer_that_runs_twice(self, images):
        relu = nn.ReLU()
        network = nn.Sequential(nn.Conv2d(3, 4, 3), relu, nn.Conv2d(4, 4, 3), relu, nn.AvgPool2d((12, 8)), nn.Flatten())
        with pytest.raises(ValueError, match="layer must run once in a forward pass, ran 2 times"):
            grad_cam(network, images, relu)
        assert last_maps(network, images) is network[2]

    def test_bad_input(self, network, images):
        with pytest.raises(ValueError, match="layer must be the name of a part of the network, got 'layer4'"):
            grad_cam(network, images, "layer4")
        with pytest.raises(ValueError, match="layer must be a part of the network, got another ReLU"):
            grad_cam(network, images, nn.ReLU())
        with pytest.raises(ValueError, match=r"classes must be integers \[5\], got torch.int64 \(4,\)"):
            grad_cam(network, images, classes=torch.zeros(4, dtype=torch.int64))
        with pytest.raises(ValueError, match="images must be floating point"):
            grad_cam(network, images.byte())
        images[2] = np.nan
        with pytest.raises(ValueError, match="outputs must be finite"):
            grad_cam(network, images)
        with pytest.raises(ValueError, match="outputs must be finite"):
            gradient_saliency(network, images)

    def test_no_part_with_maps(self, images):
        with pytest.raises(ValueError, match=r"must have a part with outputs \[B, C, h, w\] that runs once"):
            grad_cam(nn.Sequential(nn.Flatten(), nn.Linear(576, 2)), images)

    def test_outputs_without_a_gradient(self, images):
        class Deaf(Small):
            def forward(self, x):
                return super().forward(x).detach()

        with pytest.raises(ValueError, match="must depend on the layer by a gradient"):
            grad_cam(Deaf(), images, "relu")
        with pytest.raises(ValueError, match="must depend on the images by a gradient"):
            gradient_saliency(Deaf(), images)


class TestGradientSaliency:
    def test_of_a_linear_network_it_is_its_greatest_weight(self, images):
        network = nn.Sequential(nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(576, 4))
        weights = network[2].weight.detach().numpy().reshape(4, 3, 16, 12)
        for neurons in (None, [2], [3, 0]):
            some = weights if neurons is None else weights[neurons]
            passed = images.numpy()[:, None] > 0
            expected = np.abs(some[None] * passed).max(axis=(1, 2))
            np.testing.assert_array_equal(gradient_saliency(network, images, neurons, batch_size=2), expected)

    def test_each_image_has_neurons_of_its_own(self, network, images):
        own = torch.tensor([[0], [1], [2], [0], [1]])
        got = gradient_saliency(network, images, own, batch_size=3)
        for i, neuron in enumerate(own[:, 0].tolist()):
            torch.testing.assert_close(got[i], gradient_saliency(network, images[i : i + 1], [neuron])[0])

    def test_bad_neurons(self, network, images):
        with pytest.raises(ValueError, match="neurons must be integers"):
            gradient_saliency(network, images, [])
        with pytest.raises(ValueError, match="neurons must be at least 0, got -1"):
            gradient_saliency(network, images, [-1])


class TestNormalized:
    def test_constant_maps(self):
        maps = torch.stack([torch.zeros(2, 2), torch.full((2, 2), 3.0), torch.tensor([[1.0, 2], [3, 5]])])
        expected = torch.stack([torch.zeros(2, 2), torch.ones(2, 2), torch.tensor([[0, 0.25], [0.5, 1]])])
        assert torch.equal(normalized(maps), expected)

    def test_a_nan_is_not_hidden(self):
        assert normalized(torch.tensor([[[0, np.nan], [1, 2]]])).isnan().all()


class TestGoodness:
    def test_it_is_the_formula(self):
        rng = np.random.default_rng(0)
        maps, masks = rng.random((6, 9, 7)), rng.random((6, 9, 7)) < 0.3
        expected = [(s * b).sum() / (b.sum() + np.maximum(s - b, 0).sum()) for s, b in zip(maps, masks, strict=True)]
        got = goodness(torch.from_numpy(maps), torch.from_numpy(masks))
        np.testing.assert_allclose(got.by_image, expected, rtol=1e-6)
        assert got.mean == pytest.approx(np.mean(expected), rel=1e-6)

    def test_with_a_threshold_it_is_intersection_over_union(self):
        rng = np.random.default_rng(1)
        maps, masks = 7 * rng.random((6, 9, 7)), rng.random((6, 9, 7)) < 0.3
        above = maps > 3
        expected = (above & masks).sum((1, 2)) / (above | masks).sum((1, 2))
        got = goodness(torch.from_numpy(maps), torch.from_numpy(masks), threshold=3)
        np.testing.assert_allclose(got.by_image, expected, rtol=1e-6)

    def test_perfect_and_worst(self):
        masks = torch.zeros(2, 4, 4, dtype=torch.bool)
        masks[:, :2] = True
        maps = torch.stack([masks[0].float(), (~masks[1]).float()])
        assert goodness(maps, masks).by_image.tolist() == [1, 0]

    def test_bad_input(self):
        maps, masks = torch.rand(2, 4, 4), torch.ones(2, 4, 4, dtype=torch.bool)
        empty = masks.clone()
        empty[1] = False
        with pytest.raises(ValueError, match=r"at least one pixel each, got none for image 1 \(1 such\)"):
            goodness(maps, empty)
        with pytest.raises(ValueError, match=r"lie in \[0, 1\] unless there is a threshold"):
            goodness(2 * maps + 1, masks)
        with pytest.raises(ValueError, match="must be at least 0"):
            goodness(-maps, masks, threshold=0.5)
        with pytest.raises(ValueError, match="hold no NaN"):
            goodness(maps * np.nan, masks)
        with pytest.raises(ValueError, match=r"\(2, 4, 4\) and \(2, 4, 5\)"):
            goodness(maps, torch.ones(2, 4, 5, dtype=torch.bool))
        with pytest.raises(ValueError, match=r"masks must be bool, got torch.float32"):
            goodness(maps, masks.float())


class TestBoxes:
    def test_pixels_whose_centers_are_inside(self):
        boxes = [torch.tensor([[1, 0, 3, 2], [4.4, 3.5, 9, 9]]), torch.tensor([[0.5, 0.5, 1.5, 1.6]])]
        expected = np.zeros((2, 4, 6), dtype=bool)
        expected[0, 0:2, 1:3] = True
        expected[0, 3, 4:] = True
        expected[1, 0:2, 0] = True  # a center on the left edge is inside, one on the right edge is not
        np.testing.assert_array_equal(box_masks(boxes, (4, 6)), expected)

    def test_bad_boxes(self):
        with pytest.raises(ValueError, match=r"boxes of image 0 must have shape \[n, 4\] with n >= 1, got \(0, 4\)"):
            box_masks([torch.zeros(0, 4)], (4, 4))
        with pytest.raises(ValueError, match="boxes of image 1 must have left < right"):
            box_masks([torch.tensor([[0, 0, 1, 1]]), torch.tensor([[2, 0, 2, 1]])], (4, 4))
        with pytest.raises(ValueError, match="at least one image"):
            box_masks([], (4, 4))


class TestSpread:
    def test_it_is_the_formulas(self):
        maps = np.random.default_rng(0).random((5, 8, 6)) ** 4
        got = spread(torch.from_numpy(maps))
        for i, each in enumerate(maps):
            shares = each / each.sum()
            assert got.area[i].item() == (each > each.max() / 2).mean()
            assert got.entropy[i].item() == pytest.approx(-(shares * np.log(shares)).sum(), rel=1e-12)
        assert got.mean_area == pytest.approx(got.area.mean().item())
        assert got.empty == 0

    def test_the_ends(self):
        one = torch.zeros(4, 5)
        one[2, 3] = 7
        got = spread(torch.stack([one, torch.full((4, 5), 0.2)]))
        assert got.area.tolist() == [1 / 20, 1]
        assert got.entropy.tolist() == pytest.approx([0, np.log(20)])

    def test_a_map_of_zeros_has_none(self):
        got = spread(torch.stack([torch.zeros(4, 5), torch.ones(4, 5)]))
        assert got.area.isnan().tolist() == got.entropy.isnan().tolist() == [True, False]
        assert (got.mean_area, got.empty) == (1, 1)
        assert np.isnan(spread(torch.zeros(1, 4, 5)).mean_area)
        with pytest.raises(ValueError, match="maps must be at least 0, got -1"):
            spread(-torch.ones(1, 4, 5))


class TestSheet:
    def test_a_row_an_image_and_a_column_a_network(self, images, tmp_path):
        pytest.importorskip("matplotlib", reason="needs matplotlib")
        from texfilters.evaluate import figures
        from texfilters.evaluate.saliency_figure import saliency_sheet

        maps = torch.zeros(5, 16, 12)
        maps[0, :8] = 1
        boxes = [torch.tensor([[1, 2, 6, 9]])] * 5
        sheet = saliency_sheet(
            images.sigmoid(), {"plain": maps, "diffused": 1 - maps}, labels=list("abcde"), boxes=boxes
        )
        assert len(sheet.axes) == 15
        assert [axes.get_title() for axes in sheet.axes[:6]] == [
            "a", "plain\narea 50 %", "diffused\narea 50 %", "b", "no map", "area 100 %",
        ]  # fmt: skip
        # Heat where the map is 1, the gray image where it is 0.
        shown = torch.from_numpy(np.array(sheet.axes[1].get_images()[0].get_array()))
        assert (shown[:8].std(-1) > 0.05).all()
        assert (shown[8:].std(-1) < 1e-3).all()
        figures.save(sheet, tmp_path / "sheet.png")
        assert (tmp_path / "sheet.png").stat().st_size > 5000

    def test_bad_input(self, images):
        pytest.importorskip("matplotlib", reason="needs matplotlib")
        from texfilters.evaluate.saliency_figure import saliency_sheet

        maps = torch.zeros(5, 16, 12)
        with pytest.raises(ValueError, match=r"maps of plain must have shape \(5, 16, 12\), got \(4, 16, 12\)"):
            saliency_sheet(images, {"plain": maps[:4]})
        with pytest.raises(ValueError, match="at least one network"):
            saliency_sheet(images, {})
        with pytest.raises(ValueError, match="labels must be one an image, 5, got 1"):
            saliency_sheet(images, {"plain": maps}, labels=["a"])


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_as_on_the_cpu(network, images):
    network.double()
    images = images.double()
    own = torch.arange(5)[:, None] % 3
    expected = grad_cam(network, images), gradient_saliency(network, images, own)
    network.cuda()
    got = grad_cam(network, images, batch_size=2), gradient_saliency(network, images, own, batch_size=2)
    for one, other in zip(got, expected, strict=True):
        assert one.device.type == "cuda"
        torch.testing.assert_close(one.cpu(), other, atol=1e-5, rtol=1e-5)
    masks = expected[0] > 0.5
    assert goodness(got[0], masks.cuda()).mean == pytest.approx(goodness(expected[0], masks).mean, abs=1e-4)
    assert spread(got[0]).mean_entropy == pytest.approx(spread(expected[0]).mean_entropy, abs=1e-4)

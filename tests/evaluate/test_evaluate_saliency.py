"""Grad-CAM and gradient saliency against formulas in NumPy, and a network that is left as it was."""

import numpy as np
import pytest
import torch
from torch import nn

from texfilters.evaluate.saliency import box_masks, goodness, grad_cam, gradient_saliency, last_maps, spread


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


class Nothing(nn.Module):
    def forward(self, x):
        return x[:, :0]


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

    @pytest.mark.parametrize("made_inside", [False, True])
    def test_in_inference_mode(self, network, images, made_inside):
        expected = grad_cam(network, images), gradient_saliency(network, images, [1])
        with torch.inference_mode():
            given = images + 0 if made_inside else images
            got = grad_cam(network, given), gradient_saliency(network, given, [1])
        for one, other in zip(got, expected, strict=True):
            assert torch.equal(one, other)

    def test_a_compiled_network(self, network, images):
        """Its parts go by their own names, and hooks reach them though it has run without."""
        network.eval()
        expected = grad_cam(network, images)
        compiled = torch.compile(network, backend="eager")
        with torch.no_grad():
            compiled(images)
        for layer in (None, "relu", network.relu, "_orig_mod.relu"):
            assert torch.equal(grad_cam(compiled, images, layer), expected)

    def test_autocast_of_the_caller(self, network, images):
        expected = grad_cam(network, images)
        with torch.autocast("cpu", torch.bfloat16):
            got = grad_cam(network, images)
        assert got.dtype == torch.float32
        assert (got - expected).abs().max() < 0.05

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

    def test_tokens_are_no_maps(self):
        """A transformer: maps of patches at first, heads x tokens x numbers in between, which are four axes too."""

        class Attention(nn.Module):
            def __init__(self):
                super().__init__()
                self.patches, self.norm, self.head = nn.Conv2d(3, 8, 4, stride=4), nn.LayerNorm(4), nn.Linear(8, 3)

            def forward(self, x):
                tokens = self.patches(x).flatten(2).mT
                heads = self.norm(tokens.unflatten(2, (2, 4)).transpose(1, 2))
                return self.head(heads.transpose(1, 2).flatten(2).mean(1))

        network = Attention()
        with pytest.raises(ValueError, match=r"network must end in maps.*got \[1, 2, 16, 4\] after them: give a layer"):
            grad_cam(network, torch.randn(2, 3, 16, 16))
        assert grad_cam(network, torch.randn(2, 3, 16, 16), "patches").shape == (2, 16, 16)

    def test_maps_with_channels_last_are_no_maps(self):
        class Windows(nn.Module):
            def __init__(self):
                super().__init__()
                self.patches, self.norm, self.head = nn.Conv2d(3, 24, 4, stride=4), nn.LayerNorm(24), nn.Linear(24, 3)

            def forward(self, x):
                return self.head(self.norm(self.patches(x).movedim(1, -1)).mean((1, 2)))

        with pytest.raises(ValueError, match=r"got \[1, 4, 4, 24\] after them: give a layer"):
            last_maps(Windows(), torch.randn(1, 3, 16, 16))

    def test_of_torchvisions_networks(self):
        models = pytest.importorskip("torchvision.models", reason="needs torchvision")
        x = torch.randn(1, 3, 64, 48)
        for name, part in (
            ("resnet18", "layer4"),
            ("mobilenet_v3_small", "features"),
            ("squeezenet1_1", "classifier.2"),
            ("densenet121", "features"),
            ("swin_t", "permute"),
        ):
            network = models.get_model(name, num_classes=3)
            assert last_maps(network, x) is network.get_submodule(part), name

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
        with pytest.raises(ValueError, match=r"neurons must be integers \[5, 1\], got torch.int64 \(\)"):
            gradient_saliency(network, images, torch.tensor(1))
        with pytest.raises(ValueError, match=r"network must return \[B, K\] for 5 images, got \(5, 0\)"):
            gradient_saliency(nn.Sequential(nn.Flatten(), nn.Identity(), Nothing()), images)
        with pytest.raises(ValueError, match="neurons must be integers"):
            gradient_saliency(network, images, [])
        with pytest.raises(ValueError, match="neurons must be at least 0, got -1"):
            gradient_saliency(network, images, [-1])


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

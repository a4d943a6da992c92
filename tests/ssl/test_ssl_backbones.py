"""Backbones: torchvision's networks without their classifiers, and nothing else changed."""

import pytest
import torch

pytest.importorskip("lightning", reason="needs lightning")
torchvision = pytest.importorskip("torchvision", reason="needs torchvision")

from torch import nn  # noqa: E402

from texfilters.ssl import Backbone  # noqa: E402
from texfilters.ssl._norm import SplitBatchNorm2d  # noqa: E402

KNOWN = torchvision.models.list_models(module=torchvision.models)
# One of every family; RegNet computes its widths with tensors, which takes more than a device without numbers.
FAMILIES = [
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "googlenet", "inception_v3", "maxvit_t", "mnasnet0_5",
    "mobilenet_v2", "mobilenet_v3_small", "resnet50", "shufflenet_v2_x0_5", "squeezenet1_0", "swin_t", "vgg11_bn",
    "vit_b_16",
]  # fmt: skip


def empty(name, **options):
    with torch.device("meta"):
        return Backbone(name, **options)


def shapes(backbone):
    """Of features and maps for two images."""
    image = torch.empty(2, 3, 224, 224, device="meta")
    features = tuple(backbone(image).shape)
    return features, None if backbone.map_dim is None else tuple(backbone.maps(image).shape[:2])


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family(name):
    backbone = empty(name)
    assert shapes(backbone) == ((2, backbone.dim), None if backbone.map_dim is None else (2, backbone.map_dim))


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in KNOWN if not name.startswith("regnet")])
def test_every_network(name):
    backbone = empty(name)
    assert shapes(backbone)[0] == (2, backbone.dim)


@pytest.mark.parametrize(
    ("name", "dim", "map_dim"),
    [
        ("resnet18", 512, 512),
        ("mobilenet_v3_small", 1024, 576),
        ("squeezenet1_1", 512, 512),
        ("regnet_x_400mf", 400, 400),
        ("shufflenet_v2_x0_5", 1024, None),
    ],
)
def test_features_are_what_torchvisions_classifier_would_have_seen(name, dim, map_dim):
    whole = torchvision.models.get_model(name, weights=None).eval()
    backbone = Backbone(name).eval()
    assert (backbone.dim, backbone.map_dim) == (dim, map_dim)
    weights = whole.state_dict()
    own = backbone.model.state_dict()
    assert set(own) <= set(weights)
    assert {key.split(".")[0] for key in set(weights) - set(own)} <= {"fc", "classifier"}
    backbone.model.load_state_dict({key: weights[key] for key in own})

    seen = []
    if name.startswith("squeezenet"):  # classifies with a convolution of dropped-out maps, which then are averaged
        whole.classifier[0].register_forward_hook(lambda _, inputs, output: seen.append(output.mean((2, 3))))
    else:
        last = [module for module in whole.modules() if isinstance(module, nn.Linear)][-1]
        last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    images = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        whole(images)
        torch.testing.assert_close(backbone(images), seen[0])
    assert seen[0].shape == (2, dim)


def test_no_dropout_touches_the_features():
    for name in ("efficientnet_b0", "mobilenet_v2", "mobilenet_v3_small", "googlenet"):
        model = empty(name).model
        kept = [path for path, module in model.named_modules() if isinstance(module, nn.Dropout) and module.p]
        assert not [path for path in kept if path in ("dropout", "classifier.0", "classifier.2")]


@pytest.mark.parametrize("name", ["densenet121", "mnasnet0_5", "swin_t"])
def test_maps_pooled_are_the_features(name):
    backbone = Backbone(name).eval()
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(backbone.maps(images).mean((2, 3)), backbone(images))


@pytest.mark.parametrize(
    ("name", "frozen"),
    [
        ("alexnet", ["classifier.1", "classifier.4"]), ("vgg11_bn", ["classifier.0", "classifier.3"]),
        ("convnext_tiny", ["classifier.0"]), ("resnet18", []), ("swin_t", []), ("context_free", ["fc6.0"]),
    ],
)  # fmt: skip
def test_what_no_map_depends_on_can_be_frozen(name, frozen):
    backbone = empty(name)
    backbone.train_maps_alone()
    assert backbone.training
    still = [name for name, parameter in backbone.model.named_parameters() if not parameter.requires_grad]
    assert still == [f"{layer}.{kind}" for layer in frozen for kind in ("weight", "bias")]


def test_counting_the_features_draws_nothing_and_changes_no_statistics():
    torch.manual_seed(3)
    torchvision.models.resnet18()
    expected = torch.get_rng_state()
    torch.manual_seed(3)
    backbone = Backbone("resnet18", norm_splits=2)
    assert torch.equal(torch.get_rng_state(), expected)
    assert backbone.training
    for module in backbone.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert not module.num_batches_tracked
            assert not module.running_mean.any()


def test_small_images_keep_their_size_in_the_stem():
    backbone = Backbone("resnet18", small_images=True)
    assert backbone.model.conv1.weight.shape == (64, 3, 3, 3)
    assert backbone.maps(torch.randn(2, 3, 32, 32)).shape == (2, 512, 4, 4)


def test_the_papers_small_networks():
    for name, images in (("six_layer", torch.randn(2, 3, 32, 32)), ("context_free", torch.randn(2, 3, 64, 64))):
        backbone = Backbone(name)
        assert backbone(images).shape == (2, backbone.dim)
        assert backbone.maps(images).shape[:2] == (2, backbone.map_dim)


def test_norms_are_split():
    backbone = Backbone("resnet18", norm_splits=4)
    norms = [module for module in backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == 20
    assert all(isinstance(norm, SplitBatchNorm2d) and norm.splits == 4 for norm in norms)
    assert backbone.model.state_dict().keys() == Backbone("resnet18").model.state_dict().keys()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("resnet17", {}), ValueError, r"backbone must be one of .*resnet18.*got 'resnet17'"),
        ((18, {}), TypeError, "backbone must be a name, got int"),
        (("fasterrcnn_resnet50_fpn", {}), ValueError, "backbone must be one of"),
        (("vgg11", {"small_images": True}), ValueError, "small_images is for ResNets, got 'vgg11'"),
        (("resnet18", {"small_images": 1}), TypeError, "small_images must be a bool, got int"),
        (("resnet18", {"norm_splits": 0}), ValueError, "norm_splits must be at least 1, got 0"),
    ],
)
def test_bad_settings(arguments, error, message):
    with torch.device("meta"), pytest.raises(error, match=message):
        Backbone(arguments[0], **arguments[1])


def test_a_network_without_maps_says_so():
    with pytest.raises(ValueError, match="vit_b_16 has no feature maps"):
        empty("vit_b_16").maps(torch.empty(1, 3, 224, 224, device="meta"))

"""The networks that are pretrained: torchvision's without their classifiers, and small ones of the papers."""

import difflib
import importlib

import torch
import torchvision
from torch import Tensor, nn
from torch.func import functional_call
from torchvision.models import (
    DenseNet,
    GoogLeNet,
    Inception3,
    MNASNet,
    RegNet,
    ResNet,
    SqueezeNet,
    SwinTransformer,
)

from texfilters import _check
from texfilters.ssl import _norm

# Name: module, class, and side of the images that it is made for.
_OWN = {
    "six_layer": ("texfilters.ssl.six_layer", "SixLayer", 128),
    "context_free": ("texfilters.ssl.context_free", "ContextFree", 64),
}


class Backbone(nn.Module):
    """A network whose output is its features.

    Args:
        name: one of `torchvision.models.list_models(module=torchvision.models)`, such as `"resnet50"`, or
            `"six_layer"`, the small network of the rotation study, or `"context_free"`, the trunk of the Jigsaw paper.
        small_images: for ResNets: a 3 x 3 stem without stride and no max-pooling, as for the 32 x 32 pixels of
            CIFAR-10.
        norm_splits: the batch is normalized in this many parts, each by its own statistics, as on as many GPUs. 1 is
            usual batch normalization.

    `model` is the network itself, its last linear layer, and the dropout before it, replaced by `nn.Identity`, so that
    its weights keep torchvision's names. `dim` is the number of features, `map_dim` that of the channels of `maps`,
    None where there are no maps.

    Raises:
        ValueError: for a name that is unknown, `small_images` for anything but a ResNet, norm_splits < 1.
    """

    def __init__(self, name: str, *, small_images: bool = False, norm_splits: int = 1) -> None:
        super().__init__()
        self.name, self.small_images = name, _check.flag("small_images", small_images)
        self.norm_splits = _check.whole("norm_splits", norm_splits, least=1)
        self.model, side = _built(name)
        if self.small_images:
            if not isinstance(self.model, ResNet):
                raise ValueError(f"small_images is for ResNets, got {name!r}")
            self.model.conv1 = nn.Conv2d(3, self.model.conv1.out_channels, 3, padding=1, bias=False)
            nn.init.kaiming_normal_(self.model.conv1.weight, mode="fan_out", nonlinearity="relu")
            self.model.maxpool = nn.Identity()
            side = 32
        _norm.split(self, self.norm_splits)
        self.dim, self.map_dim = self._dims(side)

    def forward(self, images: Tensor) -> Tensor:
        """Features `[B, dim]` of normalized images `[B, 3, H, W]`."""
        return self.model(images)

    def maps(self, images: Tensor) -> Tensor:
        """The last convolutional feature maps, `[B, map_dim, h, w]`.

        Raises:
            ValueError: if the network has none.
        """
        model = self.model
        if isinstance(model, ResNet):
            x = model.maxpool(model.relu(model.bn1(model.conv1(images))))
            return model.layer4(model.layer3(model.layer2(model.layer1(x))))
        if isinstance(model, RegNet):
            return model.trunk_output(model.stem(images))
        if isinstance(model, MNASNet):
            return model.layers(images)
        features = getattr(model, "features", None)
        if not isinstance(features, nn.Module):
            raise ValueError(f"{self.name} has no feature maps: take a ResNet or a network with `features`")
        if isinstance(model, SwinTransformer):
            return model.permute(model.norm(features(images)))
        return features(images).relu() if isinstance(model, DenseNet) else features(images)

    def train_maps_alone(self) -> None:
        """Freeze what the maps do not depend on, such as AlexNet's fc6: DDP waits for the gradients of all else.

        Raises:
            ValueError: if the network has no maps.
        """
        parameters, tensors = dict(self.named_parameters()), _without_content(self)
        leaves = [tensors[name].requires_grad_() for name in parameters]
        gradients = torch.autograd.grad(_output(self, "maps", tensors, 224).sum(), leaves, allow_unused=True)
        for parameter, gradient in zip(parameters.values(), gradients, strict=True):
            parameter.requires_grad_(gradient is not None)

    @torch.no_grad()
    def _dims(self, side: int) -> tuple[int, int | None]:
        tensors = _without_content(self)
        dim = _output(self, "forward", tensors, side).shape[1]
        try:
            return dim, _output(self, "maps", tensors, side).shape[1]
        except ValueError:
            return dim, None


class _Called(nn.Module):
    """Calls a method of a backbone, as functional_call wants a module."""

    def __init__(self, backbone: Backbone, method: str) -> None:
        super().__init__()
        self.backbone, self.method = backbone, method

    def forward(self, images: Tensor) -> Tensor:
        return getattr(self.backbone, self.method)(images)


def _without_content(backbone: Backbone) -> dict[str, Tensor]:
    tensors = {**dict(backbone.named_parameters()), **dict(backbone.named_buffers())}
    return {name: torch.empty_like(tensor, device="meta") for name, tensor in tensors.items()}


def _output(backbone: Backbone, method: str, tensors: dict[str, Tensor], side: int) -> Tensor:
    """For an image without content: nothing is computed, no statistics change and no number is drawn."""
    training, image = backbone.training, torch.empty(1, 3, side, side, device="meta")
    called = _Called(backbone, method).eval()
    try:
        return functional_call(called, {f"backbone.{name}": tensor for name, tensor in tensors.items()}, image)
    finally:
        backbone.train(training)


def _built(name: str) -> tuple[nn.Module, int]:
    """A network without a classifier, and the side of the images that it is made for."""
    if not isinstance(name, str):
        raise TypeError(f"backbone must be a name, got {type(name).__name__}")
    if name in _OWN:
        module, cls, side = _OWN[name]
        return getattr(importlib.import_module(module), cls)(), side
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        near = ", ".join(difflib.get_close_matches(name, [*_OWN, *known])) or "resnet50"
        raise ValueError(f"backbone must be one of torchvision's models or {', '.join(_OWN)} ({near}?), got {name!r}")
    builder = torchvision.models.get_model_builder(name)
    # These have classifiers on the side, used by nothing here, and warn unless told how to draw their weights.
    options = {"aux_logits": False, "init_weights": True} if name in ("googlenet", "inception_v3") else {}
    model = builder(weights=None, **options)
    _remove_classifier(model)
    return model, getattr(model, "image_size", 224)


def _remove_classifier(model: nn.Module) -> None:
    """The last linear layer and the dropout before it become identities, so that the rest keeps its names."""
    if isinstance(model, SqueezeNet):  # a convolution classifies, and pooling follows it
        for i in range(3):  # dropout, the convolution, ReLU
            model.classifier[i] = nn.Identity()
        return
    if isinstance(model, GoogLeNet | Inception3):
        model.dropout = nn.Identity()
    for name in ("fc", "classifier", "head", "heads"):
        part = getattr(model, name, None)
        if isinstance(part, nn.Linear):
            setattr(model, name, nn.Identity())
            return
        if isinstance(part, nn.Sequential) and isinstance(part[-1], nn.Linear):
            part[-1] = nn.Identity()
            if len(part) > 1 and isinstance(part[-2], nn.Dropout):
                part[-2] = nn.Identity()
            return
    raise ValueError(f"{type(model).__name__} has no classifier to take away")

"""The networks that are pretrained: torchvision's without their classifiers, and small ones of the papers."""

import inspect

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.resnet import ResNet

from texfilters.ssl import _norm, networks

_OWN = {"six_layer": networks.SixLayer, "context_free": networks.ContextFree}


class Backbone(nn.Module):
    """A network whose output is its features.

    Args:
        name: one of `torchvision.models.list_models(module=torchvision.models)`, such as `"resnet50"`, or
            `"six_layer"`, the small network of the rotation study, or `"context_free"`, the trunk of the Jigsaw paper.
        small_images: for ResNets: a 3 x 3 stem without stride and no max-pooling, as for the 32 x 32 pixels of
            CIFAR-10.
        norm_splits: the batch is normalized in this many parts, each by its own statistics, as on as many GPUs. 1 is
            usual batch normalization.

    `model` is the network itself, its classifier replaced by `nn.Identity`, so that its weights keep torchvision's
    names. `dim` is the number of features, `map_dim` that of the channels of `maps`.

    Raises:
        ValueError: for a name that is unknown, `small_images` for anything but a ResNet.
    """

    def __init__(self, name: str, *, small_images: bool = False, norm_splits: int = 1) -> None:
        super().__init__()
        self.name, self.small_images = name, small_images
        if name in _OWN:
            self.model = _OWN[name]()
        else:
            known = torchvision.models.list_models(module=torchvision.models)
            if name not in known:
                raise ValueError(f"backbone must be one of {sorted(_OWN)} or of torchvision's models, got {name!r}")
            builder = torchvision.models.get_model_builder(name)
            # GoogLeNet and Inception have classifiers on the side, used by nothing here.
            options = {"aux_logits": False} if "aux_logits" in inspect.signature(builder).parameters else {}
            self.model = builder(weights=None, **options)
            _without_classifier(self.model)
        if small_images:
            if not isinstance(self.model, ResNet):
                raise ValueError(f"small_images is for ResNets, got {name!r}")
            width = self.model.conv1.out_channels
            self.model.conv1 = nn.Conv2d(3, width, 3, padding=1, bias=False)
            nn.init.kaiming_normal_(self.model.conv1.weight, mode="fan_out", nonlinearity="relu")
            self.model.maxpool = nn.Identity()
        _norm.split(self, norm_splits)
        self.dim, self.map_dim = self._dims()

    def forward(self, images: Tensor) -> Tensor:
        """Features `[B, dim]` of normalized images `[B, 3, H, W]`."""
        return self.model(images)

    def maps(self, images: Tensor) -> Tensor:
        """The last convolutional feature maps, `[B, map_dim, h, w]`."""
        model = self.model
        if isinstance(model, ResNet):
            x = model.maxpool(model.relu(model.bn1(model.conv1(images))))
            return model.layer4(model.layer3(model.layer2(model.layer1(x))))
        features = getattr(model, "features", None)
        if not isinstance(features, nn.Module):
            raise ValueError(f"{self.name} has no feature maps: take a ResNet or a network with `features`")
        return features(images)

    @torch.no_grad()
    def _dims(self) -> tuple[int, int | None]:
        was_training = self.training
        self.eval()
        side = 224 if not self.small_images else 32
        image = torch.zeros(1, 3, side, side)
        dim = self(image).shape[1]
        try:
            map_dim = self.maps(image).shape[1]
        except ValueError:
            map_dim = None
        self.train(was_training)
        return dim, map_dim


def _without_classifier(model: nn.Module) -> None:
    """The last linear layer becomes the identity; so does the dropout that belongs to it."""
    for name in ("fc", "classifier", "head", "heads"):
        part = getattr(model, name, None)
        if part is None:
            continue
        if isinstance(part, nn.Sequential) and any(not isinstance(layer, nn.Dropout) for layer in part[:-1]):
            part[-1] = nn.Identity()
        else:
            setattr(model, name, nn.Identity())
        return
    raise ValueError(f"{type(model).__name__} has no classifier to take away")

"""The pretrained network as a file of weights, under the names by which torchvision, timm and detectron2 know them."""

import json
import os
import pickle
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torchvision.models import DenseNet, EfficientNet, Inception3, MobileNetV2, ResNet

from texfilters import _check
from texfilters.evaluate._training import evaluating
from texfilters.ssl._backbones import Backbone
from texfilters.ssl._checkpoint import KEY, load_backbone, read

Format = Literal["torchvision", "timm", "detectron2"]

_SUFFIXES = {
    "torchvision": [".safetensors", ".pth"],
    "timm": [".safetensors", ".pth"],
    "detectron2": [".pkl", ".safetensors", ".pth"],
}

# Where timm calls one of the networks that it shares with torchvision by another name.
_TIMM = {"mobilenet_v2": "mobilenetv2_100"}


@dataclass(frozen=True)
class Export:
    """Weights for another library.

    Attributes:
        format: the library.
        model: what that library calls the network.
        tensors: the weights and buffers by their names there; none of the classifier's, which pretraining has not.
        usage: lines that say how to load them.
    """

    format: Format
    model: str
    tensors: dict[str, Tensor]
    usage: tuple[str, ...]


def converted(backbone: Backbone, format: Format) -> Export:
    """The weights of a backbone under another library's names.

    - torchvision: every network of torchvision.models.
    - timm: ResNet, ResNeXt, Wide ResNet, DenseNet and Inception v3, whose names are torchvision's; MobileNetV2 and
      EfficientNet b0 to b7, whose tensors have the same order under other names: this needs timm, and the features of
      both are compared before anything is written. The others are built or cut up in another way there.
    - detectron2: ResNet, ResNeXt and Wide ResNet, with the stride in the 3 x 3 convolution.

    The stem of ResNets for small images fits torchvision and timm once their first layers are replaced, as `usage`
    says; detectron2 has none like it.

    Raises:
        ValueError: for a network that the library has not.
        ImportError: if timm is needed and not there.
    """
    _check.choice("format", format, ("torchvision", "timm", "detectron2"))
    if not type(backbone.model).__module__.startswith("torchvision."):
        raise ValueError(f"{format} has no {backbone.name}: it is a network of texfilters.ssl alone")
    convert = {"torchvision": _for_torchvision, "timm": _for_timm, "detectron2": _for_detectron2}[format]
    return convert(backbone)


def export(
    checkpoint: str | os.PathLike[str],
    path: str | os.PathLike[str],
    format: Format = "torchvision",
    *,
    overwrite: bool = False,
) -> Export:
    """Write the pretrained network of a checkpoint into a file for another library.

    Args:
        checkpoint: of one of the methods here.
        path: ends in `.safetensors`; or `.pth`, for `torch.load(path, weights_only=True)`; or, for detectron2, `.pkl`,
            as its own conversion of torchvision's weights writes. It appears complete or not at all.
        format: the library, see `converted`.
        overwrite: replace a file that is there.

    Returns: what was written.

    Raises:
        FileExistsError: if the file is there and not to be overwritten.
        FileNotFoundError, ValueError: as `load_backbone` and `converted`, and for another ending of the name.
    """
    _check.choice("format", format, ("torchvision", "timm", "detectron2"))
    path = Path(path)
    if path.suffix not in _SUFFIXES[format]:
        raise ValueError(f"a file for {format} must end in {' or '.join(_SUFFIXES[format])}, got {path.name}")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} is there already: give another name, or overwrite=True")
    about = read(checkpoint)[KEY]
    result = converted(load_backbone(checkpoint), format)
    views = about.get("views") or {}
    result = Export(format, result.model, result.tensors, result.usage + _preparation(format, views))
    unfinished = path.with_name(path.name + ".unfinished")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        _write(unfinished, path.suffix, result, {"method": about.get("method"), **views})
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)
    return result


def _for_torchvision(backbone: Backbone) -> Export:
    name = backbone.name
    usage = (f"model = torchvision.models.{name}()", *_stem(backbone), "model.load_state_dict(weights, strict=False)")
    return Export("torchvision", name, _tensors(backbone), (*usage, "# only the classifier's weights are missing"))


def _for_timm(backbone: Backbone) -> Export:
    name = _TIMM.get(backbone.name, backbone.name)
    if isinstance(backbone.model, ResNet | DenseNet | Inception3):
        tensors = _tensors(backbone)
    elif isinstance(backbone.model, MobileNetV2 | EfficientNet) and not name.startswith("efficientnet_v2"):
        tensors = _in_order(backbone, name)
    else:
        raise ValueError(
            f"{backbone.name} is built in another way in timm, so that weights do not fit: export it for torchvision"
        )
    usage = (f"model = timm.create_model({name!r}, num_classes=0)", *_stem(backbone), "model.load_state_dict(weights)")
    return Export("timm", name, tensors, usage)


@torch.no_grad()
def _in_order(backbone: Backbone, name: str) -> dict[str, Tensor]:
    """Timm's names in place of torchvision's, where both list the same tensors one after the other."""
    try:
        import timm
    except ModuleNotFoundError as error:
        message = f"names of {name} are asked of timm, which is not installed: pip install timm"
        raise ImportError(message, name="timm") from error
    other = timm.create_model(name, num_classes=0).eval()
    ours, theirs = _tensors(backbone), other.state_dict()
    if [tensor.shape for tensor in ours.values()] != [tensor.shape for tensor in theirs.values()]:
        raise ValueError(f"{name} of this timm has other tensors than torchvision's {backbone.name}")
    tensors = dict(zip(theirs, ours.values(), strict=True))
    other.load_state_dict(tensors)
    image = torch.linspace(-2, 2, 3 * 64 * 64).view(1, 3, 64, 64)
    with evaluating(backbone):
        features = backbone(image.to(next(backbone.parameters()).device)).cpu()
    if not torch.allclose(features, other(image), rtol=1e-3, atol=1e-5):
        raise ValueError(f"{name} of this timm gives other features than torchvision's {backbone.name}")
    return tensors


def _for_detectron2(backbone: Backbone) -> Export:
    model = backbone.model
    if not isinstance(model, ResNet):
        raise ValueError(f"detectron2 has ResNets alone, got {backbone.name}")
    if backbone.small_images:
        raise ValueError(f"detectron2 has no stem for small images, which this {backbone.name} was trained with")
    settings: dict[str, Any] = {"DEPTH": int(re.findall(r"\d+", backbone.name)[0]), "STRIDE_IN_1X1": False}
    if settings["DEPTH"] < 50:
        settings["RES2_OUT_CHANNELS"] = 64
    elif (model.groups, model.base_width) != (1, 64):
        settings |= {"NUM_GROUPS": model.groups, "WIDTH_PER_GROUP": model.base_width}
    usage = ("MODEL.WEIGHTS: this file", *(f"MODEL.RESNETS.{name}: {value}" for name, value in settings.items()))
    tensors = {_detectron2_name(name): tensor for name, tensor in _tensors(backbone).items()}
    return Export("detectron2", f"ResNet-{settings['DEPTH']}", tensors, usage)


def _detectron2_name(name: str) -> str:
    """As by detectron2's tools/convert-torchvision-to-d2.py."""
    name = re.sub(r"^(conv1|bn1)\.", r"stem.\1.", name)
    name = re.sub(r"^layer(\d)", lambda stage: f"res{int(stage[1]) + 1}", name)
    name = re.sub(r"\bbn(\d)\b", r"conv\1.norm", name)
    return name.replace("downsample.0", "shortcut").replace("downsample.1", "shortcut.norm")


def _tensors(backbone: Backbone) -> dict[str, Tensor]:
    return {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in backbone.model.state_dict().items()
    }


def _stem(backbone: Backbone) -> tuple[str, ...]:
    """What makes another library's ResNet one for small images."""
    if not backbone.small_images:
        return ()
    width = len(backbone.model.state_dict()["conv1.weight"])
    convolution = f"model.conv1 = torch.nn.Conv2d(3, {width}, 3, padding=1, bias=False)"
    return convolution, "model.maxpool = torch.nn.Identity()"


def _preparation(format: Format, views: dict[str, Any]) -> tuple[str, ...]:
    """How images have to be prepared, as far as the checkpoint says it."""
    mean, std = views.get("mean"), views.get("std")
    if mean is None or std is None:
        return ()
    if format == "detectron2":
        scaled = {"PIXEL_MEAN": mean, "PIXEL_STD": std}
        lines = tuple(f"MODEL.{name}: {[round(255 * x, 3) for x in values]}" for name, values in scaled.items())
        return (*lines, 'INPUT.FORMAT: "RGB"')
    return (f"# images in RGB and [0, 1], normalized with mean {mean} and std {std}",)


def _write(path: Path, suffix: str, result: Export, about: dict[str, Any]) -> None:
    if suffix == ".safetensors":
        from safetensors.torch import save_file

        metadata = {"format": "pt", "library": result.format, "model": result.model, "usage": "\n".join(result.usage)}
        save_file(result.tensors, path, metadata | {name: json.dumps(value) for name, value in about.items()})
        return
    content: dict[str, Any] = dict(result.tensors)
    if result.format == "detectron2":
        arrays = {k: v.numpy() for k, v in result.tensors.items()} if suffix == ".pkl" else content
        content = {"model": arrays, "__author__": "texfilters", "matching_heuristics": True}
    with path.open("wb") as file:
        if suffix == ".pkl":
            pickle.dump(content, file)
        else:
            torch.save(content, file)

"""Where a network looks: Grad-CAM and gradient saliency, how well they meet boxes, how far they spread."""

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from texfilters import _check
from texfilters.evaluate._training import evaluating


@dataclass(frozen=True)
class Goodness:
    """How well maps meet boxes; 1 is best."""

    mean: float
    by_image: Tensor  # float64 [N]


@dataclass(frozen=True)
class Spread:
    """How far maps spread. A map of zeros or with a NaN has NaN, and is left out of the means."""

    mean_area: float
    mean_entropy: float
    empty: int  # maps left out
    area: Tensor  # float64 [N], share of the pixels above half of the map's maximum
    entropy: Tensor  # float64 [N], nats, of the map divided by its sum; log(H W) is the most


def grad_cam(
    network: nn.Module,
    images: Tensor,
    layer: nn.Module | str | None = None,
    *,
    classes: Tensor | None = None,
    batch_size: int = 32,
    normalize: bool = True,
) -> Tensor:
    """Which places of a layer's maps speak for a class.

    With y the logit of the class and A_c the layer's maps, `alpha_c = mean over places of dy/dA_c` and the result is
    `relu(sum_c alpha_c A_c)`, enlarged bilinearly to the size of the images. The network is in evaluation mode
    meanwhile; its modes, parameters, their gradients and its hooks are afterwards as they were.

    Args:
        network: from images to logits `[B, K]`.
        images: its inputs, floating point `[N, C, H, W]`, on any device; batches of them go to the network's.
        layer: of the network, or its name in `named_modules()`, with outputs `[B, C, h, w]`; None is `last_maps`.
        classes: integers `[N]`; None is what the network answers for each image.
        batch_size: images of one forward and backward pass.
        normalize: as `normalized` does.

    Returns: float32 `[N, H, W]` on the network's device.

    Raises:
        ValueError: for a layer that is not the network's, does not run exactly once, has other outputs or no influence
            on the logits; logits of another shape or not finite; classes outside of `[0, K)`.

    Source: Selvaraju et al. 2017, arXiv:1610.02391, equations 1 and 2.
    """
    device = _checked(network, images, batch_size)
    _whole_numbers("classes", classes, (len(images),))
    maps = []
    with evaluating(network), torch.enable_grad():
        if layer is None:
            layer = last_maps(network, images[:1])
        with _outputs(_found(network, layer)) as taken:
            for start in range(0, len(images), batch_size):
                part = slice(start, start + batch_size)
                taken.clear()
                logits = _rows(network(images[part].to(device).detach()), len(images[part]))
                if len(taken) != 1:
                    raise ValueError(f"layer must run once in a forward pass, ran {len(taken)} times")
                chosen = logits.argmax(1) if classes is None else _in_range(classes[part], logits, "classes")
                (gradient,) = _gradient(logits.gather(1, chosen[:, None]).sum(), taken[0], "layer")
                weights = gradient.float().mean((2, 3), keepdim=True)
                maps.append((weights * taken[0].detach().float()).sum(1, keepdim=True).relu())
    small = torch.cat(maps)
    large = nn.functional.interpolate(small, size=images.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
    return normalized(large) if normalize else large


def gradient_saliency(
    network: nn.Module,
    images: Tensor,
    neurons: Sequence[int] | Tensor | None = None,
    *,
    batch_size: int = 32,
    normalize: bool = False,
) -> Tensor:
    """How strongly single pixels move a network's outputs: `max over neurons and channels of |d output / d pixel|`.

    One backward pass a neuron. The network is left as `grad_cam` leaves it.

    Args:
        network: from images to `[B, K]`: logits, or an embedding.
        images: its inputs, floating point `[N, C, H, W]`, on any device.
        neurons: which of the K outputs, for all images, or integers `[N, n]` for each image its own; None is all K.
        batch_size: images of one forward pass.
        normalize: as `normalized` does; without it `goodness` can take a threshold in the gradients' own units.

    Returns: float32 `[N, H, W]` on the network's device.

    Raises:
        ValueError: for outputs of another shape, not finite, or without a gradient to the images; for neurons outside
            of `[0, K)`, or none.

    Source: Simonyan et al. 2014, arXiv:1312.6034, section 3, for one neuron.
    """
    device = _checked(network, images, batch_size)
    if neurons is not None and not isinstance(neurons, Tensor):
        neurons = torch.tensor([_check.whole("neurons", neuron, least=0) for neuron in neurons], dtype=torch.int64)
        neurons = neurons.expand(len(images), -1)
    if neurons is not None:
        _whole_numbers("neurons", neurons, (len(images), max(1, neurons.shape[-1])))
    maps = []
    with evaluating(network), torch.enable_grad():
        for start in range(0, len(images), batch_size):
            part = slice(start, start + batch_size)
            pixels = images[part].to(device).detach().requires_grad_()
            outputs = _rows(network(pixels.clone()), len(pixels))  # a clone: the network may begin in place
            if neurons is not None:
                outputs = outputs.gather(1, _in_range(neurons[part], outputs, "neurons"))
            strongest = torch.zeros((), device=device)
            for column in outputs.unbind(1):
                (gradient,) = _gradient(column.sum(), pixels, "images", retain_graph=True)
                strongest = torch.maximum(strongest, gradient.float().abs().amax(1))
            maps.append(strongest)
    found = torch.cat(maps)
    return normalized(found) if normalize else found


def last_maps(network: nn.Module, images: Tensor) -> nn.Module:
    """The part of a network that last finished maps `[B, C, h, w]` of more than one place: `layer4` of a ResNet.

    Args:
        images: inputs of the network, `[N, C, H, W]`, of which one is tried.

    Raises:
        ValueError: if no part has such outputs.
    """
    device = _checked(network, images, 1)
    finished: list[nn.Module] = []

    def note(module: nn.Module, _: object, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and output.shape[2] * output.shape[3] > 1:
            finished.append(module)

    handles = [part.register_forward_hook(note) for part in network.modules() if part is not network]
    try:
        with evaluating(network), torch.no_grad():
            network(images[:1].to(device))
    finally:
        for handle in handles:
            handle.remove()
    for module in reversed(finished):
        if finished.count(module) == 1:
            return module
    raise ValueError("network must have a part with outputs [B, C, h, w] that runs once, got none: give a layer")


def normalized(maps: Tensor) -> Tensor:
    """Each map `[..., H, W]` brought to [0, 1] by its minimum and maximum.

    A map of zeros stays zeros, another constant one becomes ones, and one with a NaN becomes NaN.
    """
    low, high = maps.amin((-2, -1), keepdim=True), maps.amax((-2, -1), keepdim=True)
    low = torch.where(high == low, 0, low)
    span = high - low
    return (maps - low) / torch.where(span == 0, 1, span)


def box_masks(boxes: Sequence[Tensor], size: tuple[int, int]) -> Tensor:
    """Masks of the pixels whose centers lie in at least one of an image's boxes.

    Args:
        boxes: for each image `[n, 4]`, n >= 1: left, top, right and bottom in pixels, as torchvision's `XYXY`.
        size: height and width of the masks.

    Returns: bool `[N, H, W]`.

    Raises:
        ValueError: for boxes of another shape, or of which right <= left or bottom <= top.
    """
    masks = []
    for i, corners in enumerate(boxes):
        if corners.ndim != 2 or corners.shape[1] != 4 or not len(corners):
            raise ValueError(f"boxes of image {i} must have shape [n, 4] with n >= 1, got {tuple(corners.shape)}")
        corners = corners.double()
        if not bool((corners[:, 2:] > corners[:, :2]).all()):
            raise ValueError(f"boxes of image {i} must have left < right and top < bottom, got {corners.tolist()}")
        y, x = (torch.arange(n, dtype=torch.float64, device=corners.device) + 0.5 for n in size)
        left, top, right, bottom = (corner[:, None] for corner in corners.unbind(1))
        rows, columns = (top <= y) & (y < bottom), (left <= x) & (x < right)
        masks.append((rows[:, :, None] & columns[:, None, :]).any(0))
    if not masks:
        raise ValueError("boxes must be of at least one image, got none")
    return torch.stack(masks)


def goodness(maps: Tensor, masks: Tensor, *, threshold: float | None = None) -> Goodness:
    """How well saliency maps S meet the boxes B of their images: `sum(S B) / (sum(B) + sum(max(S - B, 0)))`.

    For maps of zeros and ones this is intersection over union.

    Args:
        maps: `[N, H, W]`, >= 0, and without a threshold at most 1.
        masks: bool `[N, H, W]`, each with at least one pixel; `box_masks` makes them.
        threshold: S is 1 where a map is above it and 0 elsewhere. None takes the maps as they are.

    Raises:
        ValueError: for a mask without a pixel, maps that are NaN or out of their range, or differ in shape.
    """
    _same_shape(maps, masks)
    if not bool((maps >= 0).all()) or (threshold is None and bool((maps > 1).any())):
        rule = "be at least 0" if threshold is not None else "lie in [0, 1] unless there is a threshold"
        raise ValueError(f"maps must {rule} and hold no NaN, got {maps.min():g} to {maps.max():g}")
    empty = (~masks.flatten(1).any(1)).nonzero()[:, 0].tolist()
    if empty:
        raise ValueError(f"masks must hold at least one pixel each, got none for image {empty[0]} ({len(empty)} such)")
    salient = maps if threshold is None else maps > threshold
    salient, inside = salient.float(), masks.float()
    met = (salient * inside).sum((1, 2), dtype=torch.float64)
    outside = (salient - inside).clamp(min=0).sum((1, 2), dtype=torch.float64)
    by_image = met / (inside.sum((1, 2), dtype=torch.float64) + outside)
    return Goodness(by_image.mean().item(), by_image)


def spread(maps: Tensor) -> Spread:
    """How far saliency maps spread over their images: area above half of the maximum, and entropy.

    Args:
        maps: `[N, H, W]`, >= 0, in any units. A map of zeros has no spread: NaN.

    Raises:
        ValueError: for maps of another shape, or below 0.
    """
    _same_shape(maps, maps)
    if bool((maps < 0).any()):
        raise ValueError(f"maps must be at least 0, got {maps.min():g}")
    flat = maps.flatten(1).double()
    shares = flat / flat.sum(1, keepdim=True)
    entropy = -torch.special.xlogy(shares, shares).sum(1)
    area = (flat > flat.amax(1, keepdim=True) / 2).double().mean(1)
    area = torch.where(entropy.isnan(), math.nan, area)
    return Spread(area.nanmean().item(), entropy.nanmean().item(), int(entropy.isnan().sum()), area, entropy)


@contextlib.contextmanager
def _outputs(layer: nn.Module) -> Iterator[list[Tensor]]:
    """Collects what a layer puts out; the rest of the network goes on with a copy that has a gradient."""
    taken: list[Tensor] = []

    def take(_: nn.Module, __: object, output: object) -> Tensor:
        if not isinstance(output, Tensor) or output.ndim != 4:
            what = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise ValueError(f"layer must have outputs [B, C, h, w], got {what}")
        # Cut off what lies below, which no gradient is asked for. A clone: what follows may work in place.
        taken.append(output.detach().requires_grad_())
        return taken[-1].clone()

    handle = layer.register_forward_hook(take)
    try:
        yield taken
    finally:
        handle.remove()


def _found(network: nn.Module, layer: nn.Module | str) -> nn.Module:
    parts = dict(network.named_modules())
    if isinstance(layer, str):
        if layer not in parts:
            raise ValueError(f"layer must be the name of a part of the network, got {layer!r}")
        return parts[layer]
    if not any(part is layer for part in parts.values()):
        raise ValueError(f"layer must be a part of the network, got another {type(layer).__name__}")
    return layer


def _gradient(of: Tensor, to: Tensor, name: str, retain_graph: bool = False) -> tuple[Tensor]:
    if of.requires_grad:
        (gradient,) = torch.autograd.grad(of, to, retain_graph=retain_graph, allow_unused=True)
        if gradient is not None:
            return (gradient,)
    raise ValueError(f"the network's outputs must depend on the {name} by a gradient, got none")


def _checked(network: nn.Module, images: Tensor, batch_size: int) -> torch.device:
    """The device of a network."""
    if not isinstance(images, Tensor) or images.ndim != 4 or not images.numel() or not images.is_floating_point():
        got = f"{images.dtype} {tuple(images.shape)}" if isinstance(images, Tensor) else type(images).__name__
        raise ValueError(f"images must be floating point [N, C, H, W], at least one, got {got}")
    _check.whole("batch_size", batch_size, least=1)
    parameter = next(network.parameters(), None)
    return images.device if parameter is None else parameter.device


def _rows(outputs: Tensor, count: int) -> Tensor:
    if not isinstance(outputs, Tensor) or outputs.ndim != 2 or len(outputs) != count:
        got = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise ValueError(f"network must return [B, K] for {count} images, got {got}")
    if not bool(outputs.isfinite().all()):
        raise ValueError("the network's outputs must be finite, got NaN or infinity")
    return outputs


def _whole_numbers(name: str, value: Tensor | None, shape: tuple[int, ...]) -> None:
    if value is None:
        return
    if value.dtype == torch.bool or value.is_floating_point() or value.shape != shape:
        wanted = ", ".join(map(str, shape))
        raise ValueError(f"{name} must be integers [{wanted}], got {value.dtype} {tuple(value.shape)}")


def _in_range(places: Tensor, outputs: Tensor, name: str) -> Tensor:
    places = places.to(outputs.device).long()
    if int(places.min()) < 0 or int(places.max()) >= outputs.shape[1]:
        raise ValueError(f"{name} must lie in [0, {outputs.shape[1]}), got {int(places.min())} to {int(places.max())}")
    return places


def _same_shape(maps: Tensor, masks: Tensor) -> None:
    if maps.ndim != 3 or not maps.numel() or masks.shape != maps.shape:
        raise ValueError(
            f"maps and masks must have one shape [N, H, W], got {tuple(maps.shape)} and {tuple(masks.shape)}"
        )
    if masks is not maps and masks.dtype != torch.bool:
        raise ValueError(f"masks must be bool, got {masks.dtype}")

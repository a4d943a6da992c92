"""Where a network looks: Grad-CAM and gradient saliency, how well they meet boxes, how far they spread."""

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from texfilters import _check
from texfilters.evaluate._saliency_measures import Goodness, Spread, box_masks, goodness, normalized, spread
from texfilters.evaluate._training import evaluating

__all__ = [
    "Goodness",
    "Spread",
    "box_masks",
    "goodness",
    "grad_cam",
    "gradient_saliency",
    "last_maps",
    "normalized",
    "spread",
]


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
    meanwhile; its modes, parameters, their gradients and its hooks are afterwards as they were. The network may be
    compiled, and the caller without gradients or in inference mode.

    Args:
        network: from images to logits `[B, K]`.
        images: its inputs, floating point `[N, C, H, W]`, on any device; batches of them go to the network's.
        layer: of the network, or its name in `named_modules()`, with outputs `[B, C, h, w]`; None is `last_maps`, where
            there are such before a network pools them, as in convolutional ones.
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
    with _differentiable(network):
        if layer is None:
            layer = last_maps(network, images[:1])
        with _outputs(_found(network, layer)) as taken:
            for start in range(0, len(images), batch_size):
                part = slice(start, start + batch_size)
                taken.clear()
                logits = _rows(network(_tracked(images[part].to(device))), len(images[part]))
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
        _whole_numbers(
            "neurons", neurons, (len(images), neurons.shape[1] if neurons.ndim == 2 and neurons.shape[1] else 1)
        )
    maps = []
    with _differentiable(network):
        for start in range(0, len(images), batch_size):
            part = slice(start, start + batch_size)
            pixels = _tracked(images[part].to(device)).requires_grad_()
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

    Maps are about as wide for their height as the images. A network that goes on with tokens, or with channels last,
    has none that would speak for its answer.

    Args:
        images: inputs of the network, `[N, C, H, W]`, of which one is tried.

    Raises:
        ValueError: if no part has such outputs, or others follow on them.
    """
    device = _checked(network, images, 1)
    finished: list[nn.Module] = []
    shapes: list[tuple[int, ...]] = []

    def note(module: nn.Module, _: object, output: object) -> None:
        if isinstance(output, Tensor) and (output.ndim == 3 or (output.ndim == 4 and output[0, 0].numel() > 1)):
            finished.append(module)
            shapes.append(tuple(output.shape))

    handles = [part.register_forward_hook(note) for part in network.modules() if part is not network]
    try:
        with evaluating(network), torch.no_grad():
            network(images[:1].to(device))
    finally:
        for handle in handles:
            handle.remove()
    aspect = images.shape[2] / images.shape[3]
    for module, shape in zip(reversed(finished), reversed(shapes), strict=True):
        if len(shape) == 3 or not aspect / 2 <= shape[2] / shape[3] <= 2 * aspect:
            raise ValueError(
                f"network must end in maps [B, C, h, w] for it to find them, got {list(shape)} after them: give a layer"
            )
        if finished.count(module) == 1:
            return module
    raise ValueError("network must have a part with outputs [B, C, h, w] that runs once, got none: give a layer")


@contextlib.contextmanager
def _differentiable(network: nn.Module) -> Iterator[None]:
    """In evaluation mode, with gradients whatever the caller has."""
    with evaluating(network), torch.inference_mode(False), torch.enable_grad():
        yield


def _tracked(values: Tensor) -> Tensor:
    """Values that a backward pass may keep, which it may not from inference mode; without a gradient of their own."""
    return values.clone() if values.is_inference() else values.detach()


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
    compiled = "_orig_mod."
    parts = {name.removeprefix(compiled): part for name, part in network.named_modules()}
    if isinstance(layer, str):
        if layer.removeprefix(compiled) not in parts:
            raise ValueError(f"layer must be the name of a part of the network, got {layer!r}")
        return parts[layer.removeprefix(compiled)]
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
    if not isinstance(outputs, Tensor) or outputs.ndim != 2 or len(outputs) != count or not outputs.shape[1]:
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
    places = _tracked(places.to(outputs.device).long())
    if int(places.min()) < 0 or int(places.max()) >= outputs.shape[1]:
        raise ValueError(f"{name} must lie in [0, {outputs.shape[1]}), got {int(places.min())} to {int(places.max())}")
    return places

"""Views of a batch on its device: every sample is cropped, colored and suppressed by numbers of its own."""

import functools
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from texfilters import _check
from texfilters.ssl import _color, _crop
from texfilters.ssl._crop import sent
from texfilters.transforms import GaussianBlur, RandomTextureSuppression, _draw

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _in_float32(forward: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Without gradients, and whatever a step around it computes in."""

    @functools.wraps(forward)
    def full(self: nn.Module, images: Tensor, sizes: Tensor) -> Tensor:
        with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
            return forward(self, images, sizes)

    return full


class _Normalized(nn.Module):
    """What views share: a side, and the mean and deviation by which the channels are normalized."""

    def __init__(self, size: int, mean: tuple[float, float, float], std: tuple[float, float, float]) -> None:
        super().__init__()
        self.size = _check.whole("size", size, least=1)
        self.mean, self.std = _three("mean", mean), _three("std", std)
        for value in self.std:
            _check.positive("std", value, finite=True)
        for name, values in (("_offset", self.mean), ("_scale", self.std)):
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32).reshape(3, 1, 1), persistent=False)

    def _normalized(self, images: Tensor) -> Tensor:
        images = images.sub_(self.get_buffer("_offset")).div_(self.get_buffer("_scale"))
        # What cuDNN's convolutions are fastest in.
        return images.contiguous(memory_format=torch.channels_last) if images.is_cuda else images


class Views(_Normalized):
    """One random view of every image of a batch; a call a view.

    In this order: a random crop, resized; with the probability `jitter` brightness, contrast, saturation and hue, in a
    random order; gray; horizontal flip; Gaussian blur; solarization; texture suppression; normalization. Every sample
    draws for itself. All numbers are drawn on the CPU from torch's default generator, and nothing waits for the GPU.

    Args:
        size: side of the views in pixels.
        scale: share of the original's area that a crop covers, a range.
        ratio: of a crop's width to its height in the original, a range.
        brightness, contrast, saturation: an image is blended with black, with its mean gray level, with itself in gray
            by a factor from [max(0, 1 - x), 1 + x]; hue: turned by up to this share of the circle, at most 0.5.
        jitter: probability of these four.
        gray, flip, blur, solarize: probabilities. The default mixture blurs by itself: with it MoCo's blur is left out.
        blur_sigma: of the blur in pixels, a range.
        suppress: "mixture" is the papers', `texfilters.transforms.RandomTextureSuppression()`; None, or "none" on a
            command line, leaves textures as they are; or a transform of `texfilters.transforms`, which meets images in
            [0, 1].
        mean, std: of the channels in [0, 1], ImageNet's by default.

    A call takes uint8 `[B, 3, S, S]`, photos that were squashed to squares, and `[B, 2]`, the heights and widths that
    they had, in which the crops are drawn. It returns float32 `[B, 3, size, size]`, channels last on a GPU. S should be
    about 8/7 of `size`, or `size` itself for images of that size.

    Raises:
        TypeError, ValueError: for a value out of its range; when called, for anything but such images and sizes.

    Source: Chen et al. 2020, "Improved Baselines with Momentum Contrastive Learning", arXiv:2003.04297, whose crop and
    jitter are torchvision's; the suppression is that of Mishra et al. 2020, arXiv:2011.01901, and stands where MoCo
    blurs.
    """

    def __init__(
        self,
        size: int = 224,
        *,
        scale: tuple[float, float] = (0.2, 1.0),
        ratio: tuple[float, float] = (3 / 4, 4 / 3),
        brightness: float = 0.4,
        contrast: float = 0.4,
        saturation: float = 0.4,
        hue: float = 0.1,
        jitter: float = 0.8,
        gray: float = 0.2,
        flip: float = 0.5,
        blur: float = 0.0,
        blur_sigma: tuple[float, float] = (0.1, 2.0),
        solarize: float = 0.0,
        # The words first: whatever comes after Module is looked for among all modules there are, on a command line.
        suppress: Literal["mixture", "none"] | nn.Module | None = "mixture",
        mean: tuple[float, float, float] = _MEAN,
        std: tuple[float, float, float] = _STD,
    ) -> None:
        super().__init__(size, mean, std)
        self.scale, self.ratio = _crop.checked(scale, ratio)
        self.jitter = _check.probability("jitter", jitter)
        self.color = _color.Jitter(brightness, contrast, saturation, hue)
        self.gray, self.flip = _check.probability("gray", gray), _check.probability("flip", flip)
        self.solarize = _check.probability("solarize", solarize)
        self.blur = GaussianBlur(_check.span("blur_sigma", blur_sigma), p=_check.probability("blur", blur))
        if isinstance(suppress, str):
            chosen = _check.choice("suppress", suppress, ("mixture", "none"))
            suppress = RandomTextureSuppression() if chosen == "mixture" else None
        self.suppress = suppress

    @_in_float32
    def forward(self, images: Tensor, sizes: Tensor) -> Tensor:
        _check_batch(images, sizes)
        n = len(images)
        boxes, flipped = _crop.drawn(sizes, self.scale, self.ratio), _chosen(self.flip, n)
        views = _crop.resampled(images, sent(boxes, images.device), self.size, sent(flipped, images.device))
        views = self.color(views, _chosen(self.jitter, n))
        if self.gray:
            views = _where(_chosen(self.gray, n), _color.luma(views), views)
        if self.blur.p:
            views = self.blur(views)
        if self.solarize:
            views = _where(_chosen(self.solarize, n), torch.where(views >= 0.5, 1 - views, views), views)
        if self.suppress is not None:
            views = self.suppress(views)
        return self._normalized(views)

    def extra_repr(self) -> str:
        names = ("size", "scale", "ratio", "jitter", "gray", "flip", "solarize")
        return ", ".join(f"{name}={getattr(self, name)}" for name in names)


class CenterView(_Normalized):
    """The middle of every image, for evaluation: the same square whenever it is asked for.

    Args:
        size: side of the views in pixels.
        share: of the original's shorter side that the square has: 224/256 as by torchvision's Resize(256) and
            CenterCrop(224); 1 for small images, of which nothing is to be lost.
        mean, std: as in `Views`.

    A call takes and returns what `Views` does.
    """

    def __init__(
        self,
        size: int = 224,
        *,
        share: float = 224 / 256,
        mean: tuple[float, float, float] = _MEAN,
        std: tuple[float, float, float] = _STD,
    ) -> None:
        super().__init__(size, mean, std)
        self.share = _check.positive("share", _check.probability("share", share))

    @_in_float32
    def forward(self, images: Tensor, sizes: Tensor) -> Tensor:
        _check_batch(images, sizes)
        boxes = _crop.centered(sizes, self.share)
        return self._normalized(_crop.resampled(images, sent(boxes, images.device), self.size))

    def extra_repr(self) -> str:
        return f"size={self.size}, share={self.share:g}"


def _check_batch(images: Tensor, sizes: Tensor) -> None:
    if images.dtype != torch.uint8:
        raise TypeError(f"images must be uint8, got {images.dtype}")
    if images.ndim != 4 or images.shape[1] != 3 or images.shape[2] != images.shape[3]:
        raise ValueError(f"images must be squares [B, 3, S, S], got {tuple(images.shape)}")
    if sizes.shape != (len(images), 2):
        raise ValueError(f"sizes must be [B, 2] for {len(images)} images, got {tuple(sizes.shape)}")


def _three(name: str, values: tuple[float, float, float]) -> tuple[float, float, float]:
    if len(values) != 3:
        raise ValueError(f"{name} must have one number for each of 3 channels, got {len(values)}")
    first, second, third = (float(value) for value in values)
    return first, second, third


def _chosen(p: float, n: int) -> Tensor:
    """`[n]`, on the CPU: true with the probability p."""
    return ~_draw.left_out(p, n, None)


def _where(chosen: Tensor, changed: Tensor, images: Tensor) -> Tensor:
    return torch.where(sent(chosen, images.device)[:, None, None, None], changed, images)

"""Color of images in [0, 1], by factors that every sample has for itself."""

import torch
from kornia.color import rgb_to_grayscale
from torch import Tensor, nn

from texfilters import _check
from texfilters.ssl._crop import sent
from texfilters.transforms import _draw

_BRIGHTNESS, _CONTRAST, _SATURATION, _HUE = range(4)


class Jitter(nn.Module):
    """torchvision's ColorJitter with factors and an order of the four for every sample.

    kornia's ColorJitter has one order a batch, and computes what it then throws away. Brightness, contrast and
    saturation are one blend, with black, with the mean gray level or with gray.
    """

    def __init__(self, brightness: float, contrast: float, saturation: float, hue: float) -> None:
        super().__init__()
        blends = {"brightness": brightness, "contrast": contrast, "saturation": saturation}
        self.strengths = tuple(_check.amount(name, value) for name, value in blends.items())
        self.hue = _check.amount("hue", hue)
        if self.hue > 0.5:
            raise ValueError(f"hue must lie in [0, 0.5], got {hue}")

    def draw(self, n: int) -> tuple[Tensor, Tensor]:
        """Factors of brightness, contrast and saturation and the turn of the hue, `[4, n]`; orders `[n, 4]`."""
        ranges = [(max(0.0, 1 - strength), 1 + strength) for strength in self.strengths] + [(-self.hue, self.hue)]
        factors = torch.stack([_draw.floats(ends, n, None) for ends in ranges])
        return factors.float(), torch.rand(n, 4, device="cpu").argsort(1)

    def forward(self, images: Tensor, chosen: Tensor) -> Tensor:
        """Images `[B, 3, H, W]`, of which those `chosen` `[B]`, on the CPU, are changed."""
        if not any(self.strengths) and not self.hue:
            return images
        return adjusted(images, *self.draw(len(images)), chosen)

    def extra_repr(self) -> str:
        names = ("brightness", "contrast", "saturation", "hue")
        return ", ".join(f"{name}={value}" for name, value in zip(names, (*self.strengths, self.hue), strict=True))


def adjusted(images: Tensor, factors: Tensor, order: Tensor, chosen: Tensor) -> Tensor:
    """Images by factors and orders as `Jitter.draw` gives them, all on the CPU."""
    # For every sample what comes first, second, third, fourth, `[4, B]`; the others do nothing: -1.
    steps = order.T.where(chosen, -1)
    weights = torch.where((steps >= 0) & (steps != _HUE), factors.gather(0, order.T), 1.0)
    table = torch.stack([weights, steps == _CONTRAST, steps == _SATURATION], 1)[..., None, None, None]
    table = sent(table, images.device)  # [4, 3, B, 1, 1, 1]
    for step, (weight, contrast, saturation) in zip(steps, table, strict=True):
        gray = luma(images)
        other = gray.mean((1, 2, 3), keepdim=True).mul(contrast) + gray * saturation
        images = other.lerp(images, weight).clamp_(0, 1)
        turned = (step == _HUE).nonzero()[:, 0]
        if len(turned):
            index, turns = sent(turned, images.device), sent(factors[_HUE, turned], images.device)
            images = images.index_copy(0, index, with_hue_turned(images.index_select(0, index), turns))
    return images


def with_hue_turned(images: Tensor, turns: Tensor) -> Tensor:
    """Images with the hue of every sample turned by a share of the circle, `[B]`.

    The largest and the smallest channel of a pixel stay, so that neither saturation nor value is needed: kornia's
    `adjust_hue` goes by way of both, and gives the same in three times the time.
    """
    most, least = images.amax(1, keepdim=True), images.amin(1, keepdim=True)
    chroma = most - least
    red, green, blue = images.split(1, 1)
    others = torch.where(most == green, (blue - red).add_(chroma, alpha=2), (red - green).add_(chroma, alpha=4))
    sixths = torch.where(most == red, green - blue, others).div_(chroma.clamp(min=1e-12))
    # On a circle of six a channel is the smallest from 1 to 3, the largest from 4 to 6, and between them in between.
    places = torch.arange(5, -1, -2, device=images.device).view(3, 1, 1) + (sixths + 6 * turns[:, None, None, None])
    places = places.remainder_(6)
    return torch.addcmul(most, chroma, torch.minimum(places, 4 - places).clamp_(0, 1), value=-1)


def luma(images: Tensor) -> Tensor:
    """`[B, 1, H, W]`, by the weights of ITU-R 601 that Pillow and torchvision take, too."""
    return rgb_to_grayscale(images)

"""Who filters on the CPU beside the diffusion: texfilters, cv2, kornia, torch eager, and the usual Python loop."""

import functools
import importlib.util
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from peers import Peer, instruction_sets
from timed_filters import Filter

TRUE_ROWS = 128  # of a large image: the definition takes long
_REACH = 32  # more than any filter here looks beyond a row


@dataclass(eq=False)
class Case:
    filter: Filter
    image: Tensor  # [B, C, H, W] in 0..255, uint8 or float32

    @property
    def random(self) -> bool:
        return self.filter.random

    def described(self, peer: Peer) -> dict[str, Any]:
        output = [1 if self.filter.function == "rgb_to_gray" else self.filter.channels, *self.image.shape[2:]]
        return {
            "filter": self.filter.name,
            "function": self.filter.function,
            "arguments": self.filter.arguments,
            "shape": list(self.image.shape),
            "dtype": str(self.image.dtype).removeprefix("torch."),
            "result_mb": math.prod(output) * len(self.image) * self.image.element_size() / 1e6,
        }

    def truth(self) -> Tensor | None:
        return self.filter.truth(self.image[..., : self._rows() + _REACH, :])

    def errors(self, peer: Peer, output: Any, truth: Tensor | None) -> dict[str, float | None]:
        if truth is None:
            return {}
        rows, result = self._rows(), as_tensor(output)[..., : self._rows(), :]
        difference = (result.double() - truth[..., :rows, :]).abs()
        errors: dict[str, float | None] = {"error_max": difference.max().item(), "error_mean": difference.mean().item()}
        if result.dtype == torch.uint8:
            errors["differing"] = share(result != truth[..., :rows, :].round())
        if peer.name == "texfilters" and self.of_opencv is not None:
            theirs = self.of_opencv[..., :rows, :]
            errors["from_cv2"] = (result.double() - theirs).abs().max().item()
            if result.dtype == torch.uint8:
                errors["differing_from_cv2"] = share(result != theirs)
        return errors

    @functools.cached_property
    def of_opencv(self) -> Tensor | None:
        return as_tensor(opencv(self)()) if has_opencv() and suits_opencv(self) else None

    def _rows(self) -> int:
        return TRUE_ROWS if self.image.shape[-2] > 512 else self.image.shape[-2]


def share(chosen: Tensor) -> float:
    return chosen.double().mean().item()


def texfilters_native(case: Case) -> Callable[[], Tensor]:
    call, image = case.filter.bound("native"), case.image
    return lambda: call(image)


def torch_eager(case: Case) -> Callable[[], Tensor]:
    call, image = case.filter.bound("reference"), case.image
    return lambda: call(image)


def opencv(case: Case) -> Callable[[], list[np.ndarray]]:
    """H x W x C or H x W, one image after the other, as its users have them."""
    images = [np.ascontiguousarray(image.movedim(0, -1).squeeze(-1).numpy()) for image in case.image]
    call = _opencv_call(case.filter.function, **case.filter.arguments)
    return lambda: [call(image) for image in images]


def suits_opencv(case: Case) -> bool:
    """Its thresholds and its median beyond 5 take uint8 only; patches it has none."""
    filter, whole = case.filter, case.image.dtype == torch.uint8
    if filter.function == "median_blur":
        return whole or filter.arguments["ksize"] <= 5
    return not filter.random and (whole or filter.function not in ("adaptive_threshold", "cartoonize"))


def _opencv_call(function: str, **arguments: Any) -> Callable[[np.ndarray], np.ndarray]:
    import cv2

    if function == "bilateral_filter":
        d, color, space = arguments["d"], arguments["sigma_color"], arguments["sigma_space"]
        return lambda image: cv2.bilateralFilter(image, d, color, space)
    if function == "median_blur":
        return lambda image: cv2.medianBlur(image, arguments["ksize"])
    if function == "gaussian_blur":
        sigma = arguments["sigma"]
        sides = (2 * math.ceil(3 * sigma) + 1,) * 2
        return lambda image: cv2.GaussianBlur(image, sides, sigma)
    if function == "rgb_to_gray":
        return lambda image: cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    if function == "adaptive_threshold":
        method = {"mean": cv2.ADAPTIVE_THRESH_MEAN_C, "gaussian": cv2.ADAPTIVE_THRESH_GAUSSIAN_C}[arguments["method"]]
        block_size, c = arguments["block_size"], arguments["c"]
        return lambda image: cv2.adaptiveThreshold(image, 255, method, cv2.THRESH_BINARY, block_size, c)
    return _opencv_cartoon


def _opencv_cartoon(image: np.ndarray) -> np.ndarray:
    """The tutorial's, with the defaults of `texfilters.cartoonize`."""
    import cv2

    color = cv2.bilateralFilter(image, 9, 300, 300)
    gray = cv2.medianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), 7)
    edges = cv2.adaptiveThreshold(gray, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY, 9, 9)
    return cv2.bitwise_and(color, color, mask=edges)


def kornia(case: Case) -> Callable[[], Tensor]:
    """Its bilateral window is square, ours and OpenCV's round."""
    from kornia import color, filters

    image, arguments = case.image, case.filter.arguments
    if case.filter.function == "bilateral_filter":
        sigmas = arguments["sigma_color"], (arguments["sigma_space"],) * 2
        return lambda: filters.bilateral_blur(image, arguments["d"], *sigmas)
    if case.filter.function == "median_blur":
        return lambda: filters.median_blur(image, arguments["ksize"])
    if case.filter.function == "gaussian_blur":
        sigma = arguments["sigma"]
        return lambda: filters.gaussian_blur2d(image, 2 * math.ceil(3 * sigma) + 1, (sigma, sigma))
    return lambda: color.rgb_to_grayscale(image)


def suits_kornia(case: Case) -> bool:
    known = ("bilateral_filter", "median_blur", "gaussian_blur", "rgb_to_gray")
    return _slow_peers_take(case) and case.image.dtype == torch.float32 and case.filter.function in known


def python_loop(case: Case) -> Callable[[], Tensor]:
    """Cut and paste a cell at a time, an image at a time, with places drawn as torchvision's RandomCrop draws them."""
    images, (least, most) = case.image, case.filter.arguments["patch_size"]

    def run() -> Tensor:
        return torch.stack([_retiled(image, _draw(least, most)) for image in images]).unsqueeze(1)

    return run


def _retiled(image: Tensor, size: int) -> Tensor:
    out = torch.empty_like(image)
    height, width = image.shape[-2:]
    for top in range(0, height, size):
        for left in range(0, width, size):
            rows, columns = min(size, height - top), min(size, width - left)
            y, x = _draw(0, height - size), _draw(0, width - size)
            out[:, top : top + rows, left : left + columns] = image[:, y : y + rows, x : x + columns]
    return out


def _draw(least: int, most: int) -> int:
    return int(torch.randint(least, most + 1, (1,)).item())


def everyone() -> list[Peer]:
    """The peers that are installed, then ours; cv2 first, since the others are set beside it."""
    peers = []
    if has_opencv():
        peers.append(Peer("cv2", opencv, suits_opencv))
    peers.append(Peer("Python loop", python_loop, lambda case: case.filter.random))
    if importlib.util.find_spec("kornia"):
        peers.append(Peer("kornia", kornia, suits_kornia, same_scheme=False))
    peers.append(Peer("torch eager", torch_eager, _slow_peers_take))
    return peers + [Peer("texfilters", texfilters_native, instruction_set=isa) for isa in instruction_sets()[:1]]


def has_opencv() -> bool:
    return importlib.util.find_spec("cv2") is not None


def _slow_peers_take(case: Case) -> bool:
    return case.filter.common and case.image.shape[-2] <= 512


def as_tensor(output: Any) -> Tensor:
    """What a peer returned, as `[B, C, H, W]`."""
    if isinstance(output, Tensor):
        return output
    return torch.stack([torch.from_numpy(np.atleast_3d(image)).movedim(-1, 0) for image in output])

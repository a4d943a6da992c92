"""How well a filter suppresses texture: energy removed off the boundaries that people drew, edges kept on them."""

import itertools
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from texfilters import _check
from texfilters.functional import (
    anisotropic_diffusion,
    bilateral_filter,
    cartoonize,
    gaussian_blur,
    median_blur,
    rgb_to_gray,
)

MAD = 1.4826  # the deviation of a normal distribution, in median absolute deviations

# kappa, in units of sigma_e, at which a conductance lets pass the most flux at a difference of sigma_e.
_AT_MOST_FLUX = {1: math.sqrt(2), 2: 1.0, 3: math.sqrt(5 / 2)}


@dataclass(frozen=True)
class Suppression:
    """Texture removed and edges kept, both 1 at best; an image without either to begin with has NaN."""

    removed: Tensor  # float64 [N]
    kept: Tensor  # float64 [N]


@dataclass(frozen=True)
class Strengths:
    """A filter with one parameter that is varied, from weak to strong."""

    filter: Callable[[Tensor, float], Tensor]  # of uint8 [B, 3, H, W] and a strength
    parameter: str
    values: Sequence[float]
    fixed: str = ""  # the other parameters, in words


@dataclass(frozen=True)
class Curve:
    """Means over images, one for each strength of a filter."""

    name: str
    parameter: str
    values: tuple[float, ...]
    removed: tuple[float, ...]
    kept: tuple[float, ...]
    images: int
    fixed: str = ""
    # float64 [images, strengths, 2], on the CPU
    by_image: Tensor | None = field(default=None, compare=False, repr=False)

    def kept_at(self, removed: float) -> float:
        """Edge strength kept where so much texture energy is removed.

        A straight line between the first two neighboring strengths that enclose it; NaN where all remove more, or less.
        """
        return _kept_at(self.removed, self.kept, removed)

    def kept_at_by_image(self, removed: float) -> Tensor:
        """The same of each image's own curve, float64 `[images]`. Raises ValueError for a curve made of means alone."""
        if self.by_image is None:
            raise ValueError(f"the curve of {self.name} must hold the values of each image, got its means alone")
        rows = zip(*self.by_image.unbind(2), strict=True)
        return torch.tensor([_kept_at(x.tolist(), y.tolist(), removed) for x, y in rows], dtype=torch.float64)


def _kept_at(removed: Sequence[float], kept: Sequence[float], at: float) -> float:
    for (x0, y0), (x1, y1) in itertools.pairwise(zip(removed, kept, strict=True)):
        if min(x0, x1) <= at <= max(x0, x1) and x0 != x1:
            return y0 + (y1 - y0) * (at - x0) / (x1 - x0)
    return math.nan


def _diffusion(option: int, coupling: str = "none") -> Callable[[Tensor, float], Tensor]:
    def filter(image: Tensor, niter: float) -> Tensor:
        return anisotropic_diffusion(image, int(niter), 20.0, option=option, coupling=coupling)

    return filter


def _robust_diffusion(image: Tensor, niter: float) -> Tensor:
    return anisotropic_diffusion(image, int(niter), robust_kappa(image, option=1, least=1.0))


BLUR = "Gaussian blur"  # what the others are compared with
_NITER = (1, 2, 5, 10, 20, 50, 100, 200)

FILTERS: Mapping[str, Strengths] = {
    "diffusion, exponential": Strengths(_diffusion(1), "niter", _NITER, "kappa 20"),
    "diffusion, rational": Strengths(_diffusion(2), "niter", _NITER, "kappa 20"),
    "diffusion, Tukey": Strengths(_diffusion(3), "niter", _NITER, "kappa 20"),
    "diffusion, coupled channels": Strengths(_diffusion(1, "l2"), "niter", _NITER, "kappa 20"),
    "diffusion, robust kappa": Strengths(_robust_diffusion, "niter", _NITER, "kappa by image"),
    "diffusion, 20 steps": Strengths(
        lambda image, kappa: anisotropic_diffusion(image, 20, kappa), "kappa", (2, 5, 10, 20, 40, 80, 160), "niter 20"
    ),
    "bilateral filter": Strengths(
        lambda image, sigma: bilateral_filter(image, 9, sigma, 75.0),
        "sigma_color",
        (5, 10, 20, 40, 75, 150, 300),
        "d 9, sigma_space 75",
    ),
    BLUR: Strengths(gaussian_blur, "sigma", (0.3, 0.4, 0.5, 0.6, 0.8, 1, 1.5, 2, 3, 4)),
    "median": Strengths(lambda image, ksize: median_blur(image, int(ksize)), "ksize", (3, 5, 7, 9, 13, 17)),
    "cartoon": Strengths(lambda image, c: cartoonize(image, c=c), "c", (40, 20, 15, 9, 5), "d 9, sigma_color 300"),
}
"""Every filter of the library that leaves a picture, by name: those of diffusion begin with `diffusion`.

The papers' diffusion is `diffusion, exponential` with niter 20. Kappa, c and the sigmas of colors are grey levels of
0..255; a lower c draws more lines. The bare edge mask of `adaptive_threshold` has nothing left to compare.
"""


def suppression(
    images: Tensor, filtered: Tensor, boundaries: Tensor, *, tolerance: int = 2, margin: int = 5
) -> Suppression:
    """Texture energy removed off the boundaries of objects, and edge strength kept on them.

    Both measures are our own. Let u be the luma of an image, f that of the filtered one, `|grad u|` the norm of the
    differences to the next pixel to the right and below (0 past the border), and b in [0, 1] the share of the
    annotators who drew a boundary through a pixel. Distances are the larger of those along the two axes.

    Color that luma does not show counts in neither.

    - **removed** is `1 - sum |grad f|**2 / sum |grad u|**2` over the pixels farther than `margin` from every b > 0.
      Edges that nobody drew, such as shadows, count as texture there. Negative for a filter that adds energy.
    - **kept** is `sum_x b(x) min(m_f(x), m_u(x)) / sum_x b(x) m_u(x)`, where `m_f(x)` is the greatest `|grad f|` within
      `tolerance` of x, since people draw next to an edge, and filters may move it. In [0, 1]: an edge that a filter
      sharpens or draws counts with the strength that it had. Blur lowers it although the contrast across the edge
      remains: it says how sharp edges are. Texture within `tolerance` of a boundary counts as its edge.

    Args:
        images, filtered: `[N, C, H, W]` with one channel or three, of one dtype and in one unit, uint8 or floating.
        boundaries: `[N, H, W]`, uint8 in 0..255, bool, or floating point in [0, 1].
        tolerance, margin: pixels, >= 0.

    Returns: one value an image; NaN for removed where the image has no energy off the boundaries, for kept where its
        boundaries run through flat regions, for both where the filtered image has a NaN that counts.

    Raises:
        ValueError: for an image without a boundary, or without a pixel off its boundaries; for other shapes.
    """
    boundaries = _shares(images, filtered, boundaries)
    tolerance, margin = (_check.whole(n, v, least=0) for n, v in (("tolerance", tolerance), ("margin", margin)))
    off = ~_greatest_within((boundaries > 0).double(), margin).bool()
    for what, mask in (("a boundary", boundaries > 0), (f"a pixel farther than {margin} from its boundaries", off)):
        without = (~mask.flatten(1).any(1)).nonzero()[:, 0].tolist()
        if without:
            raise ValueError(f"each image must have {what}, got none for image {without[0]} ({len(without)} such)")
    before, after = gradient_norm(images), gradient_norm(filtered)
    energy, left = (torch.where(off, norm**2, 0).sum((1, 2)) for norm in (before, after))
    edges, kept = _greatest_within(before, tolerance), _greatest_within(after, tolerance)
    strength, remaining = ((boundaries * norm).sum((1, 2)) for norm in (edges, torch.minimum(edges, kept)))
    return Suppression(1 - left / energy, remaining / strength)


def suppression_curves(
    pairs: Iterable[tuple[Tensor, Tensor]],
    filters: Mapping[str, Strengths] = FILTERS,
    *,
    tolerance: int = 2,
    margin: int = 5,
    batch_size: int = 8,
    device: torch.device | str = "cpu",
) -> list[Curve]:
    """Means of `suppression` over images, for every filter and strength.

    Args:
        pairs: images uint8 `[3, H, W]` of any sizes and their boundaries `[H, W]`, as `boundary_pairs` reads them.
        filters: by name.
        batch_size: images of one size that are filtered together.

    Raises:
        ValueError: for no image, and as `suppression`; for an image for which a measure is NaN.
    """
    found: dict[str, list[Tensor]] = {name: [] for name in filters}
    for images, boundaries in _batches(pairs, _check.whole("batch_size", batch_size, least=1)):
        images, boundaries = images.to(device), boundaries.to(device)
        for name, each in filters.items():
            row = []
            for value in each.values:
                one = suppression(images, each.filter(images, value), boundaries, tolerance=tolerance, margin=margin)
                row.append(torch.stack([one.removed, one.kept], 1))
                if not bool(row[-1].isfinite().all()):
                    raise ValueError(f"{name} of {each.parameter} {value:g} has a measure of NaN: an image is flat")
            found[name].append(torch.stack(row, 1).cpu())
    return [_curve(name, each, found[name]) for name, each in filters.items()]


def _curve(name: str, each: Strengths, found: list[Tensor]) -> Curve:
    if not found:
        raise ValueError("pairs must hold at least one image, got none")
    by_image = torch.cat(found)
    removed, kept = (tuple(means) for means in by_image.mean(0).T.tolist())
    return Curve(name, each.parameter, tuple(each.values), removed, kept, len(by_image), each.fixed, by_image)


def boundary_pairs(folder: str | os.PathLike[str], count: int | None = None) -> Iterator[tuple[Tensor, Tensor]]:
    """Photos `ID.jpg` of a folder and what people drew, `ID_boundary.png`, 255 where all annotators did.

    Args:
        count: how many, evenly spaced in the order of their names; None is all.

    Yields: uint8 `[3, H, W]` and uint8 `[H, W]`.

    Raises:
        FileNotFoundError: for a folder without photos, or a photo without a boundary map.
        ValueError: for a count beyond the photos there are, or a map of another size.
    """
    photos = sorted(Path(folder).glob("*.jpg"))
    if not photos:
        raise FileNotFoundError(f"folder must hold photos ID.jpg, got none in {os.fspath(folder)}")
    if count is not None:
        count = _check.whole("count", count, least=1, most=len(photos))
        photos = [photos[i * len(photos) // count] for i in range(count)]
    for path in photos:
        photo = _read(path, "RGB").movedim(-1, 0).contiguous()
        boundary = _read(path.with_name(f"{path.stem}_boundary.png"), "L")
        if boundary.shape != photo.shape[1:]:
            size, other = tuple(photo.shape[1:]), tuple(boundary.shape)
            raise ValueError(f"the boundary map of {path.name} must have its size {size}, got {other}")
        yield photo, boundary


def robust_kappa(images: Tensor, *, option: int | None = None, least: float | None = None) -> Tensor:
    """Pick anisotropic diffusion's `kappa` for each image from its own gradient.

    `sigma_e = 1.4826 * median(| |grad u| - median(|grad u|) |)`, with u the luma and `|grad u|` the norm of the
    differences to the next pixel to the right and below. What is above counts as an edge, an outlier among the
    differences of the image.

    Args:
        images: `[N, C, H, W]` with one channel or three, uint8 or floating point.
        option: of `anisotropic_diffusion`, for the kappa whose flux `g(d) d` is greatest at a difference of sigma_e and
            falls beyond it: `sqrt(2) sigma_e`, `sigma_e`, `sqrt(5/2) sigma_e` for 1, 2, 3. None is sigma_e.
        least: the lowest kappa that is given. Without it an image that is mostly flat is an error, since
            `anisotropic_diffusion` takes no kappa of 0.

    Returns: float32 `[N]` in the units of the images, grey levels for uint8, on their device.

    Raises:
        ValueError: for images of another shape or smaller than 2 x 2, and for one whose sigma_e is 0 or NaN.

    Source: Black et al. 1998, doi:10.1109/83.661192. As there, scales of different conductances are comparable when
        their fluxes (influence functions) begin to fall at the same difference.
    """
    if _check.image(images, 2).ndim != 4 or min(images.shape) < 1 or min(images.shape[-2:]) < 2:
        raise ValueError(f"images must have shape [N, C, H, W], of 2 x 2 pixels at least, got {tuple(images.shape)}")
    factor = 1.0 if option is None else _AT_MOST_FLUX[_check.choice("option", option, (1, 2, 3))]
    scales = []
    for part in images.split(64):
        norm = gradient_norm(part)[:, :-1, :-1].flatten(1)
        scales.append(MAD * _median((norm - _median(norm)[:, None]).abs()))
    sigma = torch.cat(scales)
    if least is not None:
        sigma = (factor * sigma).clamp(min=_check.positive("least", least, finite=True)) / factor
    wrong = (~(sigma > 0)).nonzero()[:, 0].tolist()
    if wrong:
        raise ValueError(
            f"each image must have a gradient that varies, got sigma_e {float(sigma[wrong[0]]):g} for image {wrong[0]} "
            f"({len(wrong)} such): give the least kappa"
        )
    return (factor * sigma).float()


def gradient_norm(images: Tensor) -> Tensor:
    """Norm of the differences of luma to the next pixel to the right and below, 0 past the border.

    Args:
        images: `[N, C, H, W]` with one channel or three.

    Returns: float64 `[N, H, W]`, in the units of the images.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(f"images must have shape [N, 1, H, W] or [N, 3, H, W], got {tuple(images.shape)}")
    # From float: uint8 luma is rounded.
    luma = (rgb_to_gray(images.float()) if images.shape[1] == 3 else images)[:, 0].double()
    right = functional.pad(luma.diff(dim=2), (0, 1))
    below = functional.pad(luma.diff(dim=1), (0, 0, 0, 1))
    return torch.hypot(right, below)


def _greatest_within(values: Tensor, distance: int) -> Tensor:
    """The greatest of `[N, H, W]` within a distance along both axes; beyond the border there is nothing."""
    size = 2 * distance + 1
    rows = functional.max_pool2d(values[:, None], (size, 1), 1, (distance, 0))
    return functional.max_pool2d(rows, (1, size), 1, (0, distance))[:, 0]


def _median(values: Tensor) -> Tensor:
    """Of each row `[N, n]`; of an even number the mean of the two in the middle."""
    return (values.median(1).values - (-values).median(1).values) / 2


def _shares(images: Tensor, filtered: Tensor, boundaries: Tensor) -> Tensor:
    for name, value in (("images", images), ("filtered", filtered)):
        _check.image(value, 2)
        if value.shape != images.shape or value.dtype != images.dtype:
            raise ValueError(
                f"{name} must be {images.dtype} {tuple(images.shape)} as the images, "
                f"got {value.dtype} {tuple(value.shape)}"
            )
    if images.ndim != 4 or not images.numel() or boundaries.shape != (len(images), *images.shape[2:]):
        raise ValueError(
            f"images [N, C, H, W] need boundaries [N, H, W], got {tuple(images.shape)} and {tuple(boundaries.shape)}"
        )
    shares = boundaries.double() / (255 if boundaries.dtype == torch.uint8 else 1)
    if not bool(((shares >= 0) & (shares <= 1)).all()):
        raise ValueError(f"boundaries must lie in [0, 1], got {shares.min():g} to {shares.max():g}")
    return shares


def _batches(pairs: Iterable[tuple[Tensor, Tensor]], batch_size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Images of one size together, in the order in which enough of them have come."""
    waiting: dict[torch.Size, list[tuple[Tensor, Tensor]]] = {}
    for image, boundary in pairs:
        if not isinstance(image, Tensor) or image.dtype != torch.uint8 or image.ndim != 3 or image.shape[0] != 3:
            got = f"{image.dtype} {tuple(image.shape)}" if isinstance(image, Tensor) else type(image).__name__
            raise ValueError(f"images must be uint8 [3, H, W], got {got}")
        group = waiting.setdefault(image.shape, [])
        group.append((image, boundary))
        if len(group) == batch_size:
            yield _stacked(waiting.pop(image.shape))
    yield from map(_stacked, waiting.values())


def _stacked(group: Sequence[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    images, boundaries = zip(*group, strict=True)
    return torch.stack(images), torch.stack(boundaries)


def _read(path: Path, mode: str) -> Tensor:
    import numpy as np
    from PIL import Image

    if not path.is_file():
        raise FileNotFoundError(f"{path} must be there")
    with Image.open(path) as file:
        return torch.from_numpy(np.array(file.convert(mode)))

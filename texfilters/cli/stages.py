"""What happens to images between their files: decoded, filtered, together where that is faster, and encoded."""

import functools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from PIL import Image
from torch import Tensor

from texfilters.cli import filters, image_files
from texfilters.cli.atomic import Stop
from texfilters.cli.image_files import Picture
from texfilters.cli.messages import reason

_MOST_PIXELS = 1 << 25  # that are decoded before they are filtered, but for a single image that has more


@dataclass(frozen=True)
class Settings:
    """How every file of a job is treated."""

    filter: str
    parameters: Mapping[str, Any] = field(default_factory=dict, hash=False)  # None, or none: the filter's default
    backend: str | None = None
    device: str = "cpu"
    format: str | None = None  # the suffix of what is written, ".png"; None: that of the source
    quality: int = 95
    metadata: str = "keep"  # or "drop": the pixels are turned as EXIF says, then EXIF and color profile are left out
    max_pixels: int | None = image_files.MAX_PIXELS  # None: no limit
    overwrite: bool = False

    @property
    def max_bytes(self) -> int | None:
        """Of an image's file."""
        return image_files.most_bytes(self.max_pixels)


class Content(NamedTuple):
    """An image's file that has been read."""

    name: str
    suffix: str  # of what it becomes
    data: bytes | Exception  # or why it could not be read


class Changed(NamedTuple):
    """What is to be written in its place."""

    data: bytes
    note: str | None = None


class _Waiting(NamedTuple):
    """An image on its way to the filter."""

    name: str
    suffix: str
    picture: Picture | Exception


def change(contents: Iterable[Content], settings: Settings) -> Iterator[Changed | Exception]:
    """The new content of each file, or why there is none, in order. Raises Stop when a GPU has failed for good."""
    most = images_together(settings)
    waiting: list[_Waiting] = []
    pixels = 0
    for name, suffix, data in contents:
        picture = _decoded(data, settings)
        waiting.append(_Waiting(name, suffix, picture))
        if isinstance(picture, Picture):
            pixels += picture.image.width * picture.image.height
        if len(waiting) == most or pixels >= _MOST_PIXELS:
            yield from _filtered_and_encoded(waiting, settings)
            waiting, pixels = [], 0
    yield from _filtered_and_encoded(waiting, settings)


def images_together(settings: Settings) -> int:
    """How many images are decoded before a single call filters those that share a mode and a size."""
    return 1 if settings.device == "cpu" else 32


def _decoded(data: bytes | Exception, settings: Settings) -> Picture | Exception:
    try:
        if isinstance(data, Exception):
            raise data
        picture = image_files.decode(data, max_pixels=settings.max_pixels)
        return picture.without_metadata() if settings.metadata == "drop" else picture
    except image_files.TooLarge as error:
        return ValueError(f"{error} (--max-pixels)")
    except Exception as error:
        return error


def _filtered_and_encoded(waiting: Sequence[_Waiting], settings: Settings) -> Iterator[Changed | Exception]:
    groups: dict[Any, list[Picture]] = defaultdict(list)
    for _, _, picture in waiting:
        if isinstance(picture, Picture):
            groups[picture.image.mode, picture.image.size].append(picture)
    results = {key: iter(_filtered([picture.image for picture in group], settings)) for key, group in groups.items()}
    for name, suffix, picture in waiting:
        if isinstance(picture, Exception):
            yield picture
            continue
        image = next(results[picture.image.mode, picture.image.size])
        try:
            if isinstance(image, Exception):
                raise image
            encoded = image_files.encode(replace(picture, image=image), suffix, quality=settings.quality)
            changed: Changed | Exception = Changed(encoded, image_files.misnamed(name, picture))
        except Exception as error:
            changed = error
        yield changed


def _filtered(images: Sequence[Image.Image], settings: Settings) -> Sequence[Image.Image | Exception]:
    try:
        return filters.apply_to_all(_function(settings), images, settings.device)
    except torch.AcceleratorError as error:  # after which a GPU computes nothing more in this process
        raise Stop(reason(error)) from error
    except Exception as error:
        if len(images) == 1:
            return [error]
        return [result for image in images for result in _filtered([image], settings)]  # memory may do for one


@functools.cache
def _function(settings: Settings) -> Callable[[Tensor], Tensor]:
    return filters.choose(settings.filter, settings.parameters, settings.backend, settings.device)

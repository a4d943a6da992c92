"""Gray, adaptive threshold and cartoon."""

from torch import Tensor

from texfilters import _backends, _check, _ops


def rgb_to_gray(image: Tensor, *, backend: str | None = None) -> Tensor:
    """Luma, `0.299 R + 0.587 G + 0.114 B`.

    Args:
        image: `[..., 3, H, W]`; uint8, float16, bfloat16, float32 or float64, any strides.
        backend: `"native"`, `"triton"`, `"reference"`, or None for the first that is there; see `show_config()`.

    Returns:
        `[..., 1, H, W]` of the dtype and device of `image`. uint8 is computed in OpenCV's fixed point,
        `(9798 R + 19235 G + 3735 B + 16384) >> 15`, half types in float32. Differentiable unless it is uint8.

    Raises:
        TypeError: for an image that is no tensor or has another dtype.
        ValueError: for an image without 3 channels.
        RuntimeError: if the backend asked for cannot take the image, or none is for its device; under torch.func.
    """
    _check.rgb("rgb_to_gray", image)
    _check.plain_autograd("rgb_to_gray", image)
    return _ops.rgb_to_gray(image, _backends.resolve(backend, image.device.type, image.device.index, image.dtype))


def adaptive_threshold(
    image: Tensor,
    block_size: int,
    c: float | Tensor,
    *,
    method: str = "mean",
    max_value: float | None = None,
    invert: bool = False,
    backend: str | None = None,
) -> Tensor:
    """`max_value` where a pixel is above the mean of its surroundings less `c`, 0 elsewhere; each channel for itself.

    Args:
        image: `[..., H, W]`; uint8, float16, bfloat16, float32 or float64, any strides. Beyond the border the nearest
            pixel counts, as in OpenCV.
        block_size: width of the window, odd, at least 3. Windows may be larger than the image.
        c: in the units of `image`, of any sign; a number, or `[B]` for one value an image. 0-d or `[B]` tensors live on
            the CPU or on the image's device, where the host does not read them.
        method: `"mean"`, or `"gaussian"` for a weighted mean: OpenCV's tables up to block_size 9, beyond a Gaussian
            with the sigma `0.15 * block_size + 0.35`.
        max_value: None is 255 for uint8 and 1.0 for floating point; for uint8 rounded half to even, in 0..255.
        invert: `max_value` where the others have 0, and the reverse.
        backend: `"native"`, `"triton"`, `"reference"`, or None for the first that is there; see `show_config()`.

    Returns:
        A new tensor of the shape, dtype and device of `image`, without a gradient. For uint8 the mean is rounded and c
        is too (up, inverted down), so that the result is OpenCV's; floating point is compared as it is. Where the mean
        or c is NaN the result is 0.

    Raises:
        TypeError, ValueError: as `bilateral_filter`.
        RuntimeError: if the backend asked for cannot take the image, or none is for its device.
    """
    _check.image(image, 2)
    return _ops.adaptive_threshold(
        image.detach(),
        _check.window("block_size", block_size, least=3),
        _check.parameter("c", c, image).detach(),
        _check.choice("method", method, ("mean", "gaussian")),
        _check.max_value(max_value, image),
        _check.flag("invert", invert),
        _backends.resolve(backend, image.device.type, image.device.index, image.dtype),
    )


def cartoonize(
    image: Tensor,
    *,
    d: int = 9,
    sigma_color: float | Tensor | None = None,
    sigma_space: float | Tensor = 300.0,
    passes: int = 1,
    ksize: int = 7,
    block_size: int = 9,
    c: float | Tensor | None = None,
    backend: str | None = None,
) -> Tensor:
    """Flat colors between black lines: a bilateral filter, and an adaptive threshold of the gray image as edges.

    The same as `color = bilateral_filter(image, d, sigma_color, sigma_space)`, `passes` times over, where
    `adaptive_threshold(median_blur(rgb_to_gray(image), ksize), block_size, c)` is not 0, and black elsewhere.

    Args:
        image: `[..., 3, H, W]`; uint8, float16, bfloat16, float32 or float64, any strides.
        d, sigma_color, sigma_space: as in `bilateral_filter`; sigma_color None is 300 grey levels, which for floating
            point is 300 / 255.
        passes: how many times the bilateral filter is run, at least 0.
        ksize: width of the median's window, odd.
        block_size: width of the threshold's window, odd, at least 3.
        c: how far below the mean of its surroundings a pixel must lie to be an edge; None is 9 grey levels. A larger c
            draws fewer lines.
        backend: `"native"`, `"triton"`, `"reference"`, or None for the first that is there; see `show_config()`.

    Beyond the result it takes some rows for each thread, and with several passes two images; on a GPU at most 64 MiB,
    or what one image needs.

    Returns:
        A new tensor of the shape, dtype and device of `image`. Differentiable once in `image` and both sigmas, unless
        the image is uint8: lines count as constant.

    Raises:
        TypeError, ValueError, RuntimeError: as `bilateral_filter`.
    """
    _check.rgb("cartoonize", image)
    _check.plain_autograd("cartoonize", image, sigma_color, sigma_space)
    level = 1.0 if image.dtype == _check.DTYPES[0] else 1 / 255
    return _ops.cartoonize(
        image,
        _check.diameter(d),
        _check.nonnegative_parameter("sigma_color", 300 * level if sigma_color is None else sigma_color, image),
        _check.nonnegative_parameter("sigma_space", sigma_space, image),
        _check.whole("passes", passes, least=0),
        _check.window("ksize", ksize),
        _check.window("block_size", block_size, least=3),
        _check.parameter("c", 9 * level if c is None else c, image).detach(),
        _backends.resolve(backend, image.device.type, image.device.index, image.dtype),
    )

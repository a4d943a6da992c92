"""Bilateral filter, Gaussian blur and median."""

from torch import Tensor

from texfilters import _backends, _check, _ops


def bilateral_filter(
    image: Tensor,
    d: int,
    sigma_color: float | Tensor,
    sigma_space: float | Tensor,
    *,
    border: str = "reflect101",
    backend: str | None = None,
) -> Tensor:
    """Average the neighbors that are close in space and in color.

    A neighbor at the distance r whose channels differ by L = sum |d_c| weighs
    `exp(-L**2 / (2 sigma_color**2) - r**2 / (2 sigma_space**2))`: OpenCV's round window and L1 color distance.

    Args:
        image: `[..., C, H, W]` or `[H, W]`; uint8, float16, bfloat16, float32 or float64, any strides. All C channels
            of a pixel share its weights, any number of them: gray images in a batch are `[B, 1, H, W]`.
        d: diameter of the window, which holds the pixels up to d // 2 away, at least 1; where d <= 0, those up to
            1.5 sigma_space, rounded half to even. Windows may be larger than the image.
        sigma_color: in the units of `image` (summed over the channels); a number or `[B]`. >= 0; 0 changes nothing.
        sigma_space: in pixels; a number or `[B]`. >= 0; 0 changes nothing.
        border: `"reflect101"`, `"reflect"`, `"replicate"`, `"wrap"` or `"constant"`, which is 0 and counts.
        backend: `"native"`, `"triton"`, `"reference"`, or None for the first that is there; see `show_config()`.

    Parameter tensors are 0-d or `[B]`; `[B]` needs an image `[B, C, H, W]`. They live on the CPU or on the image's
    device; values on a device are not read by the host: there a negative value or NaN gives NaN (uint8: 0) for that
    image. A NaN pixel makes all pixels NaN whose window holds it.

    Returns:
        A new tensor of the shape, dtype and device of `image`. uint8 and half types are computed in float32; uint8 is
        rounded half to even. Differentiable once, in `image`, `sigma_color` and `sigma_space`, unless it is uint8.

    Raises:
        TypeError: for an image that is no tensor or has another dtype, or a parameter of a wrong type.
        ValueError: for a value out of its range or a parameter tensor of a wrong shape or device.
        RuntimeError: if the backend asked for cannot take the image, or none is for its device; under torch.func and
            for forward-mode and second derivatives.

    Source: Tomasi and Manduchi 1998, doi:10.1109/ICCV.1998.710815; window, color distance and borders as in OpenCV.
    """
    _check.image(image, 2)
    _check.plain_autograd("bilateral_filter", image, sigma_color, sigma_space)
    return _ops.bilateral_filter(
        image,
        _check.diameter(d),
        _check.nonnegative_parameter("sigma_color", sigma_color, image),
        _check.nonnegative_parameter("sigma_space", sigma_space, image),
        _check.border(border),
        _backends.resolve(backend, image.device.type, image.device.index, image.dtype),
    )


def gaussian_blur(
    image: Tensor,
    sigma: float | Tensor,
    *,
    kernel_size: int | None = None,
    border: str = "reflect101",
    backend: str | None = None,
) -> Tensor:
    """Convolve with a sampled Gaussian, `exp(-i**2 / (2 sigma**2))` with the sum 1, along both axes.

    Args:
        image: `[..., H, W]`; uint8, float16, bfloat16, float32 or float64, any strides.
        sigma: in pixels; a number, or `[B]` for one value an image. >= 0; 0 changes nothing.
        kernel_size: width of the window, odd; None is `2 * ceil(3 * sigma) + 1`, for each image its own. Windows may be
            larger than the image.
        border: `"reflect101"`, `"reflect"`, `"replicate"`, `"wrap"` or `"constant"`, which is 0.
        backend: `"native"`, `"triton"`, `"reference"`, or None for the first that is there; see `show_config()`.

    A tensor for sigma is 0-d or `[B]`; `[B]` needs an image `[B, C, H, W]`. It lives on the CPU or on the image's
    device; values on a device are not read by the host: there a negative value or NaN gives NaN (uint8: 0) for that
    image.

    Returns:
        A new tensor of the shape, dtype and device of `image`. uint8 and half types are computed in float32; uint8 is
        rounded half to even. Differentiable once, in `image` and `sigma`, unless the image is uint8; the size of the
        window counts as constant.

    Raises:
        TypeError, ValueError, RuntimeError: as `bilateral_filter`.
    """
    _check.image(image, 2)
    _check.plain_autograd("gaussian_blur", image, sigma)
    return _ops.gaussian_blur(
        image,
        _check.nonnegative_parameter("sigma", sigma, image),
        0 if kernel_size is None else _check.window("kernel_size", kernel_size),
        _check.border(border),
        _backends.resolve(backend, image.device.type, image.device.index, image.dtype),
    )


def median_blur(image: Tensor, ksize: int, *, backend: str | None = None) -> Tensor:
    """Replace every pixel by the median of the ksize x ksize pixels around it, each channel for itself.

    Args:
        image: `[..., H, W]`; uint8, float16, bfloat16, float32 or float64, any strides. Beyond the border the nearest
            pixel counts, as in OpenCV.
        ksize: width of the window, odd; 1 changes nothing. Windows may be larger than the image.
        backend: `"native"`, `"triton"`, `"reference"`, or None for the first that is there; see `show_config()`.

    Returns:
        A new tensor of the shape, dtype and device of `image`; every value is one of the window's. A window that holds
        a NaN has the median NaN. Differentiable once in `image`, unless it is uint8: the gradient goes to the first
        pixel of the window, row by row, that has the median's value.

    Raises:
        TypeError, ValueError, RuntimeError: as `bilateral_filter`.
    """
    _check.image(image, 2)
    _check.plain_autograd("median_blur", image)
    backend = _backends.resolve(backend, image.device.type, image.device.index, image.dtype)
    return _ops.median_blur(image, _check.window("ksize", ksize), backend)

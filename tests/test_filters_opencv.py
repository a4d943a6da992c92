"""OpenCV as the judge: the same calls on photos, noise, flat, saturated and sloping images."""

import functools
import itertools

import numpy as np
import pytest
import torch

import texfilters

cv2 = pytest.importorskip("cv2", reason="needs OpenCV")

BORDERS = {
    "constant": cv2.BORDER_CONSTANT,
    "replicate": cv2.BORDER_REPLICATE,
    "reflect": cv2.BORDER_REFLECT,
    "reflect101": cv2.BORDER_REFLECT_101,
    "wrap": cv2.BORDER_WRAP,
}
PHOTOS = ("astronaut", "coffee", "chelsea", "camera")
SIZES = [(1, 1), (1, 7), (9, 1), (2, 3), (5, 16), (17, 33)]


@functools.cache
def color_images():
    """HWC, uint8."""
    data = pytest.importorskip("skimage.data", reason="needs scikit-image")
    random = np.random.default_rng(0)
    y, x = np.mgrid[:70, :93]
    return {
        "astronaut": data.astronaut()[30:130, 150:261],
        "coffee": data.coffee()[100:190, 200:328],
        "chelsea": data.chelsea()[50:145, 100:203],
        "noise": random.integers(0, 256, (70, 93, 3), dtype=np.uint8),
        "black and white": random.integers(0, 2, (70, 93, 3), dtype=np.uint8) * 255,
        "flat": np.full((40, 51, 3), (7, 77, 254), dtype=np.uint8),
        "saturated": np.full((40, 51, 3), 255, dtype=np.uint8),
        "slope": np.stack([x, y + x, 255 - y], -1).astype(np.uint8),
        "bright photo": np.clip(data.coffee()[100:170, 200:293].astype(int) * 3 - 100, 0, 255).astype(np.uint8),
    } | {f"{h} x {w}": random.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in SIZES}


@functools.cache
def gray_images():
    """HW, uint8."""
    data = pytest.importorskip("skimage.data", reason="needs scikit-image")
    gray = {name: np.ascontiguousarray(image[..., 1]) for name, image in color_images().items()}
    return gray | {"camera": data.camera()[100:215, 200:331]}


def tensor(image):
    """CHW or HW."""
    image = torch.from_numpy(np.ascontiguousarray(image))
    return image.movedim(-1, 0) if image.ndim == 3 else image


def some(backend, images):
    """All of them for compiled kernels, a few for the slow definition."""
    few = ("slope", "black and white", "1 x 7", "9 x 1", "2 x 3", "17 x 33")
    return {name: image for name, image in images.items() if backend == "native" or name in few}


def assert_equal(result, expected, what):
    assert torch.equal(result, tensor(expected.reshape(*result.shape[-2:], *expected.shape[2:]))), what


class Nearly:
    """Within one level everywhere, and equal in 99.9 % of a set of images: both round, from either side of a tie."""

    def __init__(self):
        self.differ = self.values = 0

    def add(self, result, expected, what):
        difference = (result.int() - tensor(expected).reshape(result.shape).int()).abs()
        assert difference.max() <= 1, what
        self.differ += int((difference > 0).sum())
        self.values += difference.numel()

    def check(self):
        assert self.differ <= self.values / 1000, f"{self.differ} of {self.values} values differ"


@pytest.mark.parametrize("ksize", range(1, 33, 2))
def test_median(backend, ksize):
    for images in (gray_images, color_images):
        for name, image in some(backend, images()).items():
            result = texfilters.median_blur(tensor(image), ksize, backend=backend)
            assert_equal(result, cv2.medianBlur(image, ksize), name)


def test_gray(backend):
    for name, image in color_images().items():
        result = texfilters.rgb_to_gray(tensor(image), backend=backend)
        assert_equal(result[0], cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), name)
    for image in color_images().values():
        unit = (image / 255).astype(np.float32)
        result = texfilters.rgb_to_gray(tensor(unit), backend=backend)[0]
        assert (result - tensor(cv2.cvtColor(unit, cv2.COLOR_RGB2GRAY))).abs().max() < 2e-7  # the order of two sums


def test_gray_of_every_color(backend):
    """All values of two channels for a number of the third."""
    levels = torch.arange(256, dtype=torch.uint8)
    for third in (0, 1, 63, 128, 200, 255):
        planes = [levels[:, None].expand(256, 256), levels.expand(256, 256), torch.full((256, 256), third).byte()]
        for order in itertools.permutations(planes):
            image = torch.stack(order)
            result = texfilters.rgb_to_gray(image, backend=backend)
            assert_equal(result[0], cv2.cvtColor(image.movedim(0, -1).numpy(), cv2.COLOR_RGB2GRAY), third)


@pytest.mark.parametrize("method", ["mean", "gaussian"])
@pytest.mark.parametrize("block_size", range(3, 53, 2))
def test_adaptive_threshold(backend, block_size, method):
    cv2_method = {"mean": cv2.ADAPTIVE_THRESH_MEAN_C, "gaussian": cv2.ADAPTIVE_THRESH_GAUSSIAN_C}[method]
    for name, image in gray_images().items():
        for c, invert in itertools.product((-7, -2.5, 0, 0.3, 2, 9.5), (False, True)):
            kind = cv2.THRESH_BINARY_INV if invert else cv2.THRESH_BINARY
            expected = cv2.adaptiveThreshold(image, 255, cv2_method, kind, block_size, c)
            result = texfilters.adaptive_threshold(
                tensor(image), block_size, c, method=method, invert=invert, backend=backend
            )
            assert_equal(result, expected, (name, c, invert))


@pytest.mark.parametrize("max_value", [0, 0.5, 1.5, 2.5, 100, 254.5, 255])
def test_the_value_of_a_threshold_is_rounded(backend, max_value):
    image = gray_images()["noise"]
    for c in (-300, -255, 255, 300, 1e6):
        for invert in (False, True):
            kind = cv2.THRESH_BINARY_INV if invert else cv2.THRESH_BINARY
            expected = cv2.adaptiveThreshold(image, max_value, cv2.ADAPTIVE_THRESH_MEAN_C, kind, 5, c)
            result = texfilters.adaptive_threshold(
                tensor(image), 5, c, max_value=max_value, invert=invert, backend=backend
            )
            assert_equal(result, expected, (c, invert))


# d, sigma_color, sigma_space; the last ones leave the size of the window to sigma_space.
BILATERALS = [
    (1, 50, 50), (2, 50, 50), (3, 25, 25), (4, 10, 2), (5, 75, 75), (7, 1e-3, 50), (9, 300, 300), (9, 10, 3),
    (9, 0.5, 0.5), (15, 75, 75), (25, 30, 8), (0, 40, 2), (-1, 40, 1.3), (0, 20, 0.1), (9, 1e4, 1e4), (5, 0, 3),
    (5, 3, 0),
]  # fmt: skip


@pytest.mark.parametrize("sigmas", BILATERALS, ids=str)
@pytest.mark.parametrize("images", [gray_images, color_images], ids=["gray", "RGB"])
def test_bilateral(backend, images, sigmas):
    nearly = Nearly()
    for name, image in some(backend, images()).items():
        for border, number in BORDERS.items():
            expected = cv2.bilateralFilter(image, *sigmas, borderType=number)
            result = texfilters.bilateral_filter(tensor(image), *sigmas, border=border, backend=backend)
            nearly.add(result, expected, (name, border))
    nearly.check()


@pytest.mark.parametrize("sigmas", [(5, 75, 75), (9, 300, 300), (9, 10, 3), (15, 40, 6), (0, 40, 2)], ids=str)
@pytest.mark.parametrize("images", [gray_images, color_images], ids=["gray", "RGB"])
def test_bilateral_of_floating_point(backend, images, sigmas):
    """OpenCV interpolates a table of weights."""
    for name, image in some(backend, images()).items():
        unit = (image / 255).astype(np.float32)
        for border in ("reflect101", "constant"):
            if border == "constant" and unit.min() > 0:
                continue  # its table ends at the image's own range, which the border lies beyond
            expected = cv2.bilateralFilter(unit, sigmas[0], sigmas[1] / 255, sigmas[2], borderType=BORDERS[border])
            result = texfilters.bilateral_filter(
                tensor(unit), sigmas[0], sigmas[1] / 255, sigmas[2], border=border, backend=backend
            )
            assert (result - tensor(expected).reshape(result.shape)).abs().max() < 1e-3, (name, border)


@pytest.mark.parametrize("border", [border for border in BORDERS if border != "wrap"])  # OpenCV has none
@pytest.mark.parametrize("sigma", [0.5, 1, 2, 5])
def test_gaussian(backend, sigma, border):
    """OpenCV rounds the weights of uint8 to 8 bits; in floating point nothing is rounded."""
    size = 2 * int(np.ceil(3 * sigma)) + 1
    for name, image in [*gray_images().items(), *color_images().items()]:
        blur = functools.partial(cv2.GaussianBlur, ksize=(size, size), sigmaX=sigma, borderType=BORDERS[border])
        result = texfilters.gaussian_blur(tensor(image), sigma, border=border, backend=backend)
        levels = 1 if name in PHOTOS else 2
        assert (result.int() - tensor(blur(image)).int()).abs().max() <= levels, name
        values = image.astype(np.float64)
        result = texfilters.gaussian_blur(tensor(values), sigma, border=border, backend=backend)
        assert (result - tensor(blur(values))).abs().max() < 1e-4, name


@pytest.mark.parametrize(
    "arguments", [{}, {"d": 5, "sigma_color": 75.0, "sigma_space": 3.0, "ksize": 5, "block_size": 15, "c": 2.0}]
)
def test_cartoon(backend, arguments):
    """The usual composition; lines fall on the same pixels, and only colors may be one level apart."""
    chosen = {"d": 9, "sigma_color": 300, "sigma_space": 300, "ksize": 7, "block_size": 9, "c": 9} | arguments
    nearly = Nearly()
    for name, image in color_images().items():
        color = cv2.bilateralFilter(image, chosen["d"], chosen["sigma_color"], chosen["sigma_space"])
        gray = cv2.medianBlur(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), chosen["ksize"])
        lines = cv2.adaptiveThreshold(
            gray, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY, chosen["block_size"], chosen["c"]
        )
        result = texfilters.cartoonize(tensor(image), **arguments, backend=backend)
        assert not result[:, tensor(lines) == 0].any()
        nearly.add(result, cv2.bitwise_and(color, color, mask=lines), name)
    nearly.check()

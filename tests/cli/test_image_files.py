"""Reading and writing: modes, alpha and depth survive, and what would be lost is refused."""

import io
import os
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, JpegImagePlugin

import texfilters
from cli_helpers import SCIKIT_IMAGES, files_in, pixels, suppress
from texfilters.cli import image_files
from texfilters.cli.image_files import Picture, decode, encode, read, write

PARAMETERS = {"niter": 20, "kappa": 20.0, "gamma": 0.1, "option": 1, "coupling": "none"}


def diffused(planes: np.ndarray, **changes) -> np.ndarray:
    return texfilters.anisotropic_diffusion(torch.from_numpy(planes.copy()), **{**PARAMETERS, **changes}).numpy()


def in_mode(image: Image.Image, mode: str) -> Image.Image:
    if mode in ("LA", "RGBA"):
        result = image.convert(mode[:-1])
        result.putalpha(Image.linear_gradient("L").resize(image.size))
        return result
    return image.convert(mode)


@pytest.mark.parametrize(
    ("mode", "suffix"),
    [
        *(("L", "png"), ("LA", "png"), ("RGB", "png"), ("RGBA", "png"), ("L", "tif"), ("LA", "tif"), ("RGBA", "tiff")),
        *(("CMYK", "tif"), ("L", "bmp"), ("RGB", "bmp"), ("RGB", "ppm"), ("L", "pgm"), ("L", "ppm")),
    ],
)
def test_color_is_the_functions_result_and_alpha_is_untouched(tmp_path, small, mode, suffix):
    source, target = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
    in_mode(small, mode).save(source)
    suppress(source, target)
    before, after = np.atleast_3d(pixels(source)), np.atleast_3d(pixels(target))
    with Image.open(target) as image:
        assert image.mode == mode
    colors = before.shape[2] - mode.endswith("A")
    assert np.array_equal(after[..., :colors], np.moveaxis(diffused(np.moveaxis(before, -1, 0)[:colors]), 0, -1))
    assert np.array_equal(after[..., colors:], before[..., colors:])
    assert not np.array_equal(after[..., :colors], before[..., :colors])


def test_coupling_reaches_the_channels(tmp_path, small):
    small.save(tmp_path / "a.png")
    suppress(tmp_path / "a.png", tmp_path / "b.png", coupling="l2")
    planes = np.moveaxis(np.asarray(small), -1, 0)
    coupled = diffused(planes, coupling="l2")
    assert np.array_equal(np.moveaxis(pixels(tmp_path / "b.png"), -1, 0), coupled)
    assert not np.array_equal(coupled, diffused(planes))


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_16_bits_stay_16_bits(tmp_path, small, suffix):
    fine = np.asarray(small.convert("L"), dtype=np.uint16) * 257 + np.arange(small.width, dtype=np.uint16) % 200
    deep = Image.fromarray(fine)
    (deep.convert("I") if suffix == "pgm" else deep).save(tmp_path / f"a.{suffix}")
    suppress(tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}")
    after = pixels(tmp_path / f"b.{suffix}")
    levels = diffused((fine.astype(np.float32) / 257)[None])[0]
    assert np.array_equal(after.astype(np.int64), np.round(levels * np.float32(257)).astype(np.int64))
    assert len(np.unique(after)) > 256
    suppress(tmp_path / f"a.{suffix}", tmp_path / f"c.{suffix}", niter=0)
    assert np.array_equal(pixels(tmp_path / f"c.{suffix}"), fine)


def test_big_endian_16_bits(tmp_path):
    values = np.array([[0, 1, 256], [65535, 513, 40000]], dtype=np.uint16)
    Image.frombytes("I;16B", (3, 2), values.astype(">u2").tobytes()).save(tmp_path / "a.tif")
    suppress(tmp_path / "a.tif", tmp_path / "b.tif", niter=0)
    assert np.array_equal(pixels(tmp_path / "b.tif"), values)


def test_bilevel_and_palette_become_gray_and_color(tmp_path, small):
    def mode_after(image: Image.Image, **options) -> str:
        image.save(tmp_path / "a.png", **options)
        suppress(tmp_path / "a.png", tmp_path / "b.png", niter=0)
        with Image.open(tmp_path / "a.png") as a, Image.open(tmp_path / "b.png") as b:
            assert np.array_equal(np.asarray(a.convert(b.mode)), np.asarray(b))
            return b.mode

    assert mode_after(small.convert("1")) == "L"
    assert mode_after(small.quantize(32)) == "RGB"
    assert mode_after(small.quantize(32), transparency=3) == "RGBA"
    assert mode_after(small.convert("L"), transparency=90) == "LA"
    assert mode_after(small, transparency=small.getpixel((5, 5))) == "RGBA"


def test_webp_keeps_alpha_and_the_color_below_it(tmp_path, small):
    image = in_mode(small, "RGBA")
    image.putalpha(image.getchannel("A").point(lambda a: 0 if a < 128 else a))
    image.save(tmp_path / "a.webp", lossless=True, exact=True)
    suppress(tmp_path / "a.webp", tmp_path / "b.webp")
    before, after = pixels(tmp_path / "a.webp"), pixels(tmp_path / "b.webp")
    assert np.array_equal(after[..., 3], before[..., 3])
    hidden = before[..., 3] == 0
    assert hidden.any()
    assert np.abs(after[hidden][:, :3].astype(int) - before[hidden][:, :3]).mean() < 20  # lossy and filtered, not black


def test_jpeg_has_full_chroma_and_the_quality_asked_for(tmp_path, small):
    small.save(tmp_path / "a.png")
    picture = read(str(tmp_path / "a.png"))
    for quality in (95, 40):
        write(picture, str(tmp_path / "b.jpg"), quality)
        small.save(tmp_path / "expected.jpg", quality=quality)
        with Image.open(tmp_path / "b.jpg") as b, Image.open(tmp_path / "expected.jpg") as expected:
            assert JpegImagePlugin.get_sampling(b) == 0  # 4:4:4
            assert JpegImagePlugin.get_sampling(expected) != 0  # what Pillow does when it is not told
            assert b.quantization == expected.quantization


def test_cmyk_jpeg(tmp_path, small):
    small.convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    suppress(tmp_path / "a.jpg", tmp_path / "b.jpg")
    with Image.open(tmp_path / "b.jpg") as image:
        assert image.mode == "CMYK"
        assert {(across, down) for _, across, down, _ in image.layer} == {(1, 1)}
    expected = np.moveaxis(diffused(np.moveaxis(pixels(tmp_path / "a.jpg"), -1, 0)), 0, -1)
    assert np.abs(pixels(tmp_path / "b.jpg").astype(int) - expected).mean() < 3  # JPEG at quality 95


def deep_color_png() -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    lines = zlib.compress(b"\0" + bytes(range(12)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", lines) + chunk(b"IEND", b"")


def test_what_would_be_lost_is_refused(tmp_path, small):
    def refused(name: str, match: str) -> None:
        with pytest.raises(ValueError, match=match):
            read(str(tmp_path / name))

    frames = [small, small.rotate(90), small.rotate(180)]
    for name in ("a.webp", "a.png", "a.tif"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
        refused(name, "^3 frames")
    frames[0].save(tmp_path / "gif.png", format="GIF", save_all=True, append_images=frames[1:])
    refused("gif.png", "^3 frames")
    (tmp_path / "deep.png").write_bytes(deep_color_png())
    (tmp_path / "deep.ppm").write_bytes(b"P6 2 1 65535\n" + bytes(range(12)))
    (tmp_path / "deeper.ppm").write_bytes(b"P6 2 1 1023\n" + bytes(12))
    for name in ("deep.png", "deep.ppm", "deeper.ppm"):
        refused(name, "^16 bits a channel in color")
    for mode in ("F", "I", "LAB"):
        Image.new(mode, (3, 3)).save(tmp_path / f"{mode}.tif")
        refused(f"{mode}.tif", f"^mode {mode} ")
    Image.new("I;16", (3, 3)).save(tmp_path / "signed.tif", tiffinfo={339: 2})
    refused("signed.tif", "^mode I ")
    (tmp_path / "text.png").write_text("no image")
    refused("text.png", "^not an image")
    (tmp_path / "empty.png").touch()
    refused("empty.png", "^an empty file$")
    os.mkfifo(tmp_path / "pipe.png")
    refused("pipe.png", "^not a regular file$")
    (tmp_path / "folder.png").mkdir()
    refused("folder.png", "^a folder$")
    (tmp_path / "cut.jpg").write_bytes((SCIKIT_IMAGES / "rocket.jpg").read_bytes()[:20_000])
    with pytest.raises(OSError, match="truncated"):
        read(str(tmp_path / "cut.jpg"))


def test_a_cameras_jpeg_with_previews_is_its_first_picture(tmp_path, small):
    small.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[small.resize((20, 20))])
    with Image.open(tmp_path / "a.jpg") as image:
        assert image.n_frames == 2
    assert read(str(tmp_path / "a.jpg")).image.size == small.size


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        *(("RGBA", "a.jpg"), ("LA", "a.bmp"), ("RGBA", "a.bmp"), ("CMYK", "a.png"), ("CMYK", "a.webp")),
        *(("I;16", "a.jpg"), ("I;16", "a.webp"), ("RGB", "a.pgm"), ("RGBA", "a.ppm")),
    ],
)
def test_a_format_that_cannot_hold_the_mode(tmp_path, mode, name):
    with pytest.raises(ValueError, match=f"^{os.path.splitext(name)[1]} cannot hold an image of mode {mode}$"):
        write(Picture(Image.new(mode, (3, 3))), str(tmp_path / name))
    assert files_in(tmp_path) == set()


def test_content_counts_on_reading_and_the_suffix_on_writing(tmp_path, small):
    small.save(tmp_path / "a.jpg", format="PNG")
    assert np.array_equal(np.asarray(read(str(tmp_path / "a.jpg")).image), np.asarray(small))
    suppress(tmp_path / "a.jpg", tmp_path / "b.JPEG")
    with Image.open(tmp_path / "b.JPEG") as image:
        assert image.format == "JPEG"


def test_a_suffix_that_the_content_does_not_bear_out(small):
    content = encode(Picture(small), ".png")
    assert image_files.misnamed("a/b.JPG", decode(content)) == "a PNG under the name of a JPEG"
    assert image_files.misnamed("a/b.PNG", decode(content)) is None
    several = io.BytesIO()
    small.save(several, "MPO", save_all=True, append_images=[small])
    assert decode(several.getvalue()).format == "MPO"
    assert image_files.misnamed("b.jpeg", decode(several.getvalue())) is None


def test_all_suffixes_are_read_and_written(tmp_path, small):
    for suffix in image_files.SUFFIXES:
        for spelled in (suffix, suffix.upper()):
            path = str(tmp_path / f"a{spelled}")
            assert image_files.is_image(path)
            write(Picture(small.convert("L")), path)
            assert read(path).image.size == small.size
    assert not any(map(image_files.is_image, ["a.gif", "a.txt", "a", ".png", "a.png.bak"]))

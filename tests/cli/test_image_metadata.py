"""EXIF and color profiles go along, or are left behind as a whole."""

import numpy as np
import pytest
from PIL import Image, ImageCms

from cli_helpers import suppress
from texfilters.cli.image_files import Picture, decode, encode, write


@pytest.fixture(scope="module")
def exif() -> Image.Exif:
    exif = Image.Exif()
    exif[0x010F] = "Acme"
    exif[0x0112] = 6
    exif[0x8769] = {0x9003: "2020:01:02 03:04:05"}
    exif[0x8825] = {1: "N", 2: (51.0, 30.0, 1.5)}
    return exif


ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


@pytest.mark.parametrize("source", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("target", ["jpg", "png", "webp", "tif"])
def test_exif_and_profile_go_along(tmp_path, small, exif, source, target):
    source, target = tmp_path / f"a.{source}", tmp_path / f"b.{target}"
    small.save(source, exif=exif.tobytes(), icc_profile=ICC)
    suppress(source, target)
    with Image.open(source) as a, Image.open(target) as b:
        a.load()
        b.load()
        assert b.info["icc_profile"] == ICC
        kept = b.getexif()
        assert kept[0x010F] == "Acme"
        assert kept.get_ifd(0x8769)[0x9003] == "2020:01:02 03:04:05"
        assert kept.get_ifd(0x8825)[2] == (51.0, 30.0, 1.5)
        # Pillow turns a TIFF while it reads, and drops the tag; elsewhere neither pixels nor tag are touched.
        turned = ".tif" in (source.suffix, target.suffix)
        assert kept.get(0x0112) == (None if turned else 6)
        assert b.size == (a.size[::-1] if source.suffix != ".tif" and turned else a.size)


@pytest.mark.parametrize("suffix", [".bmp", ".ppm"])
def test_formats_without_exif_hold_the_image_as_it_is_to_be_seen(small, exif, suffix):
    picture = Picture(small, exif=exif.tobytes())  # turned by 90 degrees
    seen = decode(encode(picture, suffix)).image
    assert np.array_equal(np.asarray(seen), np.asarray(small.transpose(Image.Transpose.ROTATE_270)))


def test_jpeg_exif_keeps_its_bytes(tmp_path, small, exif):
    raw = exif.tobytes() + b"\0maker's notes that nobody understands"
    small.save(tmp_path / "a.jpg", exif=raw)
    suppress(tmp_path / "a.jpg", tmp_path / "b.jpg")
    with Image.open(tmp_path / "b.jpg") as image:
        assert image.info["exif"] == raw


def test_tiff_storage_is_no_exif(tmp_path, small):
    small.save(tmp_path / "a.tif", compression="tiff_lzw", description="a note")
    suppress(tmp_path / "a.tif", tmp_path / "b.jpg")
    with Image.open(tmp_path / "b.jpg") as image:
        assert dict(image.getexif()) == {0x010E: "a note"}


def test_webp_of_a_gray_image_drops_its_gray_profile(tmp_path, small):
    write(Picture(small.convert("L"), icc_profile=ICC), str(tmp_path / "a.webp"))
    with Image.open(tmp_path / "a.webp") as image:
        assert "icc_profile" not in image.info


TURNED = {
    1: lambda pixels: pixels,
    2: np.fliplr,
    3: lambda pixels: np.rot90(pixels, 2),
    4: np.flipud,
    5: lambda pixels: pixels.swapaxes(0, 1),
    6: lambda pixels: np.rot90(pixels, 3),
    7: lambda pixels: np.rot90(pixels, 2).swapaxes(0, 1),
    8: np.rot90,
}


class TestMetadata:
    @pytest.mark.parametrize("orientation", range(1, 9))
    @pytest.mark.parametrize("mode", ["RGB", "L", "I;16"])
    def test_dropping_turns_the_pixels_first(self, tmp_path, small, orientation, mode):
        levels = np.asarray(small.convert("L"), dtype=np.uint16) * 257
        image = Image.fromarray(levels) if mode == "I;16" else small.convert(mode)
        exif = Image.Exif()
        exif[0x0112], exif[0x010F] = orientation, "Acme"
        image.save(tmp_path / "a.png", exif=exif, icc_profile=ICC)
        suppress(tmp_path / "a.png", tmp_path / "b.png", metadata="drop", niter=0)
        with Image.open(tmp_path / "b.png") as after:
            after.load()
            assert set(after.info) == set()
            assert dict(after.getexif()) == {}
            assert np.array_equal(np.asarray(after), TURNED[orientation](np.asarray(image)))

    @pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
    def test_dropping_leaves_nothing_behind(self, tmp_path, small, exif, suffix):
        comment = {"comment": "a note"} if suffix == "jpg" else {}
        small.save(tmp_path / f"a.{suffix}", exif=exif.tobytes(), icc_profile=ICC, **comment)
        assert b"Acme" in (tmp_path / f"a.{suffix}").read_bytes()
        suppress(tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}", metadata="drop")
        content = (tmp_path / f"b.{suffix}").read_bytes()
        assert not any(text in content for text in (b"Acme", b"a note", b"sRGB", b"Exif"))
        with Image.open(tmp_path / f"b.{suffix}") as image:
            assert image.size == small.size[::-1]

    @pytest.mark.filterwarnings("ignore::UserWarning:PIL")
    def test_exif_that_cannot_be_read_turns_nothing(self, small):
        picture = Picture(small, exif=b"Exif\0\0II*\0broken", icc_profile=ICC)
        assert picture.upright() == Picture(small, icc_profile=ICC)
        assert picture.without_metadata() == Picture(small)

    def test_upright_keeps_the_profile_and_the_picture_as_it_was(self, small, exif):
        picture = Picture(small, exif.tobytes(), ICC)
        upright = picture.upright()
        assert (upright.exif, upright.icc_profile) == (None, ICC)
        assert upright.image.size == small.size[::-1]
        assert (picture.image.size, picture.exif) == (small.size, exif.tobytes())

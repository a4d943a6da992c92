"""Reading and writing: modes, alpha, depth, EXIF and color profiles survive, and what would be lost is refused."""

import errno
import io
import os
import struct
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms, ImageFile, JpegImagePlugin, PngImagePlugin

import texfilters
from cli_helpers import SCIKIT_IMAGES, files_in, pixels
from texfilters.cli import atomic, image_files, work
from texfilters.cli.image_files import Picture, decode, encode, read, write

PARAMETERS = {"niter": 20, "kappa": 20.0, "gamma": 0.1, "option": 1, "coupling": "none"}


def diffused(planes: np.ndarray, **changes) -> np.ndarray:
    return texfilters.anisotropic_diffusion(torch.from_numpy(planes.copy()), **{**PARAMETERS, **changes}).numpy()


def suppress(source, target, metadata="keep", **flags) -> None:
    settings = work.Settings("anisotropic-diffusion", flags, metadata=metadata, overwrite=True)
    (record,) = work.do([work.Item("a", str(source), str(target))], settings, f"{target}.tmp")
    assert record["status"] == "done", record


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


class TestLimits:
    def test_more_pixels_than_allowed(self, small):
        content = encode(Picture(small), ".png")
        most = small.width * small.height
        assert decode(content, max_pixels=most).image.size == small.size
        with pytest.raises(image_files.TooLarge, match=f"^77 x 53 pixels, more than the limit of {most - 1}$"):
            decode(content, max_pixels=most - 1)

    @pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif", ".bmp", ".ppm"])
    def test_a_bomb_is_not_decoded(self, monkeypatch, suffix):
        content = encode(Picture(Image.new("RGB", (300, 200))), suffix)
        monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: pytest.fail("decoded"))
        with pytest.raises(image_files.TooLarge, match=r"^300 x 200 pixels"):
            decode(content, max_pixels=1000)

    def test_pillows_own_limit_does_not_count_and_stays_as_it_was(self, small, monkeypatch):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
        content = encode(Picture(small), ".png")
        assert decode(content, max_pixels=None).image.size == small.size
        assert Image.MAX_IMAGE_PIXELS == 100
        with pytest.raises(ValueError, match=r"^not an image"):
            decode(b"no image")
        assert Image.MAX_IMAGE_PIXELS == 100

    def test_pillows_limit_comes_back_after_the_last_of_several_threads(self, small, monkeypatch):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
        content = encode(Picture(small), ".png")
        inside, load = threading.Barrier(4, timeout=20), PngImagePlugin.PngImageFile.load_prepare

        def meeting(image) -> None:
            inside.wait()  # all of them are decoding
            assert Image.MAX_IMAGE_PIXELS is None
            load(image)

        monkeypatch.setattr(PngImagePlugin.PngImageFile, "load_prepare", meeting)
        with ThreadPoolExecutor(4) as pool:
            sizes = [picture.image.size for picture in pool.map(decode, [content] * 4)]
        assert sizes == [small.size] * 4
        assert Image.MAX_IMAGE_PIXELS == 100

    def test_a_file_too_large_for_its_pixels_is_not_read(self, tmp_path):
        with open(tmp_path / "a.tif", "wb") as file:
            file.truncate(image_files.most_bytes(1000) + 1)
        with pytest.raises(image_files.TooLarge, match=r"^67116865 bytes, more than the 67116864 "):
            image_files.load(str(tmp_path / "a.tif"), image_files.most_bytes(1000))

    @pytest.mark.parametrize("change", ["grows", "shrinks"])
    def test_a_file_that_changes_while_it_is_read(self, tmp_path, small, monkeypatch, change):
        path = tmp_path / "a.png"
        small.save(path)
        size, fstat = path.stat().st_size, os.fstat

        def changing(descriptor):
            status = fstat(descriptor)
            os.truncate(path, size + 1 if change == "grows" else size - 1)
            return status

        monkeypatch.setattr(os, "fstat", changing)
        with pytest.raises(ValueError, match=r"^its size changed while it was read$"):
            read(str(path))

    def test_what_decoders_raise_has_a_reason_on_one_line(self, monkeypatch):
        def fails(image):
            raise IndexError("out of\nrange")

        content = encode(Picture(Image.new("L", (3, 3))), ".png")
        monkeypatch.setattr(ImageFile.ImageFile, "load", fails)
        with pytest.raises(ValueError, match=r"^damaged: out of range$"):
            decode(content)

    @pytest.mark.filterwarnings("ignore::UserWarning:PIL")
    @pytest.mark.parametrize("suffix", list(image_files.SUFFIXES))
    def test_every_truncation_is_an_error_or_a_whole_image(self, small, suffix):
        content = encode(Picture(small.convert("L")), suffix)
        whole = np.asarray(decode(content).image)
        reasons = []
        for size in [*range(60), *range(60, len(content), len(content) // 40)]:
            try:
                picture = decode(content[:size])
            except (OSError, ValueError) as error:
                reasons.append(str(error))
            else:
                assert np.array_equal(np.asarray(picture.image), whole)
        assert len(reasons) > 60
        # Each one on a line, and the same in the next run: no object's address.
        assert all(reason and "\n" not in reason and " at 0x" not in reason for reason in reasons)


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


class TestAtomicWriting:
    def test_permissions_follow_the_umask(self, tmp_path):
        before = os.umask(0o027)
        try:
            atomic.write(str(tmp_path / "a.png"), b"data")
        finally:
            os.umask(before)
        assert (tmp_path / "a.png").stat().st_mode & 0o777 == 0o640
        assert files_in(tmp_path) == {"a.png"}

    @pytest.mark.parametrize("step", ["fsync", "replace"])
    def test_a_full_disk_leaves_the_old_file(self, tmp_path, monkeypatch, step):
        def fails(*arguments):
            assert len(files_in(tmp_path)) == 2  # the temporary file lies beside its destination
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        (tmp_path / "a.png").write_bytes(b"old")
        monkeypatch.setattr(os, step, fails)
        with pytest.raises(OSError, match="No space left"):
            atomic.write(str(tmp_path / "a.png"), b"new")
        assert (tmp_path / "a.png").read_bytes() == b"old"
        assert files_in(tmp_path) == {"a.png"}

    def test_flushed_before_it_gets_its_name(self, tmp_path, monkeypatch):
        steps = []
        fsync, replace = os.fsync, os.replace
        monkeypatch.setattr(os, "fsync", lambda file: (steps.append("fsync"), fsync(file)))
        monkeypatch.setattr(os, "replace", lambda *paths: (steps.append("replace"), replace(*paths)))
        atomic.write(str(tmp_path / "a.png"), b"data")
        assert steps == ["fsync", "replace"]

    def test_a_name_as_long_as_the_file_system_allows(self, tmp_path):
        name = "n" * 251 + ".png"
        atomic.write(str(tmp_path / name), b"data")
        assert files_in(tmp_path) == {name}

    def test_abandoned_while_writing(self, tmp_path, monkeypatch):
        monkeypatch.setattr(atomic, "_abandoned", False)
        monkeypatch.setattr(os, "fsync", lambda file: atomic.abandon())
        with pytest.raises(FileNotFoundError):
            atomic.write(str(tmp_path / "a.png"), b"data")
        with pytest.raises(InterruptedError):
            atomic.write(str(tmp_path / "b.png"), b"data")
        assert files_in(tmp_path) == set()

    def test_stop_is_raised_where_every_file_would_fail(self, tmp_path, monkeypatch):
        for step in ("write", "replace", "open"):
            for number in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES):

                def fails(*arguments, number=number):
                    raise OSError(number, os.strerror(number))

                with monkeypatch.context() as patch:
                    patch.setattr(os, step, fails)
                    with pytest.raises(OSError, match=os.strerror(number)) as raised:
                        atomic.write(str(tmp_path / "a.png"), b"data")
                assert isinstance(raised.value, atomic.Stop) == (number != errno.EACCES)
                assert raised.value.errno == number
                assert files_in(tmp_path) == set()

    def test_a_disk_that_takes_a_part_at_a_time(self, tmp_path, monkeypatch):
        write = os.write
        monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:3]))
        atomic.write(str(tmp_path / "a.png"), b"0123456789")
        assert (tmp_path / "a.png").read_bytes() == b"0123456789"

    def test_without_a_place_nothing_is_left(self, tmp_path):
        with atomic.Temporary(str(tmp_path / "t.tmp")) as temporary:
            temporary.write(b"data")
            assert files_in(tmp_path) == {"t.tmp"}
        assert files_in(tmp_path) == set()

    def test_what_a_killed_process_left_is_replaced_and_not_written_into(self, tmp_path):
        (tmp_path / "old").write_bytes(b"precious")
        os.link(tmp_path / "old", tmp_path / "t.tmp")
        with atomic.Temporary(str(tmp_path / "t.tmp")) as temporary:
            temporary.write(b"new")
            temporary.place(str(tmp_path / "deep" / "er" / "a.png"))
        assert (tmp_path / "deep" / "er" / "a.png").read_bytes() == b"new"
        assert (tmp_path / "old").read_bytes() == b"precious"
        assert files_in(tmp_path) == {"old", "deep/er/a.png"}

    def test_what_is_cut_off_is_gone(self, tmp_path):
        with atomic.Temporary(str(tmp_path / "t.tmp")) as temporary:
            temporary.write(b"0123456789")
            temporary.truncate(4)
            temporary.write(b"ab")
            temporary.place(str(tmp_path / "a"))
        assert (tmp_path / "a").read_bytes() == b"0123ab"


def test_all_suffixes_are_read_and_written(tmp_path, small):
    for suffix in image_files.SUFFIXES:
        for spelled in (suffix, suffix.upper()):
            path = str(tmp_path / f"a{spelled}")
            assert image_files.is_image(path)
            write(Picture(small.convert("L")), path)
            assert read(path).image.size == small.size
    assert not any(map(image_files.is_image, ["a.gif", "a.txt", "a", ".png", "a.png.bak"]))

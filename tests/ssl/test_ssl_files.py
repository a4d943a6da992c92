"""Files of images: decoded, turned upright and squashed; and which ones there are below a folder."""

import importlib.util
import os

import numpy as np
import pytest
import torch

for package in ("kornia", "lightning", "torchvision"):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs {package}", allow_module_level=True)

from PIL import Image, ImageOps  # noqa: E402
from torchvision.transforms.v2 import functional as tvf  # noqa: E402

from data_cases import tree  # noqa: E402
from texfilters.ssl import _decode  # noqa: E402
from texfilters.ssl._listing import classes_of, listed  # noqa: E402


@pytest.fixture
def folder(tmp_path):
    return tree(tmp_path / "photos")


class TestDecoding:
    def read(self, image, path, side=8, **options):
        image.save(path, **options)
        return _decode.read(str(path), side)

    @pytest.mark.parametrize(
        ("mode", "suffix"),
        [
            *(("RGB", "jpg"), ("L", "jpg"), ("CMYK", "jpg"), ("RGB", "png"), ("L", "png"), ("LA", "png")),
            *(("RGBA", "png"), ("P", "png"), ("1", "png"), ("RGB", "webp"), ("RGB", "bmp"), ("CMYK", "tif")),
            *(("RGB", "ppm"), ("L", "pgm"), ("P", "gif")),
        ],
    )
    def test_any_mode_becomes_rgb(self, tmp_path, photo, mode, suffix):
        image = tvf.to_pil_image(photo[:, :40, :60]).convert(mode)
        found, size = self.read(image, tmp_path / f"a.{suffix}", 32)
        assert (found.shape, found.dtype, size) == ((3, 32, 32), torch.uint8, (40, 60))
        with Image.open(tmp_path / f"a.{suffix}") as again:
            expected = tvf.pil_to_tensor(again.convert("RGB"))
        assert torch.equal(found, tvf.resize(expected, [32, 32], antialias=True))

    def test_16_bits(self, tmp_path):
        fine = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
        found, _ = self.read(Image.fromarray(fine), tmp_path / "a.png")
        assert torch.equal(found, torch.from_numpy(np.rint(fine / 257).astype(np.uint8)).expand(3, -1, -1))

    def test_a_palette_with_transparency(self, tmp_path, recwarn):
        image = Image.new("P", (8, 8), 1)
        image.putpalette([0, 0, 0, 200, 100, 50])
        found, _ = self.read(image, tmp_path / "a.png", transparency=b"\x00\x80")
        assert found[:, 0, 0].tolist() == [200, 100, 50]
        assert not recwarn.list

    def test_the_first_of_several_frames(self, tmp_path):
        frames = [Image.new("L", (8, 8), gray) for gray in (30, 200)]
        found, _ = self.read(frames[0], tmp_path / "a.gif", save_all=True, append_images=frames[1:])
        assert (found - 30).abs().max() <= 1

    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_upright(self, tmp_path, photo, orientation):
        image = tvf.to_pil_image(photo[:, :32, :48])
        exif = Image.Exif()
        exif[0x0112] = orientation
        found, size = self.read(image, tmp_path / "a.png", 16, exif=exif)
        with Image.open(tmp_path / "a.png") as again:
            expected = tvf.pil_to_tensor(ImageOps.exif_transpose(again))
        assert size == tuple(expected.shape[1:]) == ((48, 32) if orientation > 4 else (32, 48))
        assert torch.equal(found, tvf.resize(expected, [16, 16], antialias=True))

    def test_exif_that_cannot_be_read_says_nothing(self, tmp_path, photo, recwarn):
        image = tvf.to_pil_image(photo[:, :16, :16])
        found, _ = self.read(image, tmp_path / "a.png", 16, exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
        assert torch.equal(found, photo[:, :16, :16])
        assert not recwarn.list

    def test_large_jpegs_are_decoded_smaller(self, tmp_path, photo, monkeypatch):
        image = tvf.to_pil_image(photo)
        exif = Image.Exif()
        exif[0x0112] = 6
        decoded = []
        resize = torch.nn.functional.interpolate

        def watched(images, *sizes, **options):
            decoded.append(tuple(images.shape[2:]))
            return resize(images, *sizes, **options)

        monkeypatch.setattr(_decode.functional, "interpolate", watched)
        found, size = self.read(image, tmp_path / "a.jpg", 40, quality=95, exif=exif)
        assert size == (320, 256)
        assert decoded == [(80, 64)]  # a quarter of it, no smaller than 40
        expected = tvf.resize(tvf.pil_to_tensor(ImageOps.exif_transpose(Image.open(tmp_path / "a.jpg"))), [40, 40])
        assert (found.int() - expected.int()).abs().float().mean() < 2

    @pytest.mark.parametrize(
        ("content", "why"),
        [
            (b"", "not an image"),
            (b"no image at all", "not an image"),
            (None, "No such file"),
            ("half", "truncated"),
            ("float", "mode F, whose range is unknown"),
        ],
    )
    def test_unreadable(self, tmp_path, photo, content, why):
        path = tmp_path / "a.jpg"
        if content == "half":
            tvf.to_pil_image(photo).save(path)
            path.write_bytes(path.read_bytes()[:3000])
        elif content == "float":
            Image.new("F", (8, 8)).save(path, format="TIFF")
        elif content is not None:
            path.write_bytes(content)
        with pytest.raises(_decode.Unreadable, match=why):
            _decode.read(str(path), 8)


class TestListing:
    def test_by_names_alone(self, tmp_path, caplog):
        for name in ("b/2.png", "b/10.JPG", "a/z/deep.webp", "a/.hidden.png", "a/note.txt", ".c/1.png", "beside.png"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).touch()
        (tmp_path / "b" / "folder.png").mkdir()
        os.symlink(tmp_path / "a", tmp_path / "a" / "z" / "loop")
        os.symlink(tmp_path / "b" / "2.png", tmp_path / "a" / "link.png")
        os.symlink(tmp_path / "nowhere", tmp_path / "a" / "broken.png")
        found = listed(str(tmp_path))
        assert caplog.messages == [f"left out, beside the folders of classes: 1 images in {tmp_path}"]
        assert found.classes == ("a", "b")
        assert found.names.tolist() == [b"a/link.png", b"a/z/deep.webp", b"b/10.JPG", b"b/2.png"]
        assert found.labels.tolist() == [0, 0, 1, 1]
        assert found.path(3) == str(tmp_path / "b" / "2.png")

    def test_no_classes(self, tmp_path):
        Image.new("L", (4, 4)).save(tmp_path / "b.png")
        Image.new("L", (4, 4)).save(tmp_path / "a.png")
        found = listed(str(tmp_path))
        assert (found.classes, found.labels.tolist()) == ((), [-1, -1])

    def test_classes_of_a_list(self, tmp_path, folder):
        names = tmp_path / "names.txt"
        names.write_text("# of ImageNet-100\ndog  a pet\n\nbird\n")
        found = listed(str(folder), classes=classes_of(str(names)))
        assert found.classes == ("dog", "bird")
        assert found.names[[0, -1]].tolist() == [b"dog/0.png", b"bird/3.png"]
        assert found.labels.tolist() == [0] * 4 + [1] * 4

    def test_domains(self, tmp_path):
        tree(tmp_path / "photo")
        tree(tmp_path / "sketch", each=1)
        found = listed(str(tmp_path), ["sketch", "photo"])
        assert found.names.tolist()[:4] == [
            b"sketch/bird/0.png",
            b"sketch/cat/0.png",
            b"sketch/dog/0.png",
            b"photo/bird/0.png",
        ]
        assert found.labels.tolist() == [0, 1, 2, *[0] * 4, *[1] * 4, *[2] * 4]

    def test_refused(self, tmp_path, folder):
        with pytest.raises(FileNotFoundError, match="no-such"):
            listed(str(tmp_path / "no-such"))
        with pytest.raises(FileNotFoundError, match="has no folder for class fish"):
            listed(str(folder), classes=["cat", "fish"])
        with pytest.raises(ValueError, match="name a folder once, got cat several times"):
            listed(str(folder), classes=["cat", "cat"])
        (tmp_path / "empty").mkdir()
        with pytest.raises(ValueError, match=r"no images in .*empty.*; suffixes read are .*\.png"):
            listed(str(tmp_path / "empty"))
        (folder / "fish").mkdir()
        with pytest.raises(ValueError, match=r"no images in .*fish"):
            listed(str(folder))
        (tmp_path / "names.txt").write_text("\n# nothing\n")
        with pytest.raises(ValueError, match=r"names\.txt names no classes"):
            classes_of(str(tmp_path / "names.txt"))

"""What is too large, damaged or changes meanwhile is not decoded, or has a reason."""

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, ImageFile, PngImagePlugin

from texfilters.cli import image_files
from texfilters.cli.image_files import Picture, decode, encode, read


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

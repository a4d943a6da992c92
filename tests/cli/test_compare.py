"""`texfilters compare` and the contact sheet it draws."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

import texfilters
from cli_helpers import files_in, pixels, run
from texfilters.cli.contact_sheet import contact_sheet

# At cell=360: margin, gap, and the height of a label of two lines.
MARGIN, GAP, HEADER = 40, 20, 56


def ink(region: np.ndarray) -> int:
    """The number of dark pixels."""
    return int((region.max(axis=-1) < 160).sum())


def test_sheet_of_an_image(tmp_path, small):
    small.resize((60, 40)).save(tmp_path / "cat.png")
    outcome = run("compare", "cat.png", cwd=tmp_path)
    assert outcome == (0, f"{tmp_path / 'cat-compare.png'}\n", "")
    assert files_in(tmp_path) == {"cat.png", "cat-compare.png"}
    sheet = pixels(tmp_path / "cat-compare.png")
    # 60 x 40 is drawn six times as large, too small for an enlarged part.
    assert sheet.shape == (2 * MARGIN + HEADER + 240, 2 * MARGIN + 4 * 360 + 3 * GAP, 3)
    planes = torch.from_numpy(pixels(tmp_path / "cat.png").copy()).movedim(-1, 0)
    labels = []
    for i, kappa in enumerate((None, 10, 20, 40)):
        expected = planes if kappa is None else texfilters.anisotropic_diffusion(planes, 20, kappa, 0.1)
        left, top = MARGIN + i * (360 + GAP), MARGIN + HEADER
        drawn = sheet[top : top + 240, left : left + 360]
        assert np.array_equal(drawn[::6, ::6], expected.movedim(0, -1).numpy())
        labels.append(sheet[MARGIN:top, left : left + 360])
        assert ink(labels[-1]) > 200
    assert len({label.tobytes() for label in labels}) == 4
    # Nothing but white outside pictures and labels.
    assert (sheet[:MARGIN] == 255).all()
    assert (sheet[-MARGIN:] == 255).all()
    assert (sheet[:, :MARGIN] == 255).all()
    assert (sheet[:, MARGIN + 360 : MARGIN + 360 + GAP] == 255).all()


def test_flags_and_large_images(tmp_path, astronaut, call, monkeypatch):
    monkeypatch.chdir(tmp_path)
    astronaut.resize((900, 600)).save("a.jpg", quality=95)
    flags = ["--kappa", "15", "--kappa", "60", "--niter", "5", "--gamma", "0.2", "--option", "2", "--coupling", "l2"]
    assert call("compare", "a.jpg", "--output", "sheet.png", *flags).code == 0
    sheet = pixels("sheet.png")
    # Three columns, and below each picture its enlarged part.
    assert sheet.shape == (2 * MARGIN + HEADER + 2 * 240 + GAP // 2, 2 * MARGIN + 3 * 360 + 2 * GAP, 3)
    planes = torch.from_numpy(pixels("a.jpg").copy()).movedim(-1, 0)
    after = texfilters.anisotropic_diffusion(planes, 5, 60.0, 0.2, option=2, coupling="l2")
    expected = Image.fromarray(after.movedim(0, -1).numpy()).resize((360, 240), Image.Resampling.LANCZOS)
    drawn = sheet[MARGIN + HEADER :, MARGIN + 2 * (360 + GAP) :][:240, :360]
    same = (drawn == np.asarray(expected)).all(axis=-1)
    assert 0.95 < same.mean() < 1  # all but the frame around the part that is enlarged
    assert call("compare", "a.jpg", "--output", "sheet.png", "--no-zoom").code == 0
    assert pixels("sheet.png").shape == (2 * MARGIN + HEADER + 240, 2 * MARGIN + 4 * 360 + 3 * GAP, 3)


def test_many_strengths_take_several_rows(tmp_path, small, call):
    small.resize((60, 40)).save(tmp_path / "a.png")
    kappas = [flag for kappa in (5, 10, 20, 40, 80) for flag in ("--kappa", kappa)]
    assert call("compare", tmp_path / "a.png", "--output", tmp_path, *kappas).code == 0
    sheet = pixels(tmp_path / "a-compare.png")
    assert sheet.shape == (2 * MARGIN + 2 * (HEADER + 240) + 2 * GAP, 2 * MARGIN + 3 * 360 + 2 * GAP, 3)


def test_a_turned_photo_is_shown_upright_and_16_bits_are_shown_gray(tmp_path, small, call):
    exif = Image.Exif()
    exif[0x0112] = 6
    small.resize((60, 40)).save(tmp_path / "a.png", exif=exif)
    deep = np.asarray(small.resize((60, 40)).convert("L"), dtype=np.uint16) * 257
    Image.fromarray(deep).save(tmp_path / "b.png")
    for name in ("a", "b"):
        output = tmp_path / f"{name}-sheet.png"
        assert call("compare", tmp_path / f"{name}.png", "--output", output).code == 0
    turned, gray = pixels(tmp_path / "a-sheet.png"), pixels(tmp_path / "b-sheet.png")
    upright = Image.open(tmp_path / "a.png").transpose(Image.Transpose.ROTATE_270)
    assert np.array_equal(turned[MARGIN + HEADER :, MARGIN:][:360:6, :240:6], np.asarray(upright))
    assert np.array_equal(gray[MARGIN + HEADER :, MARGIN:][:240:6, :360:6, 0], deep // 257)


def test_refusals(tmp_path, small, call, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small.save("a.png")
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "link.png").symlink_to("a.png")
    (tmp_path / "folder").mkdir()
    suffixes = ".jpg .jpeg .png .webp .bmp .tif .tiff .ppm .pgm"
    before = files_in(tmp_path)
    for code, arguments, message in (
        (2, ["b.png"], "IMAGE does not exist: b.png"),
        (2, ["folder"], "IMAGE must be a file, got the folder folder"),
        (2, ["a.png", "--output", "a.png"], "output is IMAGE: a.png would be overwritten"),
        (2, ["a.png", "--output", "link.png"], "output is IMAGE: a.png would be overwritten"),
        (2, ["a.png", "--output", "sheet.xyz"], f"output must end in one of {suffixes}, got sheet.xyz"),
        (2, ["a.png", "--kappa", "20", "--kappa", "-1"], "kappa must be > 0, got -1.0"),
        (2, ["a.png", "--gamma", "1"], "gamma must lie in (0, 0.25] for 2-D diffusion to stay stable, got 1.0"),
        (1, ["text.png"], "text.png: not an image, or one that is damaged at its beginning"),
        (1, ["a.png", "--output", "a.png/b.png"], "cannot write a.png/b.png: File exists"),
        (1, ["a.png", "--output", "sheet.pgm"], "cannot write sheet.pgm: .pgm cannot hold an image of mode RGB"),
    ):
        assert call("compare", *arguments) == (code, "", f"texfilters: {message}\n")
    assert files_in(tmp_path) == before


class TestContactSheet:
    def test_cells_are_even_and_pictures_keep_their_shape(self):
        wide, tall = Image.new("RGB", (400, 100), "red"), Image.new("RGB", (50, 200), "blue")
        sheet = np.asarray(contact_sheet([[("wide", wide), ("tall", tall)], [("again", tall)]], cell=200))
        red = np.argwhere((sheet == (255, 0, 0)).all(axis=-1))
        blue = (sheet == (0, 0, 255)).all(axis=-1)
        assert (np.ptp(red, axis=0) + 1).tolist() == [50, 200]
        assert blue.sum() == 2 * 50 * 200
        rows = np.flatnonzero(blue.any(axis=1))
        assert red[:, 0].min() == rows.min()  # aligned below their labels
        columns = np.flatnonzero(blue.any(axis=0))
        assert columns.min() == red[:, 1].min()  # the second row begins where the first does
        assert columns.max() == red[:, 1].max() + 200 // 18 + 50

    def test_alpha_lies_on_white(self):
        half = Image.new("RGBA", (10, 10), (0, 0, 0, 0))
        ImageDraw.Draw(half).rectangle((0, 0, 4, 9), fill=(0, 0, 0, 255))
        sheet = np.asarray(contact_sheet([[("", half)]], cell=100))
        assert (sheet.max(axis=-1) == 0).sum() == 50 * 100
        assert ((sheet == 255).all(axis=-1) | (sheet == 0).all(axis=-1)).all()

    def test_the_enlarged_part_is_the_part_asked_for(self):
        picture = Image.new("RGB", (200, 100), "white")
        ImageDraw.Draw(picture).rectangle((96, 46, 153, 78), fill=(0, 255, 0))
        plain = np.asarray(contact_sheet([[("a", picture)]], cell=200))
        sheet = np.asarray(contact_sheet([[("a", picture)]], cell=200, zoom=(0.5, 0.5, 0.75, 0.75)))
        below = sheet[plain.shape[0] - 200 // 9 :]
        assert ((below == (0, 255, 0)).all(axis=-1)).sum() == 200 * 100
        assert not np.array_equal(sheet[: plain.shape[0] - 200 // 9], plain[: -(200 // 9)])  # the frame

    def test_a_long_label_stays_in_its_column(self):
        picture = Image.new("RGB", (200, 100), "white")
        sheet = np.asarray(contact_sheet([[("many words that are too long here", picture), ("", picture)]], cell=200))
        columns = np.flatnonzero((sheet < 255).any(axis=(0, 2)))
        assert columns.min() >= 200 // 9
        assert columns.max() < 200 // 9 + 200

    def test_no_pictures(self):
        with pytest.raises(ValueError, match=r"^rows must hold at least one picture, got none$"):
            contact_sheet([[]])

"""`texfilters compare` and the contact sheet it draws."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

import texfilters
from cli_helpers import files_in, pixels, run
from texfilters.cli import compare, filters, image_files
from texfilters.cli.contact_sheet import contact_sheet
from texfilters.cli.messages import Refused

# At cell=360: margin, gap, and the height of a label of two lines.
MARGIN, GAP, HEADER = 40, 20, 56
LINE = 22  # what each further line of a label adds


def ink(region: np.ndarray) -> int:
    """The number of dark pixels."""
    return int((region.max(axis=-1) < 160).sum())


def drawn(sheet: np.ndarray, row: int, column: int, header: int = HEADER) -> np.ndarray:
    """One of the 60 x 40 pixels that a sheet shows six times as large."""
    left, top = MARGIN + column * (360 + GAP), MARGIN + header + row * (header + 240 + 2 * GAP)
    return sheet[top : top + 240, left : left + 360][::6, ::6]


def filtered(name: str, image: Image.Image, **flags) -> np.ndarray:
    return np.asarray(filters.apply(filters.choose(name, flags), image))


def test_every_filter_on_a_sheet(tmp_path, small, call):
    small = small.resize((60, 40))
    small.save(tmp_path / "cat.png")
    sheet_of = ["compare", tmp_path / "cat.png", "--output", tmp_path / "sheet.png"]
    flags = ["--kappa", "40", "--sigma-color", "30", "--sigma", "0.7", "--ksize", "3", "--border", "wrap"]
    for given, changes in (
        ([], {}),
        (
            flags,
            {
                "anisotropic-diffusion": {"kappa": 40.0},
                "bilateral": {"sigma_color": 30.0, "border": "wrap"},
                "gaussian": {"sigma": 0.7, "border": "wrap"},
                "median": {"ksize": 3},
                "cartoon": {"sigma_color": 30.0, "ksize": 3},
            },
        ),
    ):
        assert call(*sheet_of, *given) == (0, f"{tmp_path / 'sheet.png'}\n", "")
        sheet = pixels(tmp_path / "sheet.png")
        # The second row has a label of three lines, for the many parameters of a cartoon.
        assert sheet.shape == (2 * MARGIN + 2 * (HEADER + 240) + LINE + 2 * GAP, 2 * MARGIN + 3 * 360 + 2 * GAP, 3)
        assert np.array_equal(drawn(sheet, 0, 0), np.asarray(small))
        for i, name in enumerate(filters.FILTERS, start=1):
            shown = drawn(sheet[LINE:] if i > 2 else sheet, *divmod(i, 3))
            assert np.array_equal(shown, filtered(name, small, **changes.get(name, {}))), name


@pytest.mark.parametrize(
    ("name", "flags", "parameter", "values"),
    [
        ("bilateral", [], "sigma_color", (40.0, 75.0, 150.0)),
        ("gaussian", [], "sigma", (1.0, 2.0, 4.0)),
        ("median", [], "ksize", (3, 5, 9)),
        ("cartoon", [], "c", (5.0, 9.0, 15.0)),
        ("gaussian", ["--sigma", "3"], "sigma", (3.0,)),
        ("bilateral", ["--d", "3", "--d", "7"], "d", (3, 7)),
        ("cartoon", ["--passes", "0", "--passes", "3"], "passes", (0, 3)),
        ("gaussian", ["--border", "wrap", "--border", "constant"], "border", ("wrap", "constant")),
    ],
)
def test_several_strengths_of_a_filter(tmp_path, small, call, name, flags, parameter, values):
    small = small.resize((60, 40))
    small.save(tmp_path / "a.png")
    target = tmp_path / "sheet.png"
    assert call("compare", tmp_path / "a.png", "--output", target, "--filter", name, *flags).code == 0
    sheet = pixels(target)
    header = HEADER + LINE * (name == "cartoon")
    columns = 1 + len(values)
    assert sheet.shape == (2 * MARGIN + header + 240, 2 * MARGIN + columns * 360 + (columns - 1) * GAP, 3)
    for i, value in enumerate(values, start=1):
        assert np.array_equal(drawn(sheet, 0, i, header), filtered(name, small, **{parameter: value}))


def test_labels_name_the_filter_and_its_parameters():
    labels = [cell.label() for cell in compare.all_filters({"d": [15], "border": ["wrap"], "coupling": ["l2"]})]
    assert labels == [
        "anisotropic-diffusion\nniter 20, kappa 20, gamma 0.1, option 1,\ncoupling l2",
        "bilateral\nd 15, sigma_color 75, sigma_space 75,\nborder wrap",
        "gaussian\nsigma 2, border wrap",
        "median\nksize 5",
        "cartoon\nd 15, sigma_color 300, sigma_space 300,\npasses 1, ksize 7, block_size 9, c 9",
    ]
    labels = [cell.label() for cell in compare.strengths("gaussian", {"sigma": [3.0], "kernel_size": [5, 7]})]
    assert labels == ["gaussian, kernel_size 5\nsigma 3", "gaussian, kernel_size 7\nsigma 3"]
    labels = [cell.label() for cell in compare.strengths("median", {})]
    assert labels == ["median, ksize 3", "median, ksize 5", "median, ksize 9"]


def test_flags_that_a_sheet_cannot_show():
    for cells, message in (
        (lambda: compare.all_filters({"kappa": [10.0, 20.0]}), "--kappa may be repeated beside --filter only"),
        (
            lambda: compare.strengths("bilateral", {"d": [3, 5], "sigma_space": [1.0, 2.0]}),
            "one flag may be repeated, got --d and --sigma-space",
        ),
    ):
        with pytest.raises(Refused) as refused:
            cells()
        assert (str(refused.value), refused.value.code) == (message, 2)


def test_a_filter_that_cannot_take_the_colors_is_left_out(tmp_path, small, call):
    source, target = tmp_path / "a.jpg", tmp_path / "sheet.png"
    small.convert("CMYK").save(source)
    why = f"texfilters: {source}: cartoon takes gray and RGB images, got CMYK"
    assert call("compare", source, "--output", target, "--filter", "cartoon") == (1, "", f"{why}\n")
    assert not target.exists()
    assert call("compare", source, "--output", target) == (0, f"{target}\n", f"{why}: left out\n")
    assert pixels(target).shape[1] == 2 * MARGIN + 3 * 308 + 2 * GAP  # 77 pixels drawn four times as large


def test_sheet_of_several_strengths_of_diffusion(tmp_path, small):
    small.resize((60, 40)).save(tmp_path / "cat.png")
    outcome = run("compare", "cat.png", "--filter", "anisotropic-diffusion", cwd=tmp_path)
    assert outcome == (0, f"{tmp_path / 'cat-compare.png'}\n", "")
    assert files_in(tmp_path) == {"cat.png", "cat-compare.png"}
    sheet = pixels(tmp_path / "cat-compare.png")
    # 60 x 40 is drawn six times as large, too small for an enlarged part.
    assert sheet.shape == (2 * MARGIN + HEADER + 240, 2 * MARGIN + 4 * 360 + 3 * GAP, 3)
    planes = torch.from_numpy(pixels(tmp_path / "cat.png").copy()).movedim(-1, 0)
    labels = []
    for i, kappa in enumerate((None, 10, 20, 40)):
        expected = planes if kappa is None else texfilters.anisotropic_diffusion(planes, 20, kappa, 0.1)
        left = MARGIN + i * (360 + GAP)
        assert np.array_equal(drawn(sheet, 0, i), expected.movedim(0, -1).numpy())
        labels.append(sheet[MARGIN : MARGIN + HEADER, left : left + 360])
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
    diffusion = ["compare", "a.jpg", "--filter", "anisotropic-diffusion", "--output", "sheet.png"]
    assert call(*diffusion, *flags).code == 0
    sheet = pixels("sheet.png")
    # Three columns, and below each picture its enlarged part.
    assert sheet.shape == (2 * MARGIN + HEADER + 2 * 240 + GAP // 2, 2 * MARGIN + 3 * 360 + 2 * GAP, 3)
    planes = torch.from_numpy(pixels("a.jpg").copy()).movedim(-1, 0)
    after = texfilters.anisotropic_diffusion(planes, 5, 60.0, 0.2, option=2, coupling="l2")
    expected = Image.fromarray(after.movedim(0, -1).numpy()).resize((360, 240), Image.Resampling.LANCZOS)
    last = sheet[MARGIN + HEADER :, MARGIN + 2 * (360 + GAP) :][:240, :360]
    same = (last == np.asarray(expected)).all(axis=-1)
    assert 0.95 < same.mean() < 1  # all but the frame around the part that is enlarged
    assert call(*diffusion, "--no-zoom").code == 0
    assert pixels("sheet.png").shape == (2 * MARGIN + HEADER + 240, 2 * MARGIN + 4 * 360 + 3 * GAP, 3)


def test_many_strengths_take_several_rows(tmp_path, small, call):
    small.resize((60, 40)).save(tmp_path / "a.png")
    kappas = [flag for kappa in (5, 10, 20, 40, 80) for flag in ("--kappa", kappa)]
    assert (
        call("compare", tmp_path / "a.png", "--output", tmp_path, "--filter", "anisotropic-diffusion", *kappas).code
        == 0
    )
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
        assert call("compare", tmp_path / f"{name}.png", "--output", output, "--filter", "median").code == 0
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
        (2, ["a.png", "--kappa", "-1"], "kappa must be > 0, got -1.0"),
        (2, ["a.png", "--kappa", "20", "--kappa", "30"], "--kappa may be repeated beside --filter only"),
        (2, ["a.png", "--filter", "gaussian", "--sigma", "2", "--sigma", "-1"], "sigma must be >= 0, got -1.0"),
        (2, ["a.png", "--filter", "median", "--sigma", "2"], "--sigma is no flag of median, which takes --ksize"),
        (
            2,
            ["a.png", "--filter", "blur"],
            "filter must be one of 'anisotropic-diffusion', 'bilateral', 'gaussian', 'median', 'cartoon', got 'blur'",
        ),
        (2, ["a.png", "--gamma", "1"], "gamma must lie in (0, 0.25] for 2-D diffusion to stay stable, got 1.0"),
        (2, ["a.png", "--max-pixels", "-1"], "--max-pixels must be at least 0, got -1"),
        (1, ["a.png", "--max-pixels", "4080"], "a.png: 77 x 53 pixels, more than the limit of 4080 (--max-pixels)"),
        (1, ["text.png"], "text.png: not an image, or one that is damaged at its beginning"),
        (1, ["a.png", "--output", "a.png/b.png"], "cannot write a.png/b.png: File exists"),
        (1, ["a.png", "--output", "sheet.pgm"], "cannot write sheet.pgm: .pgm cannot hold an image of mode RGB"),
    ):
        assert call("compare", *arguments) == (code, "", f"texfilters: {message}\n")
    assert files_in(tmp_path) == before


def test_the_limit_of_pixels_can_be_lifted(tmp_path, small, call, monkeypatch):
    small.save(tmp_path / "a.png")
    seen, decode = [], image_files.decode
    monkeypatch.setattr(image_files, "decode", lambda data, **limit: (seen.append(limit), decode(data, **limit))[1])
    for limit in ("0", "4081"):
        assert call("compare", tmp_path / "a.png", "--output", tmp_path / "b.png", "--max-pixels", limit).code == 0
    assert seen == [{"max_pixels": None}, {"max_pixels": 4081}]


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

    def test_labels_of_a_size(self):
        row = [("Label\nsmaller", Image.new("RGB", (200, 100), "white"))]
        heights = []
        for text in (None, 11, 40):
            sheet = np.asarray(contact_sheet([row], cell=200, text=text))
            heights.append(int(np.ptp(np.flatnonzero((sheet < 160).any(axis=(1, 2))))))
        assert heights[1] < heights[0] < heights[2] / 2

    def test_no_pictures(self):
        with pytest.raises(ValueError, match=r"^rows must hold at least one picture, got none$"):
            contact_sheet([[]])

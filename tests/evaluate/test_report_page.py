"""Sections as files and as a page: whole, escaped, self-contained, and laid out well in a browser."""

import csv
import html
import json
import math
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
import torch

pytest.importorskip("matplotlib", reason="needs matplotlib")

from matplotlib.figure import Figure

from texfilters.evaluate import Histogram, report
from texfilters.evaluate.report import Section, Table, page, plain, write

HOSTILE = """<script>alert("1")</script>&amp;'"""
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
VOID = {"meta", "img", "br", "hr", "link", "input"}


def curve(label="a curve", points=10, line="-"):
    figure = Figure((6, 3))
    axes = figure.add_subplot()
    axes.plot(range(points), np.random.default_rng(0).random(points), line, label=label)
    axes.set_title("A title")
    axes.set_xlabel("radius")
    axes.set_ylabel("accuracy, %")
    axes.legend()
    return figure


def picture(shape):
    figure = Figure((3, 3))
    figure.add_subplot().imshow(np.random.default_rng(0).random(shape))
    return figure


def table(*columns, header=None):
    header = tuple(f"column {i}" for i in range(len(columns))) if header is None else header
    return Table("A table", header, tuple(zip(*columns, strict=True)))


def section(name="one", **given):
    return Section(**{"name": name, "title": "One", "text": "What it is.", "record": {}, **given})


class Parsed(HTMLParser):
    """A page's elements in their order, each with its attributes and all text within; tags must match."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.open = [], []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        assert len(dict(attrs)) == len(attrs), f"{tag} has an attribute twice: {attrs}"
        element = {"tag": tag, **dict(attrs), "text": ""}
        self.elements.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag):
        assert self.open.pop()["tag"] == tag

    def handle_data(self, data):
        for element in self.open:
            element["text"] += data

    def all(self, tag):
        return [element for element in self.elements if element["tag"] == tag]

    def rows(self):
        cells = [each for each in self.elements if each["tag"] in ("th", "td", "tr")]
        rows = []
        for each in cells:
            if each["tag"] == "tr":
                rows.append([])
            else:
                rows[-1].append(each)
        return rows


@pytest.fixture(scope="module")
def full():
    """A page with everything in it."""
    wide = table(*[[f"row {i}" for i in range(4)]] + [[i + 0.5, math.nan, None, -i] for i in range(20)])
    one = section(tables=(wide, table([1, 2])), figures={"Lines.": curve(), "Lines again.": curve()})
    two = section("two-words", title="Two", figures={"A photo.": picture((40, 40, 3)), "Cells.": picture((9, 9))})
    about = {"Checkpoints": "a.ckpt\nb.ckpt", "Command": "python evaluate.py --out " + "long" * 60}
    return page("A report", [one, two], about)


class TestThePage:
    def test_it_is_one_well_formed_document(self, full):
        assert full.startswith('<!DOCTYPE html>\n<html lang="en">')
        parsed = Parsed(full)
        assert parsed.all("meta")[0]["charset"] == "utf-8"
        ids = [each["id"] for each in parsed.elements if "id" in each]
        assert len(set(ids)) == len(ids)
        targets = [each[key] for each in parsed.elements for key in ("aria-labelledby",) if key in each]
        targets += [each["href"][1:] for each in parsed.all("a") if each["href"].startswith("#")]
        assert len(targets) > 10
        assert set(targets) <= set(ids)
        assert [each["tag"] for each in parsed.elements if re.fullmatch(r"h\d", each["tag"])] == ["h1", *["h2"] * 3]

    def test_it_loads_nothing(self, full):
        parsed = Parsed(full)
        assert not parsed.all("script")
        assert not parsed.all("link")
        assert all(each["src"].startswith("data:image/") for each in parsed.elements if "src" in each)
        assert "http" not in full  # no paper is named on this page
        assert "url(" not in full
        assert "@import" not in full

    def test_contents_lead_to_the_sections(self, full):
        parsed = Parsed(full)
        links = [(each["href"], each["text"]) for each in parsed.all("a")]
        assert links == [("#one", "One"), ("#two-words", "Two")]
        assert [each["id"] for each in parsed.all("section")] == ["one", "two-words"]

    def test_every_figure_says_what_it_shows(self, full):
        parsed = Parsed(full)
        images = parsed.all("img")
        assert [each["alt"] for each in images] == [
            *["A title; x: radius; y: accuracy, %; a curve"] * 2,
            "A photo.",  # nothing is written on it
            "Cells.",
        ]
        assert [each["text"] for each in parsed.all("figcaption")] == [
            "Figure 1. Lines.",
            "Figure 2. Lines again.",
            "Figure 3. A photo.",
            "Figure 4. Cells.",
        ]
        assert [each["width"] for each in images] == ["576", "576", "288", "288"]  # inches of 96 pixels

    def test_lines_are_svg_photos_jpeg_and_many_points_png(self, full):
        kinds = [re.match(r"data:image/([\w+]+);base64,", each["src"])[1] for each in Parsed(full).all("img")]
        assert kinds == ["svg+xml", "svg+xml", "jpeg", "png"]
        many = page("Many", [section(figures={"": curve(points=20_000, line="o")})], {})
        assert Parsed(many).all("img")[0]["src"].startswith("data:image/png")
        assert len(many) < 400_000

    def test_headers_of_tables_have_a_scope(self, full):
        first, *rest = Parsed(full).rows()
        assert {each["scope"] for each in first} == {"col"}
        assert [(row[0]["tag"], row[0].get("scope")) for row in rest if row[0].get("scope") != "col"] == [
            *[("th", "row")] * 6
        ]

    def test_it_is_the_same_every_time(self):
        pages = [page("A report", [section(figures={"Lines.": curve(), "Cells.": picture((5, 5))})], {}) for _ in "ab"]
        assert pages[0] == pages[1]

    def test_all_text_is_escaped(self):
        given = section(
            title=HOSTILE,
            text=HOSTILE,
            tables=(Table(HOSTILE, (HOSTILE,), ((HOSTILE,),)),),
            figures={HOSTILE: curve(HOSTILE)},
        )
        parsed = Parsed(page(HOSTILE, [given], {HOSTILE: HOSTILE, "command": HOSTILE}))
        assert not parsed.all("script")
        for tag in ("title", "h1", "h2", "p", "caption", "th", "figcaption", "dt", "dd", "code", "a"):
            assert any(HOSTILE in each["text"] for each in parsed.all(tag)), tag
        assert HOSTILE in parsed.all("img")[0]["alt"]

    def test_text_is_paragraphs_and_papers_are_links(self):
        text = "One\nline.\n\n  \nSources: arXiv:1811.12231, doi:10.1109/34.56205."
        parsed = Parsed(page("A report", [section(text=text)], {}))
        assert [each["text"] for each in parsed.all("p")] == ["One\nline.", text[text.index("Sources") :]]
        links = [each["href"] for each in parsed.all("a") if not each["href"].startswith("#")]
        assert links == ["https://arxiv.org/abs/1811.12231", "https://doi.org/10.1109/34.56205"]

    def test_the_head_tells_about_the_measurement(self, full):
        parsed = Parsed(full)
        assert [each["text"] for each in parsed.all("dt")] == ["Checkpoints", "Command"]
        assert parsed.all("dd")[0]["text"] == "a.ckpt\nb.ckpt"
        assert [each["text"] for each in parsed.all("code")] == [parsed.all("dd")[1]["text"]]

    def test_bad_input(self):
        with pytest.raises(ValueError, match="sections must be at least one, got none"):
            page("A report", [], {})
        with pytest.raises(ValueError, match=r"different names, got \['one', 'one'\]"):
            page("A report", [section(), section()], {})


class TestNumbers:
    def shown(self, *columns):
        rows = Parsed(page("A report", [section(tables=(table(*columns),))], {})).rows()[1:]
        return [[(each["text"], each.get("class")) for each in column] for column in zip(*rows, strict=True)]

    def column(self, *cells):
        return [text for text, _ in self.shown(cells)[0]]

    def test_fractions_of_a_column_have_as_many_decimals(self):
        assert self.column(0.5, 0.25, 1.0) == ["0.50", "0.25", "1.00"]
        assert self.column(2 / 3, 1 / 300) == ["0.6667", "0.0033"]
        assert self.column(123.456789, -2 / 3) == ["123.5", "−0.7"]
        assert self.column(1e-5 / 3, 0.0) == ["0.00000333", "0.00000000"]
        assert self.column(42.86, 100.0) == ["42.86", "100.00"]
        assert self.column(12345.678912, 1.0) == ["12345.7", "1.0"]
        assert self.column(3.0) == ["3.0"]

    def test_whole_numbers_and_words_stay_as_they_are(self):
        assert self.column(7, -12345, 0.25) == ["7", "−12345", "0.25"]
        assert self.column("a-b", True, False) == ["a-b", "yes", "no"]
        assert self.column(math.inf, -math.inf) == ["∞", "−∞"]

    def test_what_is_missing_is_a_dash_with_one_legend(self):
        missing = section(tables=(table(["a", "b"], [math.nan, None]), table([None])))
        text = page("A report", [missing], {})
        assert [cell["text"] for row in Parsed(text).rows() for cell in row].count("–") == 3
        legends = [each for each in Parsed(text).all("p") if each.get("class") == "legend"]
        assert [each["text"] for each in legends] == ["– in a table: not defined, or not measured."]
        assert "not measured" not in page("A report", [section(tables=(table(["a"], [1.0]),))], {})

    def test_numbers_are_on_the_right_and_words_on_the_left(self):
        columns = (["a", "b"], [1, None], ["0.12 ± 0.01", "12 % (10 to 14)"], [2, "two"], ["3-fold", "1"], [None, None])
        kinds = [column[0][1] for column in self.shown(*columns)]
        assert kinds == [None, "number", "number", None, None, "number"]


@pytest.mark.skipif(BROWSER is None, reason="needs a browser, such as chromium")
class TestInABrowser:
    """What it makes of the page, in a frame of a given width, which a script tells that is added here."""

    PROBE = """<script>addEventListener("load", () => {
    const root = document.documentElement, boxes = [...document.querySelectorAll(".table, .picture")]
    parent.document.body.innerHTML = "<output>" + JSON.stringify({
        page: [root.clientWidth, root.scrollWidth], boxes: boxes.map(b => [b.clientWidth, b.scrollWidth]),
        images: [...document.images].map(i => [i.complete && i.naturalWidth > 0, i.clientWidth]),
        loaded: performance.getEntriesByType("resource").map(r => r.name).filter(name => !name.startsWith("data:")),
        paper: getComputedStyle(document.body).backgroundColor,
    }) + "</output>"
    })</script>"""

    def seen(self, tmp_path, text, width, *options):
        file = tmp_path / "page.html"
        inner = html.escape(text.replace("</body>", f"{self.PROBE}</body>"))
        file.write_text(f'<body><iframe width="{width}" height="900" frameborder="0" srcdoc="{inner}"></iframe></body>')
        command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
        command += ["--hide-scrollbars", "--window-size=1600,1000", *options, "--dump-dom", file.as_uri()]
        result = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert "<output>" in result.stdout, result.stderr
        return json.loads(html.unescape(re.search("<output>(.*?)</output>", result.stdout)[1]))

    def test_a_narrow_screen(self, tmp_path, full):
        seen = self.seen(tmp_path, full, 400)
        assert seen["page"] == [400, 400]  # what is too wide scrolls within itself
        table, small, *figures = seen["boxes"]
        assert table[1] > table[0] <= 400
        assert small[1] == small[0]
        assert [inside > shown for shown, inside in figures] == [True, True, False, False]
        assert [there for there, _ in seen["images"]] == [True] * 4
        assert seen["loaded"] == []
        assert seen["paper"] == "rgb(255, 255, 255)"

    def test_a_wide_one_in_the_dark(self, tmp_path, full):
        seen = self.seen(tmp_path, full, 1280, "--blink-settings=preferredColorScheme=0")
        assert seen["page"] == [1280, 1280]
        assert seen["images"] == [[True, 576], [True, 576], [True, 288], [True, 288]]
        assert seen["paper"] == "rgb(23, 24, 27)"


class TestFiles:
    def test_names_numbers_and_order(self, tmp_path):
        given = section(
            "shape-bias",
            record={"overall": math.nan, "by_class": torch.tensor([0.5, math.nan]), "nested": ({"a": 1},)},
            tables=(table(["a, b", "c"], [1 / 3, math.nan], [None, -2]), table([1])),
            figures={"Lines.": curve(), "Cells.": picture((4, 4))},
        )
        files = write(given, tmp_path / "new" / "folder")
        names = ["shape-bias.csv", "shape-bias-2.csv", "shape-bias.png", "shape-bias-2.png", "shape-bias.json"]
        assert [file.name for file in files] == names
        assert sorted(os.listdir(tmp_path / "new" / "folder")) == sorted(names)
        rows = list(csv.reader(files[0].open(newline="", encoding="utf-8")))
        assert rows == [["column 0", "column 1", "column 2"], ["a, b", repr(1 / 3), ""], ["c", "", "-2"]]
        assert files[2].read_bytes().startswith(b"\x89PNG")
        assert json.loads(files[-1].read_text()) == {"overall": None, "by_class": [0.5, None], "nested": [{"a": 1}]}

    def test_nothing_stays_of_more_tables_before(self, tmp_path):
        write(section(tables=(table([1]),) * 3), tmp_path)
        other = write(section("one-more", tables=(table([1]),) * 2), tmp_path)
        write(section(tables=(table([2]),)), tmp_path)
        assert {file.name for file in tmp_path.glob("*.csv")} == {"one.csv", "one-more.csv", "one-more-2.csv"}
        assert all(file.exists() for file in other)

    def test_what_fails_leaves_no_record(self, tmp_path, monkeypatch):
        write(section(figures={"Lines.": curve()}), tmp_path)

        def full_disk(*_):
            raise OSError("no space left")

        with monkeypatch.context() as patch:
            patch.setattr(report.drawn, "save", full_disk)
            with pytest.raises(OSError, match="no space left"):
                write(section(figures={"Lines.": curve()}), tmp_path)
        assert not list(tmp_path.glob("*.json*"))
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", full_disk)
            with pytest.raises(OSError, match="no space left"):
                write(section(), tmp_path)
        assert not list(tmp_path.glob("*.json*"))

    def test_a_record_that_is_no_json(self, tmp_path):
        before = write(section(record={"a": 1}), tmp_path)[-1].read_text()
        with pytest.raises(ValueError, match="the record of one cannot be written: a record must hold no infinity"):
            write(section(record={"a": [math.inf]}), tmp_path)
        with pytest.raises(TypeError, match=r"the record of one cannot be written: .* got object"):
            write(section(record={"a": object()}), tmp_path)
        assert (tmp_path / "one.json").read_text() == before

    def test_plain(self, tmp_path):
        histogram = Histogram((1, 2), 0.5, math.nan)
        assert plain(histogram) == {"counts": [1, 2], "mean": 0.5, "deviation": None}
        assert plain({0.5: np.float32(0.25), "n": np.int64(3), "p": tmp_path, "b": True}) == {
            "0.5": 0.25,
            "n": 3,
            "p": str(tmp_path),
            "b": True,
        }
        assert plain(torch.tensor([[math.nan, 1.0]])) == [[None, 1.0]]


class TestBadInput:
    @pytest.mark.parametrize("name", ["", "Shape", "shape bias", "shape_bias", "bias-2", "-bias", "../bias"])
    def test_names_of_sections(self, name):
        with pytest.raises(ValueError, match="name must be lowercase words"):
            section(name)

    def test_tables(self):
        with pytest.raises(ValueError, match="rows of table 'A table' must have 2 cells, got \\(1,\\)"):
            Table("A table", ("a", "b"), ((1, 2), (1,)))
        with pytest.raises(ValueError, match="header of table 'A table' must name at least one column"):
            Table("A table", (), ())

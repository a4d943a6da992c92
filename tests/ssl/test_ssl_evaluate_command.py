"""ssl/evaluate.py from its options to its files."""

import csv
import html
import json
import re
import subprocess

import numpy as np
import pytest
import torch
from PIL import Image

from probe_cases import MEAN, STD, Bare, draw_folder, script, settle, written
from texfilters import evaluate
from texfilters.evaluate import sections
from texfilters.ssl import MoCoV2, Supervised, Views
from texfilters.ssl._checkpoint import KEY, header
from texfilters.ssl.classifier import from_checkpoint
from texfilters.ssl.data import FolderData

CLASSES = ["automobile", "cat", "dog"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Drawn images, stimuli of car, cat and dog, a table of answers, and checkpoints with a classifier and without."""
    folder = tmp_path_factory.mktemp("evaluate")
    draw_folder(folder / "images" / "train", CLASSES, count=8, side=18)
    draw_folder(folder / "images" / "val", CLASSES, count=4, seed=1, side=18)
    draw_folder(folder / "edges", ["car", "cat", "oven"], count=3, seed=2, side=18)
    (folder / "stimuli").mkdir()
    names = [f"{shape}1-{texture}2" for shape in ("car", "cat", "dog") for texture in ("car", "cat", "dog")]
    for name in names:
        pixels = np.random.default_rng(len(name)).integers(0, 256, (18, 18, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "stimuli" / f"{name}.png")
    with (folder / "answers.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["object_response", "imagename"])
        rows.writerows([[name.partition("-")[0][:-1], f"{name}.png"] for name in names])
    torch.manual_seed(0)
    for name in ("a", "b"):
        method = Supervised("six_layer", classes=3, views=Views(16, suppress=None, mean=MEAN, std=STD))
        settle(method.backbone)
        (folder / name).mkdir()
        about = {**header(method), "classes": CLASSES}
        torch.save({KEY: about, "state_dict": method.state_dict()}, folder / name / "last.ckpt")
    (folder / "bare").mkdir()
    written(Bare("six_layer", size=16), folder / "bare" / "last.ckpt")
    return folder


@pytest.fixture
def call(place, tmp_path):
    """The command; returns the folder of its results."""
    command = script("evaluate")
    out = tmp_path / "out"

    def call(measurement, *arguments, data=True):
        images = ["--data", "FolderData", "--data.root", place / "images", "--data.side", 18, "--data.workers", 0]
        words = [measurement, *(images if data else []), "--out", out, *arguments]
        command.main([str(word) for word in words])
        return out

    return call


def networks(place, *names):
    return [word for name in names for word in ("--checkpoint", f"{name}={place / name / 'last.ckpt'}")]


def record(out, name):
    return json.loads((out / f"{name}.json").read_text())


def test_published_answers_need_no_network(call, place):
    out = call("shape-bias", "--answers", f"me={place}/answers.csv", data=False)
    found = record(out, "shape-bias")["observers"]["me"]
    expected = evaluate.shape_bias_from_answers(place / "answers.csv")
    assert found["counts"] == expected.counts._asdict() == {"shape": 6, "texture": 0, "other": 0}
    assert {path.name for path in out.iterdir()} == {
        "shape-bias.json", "shape-bias.csv", "shape-bias-2.csv", "shape-bias.png",
    }  # fmt: skip


def test_networks_and_answers_are_compared(call, place):
    out = call(
        "shape-bias", *networks(place, "a", "b"), "--stimuli", place / "stimuli",
        "--answers", f"{place}/answers.csv", data=False,
    )  # fmt: skip
    found = record(out, "shape-bias")
    assert list(found["observers"]) == ["a", "b", "answers"]
    model, _ = from_checkpoint(place / "a" / "last.ckpt")
    mapping = {"car": (0,), "cat": (1,), "dog": (2,)}
    expected = evaluate.shape_bias_on_folder(model.logits, place / "stimuli", mapping, transform=model.prepare)
    assert found["observers"]["a"]["counts"] == expected.counts._asdict()
    assert len(found["error_consistency"]) == 3
    assert found["measured"]["networks"]["a"]["classifier"] == "its own"


@pytest.mark.parametrize("kind", ["inline", "file"])
def test_a_mapping_of_ones_own(call, place, tmp_path, kind):
    mapping = '{"cat": ["automobile", "cat"], "dog": [2]}'
    if kind == "file":
        (tmp_path / "own.yaml").write_text(mapping)
        mapping = tmp_path / "own.yaml"
    options = ("--stimuli", place / "stimuli", "--mapping", mapping)
    found = record(call("shape-bias", *networks(place, "a"), *options, data=False), "shape-bias")
    assert found["classes"]["a"] == {"cat": [0, 1], "dog": [2]}
    assert sum(found["observers"]["a"]["counts"].values()) == 2


def test_a_network_without_a_classifier_gets_one_and_says_so(call, place):
    out = call("confidence", *networks(place, "bare"), "--seed", 2)
    found = record(out, "confidence")
    assert found["measured"]["networks"]["bare"]["classifier"] == (
        "linear, trained here on the frozen features of 24 images"
    )
    assert found["measured"]["networks"]["bare"]["training"]["seed"] == 2
    assert found["images"] == 12


def test_limits_are_spread_over_the_classes(call, place):
    found = record(call("confidence", *networks(place, "bare"), "--limit", 6, "--train_limit", 9), "confidence")
    assert found["images"] == 6
    assert "of 9 images" in found["measured"]["networks"]["bare"]["classifier"]


def test_before_training_beside_after(call, place):
    options = ("--random_init", f"before={place}/a/last.ckpt", "--tests", f"{place}/edges", "--seeds", "[0,1]")
    found = record(call("transfer", *networks(place, "a"), *options, "--k", 5), "transfer")
    assert list(found["models"]) == ["before", "a"]
    assert found["measured"]["networks"]["before"]["random_init"] is True
    rows = {(row["test"], row["probe"], row["answers"]): row for row in found["models"]["a"]}
    assert {test for test, _, _ in rows} == {"val", "edges"}
    assert rows["edges", "knn", "categories, mean"]["images"] == 6  # an oven is not told
    assert len(rows["val", "linear", "classes"]["accuracy"]) == 2
    model, _ = from_checkpoint(place / "a" / "last.ckpt")
    data = FolderData(str(place / "images"), 50, side=18, workers=0)
    (x, y), (tested, labels) = (
        evaluate.features(model.features, data.labeled(split), transform=model.view) for split in ("train", "val")
    )
    expected = evaluate.classification(evaluate.knn(x, y, tested, k=5), labels)
    assert rows["val", "knn", "classes"]["accuracy"] == [pytest.approx(expected.accuracy)]


def test_tests_of_a_folder_with_train_and_val_are_of_val(call, place):
    options = ("--tests", f"again={place}/images", "--seeds", "[0]")
    found = record(call("transfer", *networks(place, "a"), *options), "transfer")["models"]["a"]
    assert {row["test"]: row["images"] for row in found} == {"val": 12, "again": 12}


def test_high_frequencies_and_corruptions(call, place):
    model, _ = from_checkpoint(place / "a" / "last.ckpt")
    val = FolderData(str(place / "images"), 50, side=18, workers=0).labeled("val")
    out = call("high-frequencies", *networks(place, "a"), "--radii", "[2,5]", "--masks", "[square]")
    expected = evaluate.accuracy_by_radius(model.logits, val, (2, 5), mask="square", transform=model.view)
    assert record(out, "high-frequencies")["masks"]["square"]["a"]["accuracy"] == list(expected.accuracy)
    out = call("corruptions", *networks(place, "a"), "--corruptions", "[contrast]", "--severities", "[1,5]")
    errors = evaluate.corruption_errors(
        model.logits, val, corruptions=("contrast",), severities=(1, 5), constants="cifar-10-c", transform=model.view
    )
    assert record(out, "corruptions")["models"]["a"]["errors"] == {"contrast": list(errors.errors["contrast"])}


def test_views_of_a_contrastive_network_before_and_after(call, place, tmp_path):
    method = MoCoV2("six_layer", views=Views(16), dim=8, queue=16, norm_splits=1)
    settle(method)
    path = written(method, tmp_path / "moco.ckpt")
    out = call("similarity", "--random_init", f"before={path}", "--checkpoint", f"after={path}", *networks(place, "a"))
    found = record(out, "similarity")
    assert found["images"] == 12
    assert sorted(found["models"]) == ["after", "before"]  # and not the one that compares no views
    assert found["models"]["before"] != found["models"]["after"]


def test_a_classifier_of_a_probe(call, place, tmp_path):
    probe = script("probe")
    images = ("--data", "FolderData", "--data.root", place / "images", "--data.side", 18, "--data.workers", 0)
    ours = ("--checkpoint", place / "bare" / "last.ckpt", "--standardize", "--lr", 0.1, "--epochs", 2)
    probe.main([str(word) for word in ("--method", "linear", *images, *ours, "--out", tmp_path / "probe")])
    out = call("confidence", *networks(place, "bare"), "--classifier", tmp_path / "probe" / "linear.pth")
    accuracy = json.loads((tmp_path / "probe" / "linear.json").read_text())["accuracy"]
    assert record(out, "confidence")["models"]["bare"]["accuracy"] == pytest.approx(accuracy)
    assert record(out, "confidence")["measured"]["networks"]["bare"]["classifier"] == f"of {tmp_path}/probe/linear.pth"


class TestReport:
    @pytest.fixture
    def options(self, place):
        few = ("--corruptions", "[contrast]", "--severities", "[3]", "--maps", 3, "--neurons", 2, "--seeds", "[0]")
        return (*networks(place, "a", "b"), "--stimuli", place / "stimuli", *few)

    def test_what_applies_is_on_the_page_and_what_does_not_is_named(self, call, options, capsys):
        out = call("report", *options)
        page = (out / "report.html").read_text()
        done = ["shape-bias", "transfer", "high-frequencies", "corruptions", "confidence", "saliency"]
        assert re.findall(r'<section id="([\w-]+)"', page) == [*done, "not-measured"]
        for name in done:
            assert record(out, name)["measured"]["seconds"] >= 0
        for told in (
            "of no contrastive method, which are MoCoV2",
            "--with_label_corruption",
            "no --boundaries are given",
        ):
            assert told in page
        assert "http" not in re.sub(r'<a href="https?://[^"]*">', "", page.replace("http://www.w3.org", ""))
        assert capsys.readouterr().out == f"results: {out}/report.html\n"

    def test_a_failure_loses_no_other_measurement(self, call, options, monkeypatch, tmp_path, capsys):
        def fails(*_, **__):
            raise RuntimeError("out of <memory>")

        monkeypatch.setattr(sections, "high_frequencies", fails)
        with pytest.raises(SystemExit) as end:
            call("report", *options, "--only", "[shape-bias, high-frequencies, confidence]")
        assert end.value.code == 1
        page = (tmp_path / "out" / "report.html").read_text()
        assert re.findall(r'<section id="([\w-]+)"', page) == ["shape-bias", "confidence", "not-measured"]
        assert "RuntimeError: out of &lt;memory&gt;" in page
        assert "high-frequencies failed: out of <memory>" in capsys.readouterr().err

    def test_a_failure_is_named_on_the_page(self, call, place, options, tmp_path):
        bad = tmp_path / "bad"
        bad.mkdir()
        (bad / "nothing.png").write_bytes(b"")
        with pytest.raises(SystemExit) as end:
            call("report", *networks(place, "a"), "--stimuli", bad, "--only", "[shape-bias,confidence]")
        assert end.value.code == 1
        page = (tmp_path / "out" / "report.html").read_text()
        assert "ValueError: names of images must be shapeN-textureM" in page
        assert record(tmp_path / "out", "confidence")["images"] == 12
        assert not (tmp_path / "out" / "shape-bias.json").exists()

    def test_networks_that_tell_other_classes_are_left_out(self, call, place, tmp_path):
        draw_folder(tmp_path / "other" / "val", ["x", "y"], count=2, side=18)
        draw_folder(tmp_path / "other" / "train", ["x", "y"], count=4, side=18)
        options = ("--data.root", tmp_path / "other", "--only", "[transfer,confidence,texture]", "--seeds", "[0]")
        page = (call("report", *networks(place, "a"), *options) / "report.html").read_text()
        assert "a tells 3 classes that are not those of the data" in page

    def test_nothing_to_measure_is_an_error_and_no_page(self, call, place, tmp_path):
        with pytest.raises(SystemExit, match=r"^evaluate.py: error: nothing .* can be measured: neither --stimuli"):
            call("report", *networks(place, "a"), data=False)
        assert not list((tmp_path / "out").iterdir())

    def test_an_interrupted_report_keeps_what_is_done(self, call, options, monkeypatch, tmp_path):
        def stops(*_, **__):
            raise KeyboardInterrupt

        monkeypatch.setattr(sections, "high_frequencies", stops)
        with pytest.raises(SystemExit) as end:
            call("report", *options, "--only", "[confidence,high-frequencies,saliency,confidence]")
        assert end.value.code == 130
        page = (tmp_path / "out" / "report.html").read_text()
        assert re.findall(r'<section id="([\w-]+)"', page) == ["confidence", "not-measured"]
        assert re.findall(r'<th scope="row">([\w-]+)</th><td>(\w+)', page) == [
            ("high-frequencies", "interrupted"), ("saliency", "left"),
        ]  # fmt: skip

    def test_results_of_single_measurements_stay(self, call, options):
        out = call("confidence", *options[:2])
        before = (out / "confidence.json").read_text()
        with pytest.raises(SystemExit, match=r"confidence.json is there already: give another --out, or --overwrite"):
            call("report", *options, "--only", "[confidence]")
        assert (out / "confidence.json").read_text() == before

    def test_the_command_can_be_pasted(self, call, place, options):
        page = (
            call("report", *options, "--only", "[shape-bias]", "--title", "shape & 'bias'") / "report.html"
        ).read_text()
        told = html.unescape(re.search(r"<pre><code>(.*?)</code>", page, re.DOTALL)[1])
        assert told.startswith("python ssl/evaluate.py report \\\n    --data FolderData \\\n")
        words = subprocess.run(
            ["sh", "-c", "printf '%s\\n' " + told], capture_output=True, text=True, check=True
        ).stdout
        assert words.splitlines()[-2:] == ["--title", "shape & 'bias'"]

    def test_a_page_stays_unless_it_may_go(self, call, place, options):
        out = call("report", *options, "--only", "[confidence]")
        before = (out / "report.html").read_text()
        with pytest.raises(SystemExit, match=r"report.html is there already: give another --out, or --overwrite"):
            call("report", *options, "--only", "[shape-bias]")
        assert (out / "report.html").read_text() == before
        call("report", *options, "--only", "[shape-bias]", "--overwrite")
        assert "Confidence" not in (out / "report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("shape-bias",), "neither --stimuli nor --answers are given"),
        (("confidence",), "no network is given"),
        (("confidence", "--checkpoint", "a=none.ckpt"), "no checkpoint at none.ckpt"),
        (
            ("confidence", "--checkpoint", "a=x", "--checkpoint", "a=y"),
            "--checkpoint must have different names, got 'a'",
        ),
        (("confidence", "--torchvision", "resnet18"), "--weights must be given for 'resnet18'"),
        (("confidence", "--weights", "x=y.pth"), "--weights must be of a network that is given, none, got 'x'"),
        (("report", "--only", "[shape]"), "only must hold some of shape-bias, .*, got 'shape'"),
        (("report", "--only", "[]"), "only must hold at least one measurement, got none"),
        (("report", "--limit", -1), "limit must be at least 1, got -1"),
        (("confidence", "--batch_size", 0), "batch_size must be at least 1, got 0"),
        (("confidence", "--size", 0), "size must be at least 1, got 0"),
        (("confidence", "--share", 0), r"share must lie in \(0, 1\], got 0"),
        (("confidence", "--device", "gpu"), "device must be cpu or cuda, got 'gpu'"),
        (("confidence", "--device", "cuda:99"), r"device must be one of the \d+ GPUs that are found, got 'cuda:99'"),
        (("texture",), "no --boundaries are given"),
        (
            ("transfer", "--random_init", "{place}/a/last.ckpt", "--tests", "x=none"),
            "tests must be folders .* got 'none'",
        ),
        (("shape-bias", "--out", "{place}/answers.csv"), "--out must be a folder, got the file .*answers.csv"),
    ],
)
def test_errors_are_one_line(call, place, arguments, message):
    has_data = arguments[0] not in ("texture",)
    given = [str(word).replace("{place}", str(place)) for word in arguments]
    with pytest.raises(SystemExit, match=f"^evaluate.py: error: .*{message}"):
        call(*given, data=has_data)


def test_classes_in_another_order_are_told_as_such(call, place, tmp_path):
    there = torch.load(place / "a" / "last.ckpt")
    there[KEY]["classes"] = CLASSES[::-1]
    torch.save(there, tmp_path / "turned.ckpt")
    with pytest.raises(SystemExit, match="turned tells 3 classes in another order than the data have them"):
        call("confidence", "--checkpoint", f"turned={tmp_path}/turned.ckpt")


def test_label_corruption(call, place, capsys):
    grid = ("--kinds", "[flip]", "--probabilities", "[0.2,1]", "--gold", "[0.25]", "--runs", "[3]", "--epochs", 1)
    out = call("label-corruption", *grid)
    found = record(out, "label-corruption")
    assert [(run["probability"], run["variant"], run["seed"]) for run in found["runs"]] == [
        (0.2, "baseline", 3), (0.2, "diffusion", 3), (1.0, "baseline", 3), (1.0, "diffusion", 3),
    ]  # fmt: skip
    assert (found["images"], found["test_images"]) == (24, 12)
    assert all(0 <= run["error"] <= 1 for run in found["runs"])
    assert "  flip 1, diffusion\n" in capsys.readouterr().err

"""ssl/probe.py from its options to its files."""

import csv
import json
import os
import subprocess
import sys
from argparse import Namespace

import pytest
import torch
from PIL import Image

from probe_cases import MEAN, ROOT, STD, Bare, draw_folder, script, written
from texfilters import evaluate
from texfilters.evaluate import figures
from texfilters.ssl import load_backbone
from texfilters.ssl.data import FolderData
from texfilters.ssl.views import CenterView

CLASSES = ["dark", "flat", "striped"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Drawn images in two domains, and a checkpoint."""
    folder = tmp_path_factory.mktemp("probe")
    for domain, count, seed in (("photo", 12, 0), ("sketch", 6, 1)):
        draw_folder(folder / "images" / domain, CLASSES, count=count, seed=seed, turned=domain == "sketch")
    torch.manual_seed(0)
    written(Bare(size=16, small_images=True), folder / "last.ckpt")
    return folder


@pytest.fixture
def call(place, tmp_path, capsys):
    """The command on these images; returns its record, its folder and what it printed."""
    command = script("probe")

    def call(method, *arguments, checkpoint=True):
        images = [
            "--data.class_path", "FolderData", "--data.root", str(place / "images"), "--data.domains", "[photo]",
            "--data.val_domains", "[sketch]", "--data.side", "18", "--data.resident", "true", "--data.workers", "0",
        ]  # fmt: skip
        network = ["--checkpoint", str(place / "last.ckpt")] if checkpoint else []
        out = tmp_path / "out"
        command.main(["--method", method, "--out", str(out), *images, *network, *map(str, arguments)])
        return json.loads((out / f"{method}.json").read_text()), out, capsys.readouterr()

    return call


def table(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


def made(place, split):
    """Features as the command should make them."""
    data = FolderData(str(place / "images"), 50, side=18, domains=["photo"], val_domains=["sketch"], workers=0)
    view = CenterView(16, mean=MEAN, std=STD)
    backbone = load_backbone(place / "last.ckpt")
    return evaluate.features(backbone, data.labeled(split), transform=lambda batch: view(batch.images, batch.sizes))


def test_neighbors_of_another_domain(place, call):
    record, out, printed = call("knn", "--k", 9, "--temperature", 0.3)
    (x, y), (tested, labels) = made(place, "train"), made(place, "val")
    expected = evaluate.classification(evaluate.knn(x, y, tested, k=9, temperature=0.3), labels)
    assert record["accuracy"] == pytest.approx(expected.accuracy)
    assert (record["train_images"], record["test_images"], record["chance"]) == (36, 18, pytest.approx(1 / 3))
    assert record["settings"] == {"size": 16, "share": None, "k": 9, "temperature": 0.3}
    assert record["network"]["method"] == "Bare"
    assert record["balanced_accuracy"] == pytest.approx(sum(record["by_class"].values()) / 3)
    assert record["data"]["data"]["init_args"]["val_domains"] == ["sketch"]
    assert printed.out.startswith(f"knn: {expected.accuracy:.2%} (chance 33.33%) of 18 images\n")
    assert table(out / "knn-confusion.csv") == [
        ["class", *CLASSES],
        *([name, *map(str, row)] for name, row in zip(CLASSES, expected.confusion.tolist(), strict=True)),
    ]
    rows = table(out / "knn.csv")
    assert rows[0] == ["class", "images", "accuracy"]
    assert {name: float(accuracy) for name, _, accuracy in rows[1:4]} == record["by_class"]
    assert rows[4] == ["all", "18", str(expected.accuracy)]
    assert sorted(p.name for p in out.iterdir()) == ["knn-confusion.csv", "knn-confusion.png", "knn.csv", "knn.json"]
    with Image.open(out / "knn-confusion.png") as picture:
        assert len(picture.convert("L").getcolors()) > 20


def test_a_linear_classifier_and_its_curve(place, call):
    settings = ("--recipe", "nonsemantic", "--lr", 0.1, "--epochs", 4, "--milestones", "[2]", "--seed", 3)
    record, out, printed = call("linear", "--standardize", *settings)
    (x, y), (tested, labels) = made(place, "train"), made(place, "val")
    recipe = evaluate.ProbeRecipe(lr=0.1, epochs=4, milestones=(2,), batch_size=128)
    expected = evaluate.linear_probe(x, y, tested, labels, recipe, standardize=True, seed=3)
    assert record["accuracy"] == pytest.approx(expected.test.accuracy)
    assert record["settings"]["batch_size"] == 128
    rows = table(out / "linear-curve.csv")
    assert rows[0] == ["epoch", "lr", "train_loss", "train_accuracy", "test_accuracy"]
    for i, (row, epoch) in enumerate(zip(rows[1:], expected.curve, strict=True), start=1):
        assert [float(value) for value in row] == pytest.approx([i, *epoch], rel=1e-3)
    assert printed.err.count("\n") == 4
    assert "epoch 4/4  lr 0.01  loss" in printed.err
    weights = torch.load(out / "linear.pth", weights_only=True)
    torch.testing.assert_close(weights["classifier"]["weight"], expected.model.weight)
    assert weights["classes"] == CLASSES
    with Image.open(out / "linear-curve.png") as picture:
        assert picture.width > picture.height


@pytest.mark.parametrize(
    ("method", "lr", "more"), [("linear", 1e4, ", or --standardize and --lr 0.1"), ("finetune", 2, "")]
)
def test_a_rate_that_is_too_high_is_remarked_upon(call, method, lr, more):
    """With what the method takes alone."""
    _, _, printed = call(method, "--lr", lr, "--epochs", 2, "--batch_size", 12)
    assert f"a lower --lr may suit these features{more}.\n" in printed.out


def test_crops_and_finetuning_go_through_the_network(call, place):
    options = ("--epochs", 2, "--batch_size", 12, "--lr", 0.05)
    crops, _, _ = call("linear", "--augment", *options)
    again, _, _ = call("linear", "--augment", *options, "--overwrite")
    assert crops["settings"]["augment"] is True
    assert crops["accuracy"] == again["accuracy"]
    tuned, out, _ = call("finetune", *options, "--precision", "bfloat16")
    assert (tuned["settings"]["weight_decay"], tuned["precision"]) == (1e-4, "bfloat16")
    assert len(table(out / "finetune-curve.csv")) == 3
    weights = torch.load(out / "finetune.pth", weights_only=True)
    network = load_backbone(place / "last.ckpt")
    before = network.model.conv1.weight.clone()
    network.load_state_dict(weights["backbone"])
    assert not torch.equal(network.model.conv1.weight, before)
    assert weights["classifier"]["bias"].shape == (3,)


def test_baselines(call, place):
    pixels, _, _ = call("pixels", "--k", 5, "--size", 12, checkpoint=False)
    data = FolderData(str(place / "images"), 50, side=18, domains=["photo"], val_domains=["sketch"], workers=0)
    view = CenterView(12)
    batches = [next(iter(data.labeled(split))) for split in ("train", "val")]
    (x, y), (tested, labels) = ((view(b.images, b.sizes).flatten(1), b.labels) for b in batches)
    assert pixels["accuracy"] == pytest.approx(
        evaluate.classification(evaluate.knn(x, y, tested, k=5), labels).accuracy
    )
    assert pixels["network"] == {"name": "pixels"}

    first, second = (call("knn", "--k", 5, "--random_init", "--overwrite")[0] for _ in range(2))
    assert first["network"]["random_init"] is True
    assert first["by_class"] == second["by_class"]
    named, _, _ = call(
        "knn", "--k", 5, "--overwrite", "--backbone", "resnet18", "--small_images", "--size", 16, checkpoint=False
    )
    assert named["network"] == {
        "backbone": {"name": "resnet18", "small_images": True}, "random_init": True,
    }  # fmt: skip


def test_networks_are_those_that_are_asked_for(place):
    def made(**options):
        given = {"checkpoint": str(place / "last.ckpt"), "backbone": None, "small_images": False, "random_init": False}
        return script("probe")._network(Namespace(**{"seed": 0} | given | options))[0].state_dict()

    trained, stored = made(), load_backbone(place / "last.ckpt").state_dict()
    assert all(torch.equal(stored[name], tensor) for name, tensor in trained.items())
    before = torch.get_rng_state()
    first, again, other = (made(random_init=True, seed=seed)["model.conv1.weight"] for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert not torch.equal(first, trained["model.conv1.weight"])


def test_normalization_in_parts_is_left_behind(place, tmp_path):
    split = written(Bare(size=16, small_images=True, norm_splits=4), tmp_path / "split.ckpt")
    given = Namespace(checkpoint=str(split), backbone=None, small_images=False, random_init=False, seed=0)
    network, _ = script("probe")._network(given)
    assert network.norm_splits == 1
    images = torch.randn(3, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(network(images), load_backbone(split)(images))
    network.train()(images)  # three images make no four parts


def test_results_stay_unless_they_may_go(call):
    _, out, _ = call("knn", "--k", 5)
    before = (out / "knn.json").read_text()
    with pytest.raises(SystemExit, match=r"knn.json is there already: give another --out, or --overwrite"):
        call("knn", "--k", 6)
    assert (out / "knn.json").read_text() == before
    record, _, _ = call("knn", "--k", 6, "--overwrite")
    assert record["settings"]["k"] == 6


def test_an_interrupted_probe_ends_without_a_traceback_and_leaves_earlier_results(call, monkeypatch, capsys):
    _, out, _ = call("knn", "--k", 5)
    before = (out / "knn.json").read_text()

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(evaluate, "knn", interrupted)
    with pytest.raises(SystemExit) as end:
        call("knn", "--k", 6, "--overwrite")
    assert end.value.code == 130
    assert capsys.readouterr().err.endswith("probe.py: interrupted\n")
    assert (out / "knn.json").read_text() == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--k", 37), r"k must lie in \[1, 36\], got 37"),
        (("--backbone", "resnet18"), "one of --checkpoint and --backbone must be given"),
        (("--small_images",), "--small_images is for --backbone"),
        (("--checkpoint", "none.ckpt"), "no checkpoint at none.ckpt"),
        (("--lr", -1, "--method", "linear"), "lr must be positive and finite, got -1"),
        (("--augment", "--standardize", "--method", "linear"), "--standardize is for features that are made once"),
    ],
)
def test_errors_are_one_line(call, arguments, message):
    with pytest.raises(SystemExit, match=f"^probe.py: error: .*{message}"):
        call("knn", *arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--neighbors", 3), "unrecognized arguments: --neighbors"),
        (("--data.sid", 3), "Option 'sid' is not accepted"),
        (("--data.side", 0), "side must be at least 1, got 0"),
    ],
)
def test_options_that_are_none_are_named(call, capsys, arguments, message):
    with pytest.raises(SystemExit) as stop:
        call("knn", *arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_classes_must_be_the_same(call, tmp_path):
    other = draw_folder(tmp_path / "other", ["flat", "striped"], count=2)
    test_data = ("--test_data", "FolderData", "--test_data.root", other, "--test_split", "train", "--k", 3)
    with pytest.raises(SystemExit, match=r"test_data must have the classes of data, \['dark', 'flat', 'striped'\]"):
        call("knn", *test_data)
    draw_folder(tmp_path / "third" / "train", CLASSES, count=2)
    record, _, _ = call("knn", *test_data[:3], tmp_path / "third", *test_data[4:], "--test_data.side", 18)
    assert record["test_images"] == 6


def test_it_runs_from_the_root_of_the_repository(place, tmp_path):
    arguments = ["--method", "pixels", "--k", "3", "--data", "FolderData", "--data.root", place / "images" / "photo"]
    result = subprocess.run(
        [sys.executable, "ssl/probe.py", *map(str, arguments), "--test_split", "train", "--data.workers", "0",
         "--out", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("pixels: ")
    assert result.stderr == ""


class TestPictures:
    def test_cells_are_shares_of_a_class(self):
        figure = figures.confusion_matrix(torch.tensor([[3, 1], [0, 0]]), ["a", "b"], "title")
        axes = figure.axes[0]
        assert axes.images[0].get_array().tolist() == [[0.75, 0.25], [None, None]]  # the other has no images
        assert [text.get_text() for text in axes.texts] == ["75", "25"]
        assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]

    def test_a_curve_marks_where_the_rate_falls(self):
        curve = [evaluate.Epoch(lr, 1.0, 0.5, 0.25) for lr in (1, 1, 0.1, 0.01)]
        axes = figures.training_curve(curve).axes[0]
        training, test, *marks = axes.lines
        assert (list(training.get_ydata()), list(test.get_ydata())) == ([50] * 4, [25] * 4)
        assert [mark.get_xdata()[0] for mark in marks] == [2.5, 3.5]

    def test_the_same_measurement_gives_the_same_file(self, tmp_path):
        for name in ("a.png", "b.png"):
            figures.save(figures.confusion_matrix(torch.eye(30).long()), tmp_path / name)
        assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()

    @pytest.mark.parametrize(
        ("draw", "message"),
        [
            (lambda: figures.confusion_matrix(torch.zeros(2, 3)), r"must have shape \[C, C\], got \(2, 3\)"),
            (lambda: figures.confusion_matrix(torch.eye(3), ["a"]), "must name all 3 classes, got 1 names"),
            (lambda: figures.training_curve([]), "at least one epoch, got none"),
        ],
    )
    def test_errors(self, draw, message):
        with pytest.raises(ValueError, match=message):
            draw()

    def test_without_matplotlib_the_extra_is_named(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
        with pytest.raises(ImportError, match=r"pip install 'texfilters\[evaluate\]'"):
            figures.training_curve([evaluate.Epoch(1, 1, 1, 1)])


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("--method=knnn", "Parser key \"method\": Expected a typing.Literal['knn', 'linear', 'finetune', "),
        ("--data.rot=x", "Option 'rot' is not accepted"),
        ("--recipe=mocco", "Parser key \"recipe\": Expected a typing.Literal['moco', 'nonsemantic', 'geirhos']"),
    ],
)
def test_a_typo_is_named_in_a_line(call, capsys, option, told):
    with pytest.raises(SystemExit) as end:
        call("knn", option)
    written = capsys.readouterr().err
    assert end.value.code == 2
    assert written.partition(": error: ")[2].startswith(told)
    assert written.count("\n") == 1


def test_what_keeps_results_from_being_written_is_told_before_measuring(call, tmp_path, monkeypatch):
    monkeypatch.setattr(evaluate, "features", lambda *_, **__: pytest.fail("measured"))
    (tmp_path / "out").write_text("a file")
    with pytest.raises(SystemExit, match=r"^probe.py: error: .*File exists"):
        call("knn")
    (tmp_path / "out").unlink()
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(SystemExit, match=r"^probe.py: error: pictures need matplotlib"):
        call("knn")

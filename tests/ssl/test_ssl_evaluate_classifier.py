"""Networks with their classifiers, as the measurements get them: from checkpoints, probes and torchvision."""

import json

import pytest
import torch
import torchvision
from torch import nn

from probe_cases import MEAN, STD, Bare, draw_folder, script, settle, written
from texfilters import evaluate
from texfilters.ssl import BYOL, DenseCL, FolderData, MoCoV2, Supervised, Views, load_backbone
from texfilters.ssl._checkpoint import KEY, header
from texfilters.ssl._embedding import embedding
from texfilters.ssl._networks import digest
from texfilters.ssl.classifier import from_checkpoint, from_torchvision, trained
from texfilters.ssl.views import CenterView

CLASSES = ("dark", "flat", "striped")


def supervised(path, names=CLASSES, **options):
    method = Supervised("six_layer", classes=3, views=Views(16, suppress=None, mean=MEAN, std=STD), **options)
    settle(method.backbone)
    torch.save({KEY: {**header(method), "classes": list(names)}, "state_dict": method.state_dict()}, path)
    return method.eval()


def pixels(n=4, side=20):
    return torch.randint(0, 256, (n, 3, side, side), dtype=torch.uint8)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Drawn images, a checkpoint without a classifier, and what ssl/probe.py makes of it."""
    folder = tmp_path_factory.mktemp("classifier")
    draw_folder(folder / "images" / "train", CLASSES, count=6)
    draw_folder(folder / "images" / "val", CLASSES, count=3, seed=1)
    torch.manual_seed(0)
    written(Bare("six_layer", size=16), folder / "last.ckpt")
    images = ["--data", "FolderData", "--data.root", f"{folder}/images", "--data.side", "18", "--data.workers", "0"]
    options = ["--checkpoint", f"{folder}/last.ckpt", "--epochs", "2", "--batch_size", "9", "--out", f"{folder}/probe"]
    for method, more in (("linear", ["--standardize", "--lr", "0.1"]), ("finetune", [])):
        script("probe").main(["--method", method, *images, *options, *more])
    return folder


def test_a_supervised_network_has_its_own_classifier(tmp_path):
    method = supervised(tmp_path / "last.ckpt")
    model, about = from_checkpoint(tmp_path / "last.ckpt")
    assert model.classes == CLASSES
    assert about["classifier"] == "its own"
    images = pixels()
    sizes = torch.tensor([[20.0, 30.0]]).expand(4, -1)
    view = CenterView(16, mean=MEAN, std=STD)
    torch.testing.assert_close(model.prepare(images, sizes), view(images, sizes))
    with torch.no_grad():
        torch.testing.assert_close(
            model.logits(model.prepare(images)), method.head(method.backbone(model.prepare(images)))
        )
        torch.testing.assert_close(model.features(model.prepare(images)), method.backbone(model.prepare(images)))


def test_stimuli_are_seen_whole_and_square(tmp_path):
    supervised(tmp_path / "last.ckpt")
    model, _ = from_checkpoint(tmp_path / "last.ckpt", share=0.5)
    images = pixels(side=24)
    whole = CenterView(16, mean=MEAN, std=STD, share=1.0)
    expected = whole(images, torch.full((4, 2), 24.0))
    torch.testing.assert_close(model.prepare(images), expected)
    wide = torch.cat([torch.zeros_like(images), images, torch.zeros_like(images)], 3)
    torch.testing.assert_close(model.prepare(wide), expected)
    half = CenterView(16, mean=MEAN, std=STD, share=0.5)
    torch.testing.assert_close(model.prepare(images, torch.full((4, 2), 24.0)), half(images, torch.full((4, 2), 24.0)))


def test_classes_without_names_take_those_of_the_data_or_numbers(tmp_path):
    supervised(tmp_path / "last.ckpt", names=())
    assert from_checkpoint(tmp_path / "last.ckpt", classes=("a", "b", "c"))[0].classes == ("a", "b", "c")
    assert from_checkpoint(tmp_path / "last.ckpt", classes=("a", "b"))[0].classes == ("0", "1", "2")


def test_a_network_before_training_has_no_classifier(tmp_path):
    method = supervised(tmp_path / "last.ckpt")
    model, about = from_checkpoint(tmp_path / "last.ckpt", random_init=True, seed=3)
    again, _ = from_checkpoint(tmp_path / "last.ckpt", random_init=True, seed=3)
    other, _ = from_checkpoint(tmp_path / "last.ckpt", random_init=True, seed=4)
    assert model.classes == ()
    assert about["random_init"] is True
    weights = [each.features.state_dict()["network.model.features.0.weight"] for each in (model, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert not torch.equal(weights[0], method.backbone.state_dict()["model.features.0.weight"])


def test_a_linear_classifier_is_made_again(place):
    model, about = from_checkpoint(place / "last.ckpt", classifier=place / "probe" / "linear.pth")
    assert model.classes == CLASSES
    assert about["classifier"] == f"of {place}/probe/linear.pth"
    test = FolderData(str(place / "images"), 9, side=18, workers=0).labeled("val")
    logits, labels = evaluate.features(model.logits, test, transform=model.view)
    recorded = json.loads((place / "probe" / "linear.json").read_text())
    assert evaluate.classification(logits, labels).accuracy == pytest.approx(recorded["accuracy"])
    given = torch.load(place / "probe" / "linear.pth", weights_only=True)
    assert given[KEY]["standardized"] is True  # and held by the weights
    assert given[KEY]["features_of"] == digest(load_backbone(place / "last.ckpt"))


def test_a_finetuned_network_is_made_again(place):
    model, _ = from_checkpoint(place / "last.ckpt", classifier=place / "probe" / "finetune.pth")
    given = torch.load(place / "probe" / "finetune.pth", weights_only=True)
    tuned = model.features.state_dict()
    assert all(torch.equal(tuned[f"network.{name}"], tensor) for name, tensor in given["backbone"].items())
    test = FolderData(str(place / "images"), 9, side=18, workers=0).labeled("val")
    logits, labels = evaluate.features(model.logits, test, transform=model.view)
    recorded = json.loads((place / "probe" / "finetune.json").read_text())
    assert evaluate.classification(logits, labels).accuracy == pytest.approx(recorded["accuracy"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda given: given.pop(KEY), "does not say which network its classifier is of"),
        (
            lambda given: given[KEY].update(features_of="x"),
            "of another network's features than those of the checkpoint",
        ),
        (lambda given: given[KEY]["backbone"].update(name="resnet18"), "must be of a network .*six_layer"),
        (lambda given: given["classes"].pop(), "from 256 features to its 2 classes"),
        (lambda given: given["classifier"]["weight"].fill_(float("nan")), "must hold finite weights"),
    ],
)
def test_a_classifier_that_is_not_of_the_network(place, tmp_path, change, message):
    given = torch.load(place / "probe" / "linear.pth", weights_only=True)
    change(given)
    torch.save(given, tmp_path / "linear.pth")
    with pytest.raises(ValueError, match=message):
        from_checkpoint(place / "last.ckpt", classifier=tmp_path / "linear.pth")


def test_files_that_are_no_classifiers(place, tmp_path):
    for content in (b"no", b"junk", b"\x89PNG", b""):
        (tmp_path / "bad.pth").write_bytes(content)
        with pytest.raises(ValueError, match="no file of weights, or is damaged"):
            from_checkpoint(place / "last.ckpt", classifier=tmp_path / "bad.pth")
    with pytest.raises(ValueError, match=r"last.ckpt does not say which network its classifier is of"):
        from_checkpoint(place / "last.ckpt", classifier=place / "last.ckpt")
    with pytest.raises(FileNotFoundError, match="no weights at"):
        from_checkpoint(place / "last.ckpt", classifier=tmp_path / "none.pth")
    with pytest.raises(ValueError, match="random_init must be without a classifier"):
        from_checkpoint(place / "last.ckpt", classifier=place / "probe" / "linear.pth", random_init=True)


@pytest.mark.parametrize("name", ["backbone.model.features.0.weight", "head.bias"])
def test_weights_that_are_no_numbers(tmp_path, name):
    path = tmp_path / "last.ckpt"
    supervised(path)
    there = torch.load(path)
    there["state_dict"][name].view(-1)[0] = torch.nan
    torch.save(there, path)
    told = f"last.ckpt must hold finite weights, got NaN or infinity in {name.removeprefix('backbone.')}"
    with pytest.raises(ValueError, match=told):
        from_checkpoint(path)


def test_a_classifier_is_trained_where_there_is_none(place):
    model, about = from_checkpoint(place / "last.ckpt")
    assert (model.classes, about["classifier"]) == ((), None)
    train = FolderData(str(place / "images"), 9, side=18, workers=0).labeled("train")
    classifying, told = trained(model, train, CLASSES, seed=1)
    x, y = evaluate.features(model.features, train, transform=model.view)
    recipe = evaluate.ProbeRecipe(lr=0.1, epochs=50, milestones=(30, 40))
    expected = evaluate.linear_probe(x, y, x, y, recipe, standardize=True, seed=1)
    logits, labels = evaluate.features(classifying.logits, train, transform=classifying.view)
    torch.testing.assert_close(logits, expected.model(x))
    assert told["classifier"] == "linear, trained here on the frozen features of 18 images"
    assert told["training_accuracy"] == expected.curve[-1].train_accuracy
    assert classifying.classes == CLASSES
    assert evaluate.classification(logits, labels).accuracy == expected.test.accuracy


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    torch.manual_seed(1)
    network = torchvision.models.resnet18(num_classes=1000).eval()
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in network.state_dict().items()}}, path)
    return network, path


class TestTorchvision:
    def test_imagenets_classes_and_normalization(self, resnet):
        network, path = resnet
        model, about = from_torchvision("resnet18", path)
        assert len(model.classes) == 1000
        assert model.classes[:2] == ("tench", "goldfish")
        assert about["sees"]["size"] == 224
        images = pixels(2, 224)
        mean, std = (torch.tensor(three).view(3, 1, 1) for three in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        seen = (images / 255 - mean) / std
        # Sampled at the middles of the pixels, as far as float32 tells them.
        torch.testing.assert_close(model.prepare(images), seen, atol=2e-4, rtol=0)
        with torch.no_grad():
            torch.testing.assert_close(model.logits(seen), network(seen))
            network.fc = nn.Identity()
            torch.testing.assert_close(model.features(seen), network(seen))
        assert next(model.features.parameters()) is next(model.logits.parameters())  # one copy of the weights

    def test_other_numbers_of_classes(self, tmp_path):
        torch.save(torchvision.models.mobilenet_v3_small(num_classes=3).state_dict(), tmp_path / "m.pth")
        assert from_torchvision("mobilenet_v3_small", tmp_path / "m.pth", classes=CLASSES)[0].classes == CLASSES
        assert from_torchvision("mobilenet_v3_small", tmp_path / "m.pth")[0].classes == ("0", "1", "2")

    def test_what_does_not_fit(self, resnet, tmp_path):
        _, path = resnet
        with pytest.raises(ValueError, match=r"one of its classifiers \(resnet50.*\?\), got 'resnet5'"):
            from_torchvision("resnet5", path)
        with pytest.raises(ValueError, match="do not fit resnet34"):
            from_torchvision("resnet34", path)
        with pytest.raises(ValueError, match=r"must hold the classifier classifier.6 of alexnet"):
            from_torchvision("alexnet", path)
        state = torchvision.models.mobilenet_v3_small(num_classes=3).state_dict()
        state["features.0.1.running_var"][0] = torch.inf
        torch.save(state, tmp_path / "infinite.pth")
        with pytest.raises(ValueError, match=r"finite weights, got NaN or infinity in features.0.1.running_var"):
            from_torchvision("mobilenet_v3_small", tmp_path / "infinite.pth")
        torch.save({"weights": 1}, tmp_path / "none.pth")
        with pytest.raises(ValueError, match="must hold a state dict of tensors, got weights"):
            from_torchvision("resnet18", tmp_path / "none.pth")


@pytest.mark.parametrize(
    "method",
    [
        lambda: MoCoV2("six_layer", views=Views(16), dim=8, queue=16, norm_splits=1),
        lambda: BYOL("six_layer", views=Views(16), hidden=12, dim=8),
        lambda: DenseCL("six_layer", views=Views(16), dim=8, queue=16, norm_splits=1),
    ],
    ids=["moco_v2", "byol", "dense_cl"],
)
def test_embeddings_are_those_of_the_method(method, tmp_path):
    method = method()
    settle(method)
    written(method, tmp_path / "last.ckpt")
    method.eval()
    query, key = embedding(tmp_path / "last.ckpt")
    before, _ = embedding(tmp_path / "last.ckpt", random_init=True, seed=1)
    images = torch.randn(3, 3, 16, 16)
    normalize = nn.functional.normalize
    with torch.no_grad():
        own = method._key(images)
        torch.testing.assert_close(normalize(key(images), dim=1), own[0] if isinstance(own, tuple) else own)
        if isinstance(method, BYOL):
            expected = method._query(images)
        elif isinstance(method, DenseCL):
            expected = method.head(method.backbone.maps(images))[0]
        else:
            expected = normalize(method.head(method.backbone(images)), dim=1)
        torch.testing.assert_close(normalize(query(images), dim=1), expected)
        assert not torch.allclose(before(images), query(images))


def test_methods_that_compare_nothing_have_no_embedding(place):
    assert embedding(place / "last.ckpt") is None


def test_a_supervised_checkpoint_names_its_classes(tmp_path):
    from lightning import Trainer

    draw_folder(tmp_path / "images", CLASSES, count=4)
    data = FolderData(str(tmp_path / "images"), 6, side=16, workers=0)
    method = Supervised("six_layer", classes=3, views=Views(16, suppress=None), doubled=False)
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = Trainer(max_epochs=1, accelerator="cpu", enable_checkpointing=False, **quiet)
    trainer.fit(method, data)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    assert from_checkpoint(tmp_path / "last.ckpt")[0].classes == CLASSES

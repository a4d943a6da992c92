"""Exported weights, loaded into the other libraries as the printed lines say, give the same features."""

import json
import pickle

import pytest
import safetensors.torch
import torch
import torchvision
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn
from torch.nn import functional

from probe_cases import MEAN, STD, Bare, script, settle, written
from texfilters.ssl import Backbone, load_backbone
from texfilters.ssl.export import converted, export


def fresh(name, **options):
    backbone = Backbone(name, **options)
    settle(backbone)
    return backbone.eval()


def load(path):
    return load_file(path) if path.suffix == ".safetensors" else torch.load(path, weights_only=True)


def followed(usage, weights=None):
    """The network that the lines for a reader make; those of a file say where its weights are."""
    import timm

    names = {"torch": torch, "torchvision": torchvision, "timm": timm, "safetensors": safetensors}
    if weights is not None:
        names["weights"] = weights
    exec("\n".join(usage), names)
    return names["model"].eval()


def same_features(backbone, model, side=64):
    images = torch.randn(2, 3, side, side)
    with torch.no_grad():
        return torch.equal(backbone(images), model(images))


class TestTorchvision:
    @pytest.mark.parametrize(("name", "suffix"), [("resnet18", ".safetensors"), ("resnet50", ".pth")])
    def test_a_file_loads_but_for_the_classifier(self, tmp_path, name, suffix):
        checkpoint = written(Bare(name), tmp_path / "last.ckpt")
        path = tmp_path / "there" / f"weights{suffix}"
        export(checkpoint, path)
        model = torchvision.models.get_model(name)
        result = model.load_state_dict(load(path), strict=False)
        assert result.missing_keys == ["fc.weight", "fc.bias"]
        assert result.unexpected_keys == []
        model.fc = nn.Identity()
        assert same_features(load_backbone(checkpoint), model.eval())
        assert [p.name for p in path.parent.iterdir()] == [path.name]

    def test_usage_builds_the_network_and_its_small_stem(self):
        backbone = fresh("resnet18", small_images=True, norm_splits=2)
        result = converted(backbone, "torchvision")
        model = followed(result.usage, result.tensors)
        model.fc = nn.Identity()
        assert same_features(backbone, model, side=32)

    def test_a_file_says_what_it_holds(self, tmp_path):
        export(written(Bare(), tmp_path / "last.ckpt"), tmp_path / "w.safetensors")
        with safe_open(tmp_path / "w.safetensors", "pt") as file:
            about = file.metadata()
        assert (about["format"], about["library"], about["model"]) == ("pt", "torchvision", "resnet18")
        assert (json.loads(about["method"]), json.loads(about["size"])) == ("Bare", 32)
        assert json.loads(about["mean"]) == list(MEAN)
        assert f"mean {list(MEAN)} and std {list(STD)}" in about["usage"]

    def test_tensors_are_no_longer_the_backbones(self):
        backbone = fresh("resnet18")
        result = converted(backbone, "torchvision")
        before = result.tensors["conv1.weight"].clone()
        with torch.no_grad():
            backbone.model.conv1.weight.zero_()
        assert torch.equal(result.tensors["conv1.weight"], before)


class TestTimm:
    @pytest.mark.parametrize(
        ("name", "options"),
        [
            ("resnet18", {}),
            ("resnet50", {}),
            ("mobilenet_v2", {}),
            ("efficientnet_b0", {}),
        ],
    )
    def test_usage_gives_the_same_features(self, name, options):
        backbone = fresh(name, **options).train()
        result = converted(backbone, "timm")
        assert backbone.training
        model = followed(result.usage, result.tensors)  # strict
        assert same_features(backbone.eval(), model)

    def test_names_of_densenets_are_the_same(self):
        import timm

        theirs = timm.create_model("densenet121", num_classes=0).state_dict()
        ours = converted(Backbone("densenet121"), "timm").tensors
        assert {k: v.shape for k, v in theirs.items()} == {k: v.shape for k, v in ours.items()}

    def test_networks_that_differ_are_refused(self):
        with pytest.raises(ValueError, match="mobilenet_v3_small is built in another way in timm"):
            converted(Backbone("mobilenet_v3_small"), "timm")

    def test_names_are_given_only_if_the_features_agree(self, monkeypatch):
        import timm

        create = timm.create_model

        def changed(*args, **kwargs):
            model = create(*args, **kwargs)
            model.bn2.eps = 10.0
            return model

        monkeypatch.setattr(timm, "create_model", changed)
        with pytest.raises(ValueError, match="mobilenetv2_100 of this timm gives other features"):
            converted(fresh("mobilenet_v2"), "timm")


class NormedConv(nn.Conv2d):
    """A convolution that holds its normalization, as detectron2's layers do."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, bias=False, **kwargs)
        self.norm = nn.BatchNorm2d(self.out_channels)

    def forward(self, x):
        return self.norm(super().forward(x))


class Block(nn.Module):
    """Two 3 x 3 convolutions, or a bottleneck whose middle one has the stride; a shortcut where channels change."""

    def __init__(self, inside, middle, outside, stride):
        super().__init__()
        if middle is None:
            self.conv1 = NormedConv(inside, outside, 3, stride, 1)
            self.conv2 = NormedConv(outside, outside, 3, 1, 1)
        else:
            self.conv1 = NormedConv(inside, middle, 1)
            self.conv2 = NormedConv(middle, middle, 3, stride, 1)
            self.conv3 = NormedConv(middle, outside, 1)
        self.shortcut = NormedConv(inside, outside, 1, stride) if inside != outside else None

    def forward(self, x):
        y = self.conv2(self.conv1(x).relu())
        if hasattr(self, "conv3"):
            y = self.conv3(y.relu())
        return (y + (x if self.shortcut is None else self.shortcut(x))).relu()


class Detectron2ResNet(nn.Module):
    """The ResNet of detectron2's configuration, written from its documentation: stem, res2 to res5."""

    def __init__(self, depth):
        super().__init__()
        self.stem = nn.Module()
        self.stem.conv1 = NormedConv(3, 64, 7, 2, 3)
        blocks = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}[depth]
        inside = 64
        for stage, count in enumerate(blocks):
            middle = None if depth < 50 else 64 * 2**stage
            outside = (64 if depth < 50 else 256) * 2**stage
            layers = []
            for i in range(count):
                layers.append(Block(inside, middle, outside, 2 if stage and i == 0 else 1))
                inside = outside
            self.add_module(f"res{stage + 2}", nn.Sequential(*layers))

    def forward(self, images):
        x = functional.max_pool2d(self.stem.conv1(images).relu(), 3, 2, 1)
        return self.res5(self.res4(self.res3(self.res2(x))))


class TestDetectron2:
    @pytest.mark.parametrize("depth", [18, 50])
    def test_a_network_of_its_names_gives_the_same_maps(self, depth):
        backbone = fresh(f"resnet{depth}")
        result = converted(backbone, "detectron2")
        model = Detectron2ResNet(depth)
        model.load_state_dict(result.tensors)  # strict
        images = torch.randn(1, 3, 64, 64)
        with torch.no_grad():
            assert torch.equal(model.eval()(images), backbone.maps(images))

    def test_names_as_its_documentation_shows_them(self):
        names = converted(Backbone("resnet50"), "detectron2").tensors.keys()
        assert {
            "stem.conv1.weight",
            "stem.conv1.norm.running_var",
            "res2.0.shortcut.weight",
            "res2.0.shortcut.norm.bias",
            "res4.5.conv3.norm.weight",
            "res5.2.conv2.weight",
        } <= names
        assert not [name for name in names if "layer" in name or "bn" in name or "downsample" in name or "fc" in name]

    def test_a_pickle_is_what_it_reads(self, tmp_path):
        checkpoint = written(Bare(), tmp_path / "last.ckpt")
        result = export(checkpoint, tmp_path / "r18.pkl", "detectron2")
        with (tmp_path / "r18.pkl").open("rb") as file:
            content = pickle.load(file, encoding="latin1")
        assert content.keys() == {"model", "__author__", "matching_heuristics"}
        assert content["matching_heuristics"] is True
        arrays = {name: torch.from_numpy(array.reshape(array.shape)) for name, array in content["model"].items()}
        Detectron2ResNet(18).load_state_dict(arrays)
        assert torch.equal(arrays["stem.conv1.weight"], load_backbone(checkpoint).model.conv1.weight)
        assert result.usage == (
            "MODEL.WEIGHTS: this file",
            "MODEL.RESNETS.DEPTH: 18",
            "MODEL.RESNETS.STRIDE_IN_1X1: False",
            "MODEL.RESNETS.RES2_OUT_CHANNELS: 64",
            "MODEL.PIXEL_MEAN: [127.5, 102.0, 76.5]",
            "MODEL.PIXEL_STD: [51.0, 63.75, 76.5]",
            'INPUT.FORMAT: "RGB"',
        )

    def test_the_other_files_hold_the_same(self, tmp_path):
        checkpoint = written(Bare(), tmp_path / "last.ckpt")
        for name in ("r18.pth", "r18.safetensors"):
            export(checkpoint, tmp_path / name, "detectron2")
        content = torch.load(tmp_path / "r18.pth", weights_only=True)
        assert content["matching_heuristics"] is True
        tensors = load_file(tmp_path / "r18.safetensors")
        assert tensors.keys() == content["model"].keys()
        assert all(torch.equal(tensor, content["model"][name]) for name, tensor in tensors.items())

    def test_wider_networks_say_how_wide(self):
        usage = converted(Backbone("resnext50_32x4d"), "detectron2").usage
        assert "MODEL.RESNETS.NUM_GROUPS: 32" in usage
        assert "MODEL.RESNETS.WIDTH_PER_GROUP: 4" in usage

    @pytest.mark.parametrize(
        ("name", "options", "message"),
        [
            ("mobilenet_v2", {}, "detectron2 has ResNets alone, got mobilenet_v2"),
            ("resnet18", {"small_images": True}, "detectron2 has no stem for small images"),
        ],
    )
    def test_what_it_has_not_is_refused(self, name, options, message):
        with pytest.raises(ValueError, match=message):
            converted(Backbone(name, **options), "detectron2")


class TestBadInput:
    def test_networks_of_this_library_stay_here(self):
        with pytest.raises(ValueError, match="torchvision has no six_layer: it is a network of texfilters"):
            converted(Backbone("six_layer"), "torchvision")

    @pytest.mark.parametrize(
        ("path", "format", "message"),
        [
            ("w.bin", "torchvision", "for torchvision must end in .safetensors or .pth, got w.bin"),
            ("w.pkl", "timm", "for timm must end in .safetensors or .pth, got w.pkl"),
            ("w.pth", "keras", "format must be one of 'torchvision', 'timm', 'detectron2', got 'keras'"),
        ],
    )
    def test_of_names(self, tmp_path, path, format, message):
        with pytest.raises(ValueError, match=message):
            export(tmp_path / "none.ckpt", tmp_path / path, format)

    def test_a_failure_leaves_nothing_behind_and_replaces_nothing(self, tmp_path, monkeypatch):
        checkpoint = written(Bare(), tmp_path / "last.ckpt")
        (tmp_path / "w.pth").write_text("old")

        def fails(content, file):
            file.write(b"half")
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(torch, "save", fails)
        with pytest.raises(OSError, match="No space left"):
            export(checkpoint, tmp_path / "w.pth", overwrite=True)
        assert sorted(p.name for p in tmp_path.iterdir()) == ["last.ckpt", "w.pth"]
        assert (tmp_path / "w.pth").read_text() == "old"


class TestTheCommand:
    def test_it_writes_prints_and_never_overwrites_unasked(self, tmp_path, capsys):
        command = script("export")
        checkpoint = written(Bare(small_images=True), tmp_path / "last.ckpt")
        path = tmp_path / "w.safetensors"
        arguments = ["--checkpoint", str(checkpoint), "--path", str(path), "--format", "timm"]
        command.main(arguments)
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].startswith(f"{path}: 120 tensors of resnet18 for timm, ")
        assert same_features(load_backbone(checkpoint), followed(lines[1:]))
        command.main([*arguments[:-4], "--path", str(tmp_path / "w.pth")])
        model = followed(capsys.readouterr().out.splitlines()[1:])
        model.fc = nn.Identity()
        assert same_features(load_backbone(checkpoint), model)

        path.write_text("mine")
        with pytest.raises(SystemExit, match="is there already: give another name, or --overwrite"):
            command.main(arguments)
        assert path.read_text() == "mine"
        command.main([*arguments, "--overwrite"])
        assert len(load_file(path)) == 120

    def test_errors_are_one_line(self, tmp_path):
        command = script("export")
        (tmp_path / "bad.ckpt").write_text("no checkpoint")
        for checkpoint, message in (("bad.ckpt", "is no checkpoint"), ("none.ckpt", "no checkpoint at")):
            with pytest.raises(SystemExit, match=f"^export.py: error: .*{message}"):
                command.main(["--checkpoint", str(tmp_path / checkpoint), "--path", str(tmp_path / "w.pth")])
        assert not (tmp_path / "w.pth").exists()

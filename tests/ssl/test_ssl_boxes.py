"""Boxes of photos: how they are told, and that each comes to its own photo in the pixels of the batch."""

import json

import pytest
import torch
from PIL import Image

from probe_cases import MEAN, STD, draw_folder, script, settle
from texfilters.ssl import Supervised, Views
from texfilters.ssl._boxes import boxed, read_boxes
from texfilters.ssl._checkpoint import KEY, header
from texfilters.ssl.data import FolderData

CLASSES = ["cat", "dog"]


@pytest.fixture
def place(tmp_path):
    draw_folder(tmp_path / "train", CLASSES, count=4, side=18)
    for i, name in enumerate(("cat/1", "cat/2", "dog/1", "dog/2", "dog/3")):
        path = tmp_path / "val" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (60, 20 + 10 * i), (40 * i, 0, 0)).save(path)  # told apart by their red
    return tmp_path


def told(path, boxes):
    path.write_text(boxes if isinstance(boxes, str) else json.dumps(boxes))
    return str(path)


@pytest.fixture
def data(place):
    return FolderData(str(place), 2, side=30, workers=0)


def test_photos_with_boxes_come_with_their_own(place, data):
    boxes = {
        "dog/3.png": [[6, 6, 60, 60]],
        "cat/2.png": [[0, 0, 30, 15], [20, 10, 40, 30]],
        "dog/1.png": [[0, 0, 60, 40]],
    }
    loader, scaled = boxed(data, "val", 2, None, told(place / "boxes.json", boxes))
    batches = list(loader)
    assert [len(batch.images) for batch in batches] == [2, 1]
    assert [int(image[0].max()) for batch in batches for image in batch.images] == [40, 80, 160]
    assert [each.tolist() for each in scaled] == [
        [[0, 0, 15, 15], [10, 10, 20, 30]],  # a photo of 60 x 30
        [[0, 0, 30, 30]],  # of 60 x 40
        [[3, 3, 30, 30]],  # of 60 x 60
    ]
    loader, scaled = boxed(data, "val", 2, 2, str(place / "boxes.json"))
    assert [int(image[0].max()) for batch in loader for image in batch.images] == [40, 160]
    assert [len(each) for each in scaled] == [2, 1]


def test_names_that_are_none_of_the_photos(place, data):
    with pytest.raises(ValueError, match=r"boxes must be of images such as 'cat/1.png', got 'val/cat/1.png' in "):
        boxed(data, "val", 2, None, told(place / "boxes.json", {"val/cat/1.png": [[0, 0, 1, 1]]}))


def test_a_photo_that_cannot_be_read_shifts_no_boxes(place):
    names = [f"dog/{i}.png" for i in (1, 2, 3)]
    (place / "val" / names[1]).write_bytes(b"no picture")
    data = FolderData(str(place), 2, side=30, workers=0, max_unreadable=1.0)
    path = told(place / "boxes.json", {name: [[0, 0, 9, 9]] for name in names})
    with pytest.raises(ValueError, match="photos with boxes must be readable, got 2 of 3"):
        boxed(data, "val", 3, None, path)


@pytest.mark.parametrize(
    ("boxes", "message"),
    [
        ("{", "boxes must be JSON"),
        ([], "boxes must be an object from names of photos to boxes, got list"),
        ({}, "boxes must be an object"),
        ({"a": []}, "boxes must be lists .* one at least, got .* for 'a'"),
        ({"a": [0, 0, 1, 1]}, "boxes must be lists"),
        ({"a": [[0, 0, 1]]}, "boxes must be lists"),
        ({"a": [[0, 0, 1, "1"]]}, "boxes must be lists"),
        ({"a": [[0, 0, 0, 1]]}, "left < right"),
        ({"a": [[0, 2, 1, 1]]}, "top < bottom"),
        ('{"a": [[0, 0, NaN, 1]]}', "boxes must be lists"),
        ('{"a": [[0, 0, Infinity, 1]]}', "boxes must be lists"),
    ],
)
def test_boxes_of_another_form(tmp_path, boxes, message):
    with pytest.raises(ValueError, match=message):
        read_boxes(told(tmp_path / "boxes.json", boxes))


def test_the_command_judges_maps_by_them(place, tmp_path):
    torch.manual_seed(0)
    method = Supervised("six_layer", classes=2, views=Views(16, suppress=None, mean=MEAN, std=STD))
    settle(method.backbone)
    torch.save({KEY: {**header(method), "classes": CLASSES}, "state_dict": method.state_dict()}, tmp_path / "last.ckpt")
    draw_folder(place / "test", CLASSES, count=3, side=18, seed=1)
    images = ["--data", "FolderData", "--data.root", place, "--data.val_root", place / "test", "--data.side", 18]
    everywhere = {f"{name}/{i}.png": [[0, 0, 18, 18]] for name in CLASSES for i in (0, 2)}
    path = told(place / "boxes.json", everywhere)
    words = ["saliency", *images, "--data.workers", 0, "--checkpoint", f"a={tmp_path}/last.ckpt", "--neurons", 2]
    script("evaluate").main([str(word) for word in (*words, "--boxes", path, "--out", tmp_path / "out")])
    found = json.loads((tmp_path / "out" / "saliency.json").read_text())
    assert found["images"] == 4
    for measures in found["models"]["a"].values():
        # Where the box is the whole image, goodness is the mean of the map.
        shares = measures["goodness"]["by_image"]
        assert len(shares) == 4
        assert all(0 < share < 1 for share in shares)

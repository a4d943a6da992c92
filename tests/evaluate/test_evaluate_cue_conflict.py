"""Names of cue-conflict images, folders of them, and what a network answers to those."""

import math
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from texfilters.evaluate._shape_bias import shape_bias_on_folder
from texfilters.evaluate.class_mapping import SIXTEEN_CATEGORIES
from texfilters.evaluate.cue_conflict import CueConflict, answers_on_folder, parse_name

NAMES = list(SIXTEEN_CATEGORIES)


@pytest.mark.parametrize(
    ("name", "cues"),
    [
        ("airplane1-bicycle2.png", ("airplane", "bicycle")),
        ("0001_s5n_dnn_0_airplane_00_truck10-knife3.png", ("truck", "knife")),
        ("some/boat8/cat9-dog10.jpg", ("cat", "dog")),
        ("cat9-dog10", ("cat", "dog")),
        (r"C:\some_where\cat9-dog10.png", ("cat", "dog")),
        ("mp3player12-cat1.png", ("mp3player", "cat")),
    ],
)
def test_names_say_shape_and_texture(name, cues):
    assert parse_name(name) == cues


@pytest.mark.parametrize(
    "name", ["cat1.png", "cat-dog2.png", "cat1-dog.png", "1-2.png", "cat1-dog2-oven3.png", "", "cat1dog2"]
)
def test_other_names_are_refused(name):
    with pytest.raises(ValueError, match="names of images must be shapeN-textureM"):
        parse_name(name)


def class_in_red(images):
    """A network of 1,000 classes that reads its answer off the first pixel."""
    classes = images[:, 0, 0, 0].long() + 256 * images[:, 1, 0, 0].long()
    return 20 * torch.nn.functional.one_hot(classes, 1000).float()


@pytest.fixture
def folder(tmp_path):
    """Drawn images, the first pixel of which is the class to answer with."""
    answers = {
        "cat1-dog1": 281,
        "cat2-dog1": 152,
        "dog1-cat1": 268,
        "oven1-cat2": 499,
        "dog2-dog3": 153,
        "boat1-oven2": 914,
    }
    for name, answer in answers.items():
        pixels = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
        pixels[0, 0] = answer % 256, answer // 256, 0
        (tmp_path / name.split("-")[0][:3]).mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / name.split("-")[0][:3] / f"{name}.png")
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "._cat1-dog1.png").write_text("no image")
    return tmp_path


def test_a_network_on_a_folder(folder):
    bias = shape_bias_on_folder(class_in_red, folder, transform=lambda images: images, batch_size=2)
    assert bias.counts == (3, 1, 1)
    assert bias.counts_by_class["cat"] == (1, 1, 0)
    assert bias.counts_by_class["oven"] == (0, 0, 1)
    answers = answers_on_folder(class_in_red, folder, transform=lambda images: images, batch_size=4)
    assert answers.images == ("boat1-oven2", "cat1-dog1", "cat2-dog1", "dog1-cat1", "dog2-dog3", "oven1-cat2")
    assert [NAMES[i] for i in answers.answers] == ["boat", "cat", "dog", "dog", "dog", "knife"]


def test_inputs_are_normalized_as_imagenets(folder):
    seen = []

    def network(images):
        seen.append(images)
        return torch.zeros(len(images), 1000)

    answers_on_folder(network, folder, batch_size=8)
    pixels = np.stack([np.asarray(Image.open(path)) for path in CueConflict(folder).paths]) / 255
    expected = (pixels - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(seen[0].permute(0, 2, 3, 1), expected, atol=1e-5)


def test_a_folder_of_fewer_categories(folder):
    categories = {"cat": [0], "dog": [1]}
    assert CueConflict(folder, categories).images == ("cat1-dog1", "cat2-dog1", "dog1-cat1", "dog2-dog3")
    bias = shape_bias_on_folder(
        lambda images: torch.eye(2)[[0]].expand(len(images), 2),
        folder,
        categories,
        transform=lambda images: images,
        logits=False,
    )
    assert bias.counts == (2, 1, 0)
    with pytest.raises(ValueError, match="folder must hold images named shapeN-textureM of zebra, got none in"):
        CueConflict(folder, ["zebra"])


def test_a_bad_folder_is_named(folder):
    (folder / "cat5-dog5.png").write_text("no image")
    with pytest.raises(ValueError, match=r"images must be readable, got .*cat5-dog5.png"):
        answers_on_folder(class_in_red, folder, transform=lambda images: images)
    (folder / "cat5-dog5.png").rename(folder / "aeroplane5-dog5.png")
    with pytest.raises(ValueError, match=r"got 'aeroplane' in .*aeroplane5-dog5.png"):
        CueConflict(folder)
    (folder / "aeroplane5-dog5.png").rename(folder / "picture.png")
    with pytest.raises(ValueError, match=r"shapeN-textureM.*picture.png"):
        CueConflict(folder)


def test_an_image_that_is_there_twice_is_named(folder):
    (folder / "copy").mkdir()
    (folder / "cat" / "cat1-dog1.png").rename(folder / "copy" / "cat2-dog1.png")
    with pytest.raises(ValueError, match=r"each image once, got cat2-dog1 twice: .*cat2-dog1.png and .*cat2-dog1.png"):
        CueConflict(folder)


def test_images_of_other_sizes_are_named(folder):
    Image.new("RGB", (9, 9)).save(folder / "cat8-dog8.png")
    with pytest.raises(ValueError, match=r"images must be of one size, got 5 x 6 and 9 x 9, .*cat8-dog8.png"):
        answers_on_folder(class_in_red, folder, transform=lambda images: images)
    pickle.dumps(CueConflict(folder).stacked)  # for workers that are spawned
    # One by one they need not be.
    assert len(answers_on_folder(class_in_red, folder, transform=lambda images: images, batch_size=1).images) == 7


def test_nothing_is_drawn_from_the_default_generator(folder):
    before = torch.get_rng_state()
    answers_on_folder(class_in_red, folder, transform=lambda images: images)
    assert torch.equal(torch.get_rng_state(), before)


def test_nan_logits_on_a_folder_are_an_error(folder):
    with pytest.raises(ValueError, match="got NaN or infinity for 6 of the 6 images"):
        answers_on_folder(lambda images: torch.full((len(images), 1000), math.nan), folder)

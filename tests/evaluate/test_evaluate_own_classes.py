"""Categories of networks with classes of their own, from names, places and files."""

import json

import pytest

from texfilters.evaluate.class_mapping import SIXTEEN_CATEGORIES
from texfilters.evaluate.own_classes import categories_of, read_mapping, shared_categories, usual_categories

CIFAR10 = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def test_classes_by_name_and_by_place():
    found = categories_of({"pet": ["cat", 5], "boat": "ship", "plane": 0}, CIFAR10)
    assert found == {"pet": (3, 5), "boat": (8,), "plane": (0,)}


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({}, "at least one category, got none"),
        ({"pet": []}, "at least one class, got none for 'pet'"),
        ({"pet": ["catt"]}, r"hold classes of the network \(cat\?\), got 'catt' for 'pet'"),
        ({"pet": [10]}, r"classes in \[0, 10\), got 10 for 'pet'"),
        ({"pet": [True]}, "names or places of classes, got True"),
        ({"pet": 1.5}, "must give 'pet' classes, got 1.5"),
        ({"pet": ["cat"], "animal": [3]}, "name each class once, got 'cat' for 'pet' and 'animal'"),
    ],
)
def test_a_mapping_that_does_not_fit(mapping, message):
    with pytest.raises(ValueError, match=message):
        categories_of(mapping, CIFAR10)


def test_a_name_that_two_classes_bear():
    with pytest.raises(ValueError, match=r"names of one class, got 'crane', which classes \[0, 2\] bear"):
        categories_of({"bird": ["crane"]}, ("crane", "hen", "crane"))
    assert categories_of({"bird": [0]}, ("crane", "hen", "crane")) == {"bird": (0,)}


def test_the_usual_categories():
    # As `CIFAR10_CATEGORIES`, in the order of the 16.
    seven = {"airplane": (0,), "bird": (2,), "boat": (8,), "car": (1,), "cat": (3,), "dog": (5,), "truck": (9,)}
    assert usual_categories(CIFAR10) == seven
    assert list(usual_categories(CIFAR10)) == list(seven)
    assert usual_categories([str(i) for i in range(1000)]) == SIXTEEN_CATEGORIES
    assert usual_categories(["Dog", "plane", "aeroplane"]) == {"airplane": (1, 2), "dog": (0,)}
    assert usual_categories(["person", "house"]) == {}


def test_networks_share_what_all_of_them_tell():
    stl10 = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
    imagenet = [str(i) for i in range(1000)]
    found = shared_categories({"a": imagenet, "b": stl10[:4]})
    assert list(found["a"]) == list(found["b"]) == ["airplane", "bird", "car", "cat"]
    assert found["a"]["car"] == SIXTEEN_CATEGORIES["car"]
    assert found["b"]["car"] == (2,)
    mapping = {"pet": ["cat", "dog"], "sky": ["bird", "airplane"]}
    assert shared_categories({"a": CIFAR10, "b": stl10}, mapping) == {
        "a": {"pet": (3, 5), "sky": (2, 0)},
        "b": {"pet": (3, 5), "sky": (1, 0)},
    }
    with pytest.raises(ValueError, match="'a' and 'b' must tell at least two common categories, got cat"):
        shared_categories({"a": CIFAR10, "b": ("cat", "house")})
    with pytest.raises(ValueError, match="at least one network"):
        shared_categories({})


def test_mappings_from_files(tmp_path):
    mapping = {"pet": ["cat", 5]}
    (tmp_path / "a.json").write_text(json.dumps(mapping))
    (tmp_path / "a.yaml").write_text("pet: [cat, 5]\n")
    assert read_mapping(tmp_path / "a.json") == read_mapping(tmp_path / "a.yaml") == mapping
    (tmp_path / "list.yaml").write_text("[1, 2]")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(ValueError, match=r"list\.yaml must map categories to classes, got list"):
        read_mapping(tmp_path / "list.yaml")
    with pytest.raises(ValueError, match=r"bad\.json must be a YAML or JSON file: Expecting"):
        read_mapping(tmp_path / "bad.json")
    with pytest.raises(FileNotFoundError):
        read_mapping(tmp_path / "none.yaml")

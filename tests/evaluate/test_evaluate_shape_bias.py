"""Shape bias and error consistency against counts made by hand, from tensors and tables."""

import csv
import itertools
import math

import numpy as np
import pytest
import torch

from texfilters.evaluate._error_consistency import error_consistency, error_consistency_from_answers
from texfilters.evaluate._shape_bias import Decisions, shape_bias, shape_bias_from_answers
from texfilters.evaluate.class_mapping import CIFAR10_CATEGORIES, SIXTEEN_CATEGORIES, category_probabilities
from texfilters.evaluate.cue_conflict import parse_name, read_answers

NAMES = list(SIXTEEN_CATEGORIES)
PUBLISHED = Decisions(283, 376, 541)  # AlexNet's, of Geirhos et al. 2019

# As in the authors' `decision_mappings.py`.
MAPPING = """
airplane 404
bear 294-297
bicycle 444,671
boat 472,554,625,814,914
bottle 440,720,737,898,899,901,907
car 436,511,817
cat 281-286
chair 423,559,765,857
clock 409,530,892
elephant 385,386
keyboard 508,878
knife 499
oven 766
truck 555,569,656,675,717,734,864,867
bird 8,10-16,18-20,22-24,80-83,87-96,98-100,127-133,135-145
dog 152-191,193-203,205-226,228-241,243-250,252-257,259,261-263,265-268
"""


def stimuli(repeats=5):
    """Shape and texture of every image: each pair of the 16 categories five times, as in the published set."""
    return [pair for pair in itertools.product(NAMES, NAMES) for _ in range(repeats)]


def answered(counts=PUBLISHED):
    """For each of `stimuli` a category, so that conflict images are answered with these counts, in a drawn order."""
    kinds = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], counts))
    kinds, answers = iter(kinds), []
    for shape, texture in stimuli():
        kind = next(kinds) if shape != texture else 0
        third = next(name for name in NAMES if name not in (shape, texture))
        answers.append((shape, texture, third)[kind])
    return answers


def table(path, rows, columns=("subj", "object_response", "category", "imagename")):
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path


def answer_rows(answers, prefix="s5n_dnn"):
    seen = {}
    for trial, ((shape, texture), answer) in enumerate(zip(stimuli(), answers, strict=True), start=1):
        m = seen[shape, texture] = seen.get((shape, texture), 0) + 1
        name = f"{trial:04}_{prefix}_0_{shape}_00_{shape}{10 + m}-{texture}{m}.png"
        yield {"subj": "drawn", "object_response": answer, "category": shape, "imagename": name}


def test_the_mapping_is_the_published_one():
    expected = {}
    for line in MAPPING.strip().splitlines():
        name, spans = line.split()
        ends = [[int(end) for end in span.split("-")] for span in spans.split(",")]
        expected[name] = [i for end in ends for i in range(end[0], end[-1] + 1)]
    assert {name: list(members) for name, members in SIXTEEN_CATEGORIES.items()} == expected
    assert sum(map(len, expected.values())) == 207
    assert sorted(NAMES) == NAMES
    assert SIXTEEN_CATEGORIES.keys() > CIFAR10_CATEGORIES.keys()


def test_a_category_has_the_mean_of_its_classes():
    logits = 3 * torch.randn(40, 1000)
    exact = np.exp(logits.double().numpy())
    exact /= exact.sum(1, keepdims=True)
    expected = np.stack([exact[:, list(members)].mean(1) for members in SIXTEEN_CATEGORIES.values()], 1)
    np.testing.assert_allclose(category_probabilities(logits, logits=True), expected, rtol=1e-5)
    np.testing.assert_allclose(category_probabilities(torch.tensor(exact)), expected, rtol=1e-12)


def test_the_mean_and_not_the_sum_decides():
    # One class of knife against 109 of dog, which hold more together.
    probabilities = torch.zeros(1, 1000, dtype=torch.float64)
    probabilities[0, 499] = 0.02
    probabilities[0, list(SIXTEEN_CATEGORIES["dog"])] = 0.8 / 109
    assert shape_bias(probabilities, ["knife"], ["dog"]).counts == (1, 0, 0)


def test_counts_are_those_of_a_loop():
    probabilities = torch.rand(300, 1000).softmax(1)
    shapes, textures = torch.randint(16, (2, 300))
    counts = np.zeros((16, 3), int)
    means = np.stack([probabilities.double().numpy()[:, list(m)].mean(1) for m in SIXTEEN_CATEGORIES.values()], 1)
    for answer, shape, texture in zip(means.argmax(1), shapes.tolist(), textures.tolist(), strict=True):
        if shape != texture:
            counts[shape, 0 if answer == shape else 1 if answer == texture else 2] += 1
    bias = shape_bias(probabilities, shapes, textures)
    assert bias.counts == tuple(counts.sum(0))
    assert bias.counts_by_class == {name: tuple(row) for name, row in zip(NAMES, counts, strict=True)}
    assert bias.overall == counts[:, 0].sum() / counts[:, :2].sum()
    for name, (shape, texture, _) in zip(NAMES, counts, strict=True):
        assert bias.by_class[name] == pytest.approx(
            shape / (shape + texture) if shape + texture else math.nan, nan_ok=True
        )
    named = shape_bias(probabilities, [NAMES[i] for i in shapes], [NAMES[i] for i in textures])
    assert named.counts_by_class == bias.counts_by_class
    assert shape_bias(probabilities.log(), shapes, textures, logits=True).counts_by_class == bias.counts_by_class


def test_columns_may_be_the_categories_themselves():
    probabilities = torch.tensor([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0.2, 0.2, 0.6], [0.9, 0.1, 0.0]])
    bias = shape_bias(probabilities, [0, 1, 1, 0], [1, 2, 0, 0], categories=["disk", "ring", "star"])
    assert bias.counts_by_class == {"disk": (1, 0, 0), "ring": (0, 1, 1), "star": (0, 0, 0)}
    assert (bias.overall, bias.by_class["disk"], bias.by_class["ring"]) == (0.5, 1, 0)
    assert math.isnan(bias.by_class["star"])
    assert list(shape_bias(probabilities, [0] * 4, [1] * 4).by_class) == ["0", "1", "2"]
    own = shape_bias(probabilities, ["round"] * 4, ["pointed"] * 4, categories={"round": [0, 1], "pointed": [2]})
    assert own.counts == (2, 2, 0)  # means 0.4 and 0.2, 0.15 and 0.7, 0.2 and 0.6, 0.5 and 0


def test_no_probability_at_all_is_no_answer():
    probabilities = torch.zeros(2, 1000)
    probabilities[:, 0] = 1  # a fish: of no category
    assert shape_bias(probabilities, ["airplane", "bear"], ["bear", "airplane"]).counts == (0, 0, 2)
    # Logits tell, where float32 probabilities are 0 for all categories.
    logits = torch.full((1, 1000), -300.0)
    logits[0, 0], logits[0, 766] = 0, -200
    assert shape_bias(logits, ["oven"], ["car"], logits=True).counts == (1, 0, 0)


@pytest.mark.parametrize("scale", [1, 1e5, 1e300])
def test_logits_of_any_size(scale):
    # float64: beyond float32 at 1e300, and beyond its digits at 1e5.
    logits = torch.zeros(2, 16, dtype=torch.float64)
    logits[0, 3], logits[1, 5] = scale, -scale
    expected = np.exp(logits.numpy() - logits.numpy().max(1, keepdims=True))
    expected /= expected.sum(1, keepdims=True)
    found = category_probabilities(logits, NAMES, logits=True)
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert found.max() <= 1
    offset = 1e4 + torch.randn(20, 16)
    torch.testing.assert_close(
        category_probabilities(offset, NAMES, logits=True), offset.double().softmax(1), rtol=1e-6, atol=0
    )


def test_no_decision_is_nan_and_one_sided_ones_are_not():
    eye = torch.eye(16)
    nothing = shape_bias(eye[[3, 3]], [0, 1], [1, 0])
    assert math.isnan(nothing.overall)
    assert nothing.counts == (0, 0, 2)
    assert shape_bias(eye[[0, 1]], [0, 1], [1, 0]).overall == 1
    assert shape_bias(eye[[1, 0]], [0, 1], [1, 0]).overall == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"probabilities": torch.full((2, 16), math.nan)}, "finite, got NaN or infinity for 2 of the 2 images"),
        ({"probabilities": torch.full((2, 16), -2.0)}, r"must lie in \[0, 1\], got -2; for logits say logits=True"),
        ({"probabilities": torch.full((2, 16), 2.5)}, r"must lie in \[0, 1\], got 2.5"),
        ({"probabilities": torch.zeros(0, 16)}, "N and C of at least 1"),
        ({"shapes": [0, 16]}, r"shapes must lie in \[0, 16\), got 16"),
        ({"shapes": [0, -1]}, r"shapes must lie in \[0, 16\), got -1"),
        ({"textures": ["cat", "aeroplane"]}, "textures must be among airplane, .*, got 'aeroplane'"),
        ({"textures": [0]}, r"textures must be 2 integers, one an image, got int64 \[1\]"),
        ({"textures": [0, 1]}, "shapes and textures must differ for at least one image, got the same for all 2"),
        ({"categories": ["cat", "dog"]}, "categories must be 16 different names, one a column, got 2"),
        ({"categories": {"cat": [3], "dog": []}}, "at least one class, got none for 'dog'"),
        ({"categories": {"cat": [3], "dog": [16]}}, r"classes in \[0, 16\), got 16 for 'dog'"),
        ({"categories": {"cat": [3], "dog": [5, 3]}}, "must name each class once, got 3 2 times, in cat, dog"),
        ({"categories": []}, "at least one category"),
    ],
)
def test_bad_input_is_named(change, message):
    arguments = {"probabilities": torch.eye(16)[:2], "shapes": [0, 1], "textures": [1, 0], **change}
    with pytest.raises(ValueError, match=message):
        shape_bias(**arguments)


def test_a_table_gives_the_published_digits(tmp_path):
    path = table(tmp_path / "answers.csv", answer_rows(answered()))
    bias = shape_bias_from_answers(path)
    assert bias.counts == (283, 376, 541)
    assert f"{100 * bias.overall:.1f}" == "42.9"
    assert all(sum(row) == 75 for row in bias.counts_by_class.values())
    answers = read_answers(path)
    assert len(answers.images) == 1280
    assert answers.images[5] == "airplane11-bear1"
    assert shape_bias_from_answers(answers) == bias


def test_a_table_of_fewer_categories(tmp_path):
    rows = list(answer_rows(answered()))
    few = [row for row in rows if all(cue in CIFAR10_CATEGORIES for cue in parse_name(row["imagename"]))]
    counts = [0, 0, 0]
    for row in few:
        shape, texture = parse_name(row["imagename"])
        if shape != texture:
            counts[[shape, texture, row["object_response"]].index(row["object_response"])] += 1
    bias = shape_bias_from_answers(table(tmp_path / "answers.csv", rows), categories=list(CIFAR10_CATEGORIES))
    assert bias.counts == tuple(counts)
    assert sum(bias.counts) == 210
    assert list(bias.by_class) == list(CIFAR10_CATEGORIES)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"imagename": "0001_airplane.png"}, "must be shapeN-textureM.*got '0001_airplane.png'"),
        ({"imagename": "x_unicorn1-cat2.png"}, "got 'unicorn' in x_unicorn1-cat2.png"),
        ({"object_response": "unicorn"}, "object_response must be na or one of .*, got 'unicorn' for 0001_"),
        ({"object_response": ""}, "object_response must be na or one of .*, got ''"),
        ({"imagename": "9999_airplane12-airplane2.png"}, "one answer to each image, got 1 more"),
    ],
)
def test_a_bad_row_is_named(tmp_path, change, message):
    rows = list(answer_rows(answered()))
    rows[0] |= change
    with pytest.raises(ValueError, match=message):
        read_answers(table(tmp_path / "answers.csv", rows))


def test_a_table_lacks_what_it_needs(tmp_path):
    rows = list(answer_rows(answered()))
    with pytest.raises(ValueError, match="has no imagename"):
        read_answers(table(tmp_path / "short.csv", rows, ("subj", "object_response")))
    with pytest.raises(ValueError, match="got none in"):
        read_answers(table(tmp_path / "empty.csv", []))
    with pytest.raises(ValueError, match="got none in"):
        read_answers(table(tmp_path / "other.csv", rows), ["zebra"])


@pytest.mark.parametrize(
    "text",
    [
        "object_response,imagename\ncat,cat1-dog2.png\n",
        '"","object_response","imagename"\r\n"1","cat","x_cat1-dog2.png"\r\n\r\n',
        "\ufeffobject_response, imagename\n cat , cat1-dog2.png \n",
        "object_response,imagename\ncat,C:\\my_stimuli\\1\\cat1-dog2.png\n",
        "object_response,imagename\ncat,D:\\cat1-dog2.png\n",
        "object_response,imagename,object_response_2\ncat,stimuli/cat1-dog2.PNG,dog,more\n",
    ],
)
def test_tables_as_programs_write_them(tmp_path, text):
    (tmp_path / "answers.csv").write_bytes(text.encode())
    answers = read_answers(tmp_path / "answers.csv")
    assert answers.images == ("cat1-dog2",)
    assert [NAMES[int(x)] for x in (answers.answers, answers.shapes, answers.textures)] == ["cat", "cat", "dog"]


@pytest.mark.parametrize(
    "content", [b"object_response,imagename\ncaf\xe9,cat1-dog2.png\n", b'object_response\n"' + b"c" * 200_000 + b'"\n']
)
def test_what_is_no_table_is_named(tmp_path, content):
    (tmp_path / "answers.csv").write_bytes(content)
    with pytest.raises(ValueError, match=r"table must .*: .*answers.csv"):
        read_answers(tmp_path / "answers.csv")


def test_a_default_device_changes_nothing(tmp_path):
    path = table(tmp_path / "answers.csv", answer_rows(answered()))
    eye = torch.eye(16)
    with torch.device("meta"):
        answers = read_answers(path)
        assert answers.shapes.device == answers.answers.device == answers.textures.device == torch.device("cpu")
        assert shape_bias_from_answers(path).counts == PUBLISHED
        assert error_consistency_from_answers(path, path).kappa == 1
        assert shape_bias(eye[[0, 0]], [0, 1], [1, 0]).counts == (1, 1, 0)


def test_no_answer_counts_as_neither(tmp_path):
    rows = list(answer_rows(answered()))
    taken = next(
        row
        for row in rows
        if parse_name(row["imagename"])[0] == row["object_response"] != "airplane"
        and parse_name(row["imagename"])[1] != row["object_response"]
    )
    taken["object_response"] = "na"
    assert shape_bias_from_answers(table(tmp_path / "answers.csv", rows)).counts == (282, 376, 542)


def test_consistency_of_tables_goes_by_the_image(tmp_path):
    first = list(answer_rows(answered()))
    second = list(answer_rows(answered((500, 400, 300)), "cue_human"))
    right, other = ([row["object_response"] == row["category"] for row in rows] for rows in (first, second))
    expected = error_consistency(torch.tensor(right), torch.tensor(other))
    paths = [table(tmp_path / "a.csv", first), table(tmp_path / "b.csv", second[::-1])]
    assert error_consistency_from_answers(*paths) == expected
    assert error_consistency_from_answers(read_answers(paths[0]), paths[1]) == expected
    with pytest.raises(ValueError, match="both must answer to the same images, got 1 of one alone, such as airplane11"):
        error_consistency_from_answers(paths[0], table(tmp_path / "c.csv", second[1:]))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_counts_on_a_gpu_are_the_cpus():
    logits = 3 * torch.randn(1280, 1000)
    shapes, textures = torch.randint(16, (2, 1280))
    expected = shape_bias(logits, shapes, textures, logits=True)
    measured = shape_bias(logits.cuda(), shapes, textures.cuda(), logits=True)
    assert measured.counts_by_class == expected.counts_by_class
    right, other = torch.rand(2, 1280) < 0.6
    assert error_consistency(right.cuda(), other.cuda()) == error_consistency(right, other)

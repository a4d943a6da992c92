"""The section of similarity: its numbers are those of the histograms, its models see the same draws."""

import math
from statistics import mean

import pytest
import torch
from torch import nn

pytest.importorskip("matplotlib", reason="needs matplotlib")

from cuda_cases import DEVICE, MARKS
from section_cases import CLASSES, CPU, complete, halved, photos, rows
from texfilters import evaluate, patch_negatives
from texfilters.evaluate import Histogram
from texfilters.evaluate._training import seeded
from texfilters.evaluate.sections import LabeledImages, Model, _similarity, similarity


def flipped(batch):
    images = batch[0]
    return torch.where(torch.rand(len(images), 1, 1, 1) < 0.5, images, images.flip(-1)).float()


def embedding(seed, dim=16, device=CPU):
    with seeded(seed, CPU):
        network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 24 * 24, dim)).to(device)
    return Model(network, network, halved, (), device)


def tiled(views):
    return patch_negatives(views, (4, 8))[:, 0]


class TestSimilarity:
    def test_the_numbers_are_those_of_the_histograms(self, tmp_path):
        _, _, given = photos()
        models = {"before": embedding(0), "after": embedding(1)}
        section = similarity(models, given, dict.fromkeys(models, flipped), negatives=tiled, seed=3)
        found = rows(section)
        for i, (name, each) in enumerate(models.items()):
            with seeded(3, CPU):
                expected = evaluate.similarity_histograms(each.features, given, flipped, negatives=tiled, bins=2000)
            kinds = expected.positive, expected.other, expected.negative
            assert [row["mean"] for row in found[3 * i : 3 * i + 3]] == [kind.mean for kind in kinds]
            assert [row["pairs"] for row in found[3 * i : 3 * i + 3]] == [11, 4 * 3 + 4 * 3 + 3 * 2, 11]
            record = section.record["models"][name]
            assert record["patch negative"]["mean"] == expected.negative.mean
            assert sum(record["other image"]["counts"]) == expected.other.total
            assert record["positive_above_patch_negative"] == _similarity.above(expected.positive, expected.negative)
        assert [row["mean − that of before"] for row in found[:3]] == [None] * 3
        assert found[5]["mean − that of before"] == found[5]["mean"] - found[2]["mean"]
        complete(section, tmp_path)

    def test_models_see_the_same_views_and_leave_the_generator_as_it_was(self):
        _, _, given = photos()
        state = torch.get_rng_state()
        section = similarity(
            {"a": embedding(0), "b": embedding(0)}, given, {"a": flipped, "b": flipped}, negatives=tiled
        )
        assert torch.equal(torch.get_rng_state(), state)
        assert [row["mean − that of a"] for row in rows(section)[3:]] == [0.0] * 3
        other = similarity({"a": embedding(0)}, given, {"a": flipped}, negatives=tiled, seed=1)
        assert rows(other)[0]["mean"] != rows(section)[0]["mean"]
        assert "mean − that of a" not in rows(other)[0]

    def test_keys_have_a_network_of_their_own(self):
        _, _, given = photos()
        models = {"a": embedding(0), "b": embedding(0)}

        def opposite(images):
            return -models["b"].features(images)

        section = similarity(
            models, given, dict.fromkeys(models, flipped), key_networks={"b": opposite}, negatives=tiled
        )
        means = [row["mean"] for row in rows(section)]
        assert means[3:] == pytest.approx([-value for value in means[:3]])

    def test_above_is_the_share_of_pairs(self):
        one, other = (1, 0, 3, 2), (2, 1, 1, 0)
        values = [[i for i, count in enumerate(counts) for _ in range(count)] for counts in (one, other)]
        wins = [(a > b) + (a == b) / 2 for a in values[0] for b in values[1]]
        assert _similarity.above(Histogram(one, 0, 0), Histogram(other, 0, 0)) == pytest.approx(mean(wins))
        assert math.isnan(_similarity.above(Histogram(one, 0, 0), Histogram((0, 0, 0, 0), 0, 0)))

    @pytest.mark.parametrize(("lowest", "bins"), [(0, 80), (1000, 200), (1900, 2000), (1999, 2000)])
    def test_bins_can_be_told_apart(self, lowest, bins):
        counts = [0] * 2000
        for place in range(lowest, 2000):
            counts[place] = place
        fine = Histogram(tuple(counts), 0.5, 0.1)
        empty = Histogram((0,) * 2000, math.nan, math.nan)
        drawn = _similarity._readable({"a": evaluate.Similarity(fine, empty, fine)})["a"]
        assert len(drawn.positive.counts) == len(drawn.other.counts) == bins
        assert drawn.positive.total == fine.total
        assert (drawn.positive.mean, drawn.positive.deviation) == (0.5, 0.1)
        assert drawn.positive.counts[-1] == sum(counts[-(2000 // bins) :])

    def test_bad_input(self):
        _, _, given = photos(3)
        with pytest.raises(ValueError, match="models must hold at least one model"):
            similarity({}, given, {})
        with pytest.raises(ValueError, match=r"views must have one for every model, got none for \['b'\]"):
            similarity({"a": embedding(0), "b": embedding(1)}, given, {"a": flipped})
        with pytest.raises(ValueError, match="at least one image"):
            similarity({"a": embedding(0)}, LabeledImages([], CLASSES), {"a": flipped})


class TestOnAGPU:
    """As on the CPU; images come from there."""

    pytestmark = MARKS

    def test_similarity(self):
        _, _, given = photos()
        found = [
            similarity(
                {"a": embedding(0, device=device)},
                given,
                {"a": lambda batch: batch[0].float()},
                negatives=lambda views: views.flip(-1),
            )
            for device in (CPU, torch.device(DEVICE))
        ]
        for expected, got in zip(*map(rows, found), strict=True):
            assert got["mean"] == pytest.approx(expected["mean"], abs=1e-5)
            assert got["pairs"] == expected["pairs"]

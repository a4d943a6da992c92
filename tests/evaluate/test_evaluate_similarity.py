"""Histograms of cosines against NumPy."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from texfilters.evaluate import _similarity as module
from texfilters.evaluate._similarity import similarity, similarity_figure, similarity_histograms
from texfilters.evaluate.figures import save


def embeddings(n=40, dim=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    query = torch.randn(n, dim, generator=generator)
    positive = query + 0.5 * torch.randn(n, dim, generator=generator)
    negative = 0.3 * query[:, None] + torch.randn(n, 2, dim, generator=generator)
    return 3 * query, positive, negative


def unit(x):
    return x.double().numpy() / np.linalg.norm(x.double().numpy(), axis=-1, keepdims=True)


def assert_histogram(got, cosines):
    counts, _ = np.histogram(cosines, bins=len(got.counts), range=(-1, 1))
    # A cosine beside an edge may fall to either side in float32.
    assert np.abs(np.array(got.counts) - counts).sum() <= 2
    assert got.total == cosines.size
    assert got.mean == pytest.approx(cosines.mean(), abs=1e-6)
    assert got.deviation == pytest.approx(cosines.std(), abs=1e-6)


class TestSimilarity:
    @pytest.mark.parametrize("cells", [2**24, 40 * 7])
    def test_numpy_agrees(self, monkeypatch, cells):
        monkeypatch.setattr(module, "_CELLS", cells)
        query, positive, negative = embeddings()
        got = similarity(query, positive, negative, bins=50)
        q, k, t = unit(query), unit(positive), unit(negative)
        assert_histogram(got.positive, (q * k).sum(1))
        assert_histogram(got.other, (q @ k.T)[~np.eye(40, dtype=bool)])
        assert_histogram(got.negative, np.einsum("nd,nmd->nm", q, t))

    def test_the_ends_are_in_the_outer_bins(self):
        x = torch.eye(4)
        got = similarity(x, x, -x, bins=8)
        assert got.positive.counts == (0,) * 7 + (4,)
        assert got.negative.counts == (4,) + (0,) * 7
        assert got.other.counts == (0, 0, 0, 0, 12, 0, 0, 0)
        assert (got.positive.mean, got.negative.mean, got.other.deviation) == (1, -1, 0)

    def test_a_single_image_has_no_other(self):
        x = torch.eye(4)[:1]
        got = similarity(x, x, x)
        assert got.other.total == 0
        assert math.isnan(got.other.mean)
        assert math.isnan(got.other.deviation)

    @pytest.mark.parametrize("scale", [1e-30, 1e-13, 1e30])
    def test_only_directions_count(self, scale):
        query, positive, negative = embeddings()
        expected, got = similarity(query, positive, negative), similarity(query * scale, positive, negative * scale)
        for kind in ("positive", "other", "negative"):
            assert getattr(got, kind).mean == pytest.approx(getattr(expected, kind).mean, abs=1e-6)

    def test_bad_input(self):
        query, positive, negative = embeddings()
        with pytest.raises(ValueError, match=r"positive must have .*\(40, 16\).*got \(39, 16\)"):
            similarity(query, positive[1:], negative)
        with pytest.raises(ValueError, match=r"negative must have shape \[40, 16\] or \[40, n, 16\], got \(40, 2, 8\)"):
            similarity(query, positive, negative[..., :8])
        with pytest.raises(ValueError, match="query must be finite, got NaN or infinity for 40 of the 40"):
            similarity(query * math.nan, positive, negative)
        with pytest.raises(ValueError, match="negative must be finite, got NaN or infinity for 80"):
            similarity(query, positive, negative / 0)
        with pytest.raises(ValueError, match="query must not be zero, is for 1 of the 40 images"):
            similarity(torch.cat((query[:1] * 0, query[1:])), positive, negative)
        with pytest.raises(ValueError, match="bins must be at least 1"):
            similarity(query, positive, negative, bins=0)


class TestHistograms:
    def test_a_model_batch_by_batch(self):
        images = torch.rand(10, 3, 8, 8)
        networks = [nn.Sequential(nn.Flatten(), nn.Linear(192, 6)) for _ in range(2)]
        calls = []

        def view(batch):
            calls.append(len(calls))
            return batch[0] + len(calls)

        def negatives(views):
            return views.flip(3)

        batches = [(images[:7], "labels"), (images[7:], "labels")]
        got = similarity_histograms(networks[0], batches, view, key_network=networks[1], negatives=negatives)
        positive, other, negative = [], [], []
        with torch.no_grad():
            for number, part in enumerate((images[:7], images[7:])):
                first, second = part + 2 * number + 1, part + 2 * number + 2
                q, k, t = unit(networks[0](first)), unit(networks[1](second)), unit(networks[1](first.flip(3)))
                positive.append((q * k).sum(1))
                other.append((q @ k.T)[~np.eye(len(q), dtype=bool)])
                negative.append((q * t).sum(1))
        assert_histogram(got.positive, np.concatenate(positive))
        assert_histogram(got.other, np.concatenate(other))
        assert_histogram(got.negative, np.concatenate(negative))
        assert networks[0].training
        assert networks[1].training

    def test_patch_negatives_hold_the_colors_of_their_own_image(self):
        # Images of one color each: a patch of one is like itself and unlike the others.
        images = torch.eye(3)[:, :, None, None].expand(3, 3, 32, 32)
        network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        got = similarity_histograms(network, [images], lambda batch: batch)
        assert (got.positive.mean, got.other.mean, got.negative.mean) == pytest.approx((1, 0, 1))

    def test_no_batch(self):
        with pytest.raises(ValueError, match="at least one image, got none"):
            similarity_histograms(nn.Identity(), [], lambda batch: batch)

    def test_figure(self, tmp_path):
        got = similarity(*embeddings())
        figure = similarity_figure({"before": got, "after": got})
        assert [axes.get_title(loc="left") for axes in figure.axes] == ["before", "after"]
        save(figure, tmp_path / "similarity.svg")
        labels = [text.get_text() for text in figure.axes[1].get_legend().get_texts()]
        assert labels[2] == f"patch negative\nmean {got.negative.mean:.3f}"
        assert f"mean {got.negative.mean:.3f}" in (tmp_path / "similarity.svg").read_text()
        with pytest.raises(ValueError, match="at least one model"):
            similarity_figure({})

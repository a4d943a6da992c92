"""Losses against the papers' formulas in NumPy's float64, against the original repositories' logits, and lightly."""

import itertools
import math

import numpy as np
import pytest
import torch
from lightly.loss import NegativeCosineSimilarity, NTXentLoss
from torch.nn.functional import cross_entropy, normalize

from texfilters.ssl import losses
from texfilters.ssl._momentum import Queue
from texfilters.ssl.losses import byol, info_nce

# 1e-6 is the promise; float32 rounds a loss of 10 by as much as 5e-7.
FLOAT32 = {"rel": 1e-6, "abs": 1e-6}
FLOAT64 = {"rel": 1e-12, "abs": 1e-12}


def unit(*shape, dtype=torch.float64):
    return normalize(torch.randn(*shape, dtype=torch.float64), dim=-1).to(dtype)


def drawn(batch=4, dim=8, length=7, n=2, dtype=torch.float64):
    """Query, key, queue, nonsemantic."""
    nonsemantic = None if n is None else unit(batch, n, dim, dtype=dtype)
    return unit(batch, dim, dtype=dtype), unit(batch, dim, dtype=dtype), unit(length, dim, dtype=dtype), nonsemantic


def arrays(*tensors):
    return [None if tensor is None else tensor.detach().double().numpy() for tensor in tensors]


def papers_info_nce(query, key, queue, nonsemantic, alpha, alpha_inside, temperature):
    """The formula as it is printed, a term after the other."""
    query, key, queue, nonsemantic = arrays(query, key, queue, nonsemantic)
    total = 0.0
    for b, q in enumerate(query):
        positive = math.exp(q @ key[b] / temperature)
        denominator = positive + sum(math.exp(q @ entry / temperature) for entry in queue)
        for t in [] if nonsemantic is None else nonsemantic[b]:
            cosine = q @ t / temperature
            denominator += math.exp(alpha * cosine) if alpha_inside else alpha * math.exp(cosine)
        total -= math.log(positive / denominator)
    return total / len(query)


def stable_info_nce(query, key, queue, nonsemantic, alpha, temperature):
    """The same in logarithms, for exponents that a float64 cannot hold; alpha inside."""
    query, key, queue, nonsemantic = arrays(query, key, queue, nonsemantic)
    positive = (query * key).sum(1) / temperature
    terms = [
        positive[:, None],
        query @ queue.T / temperature,
        alpha * np.einsum("bd,bnd->bn", query, nonsemantic) / temperature,
    ]
    return np.mean(np.logaddexp.reduce(np.concatenate(terms, 1), axis=1) - positive)


def papers_byol(query, key, nonsemantic, alpha):
    query, key, nonsemantic = arrays(query, key, nonsemantic)
    total = 0.0
    for b, q in enumerate(query):
        total += np.sum((q - key[b]) ** 2)
        if nonsemantic is not None:
            total -= alpha * np.mean([np.sum((q - t) ** 2) for t in nonsemantic[b]])
    return total / len(query)


class TestInfoNCE:
    @pytest.mark.parametrize("alpha_inside", [True, False])
    @pytest.mark.parametrize("alpha", [0, 0.5, 2.0, 3])
    @pytest.mark.parametrize("n", [None, 0, 1, 3])
    def test_it_is_the_papers_formula(self, n, alpha, alpha_inside):
        for length, temperature in itertools.product((0, 1, 70), (0.07, 0.2, 1.0)):
            for dtype, tolerance in ((torch.float64, FLOAT64), (torch.float32, FLOAT32)):
                given = drawn(batch=5, dim=6, length=length, n=n, dtype=dtype)
                options = {"alpha": alpha, "alpha_inside": alpha_inside, "temperature": temperature}
                loss = info_nce(*given[:3], nonsemantic=given[3], **options)
                assert loss.shape == ()
                assert loss.dtype == dtype
                assert loss.item() == pytest.approx(papers_info_nce(*given, **options), **tolerance)

    def test_at_the_papers_size(self):
        given = drawn(batch=16, dim=128, length=65536, n=1, dtype=torch.float32)
        expected = stable_info_nce(*given, alpha=2.0, temperature=0.2)
        assert info_nce(*given[:3], nonsemantic=given[3]).item() == pytest.approx(expected, **FLOAT32)

    def test_the_defaults_are_the_papers(self):
        *given, nonsemantic = drawn()
        explicit = info_nce(*given, nonsemantic=nonsemantic, alpha=2.0, alpha_inside=True, temperature=0.2)
        assert torch.equal(info_nce(*given, nonsemantic=nonsemantic), explicit)

    @pytest.mark.parametrize("alpha", [0.0, 1.0, 2.0, 3.0])
    def test_it_is_cross_entropy_with_the_authors_logits(self, alpha):
        """Their logits: the positive, the queue's, and alpha times each non-semantic sample's, over T; label 0."""
        query, key, queue, nonsemantic = drawn(batch=6, length=20, n=3)
        similar = [(query * key).sum(1, keepdim=True), query @ queue.T]
        similar += [alpha * (query * t).sum(1, keepdim=True) for t in nonsemantic.unbind(1)]
        logits = torch.cat(similar, 1) / 0.2
        expected = cross_entropy(logits, torch.zeros(6, dtype=torch.long))
        assert info_nce(query, key, queue, nonsemantic=nonsemantic, alpha=alpha).item() == pytest.approx(
            expected.item(), **FLOAT64
        )

    def test_it_is_lightlys_with_a_memory_bank_for_as_long_as_one_trains(self):
        theirs = NTXentLoss(temperature=0.2, memory_bank_size=(12, 8))
        queue = Queue(12, 8)
        theirs.memory_bank.bank.copy_(queue.entries)
        for _ in range(8):  # twice around the queue
            query, key = unit(4, 8, dtype=torch.float32).requires_grad_(), unit(4, 8, dtype=torch.float32)
            loss = info_nce(query, key, queue.entries)
            queue.enqueue(key)
            assert loss.item() == pytest.approx(theirs(query, key).item(), **FLOAT32)
            torch.testing.assert_close(theirs.memory_bank.bank, queue.entries)

    def test_non_semantic_samples_are_each_querys_own(self):
        *given, nonsemantic = drawn(n=1)
        alone = [
            info_nce(q[None], k[None], given[2], nonsemantic=t[None])
            for q, k, t in zip(*given[:2], nonsemantic, strict=True)
        ]
        assert info_nce(*given, nonsemantic=nonsemantic).item() == pytest.approx(
            torch.stack(alone).mean().item(), **FLOAT64
        )
        assert info_nce(*given, nonsemantic=nonsemantic.flip(0)) != info_nce(*given, nonsemantic=nonsemantic)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("temperature", [1e-4, 1e-2, 1e3])
    def test_no_temperature_overflows(self, temperature, dtype):
        query, key, queue, nonsemantic = drawn(dtype=dtype)
        for k in (key, query, -query):
            expected = stable_info_nce(query, k, queue, nonsemantic, 2.0, temperature)
            loss = info_nce(query, k, queue, nonsemantic=nonsemantic, temperature=temperature)
            assert loss.item() == pytest.approx(expected, **FLOAT32)

    def test_a_loss_near_zero_keeps_its_digits(self):
        query = unit(1, 8, dtype=torch.float32)
        loss = info_nce(query, query, -query, temperature=0.05)
        assert loss.item() == pytest.approx(math.exp(-40), rel=1e-4, abs=0)

    def test_nan_is_not_hidden(self):
        query, key, queue, nonsemantic = drawn()
        for tensor in (query, key, queue, nonsemantic):
            kept = tensor.flatten()[0].item()
            tensor.view(-1)[0] = math.nan
            assert info_nce(query, key, queue, nonsemantic=nonsemantic).isnan()
            tensor.view(-1)[0] = kept

    @pytest.mark.parametrize("alpha_inside", [True, False])
    @pytest.mark.parametrize("alpha", [0.0, 2.0])
    @pytest.mark.parametrize("length", [0, 5])
    @pytest.mark.parametrize("n", [None, 0, 2])
    def test_gradients(self, n, length, alpha, alpha_inside):
        query, key, queue, nonsemantic = drawn(batch=3, dim=4, length=length, n=n)

        def loss(query, key, queue, nonsemantic):
            return info_nce(query, key, queue, nonsemantic=nonsemantic, alpha=alpha, alpha_inside=alpha_inside)

        query.requires_grad_()
        assert torch.autograd.gradcheck(loss, (query, key, queue, nonsemantic))
        (constant,) = torch.autograd.grad(loss(query, key, queue, nonsemantic), query)
        everything = [tensor for tensor in (query, key, queue, nonsemantic) if tensor is not None]
        for tensor in everything:
            tensor.requires_grad_()
        assert torch.autograd.gradcheck(loss, (query, key, queue, nonsemantic))
        (differentiable,) = torch.autograd.grad(loss(query, key, queue, nonsemantic), query)
        torch.testing.assert_close(constant, differentiable)

    def test_the_queue_may_change_before_the_backward_pass(self):
        query, key, queue, _ = drawn()
        query.requires_grad_()
        (expected,) = torch.autograd.grad(info_nce(query, key, queue), query)
        loss = info_nce(query, key, queue)
        queue.zero_()
        (gradient,) = torch.autograd.grad(loss, query)
        assert torch.equal(gradient, expected)

    def test_neither_logits_nor_queue_are_kept(self):
        query, key, queue, nonsemantic = drawn(batch=4, dim=8, length=1000)
        query.requires_grad_()
        kept = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.numel()) or t, lambda t: t):
            info_nce(query, key, queue, nonsemantic=nonsemantic)
        assert 4 * 8 <= max(kept) <= 4 * 2 * 8

    def test_a_second_derivative_needs_a_queue_with_a_gradient(self):
        query, key, queue, nonsemantic = drawn(batch=2, dim=3, length=4)
        query.requires_grad_()

        def loss(query, queue):
            return info_nce(query, key, queue, nonsemantic=nonsemantic)

        with pytest.raises(RuntimeError, match="info_nce is differentiable once where the queue is a constant"):
            torch.autograd.grad(loss(query, queue), query, create_graph=True)
        assert torch.autograd.gradgradcheck(loss, (query, queue.requires_grad_()))

    def test_many_queries_take_their_turns(self, monkeypatch):
        query, key, queue, _ = drawn(batch=7, length=50)
        query.requires_grad_()
        loss = info_nce(query, key, queue)
        (gradient,) = torch.autograd.grad(loss, query)
        for at_once in (1, 100, 349, 350):
            monkeypatch.setattr(losses, "_LOGITS_AT_ONCE", at_once)
            again = info_nce(query, key, queue)
            torch.testing.assert_close(again, loss)
            torch.testing.assert_close(torch.autograd.grad(again, query)[0], gradient)

    def test_without_gradients_it_is_the_same(self):
        query, key, queue, nonsemantic = drawn()
        with torch.no_grad():
            loss = info_nce(query.requires_grad_(), key, queue, nonsemantic=nonsemantic)
        assert not loss.requires_grad
        torch.testing.assert_close(loss, info_nce(query, key, queue, nonsemantic=nonsemantic).detach())


class TestBYOL:
    @pytest.mark.parametrize("alpha", [0, 0.05, 2])
    @pytest.mark.parametrize("n", [None, 1, 3])
    def test_it_is_the_papers_formula(self, n, alpha):
        for dtype, tolerance in ((torch.float64, FLOAT64), (torch.float32, FLOAT32)):
            query, key, _, nonsemantic = drawn(batch=5, dim=256, n=n, dtype=dtype)
            loss = byol(query, key, nonsemantic=nonsemantic, alpha=alpha)
            assert loss.shape == ()
            assert loss.dtype == dtype
            assert loss.item() == pytest.approx(papers_byol(query, key, nonsemantic, alpha), **tolerance)

    def test_the_default_weight_is_the_papers(self):
        query, key, _, nonsemantic = drawn()
        assert torch.equal(
            byol(query, key, nonsemantic=nonsemantic), byol(query, key, nonsemantic=nonsemantic, alpha=0.05)
        )

    def test_no_samples_are_none(self):
        query, key, _, nonsemantic = drawn(n=0)
        assert torch.equal(byol(query, key, nonsemantic=nonsemantic), byol(query, key))

    def test_it_is_lightlys_without_negatives(self):
        query, key, _, _ = drawn()
        assert byol(query, key).item() == pytest.approx(
            2 + 2 * NegativeCosineSimilarity()(query, key).item(), **FLOAT64
        )

    def test_gradients(self):
        given = [tensor.requires_grad_() for tensor in drawn(batch=3, dim=4)]
        assert torch.autograd.gradcheck(lambda q, k, _, t: byol(q, k, nonsemantic=t, alpha=0.5), given)


def both(query, key, queue, nonsemantic):
    return [info_nce(query, key, queue, nonsemantic=nonsemantic), byol(query, key, nonsemantic=nonsemantic)]


def test_autocast_changes_nothing():
    given = drawn(batch=32, dim=64, length=500, dtype=torch.float32)
    given[0].requires_grad_()
    plain = both(*given)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (given[0] @ given[2].T).dtype == torch.bfloat16  # what a loss would do that left it on
        mixed = both(*given)
    for loss, expected in zip(mixed, plain, strict=True):
        assert loss.dtype == torch.float32
        assert torch.equal(loss, expected)
        assert torch.equal(*(torch.autograd.grad(each, given[0])[0] for each in (loss, expected)))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_are_computed_in_float32(dtype):
    given = drawn(dtype=dtype)
    for loss, expected in zip(both(*given), both(*(tensor.float() for tensor in given)), strict=True):
        assert loss.dtype == torch.float32
        assert torch.equal(loss, expected)


ONES = torch.ones(4, 8)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"query": [[1.0]]}, TypeError, "query must be a tensor, got list"),
        ({"query": ONES.int()}, TypeError, "query must be a floating point tensor, got int32"),
        ({"query": torch.ones(4)}, ValueError, r"query must have shape \[B, D\], got \(4,\)"),
        ({"query": ONES[:0]}, ValueError, r"query must have at least one row and one column, got \(0, 8\)"),
        ({"query": ONES[:, :0]}, ValueError, r"query must have at least one row and one column, got \(4, 0\)"),
        ({"key": torch.ones(3, 8)}, ValueError, r"key must have shape \[4, 8\], got \(3, 8\)"),
        ({"key": torch.ones(4, 8, device="meta")}, ValueError, "key must be on the query's device cpu, got meta"),
        ({"nonsemantic": ONES}, ValueError, r"nonsemantic must have shape \[4, n, 8\], got \(4, 8\)"),
        ({"nonsemantic": torch.ones(4, 1, 7)}, ValueError, r"nonsemantic must have shape \[4, n, 8\], got \(4, 1, 7\)"),
        ({"alpha": -0.1}, ValueError, "alpha must be finite and >= 0, got -0.1"),
        ({"alpha": math.inf}, ValueError, "alpha must be finite and >= 0, got inf"),
        ({"alpha": math.nan}, ValueError, "alpha must be finite and >= 0, got nan"),
        ({"alpha": torch.tensor(2.0)}, TypeError, "alpha must be a number, got torch.Tensor"),
    ],
)
def test_bad_input(change, error, message):
    for loss, given in ((info_nce, {"queue": torch.ones(5, 8)}), (byol, {})):
        with pytest.raises(error, match=message):
            loss(**{"query": ONES, "key": ONES, **given, **change})


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"queue": torch.ones(8, 5)}, ValueError, r"queue must have shape \[K, 8\], got \(8, 5\)"),
        ({"temperature": 0}, ValueError, "temperature must be positive and finite, got 0"),
        ({"temperature": -0.2}, ValueError, "temperature must be positive and finite, got -0.2"),
        ({"alpha_inside": 1}, TypeError, "alpha_inside must be a bool, got int"),
    ],
)
def test_bad_input_of_info_nce(change, error, message):
    with pytest.raises(error, match=message):
        info_nce(**{"query": ONES, "key": ONES, "queue": torch.ones(5, 8), **change})

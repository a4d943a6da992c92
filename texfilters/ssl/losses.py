"""The losses of contrastive learning with negatives that have lost their meaning, apart from any network."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx
from torch.nn import functional

from texfilters import _check
from texfilters._check._numbers import dtype_name, type_name

# So many logits, 64 MB of float32, are in memory at once: all of MoCo's 256 queries, and 256 of DenseCL's 12,544.
_LOGITS_AT_ONCE = 2**24


def info_nce(
    query: Tensor,
    key: Tensor,
    queue: Tensor,
    *,
    nonsemantic: Tensor | None = None,
    alpha: float = 2.0,
    alpha_inside: bool = True,
    temperature: float = 0.2,
) -> Tensor:
    """Tell the own key from the queue's, and from the non-semantic samples that were made of the query.

    `L = -log( exp(q.k/T) / ( exp(q.k/T) + sum_t exp(alpha q.t/T) + sum_j exp(q.n_j/T) ) )`, averaged over the batch.
    With `alpha_inside=False` a sample's term is `alpha exp(q.t/T)`, which regularizes less.

    Args:
        query: q, `[B, D]`, each row of length 1, as those of the others: nothing is normalized here. B >= 1.
        key: k, `[B, D]`, the positive of each query.
        queue: n_j, `[K, D]`, the negatives of all queries. K may be 0.
        nonsemantic: t, `[B, n, D]`, the non-semantic samples of each query, every one a term of its own; None for none.
        alpha: the weight of non-semantic samples, >= 0. At 0 a term is exp(0) = 1 inside the exponential; outside it is
            gone.
        alpha_inside: whether alpha stands within the exponential.
        temperature: T, > 0.

    Returns:
        The mean over the batch, a 0-d tensor; float32, under autocast as well, or float64 if an argument is.
        Differentiable in every tensor. A queue that requires no gradient is a constant: the gradient to the query is
        made along with the loss, so that neither the logits nor the queue are kept for it, and the queue may change
        before the backward pass.

    Raises:
        TypeError: for embeddings that are no floating point tensors, or a number of a wrong type.
        ValueError: for shapes or devices that do not fit, alpha < 0, temperature <= 0.
        RuntimeError: for a second derivative while the queue is a constant.

    Source: van den Oord et al. 2018, arXiv:1807.03748; with a queue, He et al. 2020, "Momentum Contrast for
    Unsupervised Visual Representation Learning", arXiv:1911.05722, eq. 1; the non-semantic terms, Ge et al. 2021,
    "Robust Contrastive Learning Using Negative Samples with Diminished Semantics", arXiv:2110.14189.
    """
    _pairs(query, key, nonsemantic)
    _embeddings("queue", queue, query, ("K", query.shape[1]))
    alpha = _check.amount("alpha", alpha)
    temperature = _check.positive("temperature", temperature, finite=True)
    _check.flag("alpha_inside", alpha_inside)
    with torch.autocast(query.device.type, enabled=False):
        query, key, queue, nonsemantic = _same_dtype(query, key, queue, nonsemantic)
        query = query / temperature
        negatives = _log_sum_exp(query, queue)
        if nonsemantic is not None and nonsemantic.shape[1] > 0 and (alpha > 0 or alpha_inside):
            terms = torch.einsum("bd,bnd->bn", query, nonsemantic)
            terms = terms * alpha if alpha_inside else terms + math.log(alpha)
            negatives = torch.cat([negatives[:, None], terms], dim=1).logsumexp(dim=1)
        # -log(p / (p + n)) = log(1 + n / p) = softplus(log n - log p), exact for a loss near 0, too.
        return functional.softplus(negatives - (query * key).sum(dim=1), threshold=40).mean()


def byol(query: Tensor, key: Tensor, *, nonsemantic: Tensor | None = None, alpha: float = 0.05) -> Tensor:
    """Bring the query to its key, and away from the non-semantic samples that were made of it.

    `L = |q - k|^2 - alpha |q - t|^2`, which for embeddings of length 1 is `2 - 2 alpha - 2 q.k + 2 alpha q.t`, averaged
    over the n samples of each query and over the batch. Without samples it is `2 - 2 q.k`, as in BYOL itself.

    Args:
        query: q, `[B, D]`, each row of length 1, as those of the others: nothing is normalized here. B >= 1.
        key: k, `[B, D]`, the target of each query.
        nonsemantic: t, `[B, n, D]`, the non-semantic samples of each query; None for none.
        alpha: the weight of non-semantic samples, >= 0.

    Returns:
        The mean over the batch, a 0-d tensor; float32, under autocast as well, or float64 if an argument is.
        Differentiable in every tensor.

    Raises:
        TypeError: for embeddings that are no floating point tensors, or a number of a wrong type.
        ValueError: for shapes or devices that do not fit, alpha < 0.

    Source: Grill et al. 2020, "Bootstrap Your Own Latent", arXiv:2006.07733, eq. 2; the negative term, Ge et al. 2021,
    arXiv:2110.14189.
    """
    _pairs(query, key, nonsemantic)
    alpha = _check.amount("alpha", alpha)
    with torch.autocast(query.device.type, enabled=False):
        query, key, nonsemantic = _same_dtype(query, key, nonsemantic)
        loss = 2 - 2 * (query * key).sum(dim=1)
        if nonsemantic is not None and nonsemantic.shape[1] > 0:
            similarity = torch.einsum("bd,bnd->bn", query, nonsemantic).mean(dim=1)
            loss = loss - alpha * (2 - 2 * similarity)
        return loss.mean()


def _log_sum_exp(query: Tensor, queue: Tensor) -> Tensor:
    """log sum_j exp(q . n_j), `[B]`."""
    if queue.requires_grad or not query.requires_grad:
        return (query @ queue.T).logsumexp(dim=1)
    return _LogSumExp.apply(query, queue)[0]


class _LogSumExp(torch.autograd.Function):
    """log sum_j exp(q . n_j) and its gradient to q, sum_j softmax_j n_j, from the same logits."""

    @staticmethod
    def forward(query: Tensor, queue: Tensor) -> tuple[Tensor, Tensor]:
        values, gradients = [], []
        for part in query.split(max(1, _LOGITS_AT_ONCE // max(1, len(queue)))):
            logits = part @ queue.T
            value = logits.logsumexp(dim=1)
            values.append(value)
            gradients.append(logits.sub_(value[:, None]).exp_() @ queue)
        return torch.cat(values), torch.cat(gradients)

    @staticmethod
    def setup_context(ctx: FunctionCtx, inputs: Any, output: Any) -> None:
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(output[1])

    @staticmethod
    def backward(ctx: Any, value: Tensor, _: Tensor) -> tuple[Tensor, None]:
        if torch.is_grad_enabled():  # create_graph=True; once_differentiable would let torch.autograd.grad pass
            raise RuntimeError(
                "info_nce is differentiable once where the queue is a constant: for a second derivative let it require "
                "a gradient"
            )
        (gradient,) = ctx.saved_tensors
        return value[:, None] * gradient, None


def _pairs(query: Any, key: Any, nonsemantic: Any) -> None:
    _embeddings("query", query, query, ("B", "D"))
    if 0 in query.shape:
        raise ValueError(f"query must have at least one row and one column, got {tuple(query.shape)}")
    _embeddings("key", key, query, query.shape)
    if nonsemantic is not None:
        _embeddings("nonsemantic", nonsemantic, query, (query.shape[0], "n", query.shape[1]))


def _embeddings(name: str, value: Any, query: Tensor, shape: Sequence[int | str]) -> None:
    """A floating point tensor of this shape, on the query's device; a letter stands for any size."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a tensor, got {type_name(value)}")
    if not value.is_floating_point():
        raise TypeError(f"{name} must be a floating point tensor, got {dtype_name(value.dtype)}")
    if value.ndim != len(shape) or any(
        isinstance(rule, int) and rule != size for rule, size in zip(shape, value.shape, strict=True)
    ):
        raise ValueError(f"{name} must have shape [{', '.join(map(str, shape))}], got {tuple(value.shape)}")
    if value.device != query.device:
        raise ValueError(f"{name} must be on the query's device {query.device}, got {value.device}")


def _same_dtype(*tensors: Any) -> Any:
    """Of float32, or of float64 if one is; None stays."""
    dtypes = [tensor.dtype for tensor in tensors if tensor is not None]
    dtype = functools.reduce(torch.promote_types, dtypes, torch.float32)
    return [None if tensor is None else tensor.to(dtype) for tensor in tensors]

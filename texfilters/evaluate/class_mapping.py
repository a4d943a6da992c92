"""Categories that several classes of a network belong to, and the probabilities that its answers give them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import torch
from torch import Tensor

from texfilters.evaluate._classification import matrix


def _classes(*spans: tuple[int, int]) -> tuple[int, ...]:
    return tuple(i for first, last in spans for i in range(first, last + 1))


SIXTEEN_CATEGORIES: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {
        "airplane": (404,),
        "bear": _classes((294, 297)),
        "bicycle": (444, 671),
        "bird": (
            *(8, *_classes((10, 16), (18, 20), (22, 24))),
            *_classes((80, 83), (87, 96), (98, 100), (127, 133), (135, 145)),
        ),
        "boat": (472, 554, 625, 814, 914),
        "bottle": (440, 720, 737, 898, 899, 901, 907),
        "car": (436, 511, 817),
        "cat": _classes((281, 286)),
        "chair": (423, 559, 765, 857),
        "clock": (409, 530, 892),
        "dog": (
            *_classes((152, 191), (193, 203), (205, 226), (228, 241), (243, 250), (252, 257)),
            *(259, *_classes((261, 263), (265, 268))),
        ),
        "elephant": (385, 386),
        "keyboard": (508, 878),
        "knife": (499,),
        "oven": (766,),
        "truck": (555, 569, 656, 675, 717, 734, 864, 867),
    }
)
"""The 207 of ImageNet's 1,000 classes that make the 16 categories of Geirhos et al. 2018, arXiv:1808.08750."""

CIFAR10_CATEGORIES: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {"airplane": (0,), "bird": (2,), "boat": (8,), "car": (1,), "cat": (3,), "dog": (5,), "truck": (9,)}
)
"""The 7 of the 16 categories that are classes of CIFAR-10, too."""

Categories = Mapping[str, Sequence[int]] | Sequence[str]


@torch.no_grad()
def category_probabilities(
    probabilities: Tensor, categories: Categories = SIXTEEN_CATEGORIES, *, logits: bool = False
) -> Tensor:
    """The mean probability of each category's classes.

    Args:
        probabilities: `[N, C]`, of the network's classes.
        categories: names, each with the classes that belong to it; or the names of all C columns, which are the
            categories then. Classes of no category do not count.
        logits: take `probabilities` as logits, and their softmax over all C classes.

    Returns: float64 `[N, K]` on the device of `probabilities`, in the order of `categories`. Rows need not sum to 1.

    Raises:
        ValueError: for no image, values that are NaN, infinite or (without `logits`) outside of [0, 1], a category
            without classes, a class of two categories or beyond C.

    Source: Geirhos et al. 2019, arXiv:1811.12231, appendix A.2; the authors' `decision_mappings.py` for the mean.
    """
    matrix("logits" if logits else "probabilities", probabilities)
    members = _members(categories, probabilities.shape[1])
    columns = [i for classes in members for i in classes]
    if logits:
        # Half types would round the differences.
        values = probabilities if probabilities.dtype == torch.float64 else probabilities.float()
        values = values - values.amax(1, keepdim=True)
        # In float64, where a category far behind the network's answer still differs from 0.
        chosen = values[:, columns].double()
        chosen = (chosen - values.exp_().sum(1, keepdim=True, dtype=torch.float64).log()).exp()
    else:
        least, most = (value.item() for value in probabilities.aminmax())
        if least < 0 or most > 1 + 1e-3:  # a softmax in half precision exceeds 1 by rounding
            raise ValueError(
                f"probabilities must lie in [0, 1], got {least if least < 0 else most:.4g}; for logits say logits=True"
            )
        chosen = probabilities[:, columns].double()
    return torch.stack([part.mean(1) for part in chosen.split([len(classes) for classes in members], dim=1)], dim=1)


def _members(categories: Categories, columns: int) -> list[Sequence[int]]:
    """The columns of each category."""
    if not len(categories):
        raise ValueError("categories must name at least one category, got none")
    if not isinstance(categories, Mapping):
        if len(categories) != columns or len(set(categories)) != columns:
            raise ValueError(
                f"categories must be {columns} different names, one a column, got {len(set(categories))}; "
                "or a mapping from names to columns"
            )
        return [[i] for i in range(columns)]
    for name, classes in categories.items():
        if not len(classes):
            raise ValueError(f"categories must give each category at least one class, got none for {name!r}")
        for i in classes:
            if not 0 <= i < columns:
                raise ValueError(f"categories must hold classes in [0, {columns}), got {i} for {name!r}")
    (most, times), *_ = Counter(i for classes in categories.values() for i in classes).most_common(1)
    if times > 1:
        owners = [name for name, classes in categories.items() if most in classes]
        raise ValueError(f"categories must name each class once, got {most} {times} times, in {', '.join(owners)}")
    return list(categories.values())

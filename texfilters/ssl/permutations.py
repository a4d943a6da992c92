"""Orders of a puzzle's tiles that differ from each other in as many places as they can."""

import itertools
import math

import torch
from torch import Tensor

from texfilters import _check


def permutations(count: int = 1000, tiles: int = 9) -> Tensor:
    """Permutations of a puzzle's tiles whose smallest Hamming distance is large: no two are hard to tell apart.

    Args:
        count: how many, at most tiles!
        tiles: 9, or 4 for puzzles of 2 x 2.

    Returns:
        int64 `[count, tiles]`; row p puts tile `p[i]` at place i. Always the same, the identity first; fewer are the
        first of more. Every tile is at every place equally often, give or take one.

    | tiles | count up to | smallest distance | the set |
    | --- | --- | --- | --- |
    | 9 | 9 | 9 | a cyclic group that is transitive |
    | 9 | 504 | 7, the best for more than 72 | PGL(2, 8) on the projective line over GF(8) |
    | 9 | 1,512 | 6, the best for more than 504 | PGammaL(2, 8): with the automorphisms of the field |
    | 9 | 16,632 | 4 | and cosets of it, each the farthest from those before |
    | 9 | 55,944 | 3 | |
    | 9 | 362,880 | 2 | all |
    | 4 | 4, 12, 24 | 4, 3, 2: the best | translations, the affine group and the semiaffine group of GF(4) |

    A set of permutations of n with distance d has at most n! / (d - 1)! members, since two may not agree on n - d + 1
    places: 504 for n = 9 and d = 7. Elements of PGL(2, q) other than the identity fix at most two points, those of
    PGammaL(2, 8) at most three. No other permutation differs from all of these in more than four places.

    Raises:
        TypeError: for numbers that are not whole.
        ValueError: for other tiles than 4 and 9, or more permutations than there are.

    Source: Noroozi and Favaro 2016, "Unsupervised Learning of Visual Representations by Solving Jigsaw Puzzles",
    arXiv:1603.09246, ask for a large distance and choose greedily; their public set of 1,000 has pairs that differ in
    two places.
    """
    tiles = _check.choice("tiles", tiles, (4, 9))
    # Worded for Jigsaw's setting `permutations`, too.
    count, most = _check.whole("number of permutations", count, least=1), math.factorial(tiles)
    if count > most:
        raise ValueError(f"number of permutations must be at most {most}, all of {tiles} tiles, got {count}")
    found = _semiaffine() if tiles == 4 else _projective()
    return (found if count <= len(found) else _with_cosets(found, count))[:count].clone()


def _semiaffine() -> Tensor:
    """All of 4: translations x + b after what leaves 0, whose first three are x, a x and a^2 x over GF(4)."""
    fixing = [(0, 1, 2, 3), (0, 2, 3, 1), (0, 3, 1, 2), (0, 1, 3, 2), (0, 3, 2, 1), (0, 2, 1, 3)]
    # Addition in a field of characteristic 2 is XOR.
    return torch.tensor([[x ^ b for x in order] for order in fixing for b in range(4)])


def _projective() -> Tensor:
    """PGammaL(2, 8), PGL(2, 8) first: `[1512, 9]`.

    Its order is by cosets of a cyclic subgroup of order 9, in each of which every point goes to every point once.
    """
    powers = [1]
    while len(powers) < 7:  # of x, by x^3 = x + 1
        powers.append(powers[-1] << 1 ^ (0b1011 if powers[-1] & 0b100 else 0))
    log = {power: exponent for exponent, power in enumerate(powers)}

    def times(a: int, b: int) -> int:
        return powers[(log[a] + log[b]) % 7] if a and b else 0

    def moved(a: int, b: int, c: int, d: int, point: int) -> int:
        """(a x + b) / (c x + d); infinity is point 8."""
        above, below = (a, c) if point == 8 else (times(a, point) ^ b, times(c, point) ^ d)
        return times(above, powers[-log[below] % 7]) if below else 8

    # Each of PGL(2, 8) is written once: c is 1, or c is 0 and d is 1.
    matrices = [(a, b, 0, 1) for a in range(1, 8) for b in range(8)]
    matrices += [(a, b, 1, d) for a, b, d in itertools.product(range(8), repeat=3) if times(a, d) != b]
    linear = torch.tensor([[moved(*matrix, point) for point in range(9)] for matrix in matrices])
    squares = torch.tensor([*(times(x, x) for x in range(8)), 8])
    cycle = next(p for p in linear if len(set(_powers(p)[:, 0].tolist())) == 9)
    # That subgroup is regular: each coset has one member that leaves point 0 where it is.
    fixing = linear[linear[:, 0] == 0]
    fixing = torch.cat([fixing, fixing[:, squares], fixing[:, squares[squares]]])
    return _powers(cycle)[:, fixing].transpose(0, 1).flatten(0, 1)


def _powers(p: Tensor) -> Tensor:
    """The identity, p, p^2 to p^8."""
    powers = [torch.arange(9)]
    for _ in range(8):
        powers.append(p[powers[-1]])
    return torch.stack(powers)


def _with_cosets(group: Tensor, count: int) -> Tensor:
    """The group H and cosets of it, each in turn the first of those that are farthest from all before."""
    # PGL(2, 8) takes any three points to any three, in one way: every coset has three members that leave 0, 1 and
    # infinity, which differ by an automorphism of the field. The first of them stands for the coset.
    squares = group[504]
    fixing = torch.tensor([(0, 1, *order, 8) for order in itertools.permutations(range(2, 8))])  # [720, 9], sorted
    digits = 9 ** torch.arange(8, -1, -1)
    names = fixing @ digits
    alike = torch.stack([names, fixing[:, squares] @ digits, fixing[:, squares[squares]] @ digits])
    members = fixing[names == alike.amin(0)]  # [240, 9]
    # The distance of pH and rH is that of r^-1 p to the nearest of H.
    agree = (fixing[:, None].to(torch.uint8) == group.to(torch.uint8)).sum(-1)
    to_group = 9 - agree.amax(1)
    inverses = members.argsort(1)
    chosen, distance = [0], torch.full((len(members),), 9)  # the group itself
    for _ in range(-(-count // len(group)) - 1):
        between = inverses[chosen[-1]][members] @ digits
        distance = distance.minimum(to_group[torch.searchsorted(names, between)])
        chosen.append(int(distance.argmax()))
    return members[chosen][:, group].flatten(0, 1)

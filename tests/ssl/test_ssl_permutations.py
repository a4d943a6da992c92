"""Permutations of a puzzle's tiles: groups, their distances, and how evenly tiles and places meet."""

import itertools

import pytest
import torch

from texfilters.ssl.permutations import permutations


def distance(some):
    """The smallest number of places in which two differ, by looking at every pair."""
    some = some.to(torch.uint8)
    return min(int((some[i + 1 :] != some[i]).sum(1).min()) for i in range(len(some) - 1))


def is_group(some):
    """Closed under products: a finite set of permutations needs no more."""
    digits = 9 ** torch.arange(some.shape[1])
    members = (some @ digits).unique()
    assert len(members) == len(some)
    return all(torch.equal((some[:, member] @ digits).sort().values, members) for member in some)


@pytest.mark.parametrize(
    ("count", "least"), [(2, 9), (9, 9), (10, 7), (504, 7), (505, 6), (1000, 6), (1512, 6), (1513, 4)]
)
def test_the_smallest_distance(count, least):
    found = permutations(count)
    assert found.shape == (count, 9)
    assert found.dtype == torch.int64
    assert torch.equal(found.sort(1).values, torch.arange(9).expand(count, 9))
    assert distance(found) == least


def test_the_default_is_a_thousand():
    assert torch.equal(permutations(), permutations(1000))


def test_fewer_are_the_first_of_more_and_the_identity_comes_first():
    most = permutations(20_000)
    assert most[0].tolist() == list(range(9))
    for count in (1, 9, 1000, 1512, 4000):
        assert torch.equal(permutations(count), most[:count])


def test_a_result_is_the_callers_own():
    permutations(5).zero_()
    assert permutations(5)[0].tolist() == list(range(9))


@pytest.mark.parametrize("order", [9, 504, 1512])
def test_groups(order):
    assert is_group(permutations(order))
    assert not is_group(permutations(order + 1))


def test_the_projective_line():
    """PGL(2, 8) takes any three points to any three in one way; the automorphisms of order 3 leave three points."""
    group = permutations(1512)
    for points in itertools.combinations(range(9), 3):
        assert len(group[:504][:, points].unique(dim=0)) == 504
    fixed = (group == torch.arange(9)).sum(1)
    assert fixed[0] == 9
    assert fixed[1:504].max() == 2
    assert fixed[504:].max() == 3


@pytest.mark.parametrize("count", [9, 30, 100, 504, 1000, 1512, 1700])
def test_every_tile_is_at_every_place_equally_often(count):
    found = permutations(count)
    times = torch.stack([(found == tile).sum(0) for tile in range(9)])
    assert times.max() - times.min() <= (count % 9 > 0)


def test_cosets_make_up_what_the_group_lacks():
    found = permutations(3 * 1512).to(torch.uint8)
    group, others = found[:1512], found[1512:]
    assert len(found.unique(dim=0)) == len(found)
    assert distance(found[:3024]) == 4
    # No permutation is farther from the group.
    farthest = max(
        int((group != torch.tensor([0, 1, *p, 8])).sum(1).min()) for p in itertools.permutations(range(2, 8))
    )
    assert farthest == 4
    for start in (0, 1512):
        coset = others[start : start + 1512].long()
        back = coset[0].argsort()
        assert set(map(tuple, back[coset].tolist())) == set(map(tuple, group.tolist()))


def test_all_there_are():
    codes = permutations(362_880) @ 9 ** torch.arange(9)
    assert len(codes.unique()) == 362_880


@pytest.mark.parametrize(("count", "least"), [(4, 4), (12, 3), (24, 2)])
def test_four_tiles(count, least):
    found = permutations(count, 4)
    assert distance(found) == least
    assert is_group(found)
    assert set((found == 2).sum(0).tolist()) == {count // 4}


def test_bad_input():
    with pytest.raises(ValueError, match=r"number of permutations must be at most 362880, all of 9 tiles, got 362881"):
        permutations(362_881)
    with pytest.raises(ValueError, match=r"number of permutations must be at most 24, all of 4 tiles, got 1000"):
        permutations(1000, 4)
    with pytest.raises(ValueError, match=r"tiles must be one of 4, 9, got 16"):
        permutations(10, 16)
    with pytest.raises(ValueError, match=r"number of permutations must be at least 1, got 0"):
        permutations(0)
    with pytest.raises(TypeError, match=r"number of permutations must be a whole number, got str"):
        permutations("all")

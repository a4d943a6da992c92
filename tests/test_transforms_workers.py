"""In the workers of a DataLoader: every sample of every epoch draws numbers of its own."""

import copy
import itertools
import pickle

import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from transform_cases import transforms

WHOLE = (0, 2**31 - 2)  # so that two equal numbers are no chance


class Draws(Dataset):
    """The numbers that a transform of one generator, one of another, and one of torch's own draw for a sample."""

    def __init__(self, same=False):
        first = torch.Generator().manual_seed(1)
        second = first if same else torch.Generator().manual_seed(2)
        self.transforms = [
            transforms.AnisotropicDiffusion(niter=WHOLE, generator=first),
            transforms.AnisotropicDiffusion(niter=WHOLE, generator=second),
            transforms.AnisotropicDiffusion(niter=WHOLE),
        ]

    def __len__(self):
        return 8

    def __getitem__(self, i):
        empty = torch.empty(3, 0, 0)
        for transform in self.transforms:
            transform(empty)
        return torch.stack([transform.last_draw["niter"][0] for transform in self.transforms])


def epochs(dataset, count=2, **options):
    options = {"batch_size": 2, "num_workers": 2} | options
    loader = DataLoader(dataset, **options)
    return [torch.cat(list(loader)) for _ in range(count)]


def all_differ(*numbers):
    values = torch.cat([n.flatten() for n in numbers]).tolist()
    assert len(set(values)) == len(values)


@pytest.mark.parametrize("persistent", [False, True])
def test_forked(persistent):
    all_differ(*epochs(Draws(), persistent_workers=persistent, multiprocessing_context="fork"))


def test_a_generator_that_two_transforms_share():
    all_differ(*epochs(Draws(same=True)))


@pytest.mark.parametrize("again", [copy.deepcopy, lambda dataset: pickle.loads(pickle.dumps(dataset))])
def test_a_generator_is_shared_by_copies_that_are_made_together(again):
    first, second, _ = again(Draws(same=True)).transforms
    assert first.generator is second.generator
    assert first.generator.initial_seed() == 1
    first, second, _ = again(Draws()).transforms
    assert first.generator is not second.generator


def test_spawned():
    dataset = Draws(same=True)
    for transform in dataset.transforms:
        transform(torch.empty(3, 0, 0))  # last_draw travels as well
    (spawned,) = epochs(dataset, 1, num_workers=1, multiprocessing_context="spawn")
    (in_line,) = epochs(dataset, 1, num_workers=0)
    all_differ(spawned, in_line)


def test_epochs_are_the_same_again_from_the_same_seeds():
    runs = [epochs(Draws(), generator=torch.Generator().manual_seed(5)) for _ in range(2)]
    for one, other in zip(*runs, strict=True):
        assert torch.equal(one, other)
    (elsewhere,) = epochs(Draws(), 1, generator=torch.Generator().manual_seed(6))
    all_differ(*runs[0], elsewhere)


def test_the_transforms_seed_counts_in_workers():
    changed = Draws()
    changed.transforms[0].generator.manual_seed(7)
    runs = [epochs(dataset, 1, generator=torch.Generator().manual_seed(5))[0] for dataset in (Draws(), changed)]
    all_differ(runs[0][:, 0], runs[1][:, 0])
    assert torch.equal(runs[0][:, 1:], runs[1][:, 1:])


def test_ranks_that_seed_their_workers_draw_other_numbers():
    """Though they began with the same seed, and so did their loaders."""

    def of_rank(rank):
        def init(worker):
            torch.manual_seed(100 * rank + worker)

        return epochs(Draws(), 1, generator=torch.Generator().manual_seed(5), worker_init_fn=init)[0]

    all_differ(of_rank(0), of_rank(1))


def test_without_workers_it_goes_on_from_its_state():
    dataset = Draws()
    first, second = epochs(dataset, num_workers=0)
    all_differ(first, second)
    generator = torch.Generator().manual_seed(1)
    expected = transforms.AnisotropicDiffusion(niter=WHOLE, generator=generator)
    for number in itertools.chain(first[:, 0], second[:, 0]):
        expected(torch.empty(3, 0, 0))
        assert expected.last_draw["niter"].item() == number


class Suppressed(Dataset):
    def __init__(self):
        self.transform = transforms.RandomTextureSuppression(generator=torch.Generator().manual_seed(1))

    def __len__(self):
        return 12

    def __getitem__(self, i):
        return self.transform(torch.full((3, 24, 24), i, dtype=torch.uint8)), self.transform.last_draw["filter"][0]


def test_images_come_out_of_workers():
    for images, filters in DataLoader(Suppressed(), 6, num_workers=2):
        assert (images.flatten(1) == images[:, 0, 0, 0, None]).all()  # flat images stay flat
        assert images[:, 0, 0, 0].tolist() in ([*range(6)], [*range(6, 12)])
        assert filters.shape == (6,)

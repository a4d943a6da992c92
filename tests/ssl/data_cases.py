"""A tree of images that are known by their gray levels, and what loaders give of it."""

import itertools

from PIL import Image

CLASSES = ("bird", "cat", "dog")


def level(label, number):
    """The gray level of a file, by which it is known again."""
    return 10 + 60 * label + 10 * number


def tree(root, classes=CLASSES, each=4, size=(12, 9)):
    for label, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for number in range(each):
            Image.new("RGB", size, (level(label, number),) * 3).save(root / name / f"{number}.png")
    return root


def levels(batch):
    assert (batch.images == batch.images[:, :1, :1, :1]).all()
    return batch.images[:, 0, 0, 0].tolist()


def flat(lists):
    return list(itertools.chain.from_iterable(lists))


def epoch(loader, number=0):
    loader.sampler.set_epoch(number)
    return [levels(batch) for batch in loader]

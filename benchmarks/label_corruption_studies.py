"""What label_corruption_runs.py trains: grids of corruption, gold and variant, and how each is trained."""

import itertools
from dataclasses import dataclass

VARIANTS = ("baseline", "diffusion")  # the training set alone, and doubled by its diffused copy


@dataclass(frozen=True)
class Study:
    """Runs that are compared with each other."""

    epochs: int
    batch_size: int
    lr: float
    width: int  # of ResNet9
    gold: tuple[float, ...]
    seeds: int
    corruptions: tuple[str, ...] = ("uniform", "flip")
    probabilities: tuple[float, ...] = (0.2, 0.6, 1.0)
    train_every: int = 1  # takes every k-th image of a list sorted by class: as many of each class
    test_every: int = 1
    niter: int = 20  # as in the papers, kappa too
    kappa: float = 20.0
    needs_gpu: bool = True
    note: str = ""

    @property
    def reduced(self) -> bool:
        return self.train_every > 1


STUDIES = {
    "cifar10": Study(epochs=10, batch_size=512, lr=0.2, width=64, gold=(0.05, 0.1), seeds=3),
    # Some minutes of one CPU core: do the parts work together?
    "reduced": Study(
        epochs=6,
        batch_size=64,
        lr=0.1,
        width=8,
        gold=(0.1,),
        seeds=1,
        train_every=12,
        test_every=5,
        needs_gpu=False,
        note="Reduced: one image in 12, a network of an eighth of the width, one seed. It shows that the parts work "
        "together, not what diffusion does.",
    ),
}


@dataclass(frozen=True)
class Cell:
    """One run of a study."""

    study: str
    corruption: str
    probability: float
    gold: float
    variant: str
    seed: int

    @property
    def name(self) -> str:
        where = f"{self.corruption}_p{self.probability}_gold{self.gold}"
        return f"label_corruption_{self.study}_{where}_{self.variant}_seed{self.seed}"


def cells(study: str) -> list[Cell]:
    """Both variants of a setting after one another, all settings of a seed before the next seed."""
    given = STUDIES[study]
    grid = itertools.product(range(given.seeds), given.corruptions, given.probabilities, given.gold, VARIANTS)
    return [Cell(study, corruption, p, gold, variant, seed) for seed, corruption, p, gold, variant in grid]

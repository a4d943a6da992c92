"""What suppression_runs.py trains: a suppressor for each variant, and how a study's networks are trained and tested."""

from dataclasses import dataclass
from typing import Any, NamedTuple


class Suppressor(NamedTuple):
    """A class of texfilters.transforms and its arguments, in grey levels of 0..255 and in pixels."""

    transform: str
    settings: dict[str, Any]


def _diffusion(niter: int, option: int) -> Suppressor:
    return Suppressor("AnisotropicDiffusion", {"niter": niter, "kappa": 20.0, "gamma": 0.1, "option": option})


# From the papers: kappa 20 of Perona-Malik's first function, 20 and 50 iterations, MedPy's gamma, the cartoon's recipe.
# Where they are silent it is ours: kappa 20 of Tukey's function, too; the blur and the bilateral filter change photos
# and paintings of PACS about as much as 20 iterations do, 8.5 of 255 in root mean square (8.9 and 8.5; 50 iterations
# 11.9, Tukey's 5.3 and 7.9, the cartoon 39); the cartoon's numbers are its defaults.
VARIANTS: dict[str, Suppressor | None] = {
    "plain": None,
    "gaussian": Suppressor("GaussianBlur", {"sigma": 0.7}),
    "bilateral": Suppressor("BilateralFilter", {"d": 9, "sigma_color": 85.0, "sigma_space": 75.0}),
    "cartoon": Suppressor(
        "Cartoonize", {"d": 9, "sigma_color": 300.0, "sigma_space": 300.0, "ksize": 7, "block_size": 9, "c": 9.0}
    ),
    "diffusion-20": _diffusion(20, option=1),
    "diffusion-50": _diffusion(50, option=1),
    "tukey-20": _diffusion(20, option=3),
    "tukey-50": _diffusion(50, option=3),
}


@dataclass(frozen=True)
class Study:
    """Runs that are compared with each other. A ResNet-9 learns from images and, but for "plain", suppressed copies."""

    data: str  # "pacs" or "cifar10"
    side: int  # of the network's input; suppressors work before, at the side that the images have
    epochs: int  # of the images alone; half as many where suppressed copies double them
    batch_size: int
    lr: float
    width: int  # of ResNet9
    seeds: int = 3
    train_every: int = 1  # takes every k-th image of a list sorted by class: as many of each class
    test_every: int = 1  # the same of the photos and drawings that networks are tested on, not of the stimuli
    needs_gpu: bool = True
    note: str = ""

    @property
    def reduced(self) -> bool:
        return not self.needs_gpu


STUDIES = {
    "pacs": Study("pacs", side=128, epochs=40, batch_size=128, lr=0.1, width=64),
    "cifar10": Study("cifar10", side=32, epochs=10, batch_size=512, lr=0.2, width=64),
    # On a CPU core about a minute a run.
    "pacs-reduced": Study(
        "pacs",
        side=64,
        epochs=12,
        batch_size=32,
        lr=0.05,
        width=8,
        test_every=2,
        needs_gpu=False,
        note="Reduced: an eighth of the width and a short training, where seeing each image half as often may weigh "
        "more.",
    ),
    "cifar10-reduced": Study(
        "cifar10",
        side=32,
        epochs=8,
        batch_size=64,
        lr=0.1,
        width=8,
        train_every=8,
        test_every=4,
        needs_gpu=False,
        note="Reduced: one training image in 8, an eighth of the width and a short training, where seeing each image "
        "half as often may weigh more.",
    ),
}


@dataclass(frozen=True)
class Cell:
    """A run of a study: one variant, one seed."""

    study: str
    variant: str
    seed: int

    @property
    def name(self) -> str:
        return f"suppression_{self.study}_{self.variant}_seed{self.seed}"


def cells(study: str) -> list[Cell]:
    """All variants of a seed before the next seed, so that what was cut short still compares."""
    return [Cell(study, variant, seed) for seed in range(STUDIES[study].seeds) for variant in VARIANTS]

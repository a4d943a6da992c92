"""Seeds that are functions of where a run is, so that no random state has to be kept."""

import numpy as np
import torch

from texfilters import _check

# Numbers of words of their own, lest a rank's draws be those that all ranks share.
_SHARED = 0


def seed_everything_for(seed: int, epoch: int, batch: int, rank: int) -> None:
    """Seed torch's default generators, on the CPU and on every GPU, for one step of one process."""
    torch.manual_seed(_mixed(seed, epoch, batch + 1, rank + 1))


def generator_for(seed: int, epoch: int, batch: int | None = None) -> torch.Generator:
    """A generator on the CPU that is the same on all ranks, for a step, or for an epoch, such as its order."""
    return torch.Generator().manual_seed(_mixed(seed, epoch, 0 if batch is None else batch + 1, _SHARED))


def _mixed(seed: int, *where: int) -> int:
    seed = _check.whole("seed", seed, least=0)
    # Two words for the seed, whatever its size: of a sequence of words of any length, others might have the same.
    words = np.random.SeedSequence([seed & 0xFFFFFFFF, seed >> 32, *where])
    return int(words.generate_state(1, np.uint64)[0])

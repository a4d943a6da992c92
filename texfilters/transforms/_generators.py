"""Generators of one's own: in the workers of a DataLoader, and pickled."""

from weakref import WeakValueDictionary

import numpy as np
import torch
from torch.utils.data import get_worker_info


class Own:
    """One for each generator, so that transforms that share it share it still when they are copied together.

    torch's own pickling of a generator fails for spawned processes (pytorch issue 146828).
    """

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator
        self.worker_seed: int | None = None

    def seeded(self) -> torch.Generator:
        """As it is, but seeded anew at its first use in a worker, where all workers and epochs would find it the same.

        That seed comes from its own, from the worker's, which differs between workers and epochs, and from torch's: a
        worker_init_fn, such as Lightning's, may have made that of every rank another.
        """
        worker = get_worker_info()
        if worker is not None and worker.seed != self.worker_seed:
            self.worker_seed = worker.seed
            mixed = np.random.SeedSequence([self.generator.initial_seed(), worker.seed, torch.initial_seed()])
            self.generator.manual_seed(int(mixed.generate_state(1, np.uint64)[0]))
        return self.generator

    def __reduce__(self):
        return _restored, (self.generator.get_state().numpy().tobytes(), self.worker_seed)


_OWN: WeakValueDictionary[int, Own] = WeakValueDictionary()  # by the id of a generator, which lives as long as its Own


def own(generator: torch.Generator) -> Own:
    if (found := _OWN.get(id(generator))) is None:
        found = _OWN[id(generator)] = Own(generator)
    return found


def _restored(state: bytes, worker_seed: int | None) -> Own:
    generator = torch.Generator()
    generator.set_state(torch.frombuffer(bytearray(state), dtype=torch.uint8))
    restored = own(generator)
    restored.worker_seed = worker_seed
    return restored

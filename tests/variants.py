"""The instruction sets that this machine can run; `TEXFILTERS_ISA` picks one."""

import torch

from texfilters import _backends

_KNOWN = ["baseline", "avx2", "avx512"]


def _instruction_sets() -> list[str]:
    if "native" not in _backends.available("cpu"):
        return []
    best = torch.ops.texfilters_native.instruction_set()
    return _KNOWN[: _KNOWN.index(best) + 1]


VARIANTS = _instruction_sets()

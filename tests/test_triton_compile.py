"""The Triton kernel compiled ahead of time, down to machine code, for GPUs that need not be there.

What the interpreter lets pass (types that do not agree, spilled registers, an operation that a GPU lacks) fails here.
"""

import importlib
import os
import re

import pytest

pytest.importorskip("triton")
import triton.language as tl

from ahead_of_time import compiled, resources

pytestmark = pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="kernels are interpreted here")

module = importlib.import_module("texfilters._triton.anisotropic_diffusion")

UINT8 = {"source": "*u8", "state": "*fp32", "output": "*u8"}
UINT8_LATER = {"source": "*fp32", "state": "*fp32", "output": "*u8"}
UINT8_ONCE = {"source": "*u8", "state": "*u8", "output": "*u8"}
FLOAT16 = {"source": "*fp16", "state": "*fp32", "output": "*fp16"}
BFLOAT16 = {"source": "*bf16", "state": "*fp32", "output": "*bf16"}
FLOAT32 = {"source": "*fp32", "state": "*fp32", "output": "*fp32"}
FLOAT64 = {"source": "*fp64", "state": "*fp64", "output": "*fp64"}

CONSTANTS = {"OPTION": 1, "VOLUME": False, "CHANNELS": 1, "ROWS": 32, "COLUMNS": 128, "OFFSET": tl.int32}
CASES = {
    **{f"uint8 option {option}": (UINT8, {"OPTION": option}) for option in (1, 2, 3)},
    **{f"float32 option {option}": (FLOAT32, {"OPTION": option}) for option in (1, 2, 3)},
    **{f"float64 option {option}": (FLOAT64, {"OPTION": option}) for option in (1, 2, 3)},
    "uint8 later": (UINT8_LATER, {}),
    "uint8 once": (UINT8_ONCE, {}),
    "float16": (FLOAT16, {}),
    "bfloat16": (BFLOAT16, {}),
    "small": (FLOAT32, {"COLUMNS": 32, "ROWS": 8}),
    "volume": (FLOAT32, {"VOLUME": True, "COLUMNS": 32}),
    "volume uint8": (UINT8, {"VOLUME": True, "COLUMNS": 32}),
    "coupled": (FLOAT32, {"CHANNELS": 3}),
    "coupled uint8": (UINT8, {"CHANNELS": 3}),
    "coupled volume": (FLOAT32, {"CHANNELS": 2, "VOLUME": True, "COLUMNS": 32, "OPTION": 2}),
    "coupled, many channels": (FLOAT32, {"CHANNELS": 64, "OPTION": 3}),
    "64-bit offsets": (FLOAT32, {"OFFSET": tl.int64}),
}
EVERYWHERE = ["uint8 option 1", "float32 option 3", "volume", "coupled uint8"]


def compile_kernel(architecture, pointers, constants):
    constants = {
        "OPTION": 1,
        "VOLUME": False,
        "CHANNELS": 1,
        "ROWS": 32,
        "COLUMNS": 128,
        "OFFSET": tl.int32,
    } | constants
    constants["STRIPS"] = module.LANES // constants["COLUMNS"]
    number = "*fp64" if pointers is FLOAT64 else "*fp32"
    types = {"niter": "*i32", **dict.fromkeys(["kappa", "weight_z", "weight_y", "weight_x"], number), **pointers}
    return compiled(module.diffusion_kernel, architecture, types, constants)


@pytest.mark.parametrize(
    ("architecture", "case"),
    [(90, case) for case in CASES] + [(a, case) for a in (80, 100, 120) for case in EVERYWHERE],
)
def test_compiles(architecture, case, tmp_path, record_property):
    pointers, constants = CASES[case]
    kernel = compile_kernel(architecture, pointers, constants)
    registers, stack, local = resources(kernel, tmp_path)
    record_property("registers", registers)
    assert (stack, local) == (0, 0)
    assert kernel.metadata.shared == 0
    if pointers is not FLOAT64:
        assert registers <= 64  # half of the threads that an SM can hold; memory needs no more to be kept busy
        assert "f64" not in kernel.asm["ptx"]  # a number that was promoted on the way would cost 2 to 64 times as much


def test_fluxes_are_not_fused():
    """Only what the source fuses is: the differences of fluxes with their weights, one an axis."""
    ptx = compile_kernel(90, FLOAT32, {}).asm["ptx"]
    rows = 2 * module.AHEAD.value  # written into the state and into the output
    assert len(re.findall(r"\bfma\.rn\.f32", ptx)) == 2 * rows

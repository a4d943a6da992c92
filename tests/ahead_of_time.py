"""Triton kernels compiled down to machine code, for GPUs that need not be there."""

import re
import subprocess

import pytest
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource


def compiled(kernel, architecture, types, constants):
    """With the types of its pointers; other arguments are int32."""
    names = kernel.arg_names
    signature = {name: "constexpr" if name in constants else types.get(name, "i32") for name in names}
    source = ASTSource(kernel, signature, constexprs={(names.index(name),): v for name, v in constants.items()})
    options = {"num_warps": 4, "enable_fp_fusion": False}
    try:
        return triton.compile(source, target=GPUTarget("cuda", architecture, 32), options=options)
    except Exception as error:
        if "gpu-name" in str(error):
            pytest.skip(f"this ptxas does not know sm_{architecture}")
        raise


def resources(kernel, tmp_path):
    """Registers a thread, and bytes of stack, which is where they are spilled to."""
    path = tmp_path / "kernel.cubin"
    path.write_bytes(kernel.asm["cubin"])
    report = subprocess.run(
        [triton.knobs.nvidia.cuobjdump.path, "-res-usage", path], capture_output=True, text=True, check=True
    )
    return [int(re.search(rf"{what}:(\d+)", report.stdout + report.stderr)[1]) for what in ("REG", "STACK", "LOCAL")]

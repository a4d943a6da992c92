"""The Triton kernels of the windowed filters compiled ahead of time, down to machine code."""

import importlib
import os

import pytest

pytest.importorskip("triton")
import triton.language as tl

from ahead_of_time import compiled, resources

pytestmark = pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="kernels are interpreted here")

bilaterals, medians, thresholds, grays, gaussians = (
    importlib.import_module(f"texfilters._triton.{name}")
    for name in ("bilateral_filter", "median_blur", "adaptive_threshold", "rgb_to_gray", "gaussian_blur")
)

OFFSET = {"OFFSET": tl.int32}
BILATERAL = {"BORDER": "reflect101", "FAR": False, "MASKED": False, "CHANNELS": 3, "ALL": True, **OFFSET}
GAUSSIAN = {"BORDER": "reflect101", "FAR": False, **OFFSET}
MEAN = {"WEIGHTS": "ones", "INVERT": False, **OFFSET}


def _cases(pixel, number, total):
    """Of images of one dtype; `number` is that of the parameters, `total` that of sums over a window."""
    images = {"source": pixel, "output": pixel}
    sigmas = {"mask": pixel, "radius": "*i32", "sigma_color": number, "sigma_space": number, "sigma": number}
    c = {"c": "*i32" if pixel == "*u8" else number, "max_value": pixel, "weights": number}
    return {
        "bilateral": (bilaterals.bilateral_kernel, images | sigmas, BILATERAL),
        "gaussian": (gaussians.gaussian_kernel, images | sigmas, GAUSSIAN),
        "gray": (grays.gray_kernel, images, OFFSET),
        "median 3": (medians.median3_kernel, images, OFFSET),
        "median 7": (medians.median_kernel, images, {"HELD": 7, **OFFSET}),
        "median": (medians.median_kernel, images, {"HELD": 0, **OFFSET}),
        "mean": (thresholds.threshold_kernel, images | c, {"SUM": total, **MEAN}),
        "weighted mean": (
            thresholds.threshold_kernel,
            images | c,
            {"SUM": tl.float32 if pixel == "*u8" else total, **MEAN, "WEIGHTS": "table", "INVERT": True},
        ),
    }


CASES = {
    f"{name} {pixel[1:]}": case
    for pixel, number, total in (
        ("*u8", "*fp32", tl.int32),
        ("*fp16", "*fp32", tl.float32),
        ("*bf16", "*fp32", tl.float32),
        ("*fp32", "*fp32", tl.float32),
        ("*fp64", "*fp64", tl.float64),
    )
    for name, case in _cases(pixel, number, total).items()
}


def _variant(name, **constants):
    kernel, types, others = CASES[name]
    return kernel, types, others | constants


CASES |= {
    **{f"bilateral {b}": _variant("bilateral u8", BORDER=b) for b in ("constant", "replicate", "reflect", "wrap")},
    **{f"bilateral far {b}": _variant("bilateral fp32", BORDER=b, FAR=True) for b in ("reflect101", "reflect", "wrap")},
    "bilateral gray": _variant("bilateral u8", CHANNELS=1),
    "bilateral, many channels": _variant("bilateral fp32", CHANNELS=4, ALL=False),
    "bilateral, cartoon": _variant("bilateral u8", MASKED=True),
    "weighted mean as OpenCV": _variant("weighted mean u8", WEIGHTS="opencv"),
    "mean, 64-bit sums": _variant("mean u8", SUM=tl.int64),
    "median 5": _variant("median 7 u8", HELD=5),
    "bilateral, 64-bit offsets": _variant("bilateral u8", OFFSET=tl.int64),
    "median 3, 64-bit offsets": _variant("median 3 u8", OFFSET=tl.int64),
    "mean, 64-bit offsets": _variant("mean u8", OFFSET=tl.int64),
}
EVERYWHERE = ["bilateral u8", "median 3 u8", "median 7 u8", "mean u8", "gaussian fp32"]


@pytest.mark.parametrize(
    ("architecture", "case"),
    [(90, case) for case in CASES] + [(a, case) for a in (80, 100, 120) for case in EVERYWHERE],
)
def test_compiles(architecture, case, tmp_path, record_property):
    kernel = compiled(CASES[case][0], architecture, *CASES[case][1:])
    registers, stack, local = resources(kernel, tmp_path)
    record_property("registers", registers)
    assert (stack, local) == (0, 0)
    assert kernel.metadata.shared == 0
    if "fp64" not in case:
        # Half of the threads that an SM can hold are enough to keep it busy; a window of 49 needs the room.
        assert registers <= (96 if "median 7" in case else 64)
        assert "f64" not in kernel.asm["ptx"]  # a number that was promoted on the way would cost 2 to 64 times as much

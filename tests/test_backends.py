"""Which backend an image gets: by device, by what its GPU can run, and by dtype. No GPU is needed here."""

import os
import subprocess
import sys

import pytest
import torch

from texfilters import _backends, anisotropic_diffusion
from texfilters._backends import resolve

PROBLEM = "the driver is too old: CUDA 12.0, needs 13.0"


@pytest.fixture
def all_built(monkeypatch):
    """As on a machine with a GPU, where everything was built."""
    built = {(name, device): None for name in ("native", "triton") for device in ("cpu", "cuda")}
    monkeypatch.setattr(_backends, "_ABSENCE", built)
    monkeypatch.setattr(_backends, "_PROBLEM", {})


@pytest.fixture
def unfit(monkeypatch, all_built):
    """Every GPU but cuda:1 is unfit; the list of those that were asked."""
    asked = []

    def cuda_problem(index):
        asked.append(index)
        return "" if index == 1 else PROBLEM

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.ops.texfilters_native, "cuda_problem", cuda_problem, raising=False)
    monkeypatch.setattr(_backends, "_PROBLEM", {("native", "cuda"): _backends._cuda_problem})
    _backends._device_problem.cache_clear()
    yield asked
    _backends._device_problem.cache_clear()


@pytest.mark.parametrize(
    ("dtype", "absent", "expected"),
    [
        (torch.float32, (), "native"),
        (torch.uint8, (), "native"),
        (torch.float64, (), "reference"),
        (torch.float64, ("native",), "triton"),
        (torch.float32, ("native",), "triton"),
        (torch.float32, ("native", "triton"), "reference"),
    ],
)
def test_the_first_that_is_there(all_built, dtype, absent, expected):
    for name in absent:
        _backends._ABSENCE[name, "cuda"] = "absent"
    assert resolve(None, "cuda", 0, dtype) == expected


def test_float64_on_the_cpu_stays_native(all_built):
    assert resolve(None, "cpu", None, torch.float64) == "native"
    assert resolve("native", "cpu", None, torch.float64) == "native"


def test_float64_by_name_is_refused_by_kernels_that_lack_it(all_built):
    with pytest.raises(RuntimeError) as raised:
        resolve("native", "cuda", 0, torch.float64)
    assert str(raised.value) == (
        "backend 'native' is not available for device 'cuda': its kernels there compute in float32, got an image of "
        "float64; backend=None takes one that can"
    )
    assert resolve("triton", "cuda", 0, torch.float64) == "triton"


def test_an_unfit_gpu_warns_once_and_falls_back(unfit, recwarn):
    assert [resolve(None, "cuda", index) for index in (0, 1, 0, 2, 0)] == [
        "triton", "native", "triton", "triton", "triton"
    ]  # fmt: skip
    assert unfit == [0, 1, 2]
    assert [str(w.message) for w in recwarn] == [
        f"texfilters filters on cuda:{index} without its CUDA kernels: {PROBLEM}" for index in (0, 2)
    ]
    _backends._ABSENCE["triton", "cuda"] = "absent"
    assert resolve(None, "cuda", 0) == "reference"


def test_an_unfit_gpu_is_refused_by_name(unfit, recwarn):
    with pytest.raises(RuntimeError) as raised:
        resolve("native", "cuda", 0)
    assert str(raised.value) == f"backend 'native' is not available for device 'cuda': {PROBLEM}"
    assert resolve("native", "cuda", 1) == "native"
    assert list(recwarn) == []


def test_nothing_is_asked_before_cuda_is_in_use(unfit, monkeypatch):
    """An image that is only traced: the answer would be wrong, and must not be kept either."""
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    assert resolve(None, "cuda", 0) == "native"
    assert unfit == []


def test_the_question_is_no_work_for_a_mode(unfit):
    class Mode(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            raise AssertionError(f"{func} was seen")

    def cuda_problem(index):
        return str(torch.zeros(index + 1).numel())

    torch.ops.texfilters_native.cuda_problem = cuda_problem
    with Mode():
        assert _backends._device_problem(3) == "4"


def test_a_compiled_call_asks_once_and_is_traced_whole(monkeypatch):
    """The CPU in the part of a GPU. Eager backend: what matters is what is traced."""
    asked = []

    def problem(index, warn):
        asked.append((index, warn))
        return open(os.devnull).read() or "a reason that no tracer finds out"

    problem._dynamo_marked_constant = _backends._cuda_problem._dynamo_marked_constant
    monkeypatch.setattr(_backends, "_PROBLEM", {("native", "cpu"): problem})
    seen = []
    monkeypatch.setattr(_backends, "namespace", lambda name: seen.append(name) or _backends.reference)
    torch._dynamo.reset()
    compiled = torch.compile(lambda x: anisotropic_diffusion(x, 3, 0.5) * 2, fullgraph=True, backend="eager")
    for size in (8, 8, 9):
        image = torch.rand(3, size, 8)
        assert torch.equal(compiled(image), anisotropic_diffusion(image, 3, 0.5, backend="reference") * 2)
    assert set(asked) == {(None, True)}
    assert len(asked) <= 2  # a trace for the first size, another for all the others
    assert set(seen) == {"reference"}
    torch._dynamo.reset()


def test_the_true_question_survives_tracing(unfit):
    """`_cuda_problem` itself, with a cache and a warning that a tracer would stumble over."""

    def backend_of(x):
        return x + 1 if resolve(None, "cuda", 2) == "triton" else x

    with pytest.warns(RuntimeWarning, match="on cuda:2 without its CUDA kernels"):
        assert torch.compile(backend_of, fullgraph=True, backend="eager")(torch.zeros(())) == 1
    assert unfit == [2]


def test_the_import_neither_initializes_cuda_nor_loads_the_tracer():
    code = "import sys, torch, texfilters; print(torch.cuda.is_initialized(), 'torch._dynamo' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["False", "False"]


@pytest.mark.skipif("native" not in _backends.available("cpu"), reason="needs the native library")
def test_the_cuda_part_needs_the_cpu_part(monkeypatch, tmp_path):
    (tmp_path / "_C_cuda.so").write_bytes(b"")
    monkeypatch.setattr(_backends, "_FOLDER", tmp_path)
    assert _backends._load("cuda").startswith("_C_cuda.so does not load: ")
    monkeypatch.setitem(_backends._ABSENCE, ("native", "cpu"), "no compiler")
    assert _backends._load("cuda") == "_C_cuda.so needs _C.so, which is absent: no compiler"


def test_show_config_tells_what_the_cuda_part_was_built_for(all_built, monkeypatch):
    info = {"cuda": {"built": True, "compiler": "nvcc 13.0.88", "archs": ["sm_80", "sm_90"], "ptx": "compute_90"}}
    monkeypatch.setattr(_backends, "build_info", lambda: info)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert "native on cuda: nvcc 13.0.88, sm_80, sm_90, PTX compute_90\n" in _backends.config()


def test_the_first_call_of_a_process_imports_no_compiler():
    """torch._dynamo takes a second, and torch.library.custom_op would import it."""
    call = "texfilters.median_blur(torch.zeros(3, 3), 3)"
    code = f"import sys, torch, texfilters; {call}; print('torch._dynamo' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "False\n"

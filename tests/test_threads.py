"""The same bits from run to run, for any number of threads, in worker threads and in forked children."""

import faulthandler
import itertools
import os
import signal
import threading
import time

import pytest
import torch

from texfilters import anisotropic_diffusion

# Fewer planes than threads, a remainder, none: each cuts the work differently, some of it into bands.
SHAPES = [(1, 1, 300, 40), (1, 3, 130, 224), (5, 1, 64, 64), (4, 3, 96, 96), (1, 1, 1000, 3)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("coupling", ["none", "l2"])
def test_bits_do_not_depend_on_threads(variant, shape, coupling):
    image = torch.rand(shape) * 255
    niter = torch.arange(shape[0]) * 3 + 20
    for option in (1, 2, 3):
        results = []
        for threads in (1, 2, 3, 5, 8, 16):
            torch.set_num_threads(threads)
            results.append(variant(image, niter, 20.0, 0.2, option=option, coupling=coupling))
        for result in results[1:]:
            assert torch.equal(result, results[0])


@pytest.mark.parametrize("shape", [(1, 1, 48, 30, 33), (1, 2, 100, 9, 10), (3, 1, 12, 40, 20)], ids=str)
@pytest.mark.parametrize("coupling", ["none", "l2"])
def test_bits_of_volumes_do_not_depend_on_threads(variant, shape, coupling):
    volume = torch.rand(shape) * 255
    results = []
    for threads in (1, 2, 3, 7):
        torch.set_num_threads(threads)
        results.append(variant(volume, 17, 20.0, 0.15, coupling=coupling, ndim=3, spacing=(1.0, 2.0, 1.5)))
    for result in results[1:]:
        assert torch.equal(result, results[0])


def test_bands_of_an_image_without_steps(variant):
    image = torch.rand(3, 1, 600, 200)
    torch.set_num_threads(2)
    assert torch.equal(variant(image, torch.tensor([30, 30, 0]), 0.3)[2], image[2])


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float16, torch.float64])
def test_bands_in_every_dtype(variant, dtype):
    """Steps enough for several rounds of bands, the last of them shorter than the others."""
    image = (torch.rand(1, 1, 300, 64) * 255).to(dtype)
    for niter in (1, 17, 18, 19, 53):
        torch.set_num_threads(1)
        alone = variant(image, niter, 20.0)
        torch.set_num_threads(3)
        assert torch.equal(variant(image, niter, 20.0), alone)


def test_bits_are_the_same_from_run_to_run(variant):
    image = torch.rand(3, 3, 100, 100) * 255
    first = variant(image, 20, 20.0)
    for _ in range(20):
        assert torch.equal(variant(image, 20, 20.0), first)


def test_many_python_threads_at_once():
    images = [torch.rand(3, 64, 64 + i) * 255 for i in range(8)]
    expected = [anisotropic_diffusion(image, 10, 20.0) for image in images]
    wrong = []

    def work(i):
        for _ in range(10):
            if not torch.equal(anisotropic_diffusion(images[i], 10, 20.0), expected[i]):
                wrong.append(i)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(len(images))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*fork.*:RuntimeWarning")
def test_a_child_forked_after_a_parallel_call_filters():
    torch.set_num_threads(4)
    image = torch.rand(8, 3, 64, 64) * 255
    expected = anisotropic_diffusion(image, 20, 20.0).numpy()
    child = os.fork()
    if child == 0:
        faulthandler.dump_traceback_later(30)  # says where it hangs
        # Compared by NumPy: torch's own parallel operations may hang in a forked child.
        same = (anisotropic_diffusion(image, 20, 20.0).numpy() == expected).all()
        os._exit(0 if same else 1)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            assert os.waitstatus_to_exitcode(status) == 0
            return
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    pytest.fail("the child still hung after 60 s")


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_in_data_loader_workers(method):
    from torch.utils.data import DataLoader

    images = [torch.full((3, 40, 40), float(i)) + torch.rand(3, 40, 40) * 50 for i in range(8)]
    loader = DataLoader(Filtered(images), batch_size=2, num_workers=2, multiprocessing_context=method)
    expected = [anisotropic_diffusion(image, 10, 20.0) for image in images]
    for image, result in zip(itertools.chain(*loader), expected, strict=True):
        assert torch.equal(image, result)


class Filtered(torch.utils.data.Dataset):
    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return anisotropic_diffusion(self.images[i], 10, 20.0)


def test_an_instruction_set_that_is_not_there_is_refused(monkeypatch):
    from texfilters import _backends

    if "native" not in _backends.available("cpu"):
        pytest.skip("needs the native backend")
    monkeypatch.setenv("TEXFILTERS_ISA", "avx1024")
    with pytest.raises(RuntimeError, match=r"TEXFILTERS_ISA must name .*, got 'avx1024'"):
        anisotropic_diffusion(torch.rand(5, 5), 1)

"""Jigsaw puzzles on a GPU: the tiles of the CPU, and nothing that waits."""

import pytest
import torch

import cuda_cases
from texfilters.ssl import Batch
from texfilters.ssl.jigsaw import Jigsaw, cut, normalized

SMALL = {"small_images": True, "permutations": 9, "cell": 10, "tile": 8, "jitter": 1, "hidden": 32}


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("suppress_tiles", [False, True])
def test_on_a_gpu_nothing_waits_and_tiles_are_those_of_the_cpu(suppress_tiles):
    cuda_cases.needs("native")
    method = Jigsaw("resnet18", **SMALL | {"tile": 10}, suppress_tiles=suppress_tiles)  # no place to draw
    images = torch.randint(256, (16, 3, 34, 34), dtype=torch.uint8)
    here = Batch(images, torch.full((16,), -1), torch.full((16, 2), 34.0))
    windows, labels = torch.rand(16, 3, 30, 30), torch.randint(9, (16,))
    plain = cut(windows, method.permutations[labels], 10, 10)
    method.cuda()
    found = method.puzzles(windows.cuda(), labels.cuda()).cpu()
    if suppress_tiles:
        mean, std = (torch.tensor(v)[:, None, None] for v in (method.views.mean, method.views.std))
        plain = method.suppress.replay(plain * std + mean)
    torch.testing.assert_close(found, normalized(plain), atol=2e-3, rtol=1e-3)
    there = Batch(*(tensor.cuda() for tensor in here))
    method.loss(there).backward()
    method.validation_step(there, 0)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        loss = method.loss(there)
        loss.backward()
        method.validation_step(there, 0)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert loss.isfinite()

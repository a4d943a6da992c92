"""BYOL, rotation and supervised training on an NVIDIA GPU: the CPU's losses, and a step that does not wait."""

import pytest
import torch

import cuda_cases
from cuda_cases import DEVICE, MARKS
from texfilters.ssl import Batch
from texfilters.ssl.byol import BYOL
from texfilters.ssl.rotation import Rotation
from texfilters.ssl.supervised import Supervised
from texfilters.ssl.views import Views

pytestmark = MARKS

METHODS = {
    "byol": lambda: BYOL("six_layer", views=Views(32), hidden=64, dim=16, nonsemantic=2),
    "rotation": lambda: Rotation("six_layer", views=Views(32)),
    "doubled": lambda: Supervised("six_layer", classes=7, views=Views(32)),
    "halves": lambda: Supervised("six_layer", classes=7, views=Views(32), doubled=False),
}


@pytest.fixture(params=METHODS)
def method(request):
    cuda_cases.needs("native")
    return METHODS[request.param]()


@pytest.fixture
def batch():
    images = torch.randint(0, 256, (8, 3, 36, 36), dtype=torch.uint8)
    return Batch(images, torch.arange(8) % 7, torch.tensor([[300.0, 400.0]]).expand(8, -1))


def there(batch):
    return Batch(*(values.to(DEVICE) for values in batch))


def loss_of(method, batch):
    """All is drawn on the CPU, so that both devices see the same views."""
    torch.manual_seed(3)
    return method.loss(batch)


def test_the_loss_is_the_cpus(method, batch):
    expected = loss_of(method, batch).item()
    # TF32, were it allowed, keeps ten bits; views differ by their rounding.
    assert loss_of(method.to(DEVICE), there(batch)).item() == pytest.approx(expected, abs=5e-3)


def test_a_step_does_not_wait_for_the_gpu(method, batch):
    method, batch = method.to(DEVICE), there(batch)
    loss_of(method, batch).backward()
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        loss_of(method, batch).backward()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_mixed_precision_ends_in_float32(method, batch):
    method, batch = method.to(DEVICE), there(batch)
    expected = loss_of(method, batch).item()
    with torch.autocast(DEVICE, torch.bfloat16):
        loss = loss_of(method, batch)
    assert loss.dtype == torch.float32
    # bfloat16 keeps eight bits, through seven or more layers.
    assert loss.item() == pytest.approx(expected, abs=0.15)
    loss.backward()
    assert all(p.grad.isfinite().all() for p in method.parameters() if p.requires_grad)

"""Steps on an NVIDIA GPU: nothing waits for it, and the layout that its convolutions are fastest in is kept."""

import pytest
import torch

from cuda_cases import DEVICE, MARKS
from momentum_cases import TwoViews, batch_of
from texfilters.ssl import Batch
from texfilters.ssl.dense_cl import DenseCL
from texfilters.ssl.losses import info_nce
from texfilters.ssl.moco_v2 import MoCoV2

pytestmark = MARKS


class LastViews(TwoViews):
    def forward(self, images, sizes):
        return super().forward(images, sizes).contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("cls", "settings"), [(MoCoV2, {"nonsemantic": 2}), (DenseCL, {})])
def test_a_step_waits_for_nothing(cls, settings):
    method = cls("resnet18", small_images=True, views=LastViews(), queue=64, norm_splits=2, **settings).to(DEVICE)
    optimizer = torch.optim.SGD([p for p in method.parameters() if p.requires_grad], lr=0.03)
    layouts = []
    for network in (method.backbone.model.conv1, method.momentum_backbone.model.conv1):
        network.register_forward_pre_hook(
            lambda _, inputs: layouts.append(inputs[0].is_contiguous(memory_format=torch.channels_last))
        )
    batch = Batch(*(field.to(DEVICE) for field in batch_of(16, side=32)))

    def step():
        with torch.autocast("cuda", dtype=torch.bfloat16):
            loss = method.loss(batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    step()  # chooses algorithms, and fills the allocator
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")  # knows of torch's own calls only
    try:
        losses = [step() for _ in range(5)]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in losses)
    assert method.queue.oldest == 6 * 16 % 64
    assert all(layouts)


def test_a_loss_is_the_cpus():
    """To 1e-6 in float64, where no order of summation shows."""
    given = [
        torch.nn.functional.normalize(torch.randn(*shape, 32).double(), dim=-1)
        for shape in ((8,), (8,), (500,), (8, 2))
    ]
    results = []
    for device in ("cpu", DEVICE):
        query, key, queue, nonsemantic = (tensor.to(device) for tensor in given)
        query.requires_grad_()
        loss = info_nce(query, key, queue, nonsemantic=nonsemantic)
        loss.backward()
        results.append((loss.detach().cpu(), query.grad.cpu()))
    torch.testing.assert_close(*results, rtol=1e-12, atol=1e-12)

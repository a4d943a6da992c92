"""The measurements of ssl/evaluate.py on a GPU: as on the CPU, and without waiting for the device within a pass."""

import pytest
import torch

from probe_cases import MEAN, STD, settle
from texfilters.evaluate import features, sections
from texfilters.ssl import Batch, Supervised, Views
from texfilters.ssl._checkpoint import KEY, header
from texfilters.ssl.classifier import from_checkpoint

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]
CLASSES = ("car", "cat", "dog")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    torch.manual_seed(0)
    method = Supervised("resnet18", classes=3, views=Views(64, suppress=None, mean=MEAN, std=STD))
    settle(method.backbone)
    path = tmp_path_factory.mktemp("cuda") / "last.ckpt"
    torch.save({KEY: {**header(method), "classes": list(CLASSES)}, "state_dict": method.state_dict()}, path)
    return path


def images(n=48, side=72):
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (n, 3, side, side), generator=generator).byte()
    batch = Batch(pixels, torch.arange(n) % 3, torch.full((n, 2), float(side)))
    parts = zip(*(part.split(16) for part in batch), strict=True)
    return sections.LabeledImages([Batch(*part) for part in parts], CLASSES)


def test_logits_and_features_are_those_of_the_cpu(checkpoint):
    given = {device: from_checkpoint(checkpoint, device=device)[0] for device in ("cpu", "cuda")}
    for part in ("logits", "features"):
        there, here = (
            features(getattr(model, part), images(), transform=model.view, device=model.device)[0]
            for model in (given["cuda"], given["cpu"])
        )
        assert there.device.type == "cuda"
        # TF32 is off for matrix products by default, not for cuDNN's convolutions.
        torch.testing.assert_close(there.cpu(), here, rtol=2e-2, atol=2e-2 * here.abs().max().item())


@pytest.mark.parametrize("measure", [sections.high_frequencies, sections.corruptions, sections.confidence])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_sections_run_on_the_device(checkpoint, measure, precision):
    models = {"a": from_checkpoint(checkpoint, device="cuda", precision=precision)[0]}
    assert measure(models, images()).record["images"] == 48


def test_transfer_and_maps_run_on_the_device(checkpoint):
    models = {"a": from_checkpoint(checkpoint, device="cuda")[0]}
    section = sections.transfer(models, images(), {"t": images()}, seeds=(0,), k=5)
    assert {row[1] for row in section.tables[0].rows} == {"linear", "knn"}
    assert sections.saliency(models, images(), neurons=2).record


def test_nothing_waits_for_the_device_but_the_end_of_a_pass(checkpoint):
    model, _ = from_checkpoint(checkpoint, device="cuda")
    batches = [Batch(*(part.cuda() for part in batch)) for batch in images()]
    model.logits(model.view(batches[0]))  # what is made once
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for batch in batches:
            model.logits(model.view(batch))
    finally:
        torch.cuda.set_sync_debug_mode("default")

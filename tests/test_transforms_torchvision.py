"""Among torchvision's own transforms, in nn.Sequential, and compiled."""

import pytest
import torch
from torch import nn

from transform_cases import BUILDERS, batch, by_functions, transforms, tv_tensors

v2 = pytest.importorskip("torchvision.transforms.v2")

FULL = ["diffusion", "bilateral", "gaussian", "gaussian of one window"]  # one launch each, and no other way
EVERY = {**BUILDERS, "patches": lambda **o: transforms.PatchNegatives((2, 4), **o)}


@pytest.mark.parametrize("build", BUILDERS.values(), ids=BUILDERS)
def test_compose(build):
    transform = build()
    pipeline = v2.Compose(
        [
            v2.ToImage(),
            v2.RandomResizedCrop(16),
            transform,
            v2.RandomHorizontalFlip(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.5] * 3, [0.2] * 3),
        ]
    )
    mask = tv_tensors.Mask(torch.ones(1, 20, 24, dtype=torch.uint8))
    image, other = pipeline(batch(20, 24, 3).numpy(), mask)
    assert type(image) is tv_tensors.Image
    assert image.shape == (3, 16, 16)
    assert image.dtype == torch.float32
    assert other.shape == (1, 16, 16)


def test_random_apply_choice_and_order():
    images = batch(6, 3, 8, 8)
    blur, median = transforms.GaussianBlur(2), transforms.MedianBlur(3)
    assert torch.equal(v2.RandomApply([blur], p=1.0)(images), blur(images))
    assert v2.RandomApply([blur], p=0.0)(images) is images
    outcomes = [blur(images), median(images)]
    for _ in range(8):
        result = v2.RandomChoice([blur, median])(images)
        assert any(torch.equal(result, outcome) for outcome in outcomes)
    result = v2.RandomOrder([blur, median])(images)
    assert any(torch.equal(result, outcome) for outcome in (median(blur(images)), blur(median(images))))


def test_sequential_and_nested_samples():
    chain = nn.Sequential(transforms.AnisotropicDiffusion(3), transforms.MedianBlur(3))
    images = batch(4, 3, 8, 8)
    assert torch.equal(chain(images), chain[1](chain[0](images)))
    views = transforms.GaussianBlur((0.5, 2))
    sample = {"views": [tv_tensors.Image(images), tv_tensors.Image(images)], "target": {"label": torch.arange(4)}}
    result = views(sample)
    assert torch.equal(*result["views"])
    assert result["target"]["label"] is sample["target"]["label"]


def test_beside_cutmix_in_a_collate_function():
    cutmix = v2.CutMix(num_classes=5)
    suppress = transforms.RandomTextureSuppression()

    def collate(samples):
        return suppress(*cutmix(*torch.utils.data.default_collate(samples)))

    dataset = [(batch(3, 16, 16), i % 5) for i in range(12)]
    for images, labels in torch.utils.data.DataLoader(dataset, 6, collate_fn=collate):
        assert images.shape == (6, 3, 16, 16)
        assert labels.shape == (6, 5)
        assert len(suppress.last_draw["filter"]) == 6


@pytest.mark.filterwarnings("ignore:.*torch.jit.script")
def test_scripting_is_refused_by_torchvision():
    with pytest.raises(RuntimeError, match="cannot be JIT scripted"):
        torch.jit.script(transforms.GaussianBlur())


@pytest.fixture
def _fresh_compiler():
    torch.compiler.reset()
    yield
    torch.compiler.reset()


SLOW = [name for name in EVERY if name not in ("diffusion", "bilateral", "median", "mixture", "patches")]
marked = [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW)) for name in EVERY]


@pytest.mark.usefixtures("_fresh_compiler")
class TestCompile:
    """With the eager backend, which traces as Inductor does and compiles nothing."""

    @pytest.mark.parametrize("name", marked)
    def test_it_draws_and_replays(self, name):
        transform = EVERY[name](**({} if name == "patches" else {"p": 0.7}))
        compiled = torch.compile(transform, fullgraph=name in FULL, backend="eager")
        images, draws = batch(6, 3, 8, 9), []
        for _ in range(2):
            result = compiled(images)
            assert torch.equal(result, transform.replay(images))
            draws.append(transform.last_draw)
        assert any(not torch.equal(draws[0][key], draws[1][key]) for key in draws[0])
        replay = torch.compile(lambda u, draw: transform.replay(u, draw=draw), fullgraph=name in FULL, backend="eager")
        assert torch.equal(replay(images, draws[1]), result)

    def test_batches_of_any_size(self):
        transform = BUILDERS["diffusion"](p=0.7)
        compiled = torch.compile(transform, fullgraph=True, backend="eager")
        with torch.compiler.set_stance("default"):
            for n in (6, 9):
                compiled(batch(n, 3, 8, 8))
        with torch.compiler.set_stance("fail_on_recompile"):
            for n in (5, 17):
                images = batch(n, 3, 8, 8)
                assert torch.equal(compiled(images), transform.replay(images))

    @pytest.mark.filterwarnings("error")
    def test_images_of_torchvision_and_a_generator_of_its_own(self):
        transforms = [BUILDERS["mixture"](generator=torch.Generator().manual_seed(2)) for _ in range(2)]
        images = tv_tensors.Image(batch(5, 3, 8, 8))
        result = torch.compile(transforms[0], backend="eager")(images)
        assert type(result) is tv_tensors.Image
        assert torch.equal(result, transforms[1](images))

    @pytest.mark.slow
    def test_inductor(self):
        transform = BUILDERS["diffusion"](p=0.7)
        step = torch.compile(lambda u: transform(u).float().mul(2).add(1), fullgraph=True)
        for n in (4, 7):
            images = batch(n, 3, 8, 8)
            assert torch.equal(step(images), transform.replay(images).float() * 2 + 1)
            assert torch.equal(transform.replay(images), by_functions(transform, images, transform.last_draw))

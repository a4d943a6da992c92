"""The benchmark of suppressed copies: its cells, data and runs."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch

for package in ("lightning", "matplotlib", "torchvision"):
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"needs {package}", allow_module_level=True)

from PIL import Image  # noqa: E402

from texfilters import anisotropic_diffusion, transforms  # noqa: E402

ROOT = Path(__file__).parent.parent.parent
sys.path.append(str(ROOT / "benchmarks"))

import suppression_runs as runs  # noqa: E402
import suppression_studies as studies  # noqa: E402
import tables_suppression as tables  # noqa: E402

CIFAR10 = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
SMALL = {
    data: studies.Study(data, side=16, epochs=16, batch_size=12, lr=0.05, width=4, needs_gpu=False)
    for data in ("pacs", "cifar10")
}


@pytest.fixture
def small(monkeypatch):
    for name, study in SMALL.items():
        monkeypatch.setitem(studies.STUDIES, name, study)


def colored(labels, side, seed=0):
    """Noise about a color that tells the class, of which there are three."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randint(-40, 41, (len(labels), 3, side, side), generator=generator)
    colors = torch.tensor([[200, 60, 60], [60, 200, 60], [60, 60, 200]])
    return (colors[labels][:, :, None, None] + noise).to(torch.uint8)


def drawn(side=32):
    labels = torch.arange(3).repeat_interleave(12)
    return runs.Data(colored(labels, side), labels, {"photo": (colored(labels, 16, seed=1), labels)})


class TestCells:
    @pytest.mark.parametrize("study", studies.STUDIES)
    def test_every_variant_and_seed_is_one(self, study):
        cells = studies.cells(study)
        assert {(cell.variant, cell.seed) for cell in cells} == {(v, s) for v in studies.VARIANTS for s in range(3)}
        assert len({cell.name for cell in cells}) == len(cells) == 24
        # Seed by seed, so that what was cut short still compares; plain first, which all are compared with.
        assert [cell.seed for cell in cells] == sorted(cell.seed for cell in cells)
        assert cells[0].name == f"suppression_{study}_plain_seed0"

    def test_variants_are_the_papers(self):
        assert list(studies.VARIANTS) == list(tables.TITLES)
        assert studies.VARIANTS["plain"] is None
        for niter in (20, 50):
            for name, option in (("diffusion", 1), ("tukey", 3)):
                _, settings = studies.VARIANTS[f"{name}-{niter}"]
                assert settings == {"niter": niter, "kappa": 20.0, "gamma": 0.1, "option": option}

    @pytest.mark.parametrize("variant", [name for name in studies.VARIANTS if name != "plain"])
    def test_all_suppress(self, variant):
        transform, settings = studies.VARIANTS[variant]
        image = torch.randint(256, (2, 3, 32, 32), dtype=torch.uint8)
        found = getattr(transforms, transform)(**settings)(image)
        assert (found.shape, found.dtype) == (image.shape, torch.uint8)
        assert not torch.equal(found, image)

    def test_reduced_studies_say_so(self):
        assert {name for name, study in studies.STUDIES.items() if not study.needs_gpu} == {
            "pacs-reduced",
            "cifar10-reduced",
        }
        assert all(study.note.startswith("Reduced") == study.reduced for study in studies.STUDIES.values())


def written(folder, names, count, side):
    """As many images of each class, whose pixels tell which class and which image they are."""
    for label, name in enumerate(names):
        (folder / name).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", (side, side), (label * 10, i * 10, 0)).save(folder / name / f"{i:02}.png")


class TestData:
    def test_pacs(self, tmp_path):
        for domain in ("photo", "art_painting", "cartoon", "sketch"):
            written(tmp_path / "pacs" / domain, ["dog", "house"], 5, 128)
        study = studies.Study("pacs", side=64, epochs=1, batch_size=2, lr=0.1, width=4, test_every=2)
        data = runs.read(study, tmp_path)
        # Of each domain every fifth image is held out: one of each class here.
        assert data.images.shape == (16, 3, 128, 128)
        assert data.labels.tolist() == [0] * 4 + [1] * 4 + [0] * 4 + [1] * 4
        assert {name: list(images.shape) for name, (images, _) in data.tests.items()} == {
            "photo": [2, 3, 64, 64],
            "art_painting": [2, 3, 64, 64],
            "cartoon": [5, 3, 64, 64],
            "sketch": [5, 3, 64, 64],
        }
        assert data.conflict is None
        kept = {(r // 10, g // 10) for r, g in data.images[:, :2, 0, 0].tolist()}
        held_out = {(r // 10, g // 10) for r, g in data.tests["photo"][0][:, :2, 0, 0].tolist()}
        assert held_out == {(0, 4), (1, 4)}
        assert kept == {(label, i) for label in range(2) for i in range(5)} - held_out
        for images, labels in (*data.tests.values(), (data.images, data.labels)):
            assert (images[:, 0, 0, 0] // 10).tolist() == labels.tolist()

    def test_cifar10(self, tmp_path):
        for split, count in (("train", 4), ("val", 2)):
            written(tmp_path / "cifar10" / split, CIFAR10, count, 32)
        stimuli = ["airplane", "bear", "bird", "boat", "car", "cat", "dog", "truck"]
        for name in ("edges", "filled-silhouettes"):
            written(tmp_path / "stimuli" / name, stimuli, 1, 224)
        (tmp_path / "stimuli" / "cue-conflict").mkdir()
        for name in ("boat1-cat2", "boat2-boat1", "bear1-cat1", "dog3-car1"):
            Image.new("RGB", (224, 224)).save(tmp_path / "stimuli" / "cue-conflict" / f"{name}.png")
        study = studies.Study("cifar10", side=32, epochs=1, batch_size=2, lr=0.1, width=4, train_every=2, test_every=2)
        data = runs.read(study, tmp_path)
        assert data.images.shape == (20, 3, 32, 32)
        assert data.labels.tolist() == [label for label in range(10) for _ in range(2)]
        assert data.tests["test"][1].tolist() == list(range(10))
        for name in ("edges", "filled-silhouettes"):
            images, places = data.tests[name]
            assert images.shape == (7, 3, 32, 32)  # no bear
            assert places.tolist() == list(range(7))
            assert (images[:, 0, 0, 0] // 10).tolist() == [0, 2, 3, 4, 5, 6, 7]
        images, shapes, textures = data.conflict
        assert images.shape == (2, 3, 32, 32)  # neither the bear nor the boat with the texture of a boat
        assert (shapes.tolist(), textures.tolist()) == ([2, 5], [4, 3])


class TestRun:
    def test_copies_double_the_images_but_not_the_steps(self, small, monkeypatch):
        shown = {}

        def fit(network, images, places, loss, **recipe):
            shown[cell.variant] = images.whole(places).cpu(), recipe["steps"]

        monkeypatch.setattr(runs, "fit", fit)
        data = drawn(side=32)
        for variant in ("plain", "diffusion-20"):
            cell = studies.Cell("pacs", variant, 1)
            assert runs.run(cell, data, epochs=5)["images"] == 36
        (plain, steps), (doubled, same_steps) = shown["plain"], shown["diffusion-20"]
        assert steps == same_steps == 15  # 5 times 36 images, 12 at a time
        assert (len(plain), len(doubled)) == (36, 72)
        assert torch.equal(doubled[:36], plain)
        # Diffused at the images' own size, and made smaller then.
        filtered = anisotropic_diffusion(data.images, 20, 20.0, 0.1)
        assert torch.equal(doubled[36:], runs.resized(filtered, 16))
        smaller = anisotropic_diffusion(plain.contiguous(), 20, 20.0, 0.1)
        assert not torch.equal(doubled[36:], smaller)

    @pytest.mark.parametrize("variant", ["plain", "cartoon", "tukey-20"])
    def test_learns_from_both(self, small, variant):
        cell = studies.Cell("pacs", variant, 0)
        found = json.loads(json.dumps(runs.run(cell, drawn(), SMALL["pacs"].epochs)))
        assert found["tests"]["photo"] == {"images": 36, "accuracy": 1.0, "balanced_accuracy": 1.0}
        assert found["command"] == (
            f"python benchmarks/suppression_runs.py DATA --study pacs --cells suppression_pacs_{variant}_seed0"
        )
        assert (found["variant"], found["seed"], found["reduced"]) == (variant, 0, True)
        assert (found["suppressor"] or {}).get("niter") == (20 if variant == "tukey-20" else None)
        assert {"date", "commit", "packages"} <= found.keys()
        assert "conflict" not in found

    def test_the_same_seed_gives_the_same_again(self, small):
        cell = studies.Cell("pacs", "gaussian", 2)
        noise = torch.randint(256, (60, 3, 16, 16), dtype=torch.uint8)
        data = runs.Data(noise, torch.arange(60) % 3, {"photo": (noise.flip(0), torch.arange(60) % 3)})
        first, again = (runs.run(cell, data, epochs=2) for _ in range(2))
        assert first == again
        assert first["command"].endswith("--epochs 2")
        assert 0 < first["tests"]["photo"]["accuracy"] < 1

    def test_stimuli_are_answered_among_seven_categories(self):
        """Columns in CIFAR-10's order: a frog does not count, what comes next does."""
        logits = torch.zeros(3, 10)
        logits[:, CIFAR10.index("frog")] = 9.0
        for row, name in enumerate(("ship", "automobile", "cat")):
            logits[row, CIFAR10.index(name)] = 5.0
        boat, car, dog = 2, 3, 5
        found = runs._tested("edges", logits, torch.tensor([boat, car, dog]))
        assert found == {"images": 3, "accuracy": 0.666667, "balanced_accuracy": 0.666667}
        assert runs._tested("test", logits, torch.tensor([6, 6, 6]))["accuracy"] == 1

        shapes, textures = torch.tensor([boat, dog, dog]), torch.tensor([dog, car, boat])
        found = runs._decisions(logits, shapes, textures)
        assert (found["decisions"], found["shape"], found["texture"], found["other"]) == ("sto", 1, 1, 1)
        assert found["shape_bias"] == 0.5
        assert found["by_class"]["dog"] == [0, 1, 1]
        assert runs._decisions(logits[2:], shapes[2:], textures[2:])["shape_bias"] is None

    def test_a_conflict_is_decided(self, small):
        labels = torch.arange(10).repeat(4)
        images = torch.randint(256, (40, 3, 16, 16), dtype=torch.uint8)
        conflict = images[:6], torch.arange(6), torch.arange(1, 7)
        data = runs.Data(images, labels, {"test": (images, labels)}, conflict)
        found = json.loads(json.dumps(runs.run(studies.Cell("cifar10", "plain", 0), data, epochs=1)))["conflict"]
        assert len(found["decisions"]) == found["shape"] + found["texture"] + found["other"] == 6
        assert found["shape"] == found["decisions"].count("s")

    @pytest.mark.cuda
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
    def test_on_a_gpu(self, small):
        cell = studies.Cell("pacs", "diffusion-50", 0)
        first, again = (runs.run(cell, drawn(), SMALL["pacs"].epochs) for _ in range(2))
        assert first == again
        assert first["tests"]["photo"]["accuracy"] == 1
        assert first["device"] == torch.cuda.get_device_name()
        images = drawn(side=32).images
        here, there = runs.resized(images, 16), runs.resized(images.cuda(), 16).cpu()
        assert (here.int() - there.int()).abs().max() <= 1  # sums in another order round otherwise

    def test_the_command_leaves_out_what_has_a_result(self, monkeypatch, capsys, tmp_path):
        for cell in studies.cells("pacs-reduced"):
            (tmp_path / f"{cell.name}.json").write_text("{}")
        monkeypatch.setattr(sys, "argv", ["runs", "nowhere", "--study=pacs-reduced", f"--results={tmp_path}"])
        runs.main()
        assert capsys.readouterr().out == "24 cells, 0 to do\n"

"""What pretraining_runs.py trains: studies, their variants, and the probes, each a method of probe.py and options."""

from dataclasses import dataclass, field
from pathlib import Path

_NO_SUPPRESSION = ("--model.views.suppress=none",)
_PATCHES = (*_NO_SUPPRESSION, "--model.nonsemantic=1")

# As MoCoV2's are compared in the papers: the method by itself, suppressed views, negatives made of patches.
_MOCO_VARIANTS = {
    "plain": _NO_SUPPRESSION,
    "suppressed": (),
    "patches-alpha0": (*_PATCHES, "--model.alpha=0"),
    "patches-alpha2": (*_PATCHES, "--model.alpha=2"),
    "patches-alpha3": (*_PATCHES, "--model.alpha=3"),
}
_CIFAR10 = ("--data=FolderData", "--data.root={data}/cifar10", "--data.side=32", "--data.resident=true")
_PACS = ("--data=FolderData", "--data.root={data}/pacs", "--data.side=128", "--data.resident=true")
_PHOTOS = (*_PACS, '--data.domains=["photo"]')


@dataclass(frozen=True)
class Study:
    """Runs that are compared with each other."""

    config: str  # in ssl/configs
    data: tuple[str, ...]
    variants: dict[str, tuple[str, ...]]
    epochs: int
    tests: dict[str, tuple[str, ...]] = field(default_factory=lambda: {"test": ()})  # options of a probe's data
    probes: dict[str, tuple[str, ...]] = field(default_factory=lambda: {"knn": ("knn",), "linear": ("linear",)})
    seeds: int = 3
    needs_gpu: bool = True


def _domain(name: str) -> tuple[str, ...]:
    return (f'--data.val_domains=["{name}"]',)


STUDIES = {
    # On a CPU core some ten minutes a run: is anything learned?
    "trial": Study(
        "rotation-six_layer-cifar10.yaml",
        _CIFAR10,
        {"plain": _NO_SUPPRESSION, "suppressed": ()},
        epochs=6,
        probes={
            "knn": ("knn",),
            "linear": ("linear", "--standardize", "--lr=0.1", "--epochs=30", "--milestones=[15,25]"),
            "knn untrained": ("knn", "--random_init"),
            "knn of pixels": ("pixels",),
        },
        seeds=1,
        needs_gpu=False,
    ),
    "cifar10": Study("moco_v2-cifar10.yaml", _CIFAR10, _MOCO_VARIANTS, epochs=30),
    # The papers' claim is that less texture transfers better to drawings.
    "pacs": Study(
        "moco_v2-pacs.yaml",
        _PHOTOS,
        _MOCO_VARIANTS,
        epochs=200,
        tests={name: _domain(name) for name in ("art_painting", "cartoon", "sketch")},
    ),
}


@dataclass(frozen=True)
class Cell:
    """A run of a study: one variant, one seed."""

    study: str
    variant: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.study}_{self.variant}_seed{self.seed}"

    def pretraining(self, data: Path | str, out: Path | str, epochs: int) -> list[str]:
        """The command, from the repository's root."""
        study = STUDIES[self.study]
        first = [f"--config=ssl/configs/{study.config}", f"--out={out}", f"--seed_everything={self.seed}"]
        options = [option.format(data=data) for option in (*study.data, *study.variants[self.variant])]
        if "test" in study.tests:  # the only one, whose accuracy can be followed
            options += ["--trainer.callbacks=OnlineKNN"]
        return [
            "ssl/pretrain.py",
            *first,
            *options,
            f"--trainer.max_epochs={epochs}",
            "--trainer.enable_progress_bar=false",
        ]

    def measurements(self, data: Path | str, out: Path | str) -> dict[str, tuple[list[str], Path]]:
        """The commands of the probes, and the folder of each one's results."""
        study, found = STUDIES[self.study], {}
        for test, where in study.tests.items():
            for probe, (method, *how) in study.probes.items():
                folder = Path(out) / "probes" / f"{test} {probe}".replace(" ", "-")
                options = [option.format(data=data) for option in (*study.data, *where, *how)]
                command = ["ssl/probe.py", f"--checkpoint={out}/last.ckpt", f"--method={method}", f"--out={folder}"]
                found[f"{test} {probe}"] = [*command, f"--seed={self.seed}", *options], folder / f"{method}.json"
        return found


def cells() -> list[Cell]:
    return [
        Cell(name, variant, seed)
        for name, study in STUDIES.items()
        for seed in range(study.seeds)
        for variant in study.variants
    ]

import sys
import warnings

import pytest
import torch


@pytest.fixture
def command(monkeypatch, capsys):
    """The command with arguments; what it wrote to stderr, and its exit status."""
    from pretrain_cases import pretrain

    monkeypatch.setattr(warnings, "formatwarning", warnings.formatwarning)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["pretrain.py", *map(str, arguments)])
        status = 0
        try:
            pretrain.main()
        except SystemExit as exit:
            status = exit.code
        told = capsys.readouterr()
        run.printed, told = told.out, told.err
        return (status, told) if isinstance(status, int) else (1, status)

    return run


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    from torchvision.io import write_png

    folder = tmp_path_factory.mktemp("photos")
    generator = torch.Generator().manual_seed(2)
    for split, count in (("train", 10), ("val", 5)):
        for label in ("cat", "dog"):
            (folder / split / label).mkdir(parents=True)
            for i in range(count):
                image = torch.randint(256, (3, 20, 24), dtype=torch.uint8, generator=generator)
                write_png(image, str(folder / split / label / f"{i}.png"))
    return folder


@pytest.fixture
def config(photos, tmp_path):
    """Writes the configuration of a run that takes no time, with changes."""
    import yaml

    settings = {
        "out": str(tmp_path / "run"),
        "model": {
            "class_path": "texfilters.ssl.Rotation",
            "init_args": {
                "backbone": "six_layer",
                "views": {"class_path": "texfilters.ssl.Views", "init_args": {"size": 16}},
                "recipe": {"lr": 0.1},
            },
        },
        "data": {
            "class_path": "texfilters.ssl.FolderData",
            "init_args": {"root": str(photos), "batch_size": 5, "side": 18, "workers": 0},
        },
        "trainer": {"max_epochs": 2, "accelerator": "cpu", "log_every_n_steps": 2, "deterministic": True},
    }

    def written(*changes):
        changed = yaml.safe_load(yaml.safe_dump(settings))
        for *path, key, value in changes:
            place = changed
            for name in path:
                place = place[name]
            place[key] = value
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(changed))
        return tmp_path / "config.yaml"

    return written

"""What the pages show of ssl/ is what its commands take, and what there is, they show."""

import re

import pytest

pytest.importorskip("lightning", reason="needs lightning")
pytest.importorskip("jsonargparse", reason="needs jsonargparse")

import yaml

from command_lines import ROOT, parsed
from texfilters import ssl

PAGES = {name: (ROOT / name).read_text() for name in ("README.md", "ssl/README.md", "docs/evaluation.md")}
PAGE = PAGES["ssl/README.md"]
CONFIGS = {path.stem for path in (ROOT / "ssl" / "configs").iterdir()}


def commands(text):
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [line for line in lines if line.startswith("python ssl/")]


SHOWN = sorted({line for text in PAGES.values() for line in commands(text)})


def listed(heading):
    """The words in code in the first column of a table."""
    rows = PAGE.split(f"| {heading} |")[1].split("\n\n")[0].splitlines()[2:]
    return {word for row in rows for word in re.findall(r"`(\w+)`", row.split("|")[1])}


def reachable():
    """Every METHOD-DATA that has a configuration."""
    return {name for method in listed("METHOD") for data in listed("DATA") if (name := f"{method}-{data}") in CONFIGS}


def test_the_pages_show_the_commands():
    shown = {name: {line.split()[1] for line in commands(text)} for name, text in PAGES.items()}
    assert shown["README.md"] >= {"ssl/pretrain.py", "ssl/probe.py", "ssl/export.py"}
    assert shown["ssl/README.md"] == {f"ssl/{path.name}" for path in (ROOT / "ssl").glob("*.py")}


@pytest.mark.parametrize("line", [line for line in SHOWN if ".help " not in line])
def test_commands_are_what_the_parsers_take(line):
    given = parsed(line)
    if "--config" in line:
        assert given.out.removeprefix("runs/") in CONFIGS


@pytest.mark.parametrize("line", [line for line in SHOWN if ".help " in line])
def test_help_of_a_class(line, capsys):
    with pytest.raises(SystemExit) as end:
        parsed(line)
    assert end.value.code == 0
    assert "--model.nonsemantic" in capsys.readouterr().out


def test_options_in_the_text_are_the_parsers_own():
    """`--option`, with or without a value, wherever the page speaks of one."""
    spoken = set(re.findall(r"`(--[^`]+)`", PAGE))
    assert {"--resume last", "--trainer.devices 8", "--data.batch_size", "--recipe", "--method"} <= spoken
    values = {"--out": "x", "--data.batch_size": "2", "--data.max_unreadable": "0.1"}
    values |= {"--trainer.num_nodes": "2", "--trainer.accumulate_grad_batches": "2"}
    probe = "ssl/probe.py --data FolderData --data.root x"
    networks = ("--checkpoint", "--random_init", "--classifier", "--torchvision", "--weights")
    images = ("--stimuli", "--answers", "--tests", "--boundaries", "--boxes", "--mapping")
    values |= dict.fromkeys((*networks, *images), "x") | {"--with_label_corruption": "", "--overwrite": ""}
    values["--data"] = "FolderData --data.root x"
    measured = (
        "--data",
        *networks,
        *images,
        "--only",
        "--limit",
        "--train_limit",
        "--with_label_corruption",
        "--overwrite",
    )
    programs = dict.fromkeys(measured, "ssl/evaluate.py report")
    programs |= dict.fromkeys(("--method", "--recipe"), f"{probe} --backbone resnet18")
    choices = {"--method": "knn", "--recipe": "moco"}
    configs = {
        "--model.suppress_tiles": "jigsaw-pacs",
        "--data.classes": "moco_v2-imagenet",
        "--data.download": "moco_v2-cifar10",
    }
    for option in sorted(spoken):
        name, _, value = option.partition(" ")
        config = configs.get(name, "moco_v2-pacs")
        start = programs.get(name, f"ssl/pretrain.py --config ssl/configs/{config}.yaml --data.root x")
        value = "2" if value == "N" else value
        parsed(f"{start} {name} {value or {**values, **choices}[name]}")


def test_every_configuration_is_one_of_the_tables_or_named():
    named = reachable()
    assert listed("METHOD") == {name.partition("-")[0] for name in CONFIGS}
    assert listed("DATA") == {name.rpartition("-")[2] for name in CONFIGS}
    assert {name for name in CONFIGS if name not in named and name not in PAGE} == set()


def test_what_is_not_there_is_said():
    """The page must not promise METHOD-DATA for all of both."""
    missing = {f"{method}-{data}" for method in listed("METHOD") for data in listed("DATA")} - CONFIGS
    assert missing
    for name in missing:
        assert f"`{name}`" in PAGE, f"{name}.yaml is not there, and ssl/README.md does not say so"


def test_classes_are_those_of_the_configurations():
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \|", PAGE, re.MULTILINE)
    assert {method for method, _ in rows} == listed("METHOD")
    for method, name in rows:
        assert issubclass(getattr(ssl, name), ssl.Method)
        for config in (ROOT / "ssl" / "configs").glob(f"{method}-*.yaml"):
            assert yaml.safe_load(config.read_text())["model"]["class_path"] == f"texfilters.ssl.{name}", config

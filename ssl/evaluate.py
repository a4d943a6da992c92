"""Measure what texture suppression does to networks, one alone or several compared.

    python ssl/evaluate.py report --checkpoint plain=runs/a/last.ckpt --checkpoint suppressed=runs/b/last.ckpt \\
        --data FolderData --data.root DIR --stimuli cue-conflict/ --out runs/report

`report` runs all that applies to what it is given and writes report.html, one page with tables and figures; the other
words run one measurement. Each writes NAME.json, NAME.csv and NAME.png to --out.

Networks are given as NAME=FILE, as many as are to be compared: --checkpoint, what ssl/pretrain.py writes;
--random_init, the same before any training; --torchvision plain=resnet50 with --weights plain=FILE, one of
torchvision's. A checkpoint has the classifier that it was trained with, or --classifier NAME=linear.pth of
ssl/probe.py; else one is trained here, on the frozen features of the training images of --data.
"""

import dataclasses
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from jsonargparse import ArgumentParser, Namespace

import texfilters
from texfilters.evaluate import figures, report, sections
from texfilters.evaluate.report import Section, Table
from texfilters.ssl import _options
from texfilters.ssl._command_line import Formatter, ToldInALine
from texfilters.ssl._measured import Measured, Missing, named
from texfilters.ssl._stimuli import frost_pictures, plain_views


def shape_bias(given: Namespace, m: Measured) -> Section:
    answers = named("--answers", given.answers)
    if given.stimuli is None and not answers:
        raise Missing("neither --stimuli nor --answers are given")
    return sections.shape_bias(
        m.classifying if given.stimuli is not None else {},
        given.stimuli,
        answers=answers,
        mapping=m.mapping,
        limit=given.limit,
        batch_size=given.batch_size,
        num_workers=given.workers,
    )


def transfer(given: Namespace, m: Measured) -> Section:
    train = m.images("train")
    return sections.transfer(
        m.models, train, m.tests(), mapping=m.mapping, seeds=given.seeds, k=given.k, temperature=given.temperature
    )


def high_frequencies(given: Namespace, m: Measured) -> Section:
    return sections.high_frequencies(m.telling, m.images(), radii=given.radii, masks=given.masks)


def corruptions(given: Namespace, m: Measured) -> Section:
    frost = None if given.frost is None else frost_pictures(given.frost)
    options = {name: given[name] for name in ("corruptions", "severities", "constants", "seed")}
    return sections.corruptions(m.telling, m.images(), frost=frost, **options)


def confidence(given: Namespace, m: Measured) -> Section:
    return sections.confidence(m.telling, m.images(), bins=given.bins)


def saliency(given: Namespace, m: Measured) -> Section:
    models = m.classifying
    told = m.data is not None and all(model.classes == m.classes for model in models.values())
    boxes = None
    if given.boxes is None:
        images = m.images(limit=given.maps)
    else:
        images, boxes = m.boxed(given.boxes, given.maps)
    return sections.saliency(
        models,
        images,
        boxes=boxes,
        explained="label" if told else "answer",
        neurons=given.neurons,
        batch_size=min(32, given.batch_size),
    )


def similarity(given: Namespace, m: Measured) -> Section:
    models, keys, others = m.embeddings()
    views = {name: plain_views(m.networks[name].about["sees"], m.device) for name in models}
    section = sections.similarity(models, m.images(), views, key_networks=keys, seed=given.seed)
    if others:
        text = f"{section.text}\n\nLeft out, as of no contrastive method: {', '.join(others)}."
        section = dataclasses.replace(section, text=text)
    return section


def label_corruption(given: Namespace, m: Measured) -> Section:
    if given.get("with_label_corruption") is False:
        raise Missing("it trains networks of its own: say --with_label_corruption, or measure it alone")
    options = {"corruptions": given.kinds, "probabilities": given.probabilities, "gold": given.gold}
    return sections.label_corruption(
        *m.all_images("train"),
        *m.all_images("val"),
        classes=m.classes,
        seeds=given.runs,
        epochs=given.epochs,
        device=m.device,
        on_run=lambda run: print(f"  {run.corruption} {run.probability:g}, {run.variant}", file=sys.stderr, flush=True),
        **options,
    )


def texture(given: Namespace, m: Measured) -> Section:
    if given.boundaries is None:
        raise Missing("no --boundaries are given")
    return sections.texture(given.boundaries, given.photos, device=m.device)


EXAMPLE = """\
    python ssl/evaluate.py report --checkpoint plain=runs/a/last.ckpt --checkpoint suppressed=runs/b/last.ckpt \\
        --data FolderData --data.root DIR --stimuli cue-conflict/ --out runs/report

What is measured depends on what is given: networks with --data, or with --stimuli; --boundaries need no network."""

Measurement = Callable[[Namespace, Measured], Section]
MEASUREMENTS: dict[str, tuple[Measurement, str, tuple[_options.Options, ...]]] = {
    "shape-bias": (
        shape_bias,
        "decisions for shape and for texture on cue-conflict images, by networks or from tables of answers",
        (_options.of_networks, _options.of_data, _options.of_mapping, _options.of_stimuli, _options.of_answers),
    ),
    "transfer": (
        transfer,
        "linear and nearest-neighbor probes across sets of images, classes and categories",
        (_options.of_networks, _options.of_data, _options.of_mapping, _options.of_probes),
    ),
    "high-frequencies": (
        high_frequencies,
        "accuracy against what is kept of the Fourier plane",
        (_options.of_networks, _options.of_data, _options.of_frequencies),
    ),
    "corruptions": (
        corruptions,
        "errors under the 15 corruptions of ImageNet-C at 5 severities",
        (_options.of_networks, _options.of_data, _options.of_corruptions),
    ),
    "confidence": (
        confidence,
        "entropy of the answers that all networks get right, and calibration",
        (_options.of_networks, _options.of_data, _options.of_confidence),
    ),
    "saliency": (
        saliency,
        "where networks look, side by side",
        (_options.of_networks, _options.of_data, _options.of_saliency),
    ),
    "similarity": (
        similarity,
        "what contrastive networks hold for similar: views, other images, patches",
        (_options.of_networks, _options.of_data),
    ),
    "label-corruption": (
        label_corruption,
        "training on wrong labels, with and without diffused copies; trains networks of its own",
        (_options.of_data, _options.of_label_corruption),
    ),
    "texture": (
        texture,
        "what each filter removes off the boundaries that people drew, and keeps on them",
        (_options.of_boundaries,),
    ),
}


def arguments() -> ArgumentParser:
    parser = ToldInALine(prog="evaluate.py", description=__doc__, formatter_class=Formatter)
    commands = parser.add_subcommands(dest="measurement", required=True)
    everything = tuple(dict.fromkeys(each for _, _, options in MEASUREMENTS.values() for each in options))
    about = "all measurements that apply to what is given, on one page"
    for name, (told, options) in {
        **{name: (told, options) for name, (_, told, options) in MEASUREMENTS.items()},
        "report": (about, everything),
    }.items():
        described = f"{told[0].upper()}{told[1:]}."
        if name == "report":
            described += f"\n\n{EXAMPLE}"
        usage = f"evaluate.py {name} [options]"
        command = ToldInALine(usage=usage, description=described, formatter_class=Formatter)
        command.add_argument("--config", action="config", help="a YAML of these options")
        command.add_argument("--out", type=str, default="runs/evaluate", help="the folder of the results")
        command.add_argument("--overwrite", action="store_true", help="replace results that are there")
        command.add_argument("--device", type=str | None, help="cpu or cuda; by default a GPU if there is one")
        command.add_argument("--batch_size", type=int, default=64, help="of the images that are measured on")
        command.add_argument("--seed", type=int, default=0, help="of all that is drawn")
        if name == "report":
            command.add_argument("--title", type=str, default="What texture suppression does to a network")
            command.add_argument("--only", type=list[str], default=list(MEASUREMENTS), help="these measurements alone")
            command.add_argument("--with_label_corruption", action="store_true", help="train those networks, too")
        for each in options:
            each(command)
        commands.add_subcommand(name, command, help=told)
    return parser


def measure(name: str, given: Namespace, measured: Measured, config: Namespace) -> Section:
    """One section, whose record says on what and with what it was measured."""
    print(f"{name} ...", file=sys.stderr, flush=True)
    begun = time.perf_counter()
    section = MEASUREMENTS[name][0](given, measured)
    data = config.get("data")
    circumstances = {
        "networks": {each: network.about for each, network in measured.networks.items()},
        "data": None if data is None else data.as_dict(),
        **{each: given.get(each) for each in ("split", "limit", "train_limit", "stimuli", "precision", "seed")},
        "device": torch.cuda.get_device_name(measured.device) if measured.device.type == "cuda" else "cpu",
        "seconds": round(time.perf_counter() - begun, 2),
        "versions": {"texfilters": texfilters.__version__, "torch": torch.__version__},
    }
    return dataclasses.replace(section, record={**section.record, "measured": circumstances})


def reported(given: Namespace, measured: Measured, config: Namespace, command: str) -> int:
    """Writes report.html and the files of every section; the exit status, 1 where one failed.

    Ctrl-C ends the measurements, and what is done by then is on the page.
    """
    if unknown := sorted(set(given.only) - set(MEASUREMENTS)):
        raise ValueError(f"only must hold some of {', '.join(MEASUREMENTS)}, got {unknown[0]!r}")
    if not given.only:
        raise ValueError("only must hold at least one measurement, got none")
    out, found, absent, failed, stopped = Path(given.out), [], [], [], False
    for name in dict.fromkeys(given.only):
        if stopped:
            absent.append((name, "left out", "interrupted before"))
            continue
        try:
            section = measure(name, given, measured, config)
            report.write(section, out)
            found.append(section)
        except Missing as reason:
            absent.append((name, "left out", str(reason)))
        except KeyboardInterrupt:
            failed.append((name, "interrupted", "while it was measured"))
            stopped = True
        except Exception as error:  # the others are not to be lost
            failed.append((name, "failed", f"{type(error).__name__}: {error}"))
            print(f"evaluate.py: {name} failed: {error}", file=sys.stderr, flush=True)
    if not found and not failed:
        reasons = dict.fromkeys(reason for _, _, reason in absent)
        raise ValueError(f"nothing of what is asked for can be measured: {'; '.join(reasons)}")
    if rows := (*failed, *absent):
        text = "Measurements that were asked for and have no section on this page."
        table = Table("Not measured", ("measurement", "what", "why"), rows)
        found.append(Section("not-measured", "Not measured", text, {}, (table,)))
    about = {
        "Networks": "\n".join(f"{name}: {_described(network.about)}" for name, network in measured.networks.items()),
        "Data": "none" if config.data is None else _told(given, config.data),
        "Device": torch.cuda.get_device_name(measured.device) if measured.device.type == "cuda" else "CPU",
        "Versions": f"texfilters {texfilters.__version__}, torch {torch.__version__}",
        "Command": command,
    }
    page = report.page(given.title, found, {name: fact for name, fact in about.items() if fact})
    report.write_whole(out / "report.html", page)
    print(f"results: {out / 'report.html'}")
    return 130 if stopped else int(bool(failed))


def _described(about: dict[str, Any]) -> str:
    if "torchvision" in about:
        return f"torchvision's {about['torchvision']}, weights of {about['weights']}"
    before = ", before any training" if about.get("random_init") else ""
    classifier = about.get("classifier") or "none"
    return f"{about['backbone']['name']} by {about['method']}{before}, {about['checkpoint']}; classifier: {classifier}"


def _told(given: Namespace, data: Namespace) -> str:
    some = f", at most {given.limit} images" if given.limit else ""
    trained = f", trained on at most {given.train_limit}" if given.train_limit else ""
    return f"{data.class_path.rpartition('.')[2]} {data.init_args.get('root')}, {given.split}{some}{trained}"


def _pasted(args: Sequence[str]) -> str:
    """The command as a shell takes it, an option a line."""
    lines = ["python ssl/evaluate.py"]
    for word in map(shlex.quote, args):
        if word.startswith("--"):
            lines.append(f"    {word}")
        else:
            lines[-1] += f" {word}"
    return " \\\n".join(lines)


def main(args: list[str] | None = None) -> None:
    parser = arguments()
    parsed = parser.parse_args(args)
    name = parsed.measurement
    out = Path(parsed[name].out)
    if out.exists() and not out.is_dir():
        sys.exit(f"evaluate.py: error: --out must be a folder, got the file {out}")
    files = ["report.html", *(f"{each}.json" for each in parsed[name].only)] if name == "report" else [f"{name}.json"]
    for there in (out / file for file in files):
        if there.exists() and not parsed[name].overwrite:
            sys.exit(f"evaluate.py: error: {there} is there already: give another --out, or --overwrite")
    try:
        given = parser.instantiate(parsed)[name]
    except (ValueError, TypeError) as error:
        parser.error(str(error))
    try:
        figures.ready()
        measured = Measured(vars(given))
        if "checkpoint" in given:
            measured.networks  # noqa: B018, what is wrong with one is told before anything is measured
        out.mkdir(parents=True, exist_ok=True)
        if name == "report":
            status = reported(given, measured, parsed[name], _pasted(sys.argv[1:] if args is None else args))
        else:
            report.write(measure(name, given, measured, parsed[name]), out)
            print(f"results: {out / files[0]}")
            status = 0
    except (ValueError, OSError, RuntimeError, ImportError) as error:
        sys.exit(f"evaluate.py: error: {error}")
    except KeyboardInterrupt:
        print("evaluate.py: interrupted", file=sys.stderr)
        status = 130
    if status:
        sys.exit(status)


if __name__ == "__main__":
    main()

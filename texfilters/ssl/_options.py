"""The options of ssl/evaluate.py, in groups of which each measurement has some."""

from collections.abc import Callable
from typing import Any, Literal

from jsonargparse import ArgumentParser

from texfilters.evaluate import CORRUPTIONS
from texfilters.ssl.data import ImageData

Options = Callable[[ArgumentParser], None]


def of_networks(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("Networks, each of them as many times as there are networks")
    several: dict[str, Any] = {"action": "append", "default": []}
    group.add_argument("--checkpoint", **several, metavar="NAME=FILE", help="of pretrain.py")
    group.add_argument("--random_init", **several, metavar="NAME=FILE", help="that network before any training")
    group.add_argument("--classifier", **several, metavar="NAME=FILE", help="linear.pth or finetune.pth of probe.py")
    group.add_argument("--torchvision", **several, metavar="NAME=MODEL", help="a classifier, such as resnet50")
    group.add_argument("--weights", **several, metavar="NAME=FILE", help="its weights, .pth or .safetensors")
    group.add_argument("--size", type=int | None, help="what the networks see; by default as in pretraining")
    group.add_argument(
        "--share", type=float | None, help="of a photo's shorter side; by default 224/256, or 1 if small"
    )
    group.add_argument("--precision", type=Literal["float32", "bfloat16"], default="float32", help="of the networks")


def of_data(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("Labeled images")
    group.add_subclass_arguments(
        ImageData, "data", as_group=False, required=False, help="where they are, such as FolderData --data.root DIR"
    )
    group.add_argument("--split", type=Literal["train", "val"], default="val", help="which of them are tested")
    group.add_argument("--limit", type=int | None, help="test at most so many, evenly over all")
    group.add_argument("--train_limit", type=int | None, help="train classifiers and probes on at most so many")


def of_mapping(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("Categories")
    group.add_argument(
        "--mapping",
        type=dict[str, Any] | str | None,
        help="from categories to names or places of classes, or a YAML or JSON file of that; by default the 16 of "
        "Geirhos et al., those that the networks tell",
    )


def of_stimuli(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("Shape bias of networks")
    group.add_argument("--stimuli", type=str | None, help="a folder of images named shapeN-textureM")
    group.add_argument("--workers", type=int, default=0, help="processes that decode stimuli")


def of_answers(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("Shape bias of other observers")
    several: dict[str, Any] = {"action": "append", "default": []}
    group.add_argument("--answers", **several, metavar="NAME=FILE", help="a CSV of an observer's answers to stimuli")


def of_probes(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("Transfer")
    group.add_argument("--tests", action="append", default=[], metavar="NAME=FOLDER", help="more images, by class")
    group.add_argument("--seeds", type=list[int], default=[0, 1, 2], help="of the linear classifiers")
    group.add_argument("--k", type=int, default=200, help="of the nearest neighbors")
    group.add_argument("--temperature", type=float, default=0.07, help="of their votes")


def of_frequencies(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("High frequencies")
    group.add_argument("--radii", type=list[float] | None, help="kept of the Fourier plane, in cycles an image")
    group.add_argument("--masks", type=list[Literal["disk", "square"]], default=["disk", "square"])


def of_corruptions(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("Corruptions")
    group.add_argument("--corruptions", type=list[str], default=list(CORRUPTIONS), help="some of the 15")
    group.add_argument("--severities", type=list[int], default=[1, 2, 3, 4, 5])
    group.add_argument("--frost", type=str | None, help="a folder of the authors' pictures of frost")
    group.add_argument(
        "--constants",
        type=Literal["imagenet-c", "cifar-10-c"] | None,
        help="how strong they are; by default as in CIFAR-10-C on images of at most 64 pixels",
    )


def of_confidence(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("Confidence")
    group.add_argument("--bins", type=int, default=15, help="of the calibration")


def of_saliency(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("Saliency")
    group.add_argument("--maps", type=int, default=64, help="of how many images")
    group.add_argument("--neurons", type=int, default=16, help="of each image, whose gradients are taken")
    group.add_argument(
        "--boxes",
        type=str | None,
        help='a file of JSON, {"cat/1.jpg": [[left, top, right, bottom]]}, in pixels of the tested photos, named by '
        "class and file; maps are then of photos with boxes, and judged by them",
    )


def of_label_corruption(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("Label corruption")
    group.add_argument("--kinds", type=list[Literal["uniform", "flip"]], default=["uniform", "flip"])
    group.add_argument("--probabilities", type=list[float], default=[0.2, 0.6, 1.0], help="of a wrong label")
    group.add_argument("--gold", type=list[float], default=[0.05, 0.1], help="shares of images with trusted labels")
    group.add_argument("--runs", type=list[int], default=[0], help="seeds, each a run of the whole grid")
    group.add_argument("--epochs", type=int, default=15, help="of each of a run's two networks")


def of_boundaries(parser: ArgumentParser) -> None:
    group = parser.add_argument_group("Texture")
    group.add_argument("--boundaries", type=str | None, help="a folder of ID.jpg and ID_boundary.png, as of BSDS500")
    group.add_argument("--photos", type=int | None, help="at most so many of them")

"""The section of confidence: how sure networks are of the answers that all of them get right, and calibration."""

import dataclasses
import math

from texfilters.evaluate.confidence import calibration, network_answers, reliability_diagram, shared_confidence
from texfilters.evaluate.report import Cell, Section, Table
from texfilters.evaluate.sections._model import LabeledImages, Models, classifying
from texfilters.evaluate.sections._numbers import difference, percent

TEXT = """\
How sure the networks are of their answers to {images} images of {classes} classes, and whether rightly so. Entropy and
top probability are means over the {shared} images that {all} right, so that none gains by easier images; the
entropy of a guess among all classes would be {most:.2f} nats.

The expected calibration error is the mean distance between the probability of an answer and the accuracy of such
answers, over {bins} bins of equal width. 0 is a network that is right as often as it says.

Sources: Mishra et al. 2020, arXiv:2011.01901, for the comparison; Guo et al. 2017, arXiv:1706.04599, for calibration.\
"""


def confidence(models: Models, images: LabeledImages, *, bins: int = 15) -> Section:
    """Entropy and top probability of shared right answers, and calibration of all answers.

    Args:
        models: with the classes of the images.
        bins: as in `calibration`.

    Raises:
        ValueError: for models with other classes, and as `network_answers` and `calibration`.
    """
    classifying(models, images)
    given = {
        name: network_answers(model.logits, images, transform=model.view, device=model.device)
        for name, model in models.items()
    }
    shared = shared_confidence(given)
    calibrations = {name: calibration(answers, bins) for name, answers in given.items()}
    accuracies = {name: answers.right.double().mean().item() for name, answers in given.items()}
    rows: list[tuple[Cell, ...]] = [
        (
            name,
            percent(accuracies[name]),
            round(shared[name].entropy, 4),
            percent(shared[name].top),
            percent(calibrations[name].error),
            percent(calibrations[name].greatest),
        )
        for name in models
    ]
    if len(rows) == 2:
        rows.append(difference(rows))
    header = ("network", "accuracy, %", "entropy, nats", "top probability, %", "expected calibration error, %")
    first, answers = next(iter(shared.values())), next(iter(given.values()))
    return Section(
        name="confidence",
        title="Confidence",
        text=TEXT.format(
            images=len(answers.labels),
            classes=len(images.classes),
            shared=first.images,
            all="all networks get" if len(models) > 1 else "the network gets",
            most=math.log(len(images.classes)),
            bins=bins,
        ),
        record={
            "images": len(answers.labels),
            "shared_right_images": first.images,
            "bins": bins,
            "models": {
                name: {
                    "accuracy": accuracies[name],
                    "entropy": shared[name].entropy,
                    "top_probability": shared[name].top,
                    "calibration": dataclasses.asdict(calibrations[name]),
                }
                for name in models
            },
        },
        tables=(Table("Confidence and calibration", (*header, "greatest, %"), tuple(rows)),),
        figures={"Accuracy against confidence": reliability_diagram(calibrations)},
    )

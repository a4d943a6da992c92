"""The shape bias of the AlexNet whose answers Geirhos et al. published, from the table of its answers.

    python benchmarks/published_shape_bias.py ANSWERS.csv

ANSWERS.csv is the table of AlexNet's answers to the 1,280 cue-conflict images, from the authors' repository. The counts
go to benchmarks/results/evaluate/shape_bias_published_alexnet.json; `evaluation_figures.py` draws them.
"""

import argparse
from pathlib import Path
from typing import Any

import machine
from texfilters.evaluate import Decisions, ShapeBias, shape_bias_from_answers, shape_bias_interval

RESULT = Path(__file__).resolve().parent / "results" / "evaluate" / "shape_bias_published_alexnet.json"
SOURCE = "AlexNet's answers of Geirhos et al. 2019 (arXiv:1811.12231), github.com/rgeirhos/texture-vs-shape, CC BY 4.0"


def counted(answers: Path) -> dict[str, Any]:
    found = shape_bias_from_answers(answers)
    interval = shape_bias_interval(found)
    about = {"date": machine.date(), "commit": machine.commit(), "packages": machine.packages(["torch", "numpy"])}
    return {
        "command": "python benchmarks/published_shape_bias.py ANSWERS.csv",
        "source": SOURCE,
        **about,
        "shape_bias": found.overall,
        "interval": list(interval.overall),
        "confidence": interval.confidence,
        "counts": found.counts._asdict(),
        "by_category": {name: counts._asdict() for name, counts in found.counts_by_class.items()},
    }


def bias(result: dict[str, Any]) -> ShapeBias:
    """That of a result."""
    by_class = {name: Decisions(**counts) for name, counts in result["by_category"].items()}
    counts = Decisions(**result["counts"])
    return ShapeBias(counts.bias, {name: each.bias for name, each in by_class.items()}, counts, by_class)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("answers", type=Path)
    parser.add_argument("--result", type=Path, default=RESULT)
    given = parser.parse_args()
    result = counted(given.answers)
    given.result.write_text(machine.as_json(result))
    print(f"wrote {given.result}: {result['counts']}, shape bias {100 * result['shape_bias']:.1f} %")


if __name__ == "__main__":
    main()

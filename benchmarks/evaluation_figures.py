"""Draw the figures of docs/evaluation.md that come from committed results, and the kappa of a photo.

python benchmarks/evaluation_figures.py [--out docs]
"""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

import photos
import published_shape_bias
import texture_quality
from texfilters.evaluate import kappa_figure, shape_bias_figure, suppression_figure
from texfilters.evaluate.texture_figure import headline

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("docs"), help="folder for the figures (default %(default)s)")
    folder = parser.parse_args().out
    folder.mkdir(parents=True, exist_ok=True)
    draw(folder)


def draw(folder: Path) -> None:
    for name, figure in (
        ("kappa.jpg", kappa()),
        ("texture-suppression.png", texture_suppression()),
        ("shape-bias.png", shape_bias()),
    ):
        metadata = {"Software": None} if name.endswith(".png") else None  # a new matplotlib is no new picture
        figure.savefig(folder / name, dpi=110, metadata=metadata)
        print(f"wrote {folder / name}, {(folder / name).stat().st_size / 1e3:.0f} kB")


def texture_suppression() -> "Figure":
    curves = texture_quality.curves(json.loads(texture_quality.RESULT.read_text()))
    return suppression_figure(curves, headline(curves))


def kappa() -> "Figure":
    return kappa_figure(photos.to_tensor(photos.load()["chelsea"]))


def shape_bias() -> "Figure":
    result = published_shape_bias.bias(json.loads(published_shape_bias.RESULT.read_text()))
    return shape_bias_figure({"AlexNet, published answers": result})


if __name__ == "__main__":
    main()

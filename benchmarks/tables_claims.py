"""Which of the papers' claims hold here: a line a claim, from all results under benchmarks/results/evaluate."""

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import mean
from typing import NamedTuple

from label_corruption_studies import STUDIES as LABEL_STUDIES
from suppression_studies import STUDIES
from suppression_summary import SHAPE_BIAS, Difference, Summary, compared
from table_cells import Result, table
from tables_suppression import TITLES
from texture_quality import curves

_DIFFUSION = ("diffusion-20", "diffusion-50", "tukey-20", "tukey-50")
_DATA = {"pacs": "PACS", "cifar10": "CIFAR-10"}
_HALF = "diffusion, exponential", "diffusion, rational", "bilateral filter", "Gaussian blur"
_NOTE = (
    "Of trained networks: differences in points, mean over seeds, from training on the images alone unless another "
    "filter is named. A comparison holds where an interval of 95 % over seeds (Student's t) lies above 0, for the "
    "opposite where it lies below, and is open elsewhere, as always with one seed. Numbers in brackets are the papers' "
    "own; claims without any follow from theirs. Reduced: small networks and short training on a CPU, no verdict on "
    "the papers' settings. What they found on pretrained networks (ImageNet-C, high frequencies, saliency, confidence, "
    "patch negatives) has its measurement above, but no result here."
)


class Claim(NamedTuple):
    """That variants answer a test better than plain or another variant; `SHAPE_BIAS` counts as a test."""

    text: str
    data: str  # of the studies
    test: str
    others: Sequence[str] = ("plain",)
    variants: Sequence[str] = _DIFFUSION


CLAIMS = (
    Claim("Diffused copies help on sketches (Sketch-ImageNet 13.0 to 24.5 %)", "pacs", "sketch"),
    Claim(
        "Diffusion, 20 iterations, helps there more than other filters",
        "pacs",
        "sketch",
        tuple(TITLES)[1:4],
        ("diffusion-20",),
    ),
    Claim("Diffused copies help on cartoons, which have little texture, too", "pacs", "cartoon"),
    Claim("Diffused copies help on ordinary photos (ImageNet 76.1 to 77.0 %)", "pacs", "photo"),
    Claim("The same on CIFAR-10's own test images", "cifar10", "test"),
    Claim("Diffused copies raise the shape bias", "cifar10", SHAPE_BIAS),
    Claim("Diffused copies help on edges", "cifar10", "edges"),
    Claim("Diffused copies help on filled silhouettes", "cifar10", "filled-silhouettes"),
)


def table_of(folder: Path) -> str:
    rows = [*_texture(folder), *(_copies(claim, folder) for claim in CLAIMS), _labels(folder)]
    return f"{table(['claim', 'measured here', 'verdict'], rows).replace('---:', '---')}\n{_NOTE}\n"


def _texture(folder: Path) -> Iterator[list[str]]:
    files = folder / "texture_bsds500.json", folder / "texture_bsds500_settings.json"
    if not all(path.exists() for path in files):
        return
    found, settings = (json.loads(path.read_text()) for path in files)
    kept = {curve.name: curve.kept_at(0.5) for curve in curves(found)}
    line = next(row["kept"] for row in settings["rows"] if row["tolerance"] == 0)
    papers, *_, blur = _HALF
    better, of = next(each["better_than_blur"] for each in found["curves"] if each["filter"] == papers)
    holds = kept[papers] > kept[blur] and 2 * better > of
    yield [
        "Diffusion takes texture away and keeps edges better than blur",
        f"BSDS500, edge strength kept with half of the texture energy removed, within "
        f"{found['tolerance']} pixels: {', '.join(f'{_called(name)} {100 * kept[name]:.1f} %' for name in _HALF)}; "
        f"on the drawn line itself ({settings['images']} photos) {_called(papers)} {100 * line[papers]:.1f} %, "
        f"{blur} {100 * line[blur]:.1f} %",
        "holds near boundaries" if holds else "does not hold",
    ]


def _copies(claim: Claim, folder: Path) -> list[str]:
    for study in (claim.data, f"{claim.data}-reduced"):
        found = Summary(study, folder)
        pairs = [(v, o) for v, o in itertools.product(claim.variants, claim.others) if found.seeds(v, o)]
        differences = {pair: found.difference(pair[0], claim.test, pair[1]) for pair in pairs}
        told = {pair: difference for pair, difference in differences.items() if difference is not None}
        if told:
            points = ", ".join(
                f"{'over ' + TITLES[other] if other != 'plain' else TITLES[variant]} {signed(difference.value)}"
                for (variant, other), difference in told.items()
            )
            counts = {len(found.seeds(*pair)) for pair in told}
            name = _DATA[claim.data] + ", reduced" * STUDIES[study].reduced
            return [claim.text, f"{name}, {_seeds(counts)}: {points}", verdict(told.values())]
    return [claim.text, "not yet measured", "open"]


def _labels(folder: Path) -> list[str]:
    """GLC's error with diffused copies and without, mean over the probabilities, of the seeds that have them all."""
    text = (
        "Diffused copies lower the error where labels are wrong (CIFAR-100, 60 % of them, gold 0.1: 36.75 to 34.98 %)"
    )
    for name in sorted(LABEL_STUDIES, key=lambda name: not LABEL_STUDIES[name].needs_gpu):
        study = LABEL_STUDIES[name]
        files = folder.glob(f"label_corruption_{name}_*.json")
        runs: list[Result] = [json.loads(path.read_text()) for path in files]
        errors = {(r["corruption"], r["gold"], r["variant"], r["seed"], r["probability"]): r["error"] for r in runs}
        told, counts = {}, set()
        for corruption, gold in itertools.product(study.corruptions, study.gold):
            lower = []
            for seed in range(study.seeds):
                keys = [
                    [(corruption, gold, v, seed, p) for v in ("baseline", "diffusion")] for p in study.probabilities
                ]
                if all(key in errors for pair in keys for key in pair):
                    lower.append(100 * mean(errors[without] - errors[copies] for without, copies in keys))
            if lower:
                told[f"{corruption}, gold {gold:g}: error"] = compared(lower)
                counts.add(len(lower))
        if told:
            points = "; ".join(f"{what} {signed(-difference.value)}" for what, difference in told.items())
            reduced = "" if study.needs_gpu else ", reduced"
            return [text, f"CIFAR-10{reduced}, {_seeds(counts)}, GLC: {points}", verdict(told.values())]
    return [text, "not yet measured", "open"]


def verdict(differences: Iterable[Difference]) -> str:
    """Of one word where all comparisons agree."""
    kinds = ["open" if not each.clear else "holds" if each.value > 0 else "the opposite holds" for each in differences]
    counts = Counter(kinds)
    if len(counts) == 1:
        return kinds[0]
    return ", ".join(
        f"{kind} in {counts[kind]} of {len(kinds)}" for kind in ("holds", "the opposite holds", "open") if counts[kind]
    )


def signed(value: float) -> str:
    return "–" if value != value else f"{value:+.1f}".replace("-", "−")


def _called(name: str) -> str:
    kind, _, which = name.partition(", ")
    return f"{which} {kind}".strip()


def _seeds(counts: set[int]) -> str:
    low, high = min(counts), max(counts)
    return f"{low}{f' to {high}' if high > low else ''} seed{'s' * (high > 1)}"

"""The tables of suppressed copies, from the results of suppression_runs.py; tables_claims.py says what follows."""

import math
from pathlib import Path
from statistics import stdev

from suppression_studies import STUDIES
from suppression_summary import SHAPE_BIAS, Summary
from table_cells import table
from tables_studies import not_yet, spread

TITLES = {
    "plain": "plain",
    "gaussian": "Gaussian blur",
    "bilateral": "bilateral filter",
    "cartoon": "cartoon",
    "diffusion-20": "diffusion 20",
    "diffusion-50": "diffusion 50",
    "tukey-20": "Tukey 20",
    "tukey-50": "Tukey 50",
}
TESTS = {"art_painting": "art painting", "filled-silhouettes": "filled silhouettes", "test": "CIFAR-10"}
_BALANCED = ("cartoon", "sketch")  # domains whose classes differ in size the most


def table_of(study: str, folder: Path) -> str:
    """Accuracies by variant, bold where they clearly differ from plain, and where the numbers come from."""
    found = Summary(study, folder)
    if not found.found:
        return not_yet(STUDIES[study].needs_gpu)
    return f"{_accuracies(found)}\n{_note(found)}\n\n{_origin(found)}\n"


def _accuracies(found: Summary) -> str:
    balanced = [test for test in _BALANCED if test in found.tests]
    heading = ["", *(_title(test) for test in found.tests), *(f"{test}, by class" for test in balanced)]
    lines = []
    for variant in found.variants:
        cells = [_marked(found, variant, test, spread(found.accuracies(variant, test))) for test in found.tests]
        cells += [spread(found.accuracies(variant, test, "balanced_accuracy")) for test in balanced]
        if found.has_conflict:
            bias, seeds = found.bias(variant), [b for b in found.biases(variant) if not math.isnan(b)]
            lower, upper = bias.interval
            text = f"{bias.value:.1f}" + (f" ± {stdev(seeds):.1f}" if len(seeds) > 1 else "")
            cells.append(_marked(found, variant, SHAPE_BIAS, text) if seeds else "–")
            cells.append("–" if math.isnan(lower) else f"{lower:.1f} to {upper:.1f}")
        lines.append([TITLES[variant], *cells, str(len(found.seeds(variant)))])
    if found.has_conflict:
        heading += [SHAPE_BIAS, "its interval"]
    return table([*heading, "runs"], lines)


def _marked(found: Summary, variant: str, test: str, text: str) -> str:
    difference = None if variant == "plain" else found.difference(variant, test)
    return f"**{text}**" if difference is not None and difference.clear else text


def _note(found: Summary) -> str:
    study, first = STUDIES[found.study], found.found[0]
    counts = ", ".join(f"{_title(test)} {first['tests'][test]['images']:,}" for test in found.tests)
    also = "; of the shape bias over stimuli, too" if found.has_conflict else ""
    text = (
        f"Accuracy in %, mean and standard deviation over seeds; images: {counts}. Bold: differs from plain, seed by "
        f"seed (95 %, Student's t{also}), as one number in 20 would by chance; a single seed tells nothing apart. All "
        f"train for {first['steps']:,} steps; but for plain on {first['images']:,} images and a suppressed copy of "
        f"each, which are seen half as often then, as in the papers. 20 and 50: iterations. ResNet-9 of width "
        f"{first['width']} from scratch on {first['side']}x{first['side']} pixels, suppressed before any resizing."
    )
    if study.data == "pacs":
        text += " Photo and art painting: images held out. By class: mean over the classes; 14.3 % is chance."
    else:
        either = [r["conflict"]["shape"] + r["conflict"]["texture"] for r in found.found]
        text += (
            f" Edges, silhouettes and shape bias: answers among the 7 categories of Geirhos et al. that are classes of "
            f"CIFAR-10; 14.3 % is chance. Shape bias: in % of {min(either)} to {max(either)} decisions a run, for "
            f"shape or texture, on {len(first['conflict']['decisions'])} stimuli; its interval is a bootstrap (95 %). "
            f"The papers' strengths, made for larger images, may take away more than texture at this size."
        )
    return f"{text} {study.note}".strip()


def _title(test: str) -> str:
    return TESTS.get(test, test)


def _origin(found: Summary) -> str:
    first = found.found[0]
    places = {r.get("device") or f"{r['cpu']}, {r['cores']} core{'s' * (r['cores'] > 1)}" for r in found.found}
    dates, commits = (", ".join(sorted({r[key] for r in found.found})) for key in ("date", "commit"))
    versions = ", ".join(f"{package} {version}" for package, version in first["packages"].items())
    return f"<sub>{'; '.join(sorted(places))}; {dates}; commit {commits}; {versions}.</sub>"

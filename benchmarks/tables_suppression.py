"""The tables of suppressed copies, from the results of suppression_runs.py, and what holds of the papers' claims."""

import itertools
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import stdev
from typing import NamedTuple

from suppression_studies import STUDIES
from suppression_summary import Bias, Difference, Summary
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
_DIFFUSION = ("diffusion-20", "diffusion-50", "tukey-20", "tukey-50")


class Claim(NamedTuple):
    """That variants answer a test better than plain or another variant; "shape bias" counts as a test."""

    text: str
    test: str
    others: Sequence[str] = ("plain",)
    variants: Sequence[str] = _DIFFUSION


CLAIMS = {
    "pacs": (
        Claim("Diffused copies help on sketches (papers: Sketch-ImageNet 13.0 to 24.5 %)", "sketch"),
        Claim("They help on cartoons, another domain with little texture", "cartoon"),
        Claim("They help on held-out photos, too (papers: ImageNet 76.1 to 77.0 %)", "photo"),
        Claim(
            "Diffusion helps on sketches more than blur, bilateral filter and cartoon",
            "sketch",
            ("gaussian", "bilateral", "cartoon"),
            ("diffusion-20",),
        ),
    ),
    "cifar10": (
        Claim("Diffused copies raise the shape bias", "shape bias"),
        Claim("They help on edges", "edges"),
        Claim("They help on filled silhouettes", "filled-silhouettes"),
        Claim("They help on the data set's own test images (papers: ImageNet 76.1 to 77.0 %)", "test"),
    ),
}


def table_of(study: str, folder: Path) -> str:
    """Accuracies, differences from plain, what follows of the claims, and where the numbers come from."""
    found = Summary(study, folder)
    if not found.found:
        return not_yet(STUDIES[study].needs_gpu)
    parts = [f"{_accuracies(found)}\n{_accuracy_note(found)}"]
    if len(found.variants) > 1 and "plain" in found.variants:
        parts += [f"{_differences(found)}\n{_difference_note(found)}", "\n".join(_claims(found))]
    return "\n\n".join([*parts, _origin(found)]) + "\n"


def _accuracies(found: Summary) -> str:
    balanced = [test for test in _BALANCED if test in found.tests]
    heading = ["", *(_title(test) for test in found.tests), *(f"{test}, by class" for test in balanced)]
    lines = []
    for variant in found.variants:
        cells = [spread(found.accuracies(variant, test)) for test in found.tests]
        cells += [spread(found.accuracies(variant, test, "balanced_accuracy")) for test in balanced]
        if found.has_conflict:
            bias, seeds = found.bias(variant), [b for b in found.biases(variant) if not math.isnan(b)]
            deviation = f" ± {stdev(seeds):.1f}" if len(seeds) > 1 else ""
            cells += ["–" if math.isnan(bias.value) else f"{bias.value:.1f}{deviation}", _range(bias.interval)]
        lines.append([TITLES[variant], *cells, str(len(found.seeds(variant)))])
    if found.has_conflict:
        heading += ["shape bias", "its interval"]
    return table([*heading, "runs"], lines)


def _differences(found: Summary) -> str:
    lines = []
    for variant in (name for name in found.variants if name != "plain"):
        cells = [_points(found.difference(variant, test)) for test in found.tests]
        if found.has_conflict:
            cells.append(_points(found.bias_difference(variant)))
        lines.append([TITLES[variant], *cells])
    tests = [_title(test) for test in found.tests] + ["shape bias"] * found.has_conflict
    return table(["from plain", *tests], lines)


def _accuracy_note(found: Summary) -> str:
    study, first = STUDIES[found.study], found.found[0]
    counts = ", ".join(f"{_title(test)} {first['tests'][test]['images']:,}" for test in found.tests)
    text = (
        f"Accuracy in %, mean and standard deviation over seeds; test images: {counts}. Trained on {first['images']:,} "
        f"images and, but for plain, on a suppressed copy of each, half as often: {first['steps']:,} steps for all. "
        f"20 and 50: iterations. ResNet-9 of width {first['width']} from scratch, {first['epochs']} epochs of the "
        f"images alone, at {first['side']}x{first['side']} pixels; filters work at the images' own size, before."
    )
    if study.data == "pacs":
        text += " Photo and art painting are held-out images of the domains of training."
        text += " By class: mean of the classes' accuracies, of which 14.3 % is chance."
    else:
        either = [r["conflict"]["shape"] + r["conflict"]["texture"] for r in found.found]
        runs = max(len(found.seeds(variant)) for variant in found.variants)
        text += (
            f" Edges, silhouettes and shape bias: answers among the 7 categories that Geirhos et al. share with "
            f"CIFAR-10, that of the highest probability, the other three classes left out; 14.3 % is chance, and one "
            f"image of edges or silhouettes is 1.4 points. Shape bias in % of all seeds' decisions for shape or "
            f"texture, {min(either)} to {max(either)} a run on {len(first['conflict']['decisions'])} cue-conflict "
            f"stimuli; its interval of 95 % is a bootstrap over {'seeds and ' if runs > 1 else ''}stimuli. The "
            f"papers' strengths are for images of some 224 pixels; at 32 they may take away more than texture."
        )
    return f"{text} {study.note}".strip()


def _difference_note(found: Summary) -> str:
    bias, bootstrap = "", ""
    if found.has_conflict:
        bias, bootstrap = "; of the shape bias with its bootstrap interval", "; over seeds and stimuli"
    return (
        f"Differences from the plain runs of the same seeds in points, with their standard deviation{bias}. Bold where "
        f"an interval of 95 % excludes 0 (Student's t over seeds{bootstrap}), as one in 20 would by chance. What is "
        f"not bold is not told apart from 0 by so few seeds."
    )


def _claims(found: Summary) -> Iterator[str]:
    """A line a claim: for how many of its comparisons it clearly holds, or its opposite, and how many are open."""
    where = "in these reduced cells" if STUDIES[found.study].reduced else "in these cells"
    yield f"What holds of the papers' claims {where}, where bold differences count as told apart:"
    yield ""
    for claim in CLAIMS[STUDIES[found.study].data]:
        verdicts: dict[str, list[str]] = {"holds": [], "the opposite holds": [], "open": []}
        for variant, other in itertools.product(claim.variants, claim.others):
            if (difference := _difference(found, variant, other, claim.test)) is None:
                continue
            value, clear = difference
            kind = "open" if not clear else "holds" if value > 0 else "the opposite holds"
            verdicts[kind].append(f"{TITLES[variant if other == 'plain' else other]} {_signed(value)}")
        count = sum(map(len, verdicts.values()))
        said = [f"{kind} in {len(names)} of {count} ({', '.join(names)})" for kind, names in verdicts.items() if names]
        yield f"- {claim.text}: {'; '.join(said) or 'not measured'}."


def _difference(found: Summary, variant: str, other: str, test: str) -> tuple[float, bool] | None:
    if test == "shape bias":
        bias = found.bias_difference(variant)
        return None if bias is None else (bias.value, _is_clear(bias))
    accuracy = found.difference(variant, test, other)
    return None if accuracy is None else (accuracy.value, accuracy.clear)


def _is_clear(bias: Bias) -> bool:
    return bias.seeds > 1 and (bias.interval[0] > 0 or bias.interval[1] < 0)


def _points(difference: Difference | Bias | None) -> str:
    if difference is None:
        return ""
    if isinstance(difference, Bias):
        text = f"{_signed(difference.value)} ({_range(difference.interval, signed=True)})"
        return f"**{text}**" if _is_clear(difference) else text
    text = _signed(difference.value)
    if not math.isnan(difference.deviation):
        text += f" ± {difference.deviation:.1f}"
    return f"**{text}**" if difference.clear else text


def _range(interval: tuple[float, float], *, signed: bool = False) -> str:
    lower, upper = interval
    if math.isnan(lower):
        return "–"
    return f"{_signed(lower)} to {_signed(upper)}" if signed else f"{lower:.1f} to {upper:.1f}"


def _signed(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:+.1f}".replace("-", "−")


def _title(test: str) -> str:
    return TESTS.get(test, test)


def _origin(found: Summary) -> str:
    first = found.found[0]
    places = {r.get("device") or f"{r['cpu']}, {r['cores']} core{'s' * (r['cores'] > 1)}" for r in found.found}
    dates, commits = (", ".join(sorted({r[key] for r in found.found})) for key in ("date", "commit"))
    versions = ", ".join(f"{package} {version}" for package, version in first["packages"].items())
    return f"<sub>{'; '.join(sorted(places))}; {dates}; commit {commits}; {versions}.</sub>"

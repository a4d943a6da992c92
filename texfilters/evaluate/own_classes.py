"""Categories for networks with classes of their own: from names, from files, and the usual ones."""

import difflib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from texfilters.evaluate.class_mapping import SIXTEEN_CATEGORIES

# What CIFAR-10, STL-10 and others call categories of Geirhos et al.
_SYNONYMS = {"automobile": "car", "ship": "boat", "aeroplane": "airplane", "plane": "airplane", "bike": "bicycle"}


def read_mapping(path: str | os.PathLike[str]) -> dict[str, Any]:
    """A mapping from categories to classes out of a YAML or JSON file.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it holds anything but a mapping.
        ImportError: for YAML without PyYAML.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"mapping must be a YAML or JSON file, or a mapping itself, got {str(path)!r}")
    try:
        text = Path(path).read_text(encoding="utf-8")
        if str(path).endswith(".json"):
            found = json.loads(text)
        else:
            import yaml

            found = yaml.safe_load(text)
    except ModuleNotFoundError as error:
        raise ImportError("YAML files need PyYAML: pip install 'texfilters[ssl]'", name="yaml") from error
    except Exception as error:  # the parsers' own
        raise ValueError(f"{path} must be a YAML or JSON file: {' '.join(str(error).split())}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} must map categories to classes, got {type(found).__name__}")
    return found


def categories_of(mapping: Mapping[str, Any], classes: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """The places of each category's classes.

    Args:
        mapping: from each category to one class or several, by their names or by their places in `classes`.
        classes: the names of a network's classes, in their order.

    Raises:
        ValueError: for no category, one without a class, a class that is not there, a name that several classes bear,
            and a class of two categories.
    """
    if not mapping:
        raise ValueError("mapping must hold at least one category, got none")
    owners: dict[int, str] = {}
    result = {}
    for category, members in mapping.items():
        listed = [members] if isinstance(members, str | int) else members
        if not isinstance(listed, Iterable):
            raise ValueError(f"mapping must give {category!r} classes, got {members!r}")
        places = tuple(_place(member, str(category), classes) for member in listed)
        if not places:
            raise ValueError(f"mapping must give each category at least one class, got none for {category!r}")
        for place in places:
            if place in owners:
                both = f"{owners[place]!r} and {category!r}"
                raise ValueError(f"mapping must name each class once, got {classes[place]!r} for {both}")
            owners[place] = str(category)
        result[str(category)] = places
    return result


def usual_categories(classes: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Which of the 16 categories of Geirhos et al. a network tells, and the places of their classes.

    For 1,000 classes these are ImageNet's. Else a class belongs to the category whose name it bears, or that of a
    synonym: automobile, ship, aeroplane, plane, bike. Empty if there is none.
    """
    if len(classes) == 1000:
        return dict(SIXTEEN_CATEGORIES)
    found: dict[str, tuple[int, ...]] = {}
    for place, name in enumerate(classes):
        word = name.lower()
        category = _SYNONYMS.get(word, word)
        if category in SIXTEEN_CATEGORIES:
            found[category] = (*found.get(category, ()), place)
    return {category: found[category] for category in SIXTEEN_CATEGORIES if category in found}


def shared_categories(
    classes: Mapping[str, Sequence[str]], mapping: Mapping[str, Any] | None = None
) -> dict[str, dict[str, tuple[int, ...]]]:
    """For each of several networks the places of the classes of the categories that all of them tell.

    Args:
        classes: the names of each network's classes.
        mapping: as in `categories_of`, for all networks; None takes `usual_categories`.

    Raises:
        ValueError: for fewer than two categories that all tell, and as `categories_of`.
    """
    if not classes:
        raise ValueError("classes must be of at least one network, got none")
    if mapping is not None:
        found = {name: categories_of(mapping, names) for name, names in classes.items()}
    else:
        found = {name: usual_categories(names) for name, names in classes.items()}
    common = [category for category in next(iter(found.values())) if all(category in own for own in found.values())]
    if len(common) < 2:
        few = f"got {', '.join(common) or 'none'}"
        raise ValueError(
            f"{' and '.join(map(repr, classes))} must tell at least two common categories, {few}: give a mapping from "
            f"categories, such as {', '.join(list(SIXTEEN_CATEGORIES)[:3])}, to classes"
        )
    return {name: {category: own[category] for category in common} for name, own in found.items()}


def _place(member: Any, category: str, classes: Sequence[str]) -> int:
    if isinstance(member, bool) or not isinstance(member, int | str):
        raise ValueError(f"mapping must give {category!r} names or places of classes, got {member!r}")
    if isinstance(member, int):
        if not 0 <= member < len(classes):
            raise ValueError(f"mapping must hold classes in [0, {len(classes)}), got {member} for {category!r}")
        return member
    places = [i for i, name in enumerate(classes) if name == member]
    if not places:
        near = ", ".join(difflib.get_close_matches(member, classes)) or ", ".join(list(classes)[:4])
        raise ValueError(f"mapping must hold classes of the network ({near}?), got {member!r} for {category!r}")
    if len(places) > 1:
        raise ValueError(f"mapping must hold names of one class, got {member!r}, which classes {places} bear")
    return places[0]

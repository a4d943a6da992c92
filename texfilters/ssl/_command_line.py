"""What the commands of the folder ssl/ share: how they tell of themselves, and of mistakes."""

import argparse
from typing import NoReturn

from jsonargparse import ArgumentParser, DefaultHelpFormatter


class Formatter(DefaultHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Keeps the lines of the description."""


class ToldInALine(ArgumentParser):
    """Says what is wrong with a setting, without fifty lines of all that there are."""

    _IDLE = (
        "Does not validate",
        "Subtypes:",
        "Errors:",
        "Expected a <class 'NoneType'>",
        "Expected a path but",
        "Expected a dot import path",
        "Given value type",
        "Given value: NestedArg",
    )

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        lines = (line.strip().removeprefix("- ") for line in message.splitlines())
        told = " ".join(line for line in lines if line and not line.startswith(self._IDLE))
        self.exit(2, f"{self.prog}: error: {told}; see --help\n")

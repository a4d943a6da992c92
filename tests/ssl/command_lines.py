"""Commands of the folder ssl/ as their own parsers read them; nothing is built, trained or written."""

import functools
import shlex
from unittest import mock

from probe_cases import ROOT, script
from texfilters.ssl._command_line import ToldInALine


def parsed(command):
    """What a command such as `python ssl/probe.py --method knn` gives; ValueError with the parser's words if nothing.

    Args:
        command: a line, or its words from the script on.
    """
    words = shlex.split(command, comments=True) if isinstance(command, str) else list(command)
    program, *arguments = words[1:] if words[0] == "python" else words
    at_root = [argument.replace("ssl/configs/", f"{ROOT}/ssl/configs/") for argument in arguments]
    with mock.patch.object(ToldInALine, "error", _raised):
        return PARSERS[program](at_root)


@functools.cache
def _script(name):
    return script(name)


def _pretrain(arguments):
    command = _script("pretrain")
    nothing = mock.patch.object(command.Pretraining, "instantiate_classes")
    with nothing, mock.patch("lightning.pytorch.cli.seed_everything", lambda seed, **_: seed):
        return command.Pretraining(arguments).config


def _other(name, arguments):
    return _script(name).arguments().parse_args(arguments)


def _raised(parser, message, ex=None):
    raise ValueError(message)


PARSERS = {
    "ssl/pretrain.py": _pretrain,
    "ssl/probe.py": functools.partial(_other, "probe"),
    "ssl/export.py": functools.partial(_other, "export"),
    "ssl/evaluate.py": functools.partial(_other, "evaluate"),
}

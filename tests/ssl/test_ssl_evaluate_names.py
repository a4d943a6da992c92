"""Names on the command line of ssl/evaluate.py: of networks, files and options."""

import pytest

pytest.importorskip("lightning", reason="needs lightning")

from probe_cases import script
from texfilters.ssl._measured import named


def test_names_of_what_is_given(tmp_path):
    path = tmp_path / "run=1" / "last.ckpt"
    path.parent.mkdir()
    path.touch()
    assert named("--x", ["a=runs/b/last.ckpt", "runs/c/last.ckpt", "d.csv", "resnet50", str(path)]) == {
        "a": "runs/b/last.ckpt", "c": "runs/c/last.ckpt", "d": "d.csv", "resnet50": "resnet50", "run=1": str(path),
    }  # fmt: skip
    assert named("--classifier", ["probe/linear.pth"], {"net": ""}) == {"net": "probe/linear.pth"}
    with pytest.raises(ValueError, match="must be of a network that is given, a, b, got 'linear'"):
        named("--classifier", ["probe/linear.pth"], {"a": "", "b": ""})
    with pytest.raises(ValueError, match="must be NAME=VALUE, got 'a='"):
        named("--x", ["a="])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("shapebias",), "argument measurement: invalid choice: 'shapebias'"),
        (("shape-bias", "--stimulus", "x"), "unrecognized arguments: --stimulus x"),
        (("high-frequencies", "--masks", "[round]"), 'Parser key "masks"'),
        ((), "was not provided"),
    ],
)
def test_a_typo_is_named_in_a_line(arguments, message, capsys):
    with pytest.raises(SystemExit) as end:
        script("evaluate").main(list(arguments))
    told = capsys.readouterr().err
    assert end.value.code == 2
    assert message in told
    assert told.count("\n") == 1

"""Take the pretrained network of a checkpoint to another library.

    python ssl/export.py --checkpoint runs/pretraining/last.ckpt --path resnet18.safetensors --format timm

The file's name ends in .safetensors, .pth or, for detectron2, .pkl. The lines that are printed say how to load it.
"""

import sys
from pathlib import Path

from jsonargparse import ArgumentParser

from texfilters.ssl._command_line import Formatter, ToldInALine
from texfilters.ssl.export import Format, export


def arguments() -> ArgumentParser:
    parser = ToldInALine(description=__doc__, formatter_class=Formatter)
    parser.add_argument("--checkpoint", type=str, required=True, help="of one of the methods, as pretrain.py writes it")
    parser.add_argument("--path", type=str, required=True, help="the file to write")
    parser.add_argument("--format", type=Format, default="torchvision", help="the library that is to read it")
    parser.add_argument("--overwrite", action="store_true", help="replace a file that is there")
    return parser


def main(args: list[str] | None = None) -> None:
    given = arguments().parse_args(args)
    try:
        result = export(given.checkpoint, given.path, given.format, overwrite=given.overwrite)
    except FileExistsError:
        sys.exit(f"export.py: error: {given.path} is there already: give another name, or --overwrite")
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f"export.py: error: {error}")
    megabytes = Path(given.path).stat().st_size / 1e6
    print(f"{given.path}: {len(result.tensors)} tensors of {result.model} for {result.format}, {megabytes:.1f} MB")
    print("\n".join([*_loading(given.path, given.format), *result.usage]))


def _loading(path: str, format: Format) -> list[str]:
    """What makes `weights` of the file for the lines that follow; detectron2 reads it by itself."""
    if format == "detectron2":
        return []
    how = (
        "safetensors.torch.load_file({!r})" if path.endswith(".safetensors") else "torch.load({!r}, weights_only=True)"
    )
    return [f"weights = {how.format(path)}"]


if __name__ == "__main__":
    main()

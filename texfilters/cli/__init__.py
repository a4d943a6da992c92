"""The command line: `texfilters info`, `texfilters suppress`, `texfilters compare`."""

import sys


def main() -> None:
    """Run the command line; what it needs beyond the library is the extra `cli`."""
    try:
        from texfilters.cli.app import app
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in ("typer", "rich", "PIL"):
            raise
        sys.exit(f"texfilters: {package} is not installed; the command line needs it: pip install 'texfilters[cli]'")
    except KeyboardInterrupt:
        sys.exit(130)
    app()

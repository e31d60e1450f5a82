"""What commands share: an option that tells its default."""

import argparse
from collections.abc import Callable
from pathlib import Path

Runner = Callable[[argparse.Namespace], int | None]  # the exit code; None is 0


def option(parser: argparse.ArgumentParser, name: str, default: int | Path, purpose: str) -> None:
    """An option of its default's type, whose help tells the default."""
    parser.add_argument(
        name, type=type(default), default=default, help=f"{purpose}; default: {default}"
    )

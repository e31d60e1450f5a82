"""What commands share: an option that tells its default, and a progress bar."""

import argparse
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

Runner = Callable[[argparse.Namespace], int | None]  # the exit code; None is 0


def option(parser: argparse.ArgumentParser, name: str, default: int | Path, purpose: str) -> None:
    """An option of its default's type, whose help tells the default."""
    parser.add_argument(
        name, type=type(default), default=default, help=f"{purpose}; default: {default}"
    )


@contextlib.contextmanager
def progress_bar(doing: str) -> Iterator[Callable[[int, int], None]]:
    """A progress bar with an estimate, as a function of (done, total)."""
    from rich.progress import MofNCompleteColumn, Progress

    with Progress(*Progress.get_default_columns(), MofNCompleteColumn()) as bar:
        task = bar.add_task(doing, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
        bar.update(task, total=1, completed=1, visible=False)

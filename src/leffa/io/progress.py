"""Progress bars with an estimate on a terminal; in a log file, a line a minute."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

log = logging.getLogger(__name__)

EVERY = 60.0  # seconds between two lines of a log file


class Bar(Protocol):
    """Is told how much is done, and of how much where that was not known before."""

    def __call__(self, done: int, total: int | None = None) -> None: ...


@contextmanager
def progress_bar(title: str, total: int | None = None, show: bool = True) -> Iterator[Bar]:
    """Show how far a piece of work is, on stderr."""
    with progress_bars(show) as add:
        yield add(title, total)


@contextmanager
def progress_bars(show: bool = True) -> Iterator[Callable[[str, int | None], Bar]]:
    """The same for several pieces of work at a time: `add(title, total)` gives the bar of one."""
    console = Console(stderr=True)
    if not show:
        yield lambda title, total: lambda done, total=None: None
    elif not console.is_terminal:
        yield _Lines
    else:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=False),
        )
        with Progress(*columns, console=console) as bars:

            def add(title: str, total: int | None) -> Bar:
                task = bars.add_task(title, total=total)
                return lambda done, total=None: bars.update(task, completed=done, total=total)

            yield add
            for task in bars.tasks:  # without a total there was nothing to do
                bars.update(task.id, visible=task.total is not None)


class _Lines:
    """The same for a log file, which no bar can be drawn in."""

    def __init__(self, title: str, total: int | None) -> None:
        self.title, self.total = title, total
        self.start = self.last = time.monotonic()

    def __call__(self, done: int, total: int | None = None) -> None:
        now, self.total = time.monotonic(), total or self.total
        if done and self.total and (now - self.last > EVERY):
            self.last = now
            minutes = (now - self.start) / done * (self.total - done) / 60
            log.info("%s: %d of %d, %.0f min left", self.title, done, self.total, minutes)

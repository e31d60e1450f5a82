"""What every program does at its command line: Ctrl-C is one line, and printing never fails."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

INTERRUPTED = 130  # the exit code that a shell gives for Ctrl-C


@contextmanager
def command_line(kept: str = "") -> Iterator[None]:
    """Run a program: Ctrl-C ends it with exit code 130 and one line, which says what was `kept`."""
    replace_unprintable()
    try:
        yield
    except KeyboardInterrupt:
        _end(kept)
    except SystemExit as error:
        if not isinstance(error.__context__, KeyboardInterrupt):
            raise
        _end(kept)  # Lightning makes exit code 1 of it


def replace_unprintable() -> None:
    """Let `print` show "?" for what the terminal's encoding lacks, such as an arrow in cp1252."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)  # a notebook's stdout has none
    if reconfigure is not None:
        reconfigure(errors="replace")


def _end(kept: str) -> None:
    if os.environ.get("LOCAL_RANK", "0") == "0":  # the first process speaks for all
        print("; ".join(["interrupted", *([kept] if kept else [])]), file=sys.stderr)
    sys.exit(INTERRUPTED)

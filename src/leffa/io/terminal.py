"""What every program does at its command line: Ctrl-C is one line, and printing never fails."""

import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager

INTERRUPTED = 130  # the exit code that a shell gives for Ctrl-C
PIPE_CLOSED = 141  # and for a program whose reader, such as `head`, has gone


@contextmanager
def command_line(kept: str = "") -> Iterator[None]:
    """Run a program: Ctrl-C ends it with exit code 130 and one line, which says what was `kept`."""
    replace_unprintable()
    try:
        with until_reader_leaves():
            yield
    except KeyboardInterrupt:
        _end(kept)
    except SystemExit as error:
        if not isinstance(error.__context__, KeyboardInterrupt):
            raise
        _end(kept)  # Lightning makes exit code 1 of it


def first_line(error: BaseException) -> str:
    """What an error of somebody else's says, for a message of ours."""
    return next(iter(str(error).splitlines()), type(error).__name__)


@contextmanager
def until_reader_leaves() -> Iterator[None]:
    """Run a program whose output may be cut off, as by `| head`: then it ends without a trace."""
    try:
        try:
            yield
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:
        if not _reader_has_left():
            raise  # of another pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is not written
        sys.exit(PIPE_CLOSED)


def _reader_has_left() -> bool:
    if not hasattr(select, "poll"):  # Windows, where this is another error
        return False
    pipe = select.poll()
    pipe.register(sys.stdout.fileno(), 0)
    return bool(pipe.poll(0))


def replace_unprintable() -> None:
    """Let `print` show "?" for what the terminal's encoding lacks, such as an arrow in cp1252."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)  # a notebook's stdout has none
    if reconfigure is not None:
        reconfigure(errors="replace")


def _end(kept: str) -> None:
    if os.environ.get("LOCAL_RANK", "0") == "0":  # the first process speaks for all
        print("; ".join(["interrupted", *([kept] if kept else [])]), file=sys.stderr)
    sys.exit(INTERRUPTED)

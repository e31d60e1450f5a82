"""The `leffa COMMAND ...` command line; training and evaluation are train.py and evaluate.py.

A command is a typed function in `leffa.commands`: tyro makes its options from the parameters, and
its help from the docstring. It imports what it needs only when it runs, so that the help is quick.
To add a command, add a function and its line in `COMMANDS`.
"""

import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial, wraps
from importlib import import_module
from inspect import getdoc

import tyro

from leffa.cli_errors import is_memory_full, memory_full, nearest
from leffa.io.terminal import INTERRUPTED, replace_unprintable, until_reader_leaves

# Command -> the module that has it.
COMMANDS = {
    "demo": "demo",
    "draw": "demo",
    "score": "score",
    "report": "score",
    "doctor": "data",
    "prepare": "data",
    "photo": "photo",
    "tryon": "tryon",
    "pose": "tryon",
    "predict": "predict",
    "explain": "explain",
    "convert": "convert",
    "app": "app",
    "estimate": "estimate",
    "sweep-report": "score",
    "weights": "weights",
}
# Loggers shown to the user: what was loaded, what exists already, how long it takes.
LOGGED = (
    *("leffa.predict", "leffa.io.progress", "leffa.models.checkpoints"),
    "leffa.io.folders",
)
USAGE = "usage: leffa [-h] COMMAND ..."
Run = partial[int | None]  # gives the exit code; None is 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code.

    A user error is one line that begins with "error:"; HYDRA_FULL_ERROR=1 shows the
    traceback, as with train.py.
    """
    replace_unprintable()
    with until_reader_leaves():
        return _main(list(sys.argv[1:] if arguments is None else arguments))


def _main(words: list[str]) -> int:
    if words[:1] in (["-h"], ["--help"]):
        print(_overview())
        sys.exit(0)
    if not words or words[0] not in COMMANDS:
        lack = f"unknown command {words[0]}{nearest(words[0], COMMANDS)}" if words else "no command"
        print(f"{USAGE}\nleffa: error: {lack}; `leffa --help` lists the commands", file=sys.stderr)
        sys.exit(2)
    try:
        run = _parse(words[0], words[1:])
        with _logged():
            return _run(run) or 0
    except BrokenPipeError:
        raise
    except (ValueError, OSError) as error:
        if os.environ.get("HYDRA_FULL_ERROR"):
            raise
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED


def function(command: str) -> Callable[..., int | None]:
    module = import_module(f"leffa.commands.{COMMANDS[command]}")
    found: Callable[..., int | None] = getattr(module, command.replace("-", "_"))
    return found


def _overview() -> str:
    lines = [f"  {name:14}{(getdoc(function(name)) or '').split(chr(10))[0]}" for name in COMMANDS]
    about = "Training and evaluation: train.py and evaluate.py. Options: `leffa COMMAND --help`."
    return "\n".join([USAGE, "", about, "", *lines])


def _parse(command: str, words: Sequence[str]) -> Run:
    """The command's function with its arguments; ends the program where they are wrong."""
    called = function(command)

    @wraps(called)  # tyro would take an error of the command itself for one of the arguments
    def bind(*args: object, **kwargs: object) -> Run:
        return partial(called, *args, **kwargs)

    return tyro.cli(bind, prog=f"leffa {command}", args=words, config=(tyro.conf.DisallowNone,))


def _run(run: Run) -> int | None:
    """The exit code; a GPU that is full is a user error."""
    try:
        return run()
    except RuntimeError as error:
        if not is_memory_full(error):
            raise
        sizes = [getattr(options, "batch_size", 1) for options in run.keywords.values()]
        several = max(*sizes, run.keywords.get("batch_size", 1)) > 1
        remedy = "give a smaller --batch-size" if several else "use --device cpu"
        raise memory_full(remedy) from error


@contextmanager
def _logged() -> Iterator[None]:
    """While it lasts, what `LOGGED` log are lines on stderr."""
    handler = logging.StreamHandler()
    loggers = [logging.getLogger(name) for name in LOGGED]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
            logger.setLevel(logging.NOTSET)

"""The command line beside train.py and evaluate.py: `leffa COMMAND ...`.

A command is one function: its name and docstring are what the help shows, it declares its
arguments, and it returns what to run. What it needs it imports only when it runs, so that the help
is quick. A new command is a new function, and its place in `COMMANDS`.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

Runner = Callable[[argparse.Namespace], None]


def demo(parser: argparse.ArgumentParser) -> Runner:
    """Draw data, train with and without the Leffa loss, compare, and write a report."""
    from leffa.demo.settings import DemoSettings

    usual = DemoSettings()
    _option(parser, "--out", usual.out, "folder for everything but the data")
    _option(parser, "--data", usual.data, "folder where data sets are drawn")
    _option(parser, "--steps", usual.steps, "of each training")
    _option(parser, "--seed", usual.seed, "of the trainings")
    _option(parser, "--processes", usual.processes, "at a time, a core each; 0: none but this one")
    parser.add_argument(
        "--fresh", action="store_true", help="redo what an earlier run has finished"
    )

    def run(args: argparse.Namespace) -> None:
        from leffa.demo.run import run_demo

        run_demo(
            DemoSettings(args.out, args.data, args.steps, args.seed, args.fresh, args.processes)
        )

    return run


def draw(parser: argparse.ArgumentParser) -> Runner:
    """Draw a synthetic data set, with its true flow, in the layout of a real one."""
    parser.add_argument("layout", choices=["viton_hd", "dress_code", "deepfashion"])
    parser.add_argument("root", type=Path, help="folder to fill; an interrupted run is completed")
    parser.add_argument(
        "--train",
        type=int,
        required=True,
        metavar="N",
        help="training samples (dress_code: per category)",
    )
    parser.add_argument("--test", type=int, required=True, metavar="N", help="test samples")
    _option(parser, "--seed", 0, "of the whole drawn world")
    _option(parser, "--height", 256, "pixels")
    parser.add_argument("--width", type=int, help="pixels; default: 192, deepfashion 176")
    _option(parser, "--workers", 1, "processes")

    def run(args: argparse.Namespace) -> None:
        from rich.progress import MofNCompleteColumn, Progress

        from leffa.synthetic import write

        writers = {
            "viton_hd": (write.write_viton_hd, 192),
            "dress_code": (write.write_dress_code, 192),
            "deepfashion": (write.write_deepfashion, 176),
        }
        writer, usual_width = writers[args.layout]
        width = usual_width if args.width is None else args.width
        with Progress(*Progress.get_default_columns(), MofNCompleteColumn()) as bar:
            task = bar.add_task("drawing", total=None)
            writer(
                args.root,
                args.train,
                args.test,
                seed=args.seed,
                height=args.height,
                width=width,
                workers=args.workers,
                progress=lambda done, total: bar.update(task, completed=done, total=total),
            )
            bar.update(task, total=1, completed=1, visible=False)
        print(f"written to {args.root}")

    return run


def score(parser: argparse.ArgumentParser) -> Runner:
    """Score a folder of predictions against a folder of true images; prints Markdown."""
    parser.add_argument("pred", type=Path, help="folder of predictions")
    parser.add_argument("true", type=Path, help="folder of true images of the same names")
    parser.add_argument(
        "--protocol", required=True, metavar="NAME", help="how to score, e.g. leffa"
    )
    parser.add_argument("--unpaired", action="store_true", help="compare the sets only (FID, KID)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there as well")
    parser.add_argument(
        "--weights", type=Path, metavar="DIR", help="folder of the metrics' networks"
    )

    def run(args: argparse.Namespace) -> None:
        from leffa.metrics.score import score_folders

        scores = score_folders(
            args.pred,
            args.true,
            args.protocol,
            paired=not args.unpaired,
            weights=args.weights,
        )
        print(scores.to_markdown())
        if args.json is not None:
            scores.save(args.json)

    return run


COMMANDS: tuple[Callable[[argparse.ArgumentParser], Runner], ...] = (demo, draw, score)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code.

    What the user can mend (a bad value, a missing file) is told in a line that begins with
    "error:"; HYDRA_FULL_ERROR=1 shows the trace, as with train.py.
    """
    args = _parser().parse_args(arguments)
    try:
        args.run(args)
    except (ValueError, OSError) as error:
        if os.environ.get("HYDRA_FULL_ERROR"):
            raise
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130  # what a shell gives for Ctrl-C
    return 0


def _option(parser: argparse.ArgumentParser, name: str, default: int | Path, purpose: str) -> None:
    """An option of its default's type, whose help tells the default."""
    parser.add_argument(
        name, type=type(default), default=default, help=f"{purpose}; default: {default}"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="leffa",
        description="Tools beside train.py and evaluate.py: see `leffa COMMAND --help`.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        purpose = command.__doc__
        name = command.__name__.replace("_", "-")
        subparser = commands.add_parser(name, help=purpose, description=purpose)
        subparser.set_defaults(run=command(subparser))
    return parser

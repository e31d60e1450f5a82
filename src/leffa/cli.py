"""The command line beside train.py and evaluate.py: `leffa COMMAND ...`.

A command is one function: its name and docstring are what the help shows, it declares its
arguments, and it returns what to run. What it needs it imports only when it runs, so that the help
is quick. A new command is a new function, and its place in `COMMANDS`.
"""

import argparse
import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from leffa.commands.app import app
from leffa.commands.convert import convert
from leffa.commands.data import doctor, prepare
from leffa.commands.estimate import estimate
from leffa.commands.explain import explain
from leffa.commands.options import Runner
from leffa.commands.options import option as _option
from leffa.commands.photo import photo
from leffa.commands.predict import predict
from leffa.commands.sweeps import sweep_report
from leffa.commands.tryon import pose, tryon
from leffa.commands.weights import weights
from leffa.data.catalog import SYNTHETIC_LAYOUTS
from leffa.io.terminal import INTERRUPTED, print_what_can_be_shown
from leffa.mistakes import is_memory_full, memory_full, nearest

# What they log is for whoever waits: what was loaded, what is there already, how long it takes.
TOLD = (
    *("leffa.predict", "leffa.io.progress", "leffa.models.checkpoints"),
    "leffa.io.folders",
)


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
    """Draw a synthetic data set, with ground-truth flow, in the layout of a real one."""
    parser.add_argument("layout", choices=SYNTHETIC_LAYOUTS)
    parser.add_argument("root", type=Path, help="folder to fill; an interrupted run is completed")
    parser.add_argument(
        "--train",
        type=int,
        default=0,
        metavar="N",
        help="training samples (dress_code: per category); default: 0",
    )
    parser.add_argument("--test", type=int, required=True, metavar="N", help="test samples")
    _option(parser, "--seed", 0, "of the whole data set")
    for side in ("height", "width"):
        parser.add_argument(
            f"--{side}", type=int, metavar="PIXELS", help="default: the layout's usual shape"
        )
    _option(parser, "--workers", 1, "processes")

    def run(args: argparse.Namespace) -> None:
        from leffa.io.progress import progress_bar
        from leffa.synthetic.write import WRITERS

        size = {side: getattr(args, side) for side in ("height", "width")}
        with progress_bar("drawing") as bar:
            WRITERS[args.layout](
                args.root,
                args.train,
                args.test,
                seed=args.seed,
                workers=args.workers,
                progress=bar,
                **{side: pixels for side, pixels in size.items() if pixels is not None},
            )
        print(f"written to {args.root}")

    return run


def score(parser: argparse.ArgumentParser) -> Runner:
    """Score a folder of predictions against a folder of true images; prints Markdown."""
    parser.add_argument("pred", type=Path, help="folder of predictions")
    parser.add_argument("true", type=Path, help="folder of true images of the same names")
    parser.add_argument(
        "--protocol", required=True, metavar="NAME", help="a file of conf/protocol, e.g. leffa"
    )
    parser.add_argument("--unpaired", action="store_true", help="compare the sets only (FID, KID)")
    folders = {
        "real": "folder of the real set of FID and KID, where it is not TRUE",
        "masks": "folder of masks or parsing maps, for masked metrics; white or any label counts",
        "weights": "folder of the metrics' networks; default: $LEFFA_WEIGHTS",
    }
    for name, purpose in folders.items():
        parser.add_argument(f"--{name}", type=Path, metavar="DIR", help=purpose)
    pairs = "CSV file with the columns prediction,true: where names differ, or true images repeat"
    parser.add_argument("--pairs", type=Path, metavar="FILE", help=pairs)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there as well")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the table there")
    parser.add_argument(
        "--remark",
        action="append",
        default=[],
        metavar="TEXT",
        help="for the result: where masks come from, repaint, guidance, seed; repeatable",
    )
    _option(parser, "--fid-resamples", 0, "for a confidence interval of FID: from 2, such as 30")
    parser.add_argument("--device", default="cpu", help="auto, cpu, cuda, mps; default: cpu")
    _option(parser, "--batch-size", 16, "images at a time; changes no value")
    _option(parser, "--workers", 0, "processes that open files")

    def run(args: argparse.Namespace) -> None:
        from leffa.evaluation.generate import choose_devices
        from leffa.io.atomic import write_text
        from leffa.io.outputs import check_writable, marked_text
        from leffa.metrics.folders import read_pairs
        from leffa.metrics.score import score_folders

        (device,) = choose_devices(args.device, 1)
        for name in ("json", "markdown"):
            if (file := getattr(args, name)) is not None:
                check_writable([file], option=f"--{name}")
        scores = score_folders(
            args.pred,
            args.true,
            args.protocol,
            paired=not args.unpaired,
            names=read_pairs(args.pairs) if args.pairs else None,
            real=args.real,
            masks=args.masks,
            weights=args.weights,
            remarks=args.remark,
            fid_resamples=args.fid_resamples,
            device=device,
            batch_size=args.batch_size,
            workers=args.workers,
            progress=sys.stderr.isatty(),
        )
        if args.json is not None:
            scores.save(args.json)
        if args.markdown is not None:
            write_text(args.markdown, marked_text(scores.to_markdown(), ".md"))
        print(scores.to_markdown())

    return run


def report(parser: argparse.ArgumentParser) -> Runner:
    """Set finished evaluations beside the published numbers: HTML, Markdown, LaTeX and CSV."""
    parser.add_argument(
        "runs", nargs="+", type=Path, metavar="RUN", help="folder of an evaluation, or of several"
    )
    _option(parser, "--out", Path("outputs/report"), "folder for the pages")

    def run(args: argparse.Namespace) -> None:
        from leffa.metrics.pages import write_report

        for path in write_report(args.runs, args.out):
            print(path)

    return run


COMMANDS: tuple[Callable[[argparse.ArgumentParser], Runner], ...] = (
    *(demo, draw, score, report),
    *(doctor, prepare, photo),
    *(tryon, pose, predict, explain, convert, app),
    *(estimate, sweep_report, weights),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code.

    What the user can mend (a bad value, a missing file) is told in a line that begins with
    "error:"; HYDRA_FULL_ERROR=1 shows the trace, as with train.py.
    """
    print_what_can_be_shown()
    args, unknown = _parser().parse_known_args(arguments)
    if unknown:
        hint = nearest(unknown[0], args.parser._option_string_actions)
        args.parser.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
    try:
        with _told():
            return _run(args)
    except (ValueError, OSError) as error:
        if os.environ.get("HYDRA_FULL_ERROR"):
            raise
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED


def _run(args: argparse.Namespace) -> int:
    """The exit code; a GPU that is full is told like other mistakes."""
    try:
        return args.run(args) or 0
    except RuntimeError as error:
        if not is_memory_full(error):
            raise
        several = getattr(args, "batch_size", 1) > 1
        remedy = "give a smaller --batch-size" if several else "use --device cpu"
        raise memory_full(remedy) from error


@contextmanager
def _told() -> Iterator[None]:
    """While it lasts, what `TOLD` log are lines on stderr."""
    handler = logging.StreamHandler()
    for name in TOLD:
        logging.getLogger(name).addHandler(handler)
        logging.getLogger(name).setLevel(logging.INFO)
    try:
        yield
    finally:
        for name in TOLD:
            logging.getLogger(name).removeHandler(handler)
            logging.getLogger(name).setLevel(logging.NOTSET)


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
        subparser.set_defaults(run=command(subparser), parser=subparser)
    return parser

"""The command that turns a sweep's folder into a ranking and pictures."""

import argparse
from pathlib import Path

from leffa.commands.options import Runner


def sweep_report(parser: argparse.ArgumentParser) -> Runner:
    """Rank the runs of a sweep, and draw curves and heat maps of what was varied."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="a sweep, or several in a folder")
    parser.add_argument(
        "--metric", metavar="NAME", help="such as val/ssim; default: the sweep's objective"
    )
    parser.add_argument(
        "--max", action="store_true", help="largest is best; default: smallest, as in the sweep"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: DIR/report")

    def run(args: argparse.Namespace) -> None:
        from leffa.sweeps.report import write_report

        out = args.out or args.folder / "report"
        for path in write_report(args.folder, out, args.metric, largest=args.max):
            print(path)

    return run

"""Commands about data on disk: check a folder, and make what training reads from a download."""

import argparse
import os
import re
from pathlib import Path

from leffa.commands.options import Runner, option
from leffa.data.catalog import CATALOG
from leffa.data.labels import LABELS

PREPARED = ("deepfashion", "dress_code", "viton_hd", "market1501", "masks")


def doctor(parser: argparse.ArgumentParser) -> Runner:
    """Check a data set's lists, names and every file; exit code 1 where something is wrong."""
    parser.add_argument("dataset", choices=("auto", *CATALOG), help="auto recognises it")
    parser.add_argument("root", type=Path, help="folder that holds the data set's lists")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there as well")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a contact sheet there")
    option(parser, "--workers", usable_cores(), "processes that decode")

    def run(args: argparse.Namespace) -> int:
        from leffa.data.doctor.examine import examine
        from leffa.data.doctor.sheet import write_json, write_sheet
        from leffa.io.outputs import check_writable
        from leffa.io.progress import progress_bar

        for name in ("json", "html"):
            if (file := getattr(args, name)) is not None:
                check_writable([file], option=f"--{name}")
        with progress_bar("opening files") as progress:
            report = examine(args.root, args.dataset, args.workers, progress)
        for write, file in ((write_json, args.json), (write_sheet, args.html)):
            if file is not None:
                write(report, file)
        print(report.to_text())
        return 0 if report.clean else 1

    return run


def prepare(parser: argparse.ArgumentParser) -> Runner:
    """Make what training reads from a download: resized pictures, missing lists, masks."""
    parser.add_argument("what", choices=PREPARED, help="a data set, or the masks of one")
    parser.add_argument("root", type=Path, help="its folder; a killed run is completed by the next")
    parser.add_argument(
        "--sizes",
        type=_size,
        nargs="+",
        metavar="HxW",
        help="deepfashion: of the pictures; default: 256x176 512x352",
    )
    parser.add_argument("--recipe", metavar="NAME", help="masks: of preprocess.agnostic")
    parser.add_argument(
        "--label-set",
        choices=tuple(LABELS),
        help="masks of a folder of your own: of its parse files; default: as leffa photo noted, "
        "else cihp",
    )
    parser.add_argument(
        "--encoding",
        metavar="NAME",
        help="masks of a folder of your own: of its DensePose files; default: as leffa photo noted",
    )
    parser.add_argument("--html", type=Path, metavar="FILE", help="masks: write a contact sheet")
    option(parser, "--workers", usable_cores(), "processes")

    def run(args: argparse.Namespace) -> None:
        from leffa.io.outputs import check_writable
        from leffa.io.progress import progress_bar
        from leffa.preprocess.prepare.run import prepare_dataset, prepare_masks

        _check(args)
        if args.html is not None:
            check_writable([args.html], option="--html")
        with progress_bar("preparing") as progress:
            if args.what == "masks":
                made = prepare_masks(
                    args.root,
                    args.recipe,
                    args.html,
                    args.workers,
                    progress,
                    args.label_set,
                    args.encoding,
                )
            else:
                made = prepare_dataset(args.what, args.root, args.sizes, args.workers, progress)
        for path in made:
            print(path)
        if not made:
            print("nothing to do: everything is there")

    return run


def usable_cores() -> int:
    """Those that this process may use: under Slurm or taskset not all of the machine's."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _check(args: argparse.Namespace) -> None:
    """Options that belong together, before any work."""
    if not args.root.is_dir():
        raise FileNotFoundError(f"{args.root}: no such folder; give the data set's folder")
    if args.what == "masks" and args.recipe is None:
        raise ValueError("--recipe is missing: name one, for example hr_viton")
    of_masks = ("recipe", "html", "label_set", "encoding")
    for name, wanted in (("sizes", "deepfashion"), *((name, "masks") for name in of_masks)):
        if getattr(args, name) is not None and args.what != wanted:
            raise ValueError(f"--{name.replace('_', '-')} goes with `leffa prepare {wanted}` only")


def _size(text: str) -> tuple[int, int]:
    """`256x176`, height first, as (width, height)."""
    match = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"'{text}' is not HEIGHTxWIDTH, such as 256x176")
    return int(match[2]), int(match[1])

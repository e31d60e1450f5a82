"""The command that takes weights from one layout to another."""

import argparse
from pathlib import Path

from leffa.commands.options import Runner

# Known here as well as in `models.export`, which is slow to import.
PRESETS = ("virtual_tryon", "virtual_tryon_dc", "pose_transfer")
DTYPES = ("float32", "float16", "bfloat16")


def convert(parser: argparse.ArgumentParser) -> Runner:
    """Convert weights: published ones, checkpoints of ours, and folders for diffusers."""
    parser.add_argument(
        "--weights",
        type=Path,
        required=True,
        metavar="FILE",
        help="a released .pth, a .ckpt or run folder of ours, or an exported folder; with "
        "--experiment: what the authors of its model published",
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="DIR",
        help="a folder for diffusers; or FILE.pth, .safetensors (released layout), FILE.ckpt",
    )
    parser.add_argument(
        "--base", metavar="DIR", help="of a released file: its diffusers base folder, or a hub id"
    )
    parser.add_argument(
        "--as",
        dest="preset",
        choices=PRESETS,
        help="of a released file: what it is; default: by its name",
    )
    parser.add_argument(
        "--raw", action="store_true", help="weights as trained, not their running average"
    )
    parser.add_argument(
        "--dtype", choices=DTYPES, default="float32", help="of a folder; default: float32"
    )
    parser.add_argument(
        "--evaluation",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="a folder of evaluate.py, for the model card; repeatable",
    )
    parser.add_argument(
        "--experiment",
        metavar="NAME",
        help="of published weights of CatVTON, CFLD or IDM-VTON: the experiment whose model they "
        "are of, such as catvton_vitonhd; makes a FILE.ckpt",
    )
    parser.add_argument(
        "changes",
        nargs="*",
        metavar="KEY=VALUE",
        help="with --experiment: overrides as for train.py, such as backbone.source=DIR",
    )

    def run(args: argparse.Namespace) -> None:
        from leffa.convert import convert as convert_weights
        from leffa.convert import convert_published

        others = (args.base, args.preset, args.raw, args.dtype, args.evaluation)
        if args.experiment is None:
            if args.changes:
                raise ValueError(f"{args.changes[0]}: KEY=VALUE goes with --experiment")
            convert_weights(args.weights, args.out, *others)
        else:
            if others != (None, None, False, "float32", []):
                raise ValueError("--experiment goes with --weights, --out and KEY=VALUE alone")
            convert_published(args.weights, args.out, args.experiment, args.changes)
        print(f"written to {args.out}")

    return run

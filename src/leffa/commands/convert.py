"""The command that takes weights from one layout to another."""

import argparse
from pathlib import Path

from leffa.commands.options import Runner

# Known here as well as in `models.export`, which is slow to import.
PRESETS = ("virtual_tryon", "virtual_tryon_dc", "pose_transfer")
DTYPES = ("float32", "float16", "bfloat16")


def convert(parser: argparse.ArgumentParser) -> Runner:
    """Convert weights: released files, checkpoints of ours, and folders for diffusers."""
    parser.add_argument(
        "--weights",
        type=Path,
        required=True,
        metavar="FILE",
        help="a released .pth, a .ckpt or run folder of ours, or an exported folder",
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

    def run(args: argparse.Namespace) -> None:
        from leffa.convert import convert as convert_weights

        convert_weights(
            args.weights, args.out, args.base, args.preset, args.raw, args.dtype, args.evaluation
        )
        print(f"written to {args.out}")

    return run

"""The command that makes one's own photos ready for try-on."""

import argparse
import contextlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from leffa.commands.options import Runner
from leffa.data.labels import LABELS, LabelSet

if TYPE_CHECKING:
    from leffa.preprocess.parsing import PersonParser
    from leffa.preprocess.photo import Tools
    from leffa.preprocess.pose.mediapipe import MediaPipe

CATEGORIES = ("upper_body", "lower_body", "dresses")


def photo(parser: argparse.ArgumentParser) -> Runner:
    """Make photos in ROOT/persons ready for try-on: parsing, keypoints, DensePose, masks."""
    parser.add_argument("root", type=Path, help="its folder persons/ holds the photos")
    back_end_options(parser)
    parser.add_argument(
        "--encoding",
        metavar="NAME",
        help="of DensePose files; default: as an earlier run noted, else colour",
    )
    parser.add_argument(
        "--label-set",
        choices=tuple(LABELS),
        help="of parse files from elsewhere; default: as an earlier run noted, else the parser's, "
        "else cihp",
    )
    parser.add_argument("--recipe", metavar="NAME", help="of masks: one of preprocess.agnostic")
    parser.add_argument("--category", choices=CATEGORIES, default="upper_body", help="to exchange")
    parser.add_argument("--device", default="cpu", help="cpu, cuda; default: cpu")

    def run(args: argparse.Namespace) -> int:
        return _prepare(args)

    return run


def back_end_options(parser: "argparse._ActionsContainer") -> None:
    """The options of what makes maps from a photograph, for `back_ends`."""
    weights = {
        "atr": "parsing by SCHP: parsing_atr.onnx or the authors' .pth; with --lip as in demos",
        "lip": "the same: parsing_lip.onnx or .pth",
        "openpose": "keypoints by OpenPose: body_pose_model.pth",
        "densepose": "the published model_final_162be9.pkl, or a .onnx or TorchScript export of it",
    }
    for name, purpose in weights.items():
        parser.add_argument(f"--{name}", type=Path, metavar="FILE", help=purpose)
    parser.add_argument("--trust", action="store_true", help="read TorchScript, which may run code")
    parser.add_argument(
        "--channels",
        choices=("rgb", "bgr"),
        default="rgb",
        help="that DensePose expects; default: rgb, as the demos hand it",
    )
    parser.add_argument(
        "--uv-range",
        choices=("unit", "per_person"),
        default="unit",
        help="of DensePose's U and V: 0 to 1, or stretched over each person; default: unit",
    )
    parser.add_argument(
        "--absolute-gain",
        action=argparse.BooleanOptionalAction,
        help="take the gains of SCHP's batch norm without their sign; default: for .pth, as the "
        "authors do",
    )
    parser.add_argument(
        "--mediapipe",
        type=Path,
        nargs="?",
        const=Path(),
        metavar="PYTHON",
        help="keypoints, and a rough parsing, by MediaPipe, without weights; PYTHON is the "
        "interpreter of the environment that has mediapipe; default: this one",
    )


def _prepare(args: argparse.Namespace) -> int:
    from leffa.io.progress import progress_bar
    from leffa.preprocess.photo import Tools, prepare_photos

    wanted = Tools(  # a misspelt name is told before weights are read
        label_set=args.label_set,
        encoding=args.encoding,
        recipe=args.recipe,
        category=args.category,
    )
    with contextlib.ExitStack() as stack:
        found = back_ends(args, stack)
        tools = replace(wanted, parser=found.parser, pose=found.pose, densepose=found.densepose)
        progress = stack.enter_context(progress_bar("preparing"))
        result = prepare_photos(args.root, tools, progress)
    for path in result.written:
        print(path)
    for path, reason in result.failed.items():
        print(f"not prepared: {reason if str(path) in reason else f'{path}: {reason}'}")
    if not result.written and not result.failed:
        print("nothing to do: everything is there")
    return 1 if result.failed else 0


def back_ends(args: argparse.Namespace, stack: contextlib.ExitStack) -> "Tools":
    """What the options of `back_end_options` name, loaded; it ends with the stack."""
    from leffa.preprocess.densepose.load import load_densepose
    from leffa.preprocess.photo import Tools
    from leffa.preprocess.pose.mediapipe import MediaPipe
    from leffa.preprocess.pose.openpose import openpose

    mediapipe = None
    if args.mediapipe is not None:
        python = args.mediapipe if args.mediapipe != Path() else None
        mediapipe = stack.enter_context(MediaPipe(python))
    body = openpose(args.openpose, args.device) if args.openpose else None
    surface = None
    if args.densepose:
        surface = load_densepose(
            args.densepose, args.device, args.channels, args.uv_range, args.trust
        )
    return Tools(parser=_parser(args, mediapipe), pose=body or mediapipe, densepose=surface)


def _parser(args: argparse.Namespace, mediapipe: "MediaPipe | None") -> "PersonParser | None":
    """The parser of the options; what weights say goes before the rough one."""
    from leffa.preprocess.parsing.coarse import CoarseParser
    from leffa.preprocess.parsing.neck import ATRWithNeck
    from leffa.preprocess.parsing.schp_parser import schp_onnx, schp_torch

    def schp(path: Path, label_set: LabelSet) -> "PersonParser":
        if path.suffix != ".onnx":
            return schp_torch(path, label_set, args.device, args.absolute_gain)
        if args.absolute_gain is not None:
            raise ValueError(
                f"{path}: --absolute-gain changes .pth weights; give those, or omit it"
            )
        return schp_onnx(path, label_set)

    atr = schp(args.atr, "atr") if args.atr else None
    lip = schp(args.lip, "lip") if args.lip else None
    if atr is not None and lip is not None:
        return ATRWithNeck(atr, lip)
    return atr or lip or (CoarseParser(mediapipe) if mediapipe is not None else None)

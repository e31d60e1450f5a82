"""The command that makes one's own photos ready for try-on."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from tyro.conf import OmitArgPrefixes

from leffa.commands.options import Device, OptionalFile, OptionalName, Root, Unset
from leffa.data.labels import Category, LabelSet

if TYPE_CHECKING:
    from leffa.preprocess.parsing import PersonParser
    from leffa.preprocess.photo import Tools


@dataclass(frozen=True)
class BackEnds:
    """What makes maps from a photograph.

    Args:
        atr: parsing by SCHP: parsing_atr.onnx; with --lip as in the demos
        lip: the same: parsing_lip.onnx
        openpose: keypoints by OpenPose: body_pose_model.pth
        densepose: the published model_final_162be9.pkl
        channels: that DensePose expects; rgb, as the demos hand it
        uv_range: of DensePose's U and V: 0 to 1, or stretched over each person
    """

    atr: OptionalFile = None
    lip: OptionalFile = None
    openpose: OptionalFile = None
    densepose: OptionalFile = None
    channels: Literal["rgb", "bgr"] = "rgb"
    uv_range: Literal["unit", "per_person"] = "unit"


def photo(
    root: Root,
    tools: OmitArgPrefixes[BackEnds],
    encoding: OptionalName = None,
    label_set: Unset[LabelSet] = None,
    recipe: OptionalName = None,
    category: Category = "upper_body",
    device: Device = "cpu",
) -> int:
    """Make photos in ROOT/persons ready for try-on: parsing, keypoints, DensePose, masks.

    Args:
        root: its folder persons/ holds the photos
        encoding: of DensePose files; default: as an earlier run noted, else colour
        label_set: of parse files from elsewhere; default: as an earlier run noted, else the
            parser's, else cihp
        recipe: of masks: one of preprocess.agnostic
        category: to exchange
        device: where networks compute
    """
    from leffa.io.outputs import check_folder
    from leffa.io.progress import progress_bar
    from leffa.preprocess.photo import Tools, prepare_photos

    check_folder(root, "ROOT")  # before networks are loaded, which takes longer
    wanted = Tools(  # a misspelt name is told before weights are read
        label_set=label_set, encoding=encoding, recipe=recipe, category=category
    )
    found = back_ends(tools, device)
    all_tools = replace(wanted, parser=found.parser, pose=found.pose, densepose=found.densepose)
    with progress_bar("preparing") as progress:
        result = prepare_photos(root, all_tools, progress)
    for path in result.written:
        print(path)
    for path, reason in result.failed.items():
        print(f"not prepared: {reason if str(path) in reason else f'{path}: {reason}'}")
    if not result.written and not result.failed:
        print("nothing to do: everything is there")
    return 1 if result.failed else 0


def back_ends(chosen: BackEnds, device: str) -> "Tools":
    """What the options name, loaded."""
    from leffa.preprocess.densepose import densepose_r50_fpn
    from leffa.preprocess.photo import Tools
    from leffa.preprocess.pose.openpose import openpose

    body = openpose(chosen.openpose, device) if chosen.openpose else None
    surface = None
    if chosen.densepose:
        surface = densepose_r50_fpn(chosen.densepose, device, chosen.channels, chosen.uv_range)
    return Tools(parser=_parser(chosen), pose=body, densepose=surface)


def _parser(chosen: BackEnds) -> "PersonParser | None":
    from leffa.preprocess.parsing.neck import ATRWithNeck
    from leffa.preprocess.parsing.schp import schp

    atr = schp(chosen.atr, "atr") if chosen.atr else None
    lip = schp(chosen.lip, "lip") if chosen.lip else None
    if atr and lip:
        return ATRWithNeck(atr, lip)
    return atr or lip

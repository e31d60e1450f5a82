"""The command that prepares photos for try-on."""

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
    """Networks that create maps from a photograph.

    Args:
        atr: SCHP parsing: parsing_atr.onnx; together with --lip as in the demos
        lip: SCHP parsing: parsing_lip.onnx
        openpose: OpenPose keypoints: body_pose_model.pth
        densepose: DensePose: the published model_final_162be9.pkl
        channels: channel order for DensePose; the demos use rgb
        uv_range: range of DensePose's U and V: 0 to 1, or stretched for each person
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
    """Prepare the photos in ROOT/persons for try-on: parsing, keypoints, DensePose, masks.

    Args:
        root: folder whose subfolder persons/ contains the photos
        encoding: encoding of DensePose files; default: as recorded by an earlier run, otherwise
            colour
        label_set: label set of parse files from elsewhere; default: as recorded by an earlier run,
            otherwise the parser's, otherwise cihp
        recipe: mask recipe, from leffa.preprocess.agnostic
        category: category of the garment to replace
        device: device of the networks
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
        print("nothing to do: all maps exist")
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

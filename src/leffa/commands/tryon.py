"""Commands that generate images from photos with published weights."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import OmitArgPrefixes, Positional, arg

from leffa.commands.options import (
    Device,
    Flag,
    Folder,
    OptionalPlace,
    Unset,
)
from leffa.data.labels import Category
from leffa.io.folders import check_there
from leffa.performance import Performance

Person = Annotated[Path | None, Positional, arg(metavar="[PERSON]", help_behavior_hint="")]
Garment = Annotated[Path | None, Positional, arg(metavar="[GARMENT]", help_behavior_hint="")]
Reference = Annotated[Path | None, Positional, arg(metavar="[REFERENCE]", help_behavior_hint="")]


@dataclass(frozen=True)
class Making:
    """Pairs, weights and sampling.

    Args:
        out: output folder
        table: CSV file of pairs, instead of files: columns person, garment and optionally name,
            category, mask, densepose, parse, keypoints
        weights: a name of `leffa weights list`, or your own weights; default: leffa_pose; for
            try-on leffa_tryon, or leffa_tryon_dc for lower garments and dresses
        steps: sampling steps; default: 50, as released
        seed: noise seed
        keep_maps: keep parsing, keypoints and DensePose
        device: device of the networks
    """

    out: Folder
    table: Annotated[Path | None, arg(metavar="CSV", help_behavior_hint="")] = None
    weights: Annotated[str | None, arg(metavar="NAME|PATH", help_behavior_hint="")] = None
    steps: Unset[int] = None
    seed: int = 42
    keep_maps: bool = True
    device: Device = "auto"


def tryon(
    making: OmitArgPrefixes[Making],
    performance: OmitArgPrefixes[Performance],
    person: Person = None,
    garment: Garment = None,
    category: Category = "upper_body",
    worn: Flag = False,
    mask: OptionalPlace = None,
    paste_back: Flag = False,
) -> int:
    """Dress a person in a photo with the released Leffa; downloads what it needs.

    Args:
        person: a photo, or a folder
        garment: an image, or a folder
        category: garment category
        worn: the garment image shows someone wearing it: cut it out
        mask: mask of the person, white is repainted; or a folder
        paste_back: keep the photo's pixels outside the mask
    """
    given = {"category": category, "worn": worn, "mask": mask, "paste_back": paste_back}
    return _make("tryon", making, performance, person=person, reference=garment, **given)


def pose(
    making: OmitArgPrefixes[Making],
    performance: OmitArgPrefixes[Performance],
    person: Person = None,
    reference: Reference = None,
) -> int:
    """Show REFERENCE's person in PERSON's pose with the released Leffa; downloads what it needs.

    Args:
        person: provides the pose; or a folder
        reference: provides the appearance; or a folder
    """
    return _make("pose", making, performance, person=person, reference=reference)


def _make(
    task: Literal["tryon", "pose"], making: Making, performance: Performance, **given: Any
) -> int:
    if making.table is None:  # before the imports, which take seconds
        check_there(given["person"], given["reference"], given.get("mask"))
    from leffa.photo_to_picture import PhotoRequest, make_pictures

    request = PhotoRequest(task=task, performance=performance, **asdict(making), **given)
    result = make_pictures(request, lambda line: print(line, flush=True))
    for path in result.made:
        print(path)
    return 1 if result.failed else 0

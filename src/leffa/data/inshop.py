"""The In-shop release and what peers made of it: flat names, and where pictures and joints lie.

A flat name is the path of a picture in the release, `fashion` before it and without separators:

    WOMEN/Tees_Tanks/id_00000029/06_2_side.jpg
    fashionWOMENTees_Tanksid0000002906_2side.jpg

The garment type keeps its underscore, item and view lose theirs.
"""

import re
from collections.abc import Callable
from pathlib import Path, PurePath, PurePosixPath

from leffa.data.batch import Annotation
from leffa.data.layout import Split, spelling
from leffa.io.folders import names_in

_FLAT = re.compile(
    r"fashion(?P<gender>WOMEN|MEN)(?P<garment>.+?)id(?P<item>\d{8})(?P<person>\d\d)_"
    r"(?P<number>\d+)(?P<view>[a-z]+)"
)
_RELEASE = re.compile(
    r"(?:.*/)?(?P<gender>WOMEN|MEN)/(?P<garment>[^/]+)/id_(?P<item>\d{8})/(?P<person>\d\d)_"
    r"(?P<number>\d+)_(?P<view>[a-z]+)"
)
WORDS = ("fasion", "fashion")  # most peers' files lack an h
_FRAME = (176, 256)  # of the published joints
_BORDER = 40  # of white beside the person, in the 256x256 pictures of the unresized joints


def flat_name(path: str) -> str:
    """The flat name of a path of the release, whatever folders are before MEN or WOMEN.

    Raises:
        ValueError: it is no such path.
    """
    match = _RELEASE.fullmatch(str(PurePosixPath(path).with_suffix("")))
    if match is None:
        raise ValueError(f"'{path}' is not a path like WOMEN/Tees_Tanks/id_00000029/06_2_side.jpg")
    return "fashion{gender}{garment}id{item}{person}_{number}{view}.jpg".format(**match.groupdict())


def release_path(name: str) -> PurePosixPath:
    """The path of a flat name in the release.

    Raises:
        ValueError: it is no flat name.
    """
    folder = "{gender}/{garment}/id_{item}/{person}_{number}_{view}.jpg"
    return PurePosixPath(folder.format(**_parts(name)))


def category_of(name: str) -> str:
    """Gender and garment type of a flat name, such as `WOMEN-Tees_Tanks`."""
    return "{gender}-{garment}".format(**_parts(name))


def find_pictures(root: Path, split: Split, folder: str | None) -> Callable[[str], Path]:
    """From a flat name to its picture.

    Args:
        root: the folder of the pair lists.
        split: "train" or "test".
        folder: below the root, with flat names; None takes the first that exists of
            `<split>_highres` (Lu et al., 2024), `<split>` (PATN), and the tree of the release below
            the root, `img` or `img_highres`.
    """
    if folder is None:
        tree = next(
            (base for base in (root, root / "img", root / "img_highres") if _is_release(base)), None
        )
        flat = [root / name for name in (f"{split}_highres", split) if (root / name).is_dir()]
        if not flat and tree is not None:
            return lambda name: tree / release_path(name)
        place = flat[0] if flat else root / f"{split}_highres"
    else:
        place = root / folder
    present = names_in(place)

    def locate(name: str) -> Path:
        # Resized pictures are better kept without loss.
        if name not in present and (png := f"{PurePath(name).stem}.png") in present:
            return place / png
        return place / name

    return locate


def find_joints(root: Path, split: Split) -> Callable[[str], Annotation | None]:
    """From a flat name to its joints: a list of PATN's, else NTED's `pose/`, else none."""
    for kind, left in (("resize-annotation", 0), ("annotation", _BORDER)):
        path = spelling(root, [f"{word}-{kind}-{split}.csv" for word in WORDS])
        if path.is_file():
            return lambda name: Annotation(path, _FRAME, f"{PurePath(name).stem}.jpg", left)
    if _is_release(root / "pose"):
        return lambda name: Annotation(
            root / "pose" / release_path(name).with_suffix(".txt"), _FRAME, left=_BORDER
        )
    return lambda name: None


def _parts(name: str) -> dict[str, str]:
    match = _FLAT.fullmatch(PurePath(name).stem)
    if match is None:
        raise ValueError(
            f"'{name}' is not a flat In-shop name such as fashionMENDenimid0000008001_1front.jpg; "
            "rename the pictures as the release of the pair lists does"
        )
    return match.groupdict()


def _is_release(folder: Path) -> bool:
    return (folder / "WOMEN").is_dir() or (folder / "MEN").is_dir()

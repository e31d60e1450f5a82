"""Flat names of DeepFashion In-shop: `fashion` and an image's path without separators.

    WOMEN/Tees_Tanks/id_00000029/06_2_side.jpg
    fashionWOMENTees_Tanksid0000002906_2side.jpg

The garment type keeps its underscore, item and view lose theirs.
"""

import re
from pathlib import PurePath, PurePosixPath

_FLAT = re.compile(
    r"fashion(?P<gender>WOMEN|MEN)(?P<garment>.+?)id(?P<item>\d{8})(?P<person>\d\d)_"
    r"(?P<number>\d+)(?P<view>[a-z]+)"
)
_RELEASE = re.compile(
    r"(?:.*/)?(?P<gender>WOMEN|MEN)/(?P<garment>[^/]+)/id_(?P<item>\d{8})/(?P<person>\d\d)_"
    r"(?P<number>\d+)_(?P<view>[a-z]+)"
)


def flat_name(path: str) -> str:
    """The flat name of a path of the release, whatever folders are before MEN or WOMEN."""
    match = _RELEASE.fullmatch(str(PurePosixPath(path).with_suffix("")))
    if match is None:
        raise ValueError(f"'{path}' is not a path like WOMEN/Tees_Tanks/id_00000029/06_2_side.jpg")
    return "fashion{gender}{garment}id{item}{person}_{number}{view}.jpg".format(**match.groupdict())


def release_path(name: str) -> PurePosixPath:
    """The path of a flat name in the release."""
    folder = "{gender}/{garment}/id_{item}/{person}_{number}_{view}.jpg"
    return PurePosixPath(folder.format(**_parts(name)))


def category_of(name: str) -> str:
    """Gender and garment type of a flat name, such as `WOMEN-Tees_Tanks`."""
    return "{gender}-{garment}".format(**_parts(name))


def _parts(name: str) -> dict[str, str]:
    match = _FLAT.fullmatch(PurePath(name).stem)
    if match is None:
        raise ValueError(
            f"'{name}' is not a flat In-shop name such as fashionMENDenimid0000008001_1front.jpg; "
            "rename the images as the release of the pair lists does"
        )
    return match.groupdict()

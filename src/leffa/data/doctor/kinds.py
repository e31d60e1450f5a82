"""Every kind of finding of the doctor: what it says, and the remedy."""

import tomllib
from pathlib import Path
from typing import NamedTuple


class Kind(NamedTuple):
    """What is wrong, in words that follow a folder's name, and what to do about it."""

    says: str
    remedy: str = ""
    harmless: bool = False


TRAINED_ALL_THE_SAME = ("format-differs", "few-colours")
PREDICTED_ALL_THE_SAME = ("format-differs", "exif-rotated")
KINDS: dict[str, Kind] = {
    name: Kind(**entry)
    for name, entry in tomllib.loads(
        Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
    ).items()
}

WITHOUT = {  # what training and evaluation must be told where files of this content are absent
    "mask": "without them: a recipe as transform.agnostic",
    **dict.fromkeys(
        ("colour", "labels", "iuv", "vui"),
        "without them: transform.densepose=skeleton or none",
    ),
    "pose": "without them: mask files or a recipe that needs no joints, and no densepose=skeleton",
    **dict.fromkeys(
        ("parse_20", "parse_18"), "without them: mask files, and no loss_region=garment"
    ),
}

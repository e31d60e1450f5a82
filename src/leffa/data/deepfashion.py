"""DeepFashion In-shop for pose transfer, in CFLD's layout: where it keeps its files."""

import csv
import re
from pathlib import Path, PurePath
from typing import Literal

from leffa.data.batch import Record
from leffa.data.layout import (
    Layout,
    Split,
    absent,
    check_choice,
    check_root,
    optional,
    read_lines,
    required,
    spelling,
)

_FLAT_NAME = re.compile(r"fashion(?P<gender>WOMEN|MEN)(?P<garment>.+?)id\d{8}")


class DeepFashion(Layout):
    """Pairs of one person in two poses (Zhu et al., 2019): reference `from`, source `to`.

        <root>/fasion-resize-pairs-{train,test}.csv     header from,to; `fashion-` is read too
        <root>/{train,test}_highres/<flat name>.jpg
          optional: densepose/<flat stem>.png (IUV)
          synthetic copies: flow/<from stem>_2_<to stem>.npz

    A flat name is the path of the In-shop release without its separators, such as
    `fashionWOMENTees_Tanksid0000002906_2side.jpg`. The category is its gender and garment type,
    `WOMEN-Tees_Tanks`. Samples are named `<from stem>_2_<to stem>`, as the field names its results.

    Args:
        root: the folder that holds the pair lists (CFLD's `fashion`).
        split: "train" or "test".
        densepose: "iuv", or "none".
    """

    def __init__(
        self, root: str | Path, split: Split = "train", densepose: Literal["iuv", "none"] = "iuv"
    ) -> None:
        check_choice("split", split, ("train", "test"))
        check_choice("densepose", densepose, ("iuv", "none"))
        root = check_root(root)
        pair_list = spelling(
            root, [f"{word}-resize-pairs-{split}.csv" for word in ("fasion", "fashion")]
        )
        listed = _read_csv(pair_list)
        pictures = root / f"{split}_highres"
        body_of = required(root / "densepose", "{}.png") if densepose == "iuv" else absent
        names = [
            f"{PurePath(reference).stem}_2_{PurePath(source).stem}" for reference, source in listed
        ]
        flow_of = optional(root / "flow", "{}.npz", names)
        records = [
            Record(
                name=name,
                category=_category(source, pair_list),
                source=pictures / source,
                reference=pictures / reference,
                densepose=body_of(PurePath(source).stem),
                flow=flow_of(name),
            )
            for name, (reference, source) in zip(names, listed, strict=True)
        ]
        super().__init__(records, pair_list)


def _read_csv(path: Path) -> list[tuple[str, str]]:
    rows = csv.DictReader(read_lines(path))
    if not {"from", "to"} <= set(rows.fieldnames or ()):
        raise ValueError(
            f"{path}: has no header 'from,to'; copy the list again from CFLD's release"
        )
    pairs = [(row["from"], row["to"]) for row in rows]
    if not all(reference and source for reference, source in pairs):
        raise ValueError(f"{path}: line without a comma; copy the list again from CFLD's release")
    if not pairs:
        raise ValueError(f"{path}: lists nothing; copy the list again from CFLD's release")
    return pairs


def _category(name: str, pair_list: Path) -> str:
    match = _FLAT_NAME.match(name)
    if match is None:
        raise ValueError(
            f"{pair_list}: '{name}' is not a flat In-shop name such as "
            "fashionMENDenimid0000008001_1front.jpg; rename the pictures as CFLD's script does"
        )
    return f"{match['gender']}-{match['garment']}"

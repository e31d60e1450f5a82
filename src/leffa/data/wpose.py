"""WPose, the out-of-domain test set of pose transfer: which pairs there are, and their files."""

from pathlib import Path, PurePath
from typing import Literal

from leffa.data.batch import Record
from leffa.data.counts import check_count
from leffa.data.layout import (
    Layout,
    absent,
    check_choice,
    check_root,
    optional,
    pose_pair,
    read_lines,
    required,
    spelling,
)


class WPose(Layout):
    """Stock photographs of one person in two poses (UniHuman, Li et al., 2024); for tests only.

        <root>/test_pairs.txt        reference source
        <root>/images/N.png          cropped around the person, longer side 1024
               densepose/N.png       V, U and part id as red, green and blue
               parsing/N.png         labels; `gt_parsing` in an early release
          synthetic copies: flow/<reference>_2_<source>.npz

    The release has links and annotations; the photographs are fetched with its own script. Its
    pickled `test_data.pkl` repeats the pairs and is not read. Columns are split at white space or
    commas. Not stated by the release, and taken from its code: that the reference is the first
    column, and the order of the DensePose channels. Samples are named `<reference>_2_<source>`;
    their category is "person".

    Args:
        root: the folder that holds the pair list (`wpose`).
        split: "test".
        densepose: "iuv", the file of the release, or "none".
        target_first: the first column is the source instead.
        allow_subset: the list may be shorter than the official one: some links are dead.
    """

    def __init__(
        self,
        root: str | Path,
        split: Literal["test"] = "test",
        densepose: Literal["iuv", "none"] = "iuv",
        target_first: bool = False,
        allow_subset: bool = False,
    ) -> None:
        check_choice("split", split, ("test",))
        check_choice("densepose", densepose, ("iuv", "none"))
        root = check_root(root)
        pair_list = root / "test_pairs.txt"
        listed = [_pair(line, pair_list) for line in read_lines(pair_list)]
        check_count(root, ["WPose test"], len(listed), pair_list, allow_subset)
        if target_first:
            listed = [(second, first) for first, second in listed]
        body_of = required(root / "densepose", "{}.png") if densepose == "iuv" else absent
        stems = [PurePath(source).stem for _, source in listed]
        parse_of = optional(spelling(root, ("parsing", "gt_parsing")), "{}.png", stems)
        names = [pose_pair(reference, source) for reference, source in listed]
        flow_of = optional(root / "flow", "{}.npz", names)
        records = [
            Record(
                name=name,
                category="person",
                source=root / "images" / source,
                reference=root / "images" / reference,
                densepose=body_of(stem),
                parse=parse_of(stem),
                flow=flow_of(name),
            )
            for name, stem, (reference, source) in zip(names, stems, listed, strict=True)
        ]
        super().__init__(records, pair_list)


def _pair(line: str, pair_list: Path) -> tuple[str, str]:
    columns = line.replace(",", " ").split()
    if len(columns) != 2:
        raise ValueError(
            f"{pair_list}: expected 'reference source' on each line, found '{line}'; "
            "correct that line"
        )
    return PurePath(columns[0]).name, PurePath(columns[1]).name

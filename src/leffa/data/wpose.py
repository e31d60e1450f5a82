"""WPose, the out-of-domain test set of pose transfer: which pairs there are, and their files."""

from pathlib import Path
from typing import Literal

from leffa.data.catalog import WPOSE
from leffa.data.layout import Layout, check_choice, check_root
from leffa.data.reader import check_count, pose_records, read_rows


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
        check_choice("densepose", densepose, (*WPOSE.densepose, "none"))
        root = check_root(root)
        (group,) = WPOSE.groups
        (listing,) = group.lists
        path = root / listing.names[0]
        rows = read_rows(path, listing)
        check_count(root, listing, len(rows), path, allow_subset)
        if target_first:
            rows = [(reference, source) for source, reference in rows]
        folder = root / group.main("picture").spellings[0]
        records = pose_records(group, root, rows, densepose, lambda name: folder / name)
        super().__init__(records, path)

"""The original VITON data set at 192x256: where it keeps its files."""

from pathlib import Path, PurePath

from leffa.data.batch import Record
from leffa.data.counts import check_count
from leffa.data.layout import (
    Layout,
    Pairs,
    Split,
    absent,
    check_root,
    check_split,
    optional,
    read_pairs,
)


class Viton(Layout):
    """Upper-body try-on pairs of VITON (Han et al., 2018), in the layout that CP-VTON made common.

        <root>/train_pairs.txt  test_pairs.txt              person.jpg garment.jpg
        <root>/{train,test}/    image/NNNNNN_0.jpg          cloth/NNNNNN_1.jpg
                                image-parse/NNNNNN_0.png    cloth-mask/NNNNNN_1.jpg
                                pose/NNNNNN_0_keypoints.json
          synthetic copies:     flow/NNNNNN_0.npz

    Parse labels are LIP-20 ids (checked on the files: 0, 2, 5-19 occur; 10 is jumpsuits, and the
    neck counts as background, unlike VITON-HD's). The pose is OpenPose 1.0 with 18 COCO joints.
    There is neither DensePose nor an agnostic mask: build the mask from parse and pose
    (`preprocess.agnostic`), and use the skeleton, or nothing, in place of DensePose.

    The test list is the unpaired one; a person's own garment has the person's number. Training is
    always paired.

    Args:
        root: the folder that holds the pair lists.
        split: "train" or "test".
        pairs: "paired" gives each person the garment that they wear and names the sample by the
            person's stem; "unpaired" gives the garment of the test list and names it
            `<person stem>__<garment stem>`.
        allow_subset: the list may be shorter than the official one.
    """

    def __init__(
        self,
        root: str | Path,
        split: Split = "train",
        pairs: Pairs = "paired",
        allow_subset: bool = False,
    ) -> None:
        check_split(split, pairs)
        pair_list = check_root(root) / f"{split}_pairs.txt"
        folder = pair_list.parent / split
        listed = read_pairs(pair_list)
        check_count(pair_list.parent, [f"VITON {split}"], len(listed), pair_list, allow_subset)
        # The true flow leads to the garment that is worn, so there is none for another garment.
        people = [PurePath(person).stem for person, _ in listed]
        flow_of = optional(folder / "flow", "{}.npz", people) if pairs == "paired" else absent
        records = []
        for person, garment in listed:
            stem = PurePath(person).stem
            if pairs == "paired":
                garment = f"{stem.removesuffix('_0')}_1.jpg"
            records.append(
                Record(
                    name=stem if pairs == "paired" else f"{stem}__{PurePath(garment).stem}",
                    category="upper_body",
                    source=folder / "image" / person,
                    reference=folder / "cloth" / garment,
                    parse=folder / "image-parse" / f"{stem}.png",
                    keypoints=folder / "pose" / f"{stem}_keypoints.json",
                    reference_mask=folder / "cloth-mask" / garment,
                    flow=flow_of(stem),
                )
            )
        super().__init__(records, pair_list)

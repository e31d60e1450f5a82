"""VITON-HD at 768x1024: where it keeps its files."""

from pathlib import Path, PurePath
from typing import Literal

from leffa.data.batch import Record
from leffa.data.counts import check_count
from leffa.data.layout import (
    Layout,
    Pairs,
    Split,
    absent,
    check_choice,
    check_root,
    check_split,
    optional,
    read_pairs,
    required,
    spelling,
    where_present,
)


class VitonHD(Layout):
    """Upper-body try-on pairs of VITON-HD (Choi et al., 2021), as in `zalando-hd-resized.zip`.

        <root>/train_pairs.txt  test_pairs.txt        person.jpg garment.jpg
        <root>/{train,test}/
            image/NNNNN_00.jpg                        cloth/NNNNN_00.jpg
          optional:
            agnostic-mask/NNNNN_00_mask.png           image-densepose/NNNNN_00.jpg
            image-parse-v3/NNNNN_00.png               openpose_json/NNNNN_00_keypoints.json
            cloth-mask/NNNNN_00.jpg
          synthetic copies:
            image-iuv/NNNNN_00.png                    flow/NNNNN_00.npz

    The older test-only release writes `image-parse` and `openpose-json`; both spellings are read.
    Parse labels are CIHP-20 ids. A folder that is absent leaves its field None, except the
    DensePose that was asked for.

    The test list is the unpaired one, and a person's own garment has the person's name. The second
    column of the train list is shuffled as well, so training ignores it and is always paired.

    Args:
        root: the folder that holds the pair lists.
        split: "train" or "test".
        pairs: "paired" gives each person the garment that they wear and names the sample by the
            person's stem; "unpaired" gives the garment of the test list and names it
            `<person stem>__<garment stem>`.
        densepose: the file that stands for DensePose: "colour", "iuv" or "none".
        allow_subset: the list may be shorter than the official one.
    """

    def __init__(
        self,
        root: str | Path,
        split: Split = "train",
        pairs: Pairs = "paired",
        densepose: Literal["colour", "iuv", "none"] = "colour",
        allow_subset: bool = False,
    ) -> None:
        check_split(split, pairs)
        check_choice("densepose", densepose, ("colour", "iuv", "none"))
        pair_list = check_root(root) / f"{split}_pairs.txt"
        listed = read_pairs(pair_list)
        check_count(pair_list.parent, [f"VITON-HD {split}"], len(listed), pair_list, allow_subset)
        if pairs == "paired":
            listed = [(person, person) for person, _ in listed]
        super().__init__(_records(pair_list.parent / split, listed, pairs, densepose), pair_list)


def _records(
    folder: Path, listed: list[tuple[str, str]], pairs: Pairs, densepose: str
) -> list[Record]:
    people = [PurePath(person).stem for person, _ in listed]
    garments = [PurePath(garment).stem for _, garment in listed]
    body_of = {
        "colour": required(folder / "image-densepose", "{}.jpg"),
        "iuv": required(folder / "image-iuv", "{}.png"),
        "none": absent,
    }[densepose]
    mask_of = optional(folder / "agnostic-mask", "{}_mask.png", people)
    parse_of = optional(spelling(folder, ("image-parse-v3", "image-parse")), "{}.png", people)
    pose_of = optional(
        spelling(folder, ("openpose_json", "openpose-json")), "{}_keypoints.json", people
    )
    garment_mask_of = where_present(folder / "cloth-mask", "{}.jpg")
    # The true flow leads to the garment that is worn, so there is none for another garment.
    flow_of = optional(folder / "flow", "{}.npz", people) if pairs == "paired" else absent
    return [
        Record(
            name=person if pairs == "paired" else f"{person}__{garment}",
            category="upper_body",
            source=folder / "image" / person_file,
            reference=folder / "cloth" / garment_file,
            mask=mask_of(person),
            densepose=body_of(person),
            parse=parse_of(person),
            keypoints=pose_of(person),
            reference_mask=garment_mask_of(garment),
            flow=flow_of(person),
        )
        for person, garment, (person_file, garment_file) in zip(
            people, garments, listed, strict=True
        )
    ]

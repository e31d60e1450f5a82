"""DressCode at 768x1024: where it keeps its files."""

from collections.abc import Sequence
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
    read_rows,
    required,
    where_present,
)

CATEGORIES = ("upper_body", "lower_body", "dresses")


class DressCode(Layout):
    """Try-on pairs of DressCode (Morelli et al., 2022) in three categories.

        <root>/train_pairs.txt  test_pairs_paired.txt  test_pairs_unpaired.txt
                                             person garment category (0, 1 or 2)
        <root>/{upper_body,lower_body,dresses}/
            the same three lists             person garment
            images/NNNNNN_0.jpg (person)     images/NNNNNN_1.jpg (garment)
          optional:
            keypoints/NNNNNN_2.json          label_maps/NNNNNN_4.png
            dense/NNNNNN_5.png               image-densepose/NNNNNN_0.jpg (Choi et al., 2024)
            masks/NNNNNN_1.png (LaDI's)      agnostic_masks/NNNNNN_0.png (Chong et al., 2024)
          synthetic copies: flow/NNNNNN_0.npz

    The lists are the only split: both splits share the folders. A category's own list is read
    where there is one, else its lines of the root's. Columns are split on any white space, since
    copies of the lists differ. The paired and the unpaired list have the persons in another order.
    Parse labels are ATR ids. An optional folder without files of this split leaves its field None,
    except the DensePose that was asked for.

    Args:
        root: the folder that holds the categories.
        split: "train" or "test".
        pairs: "paired" names the sample by the person's stem; "unpaired" reads the unpaired test
            lists and names it `<person stem>__<garment stem>`.
        categories: which categories, in which order; one or more of the three.
        densepose: the file that stands for DensePose: "labels" (`dense`), "colour"
            (`image-densepose`) or "none".
        allow_subset: the lists may be shorter than the official ones.
    """

    def __init__(
        self,
        root: str | Path,
        split: Split = "train",
        pairs: Pairs = "paired",
        categories: Sequence[str] = CATEGORIES,
        densepose: Literal["labels", "colour", "none"] = "labels",
        allow_subset: bool = False,
    ) -> None:
        check_split(split, pairs)
        check_choice("densepose", densepose, ("labels", "colour", "none"))
        if isinstance(categories, str) or not categories:
            raise ValueError(f"categories={categories}: give a list, such as [upper_body]")
        for category in categories:
            check_choice("categories", category, CATEGORIES)
        root = check_root(root)
        file = "train_pairs.txt" if split == "train" else f"test_pairs_{pairs}.txt"
        records: list[Record] = []
        for category in categories:
            pair_list, listed = _read_list(root, category, file)
            part = f"DressCode {category} {split}"
            check_count(root, [part], len(listed), pair_list, allow_subset)
            records += _records(root / category, listed, pairs, densepose)
        super().__init__(records, root / "*" / file)


def _read_list(root: Path, category: str, file: str) -> tuple[Path, list[tuple[str, str]]]:
    """The pairs of a category, and the list that they stand in."""
    own, common = root / category / file, root / file
    if own.is_file() or not common.is_file():
        return own, read_pairs(own)
    number = str(CATEGORIES.index(category))
    rows = read_rows(common, "person garment category")
    listed = [(person, garment) for person, garment, kind in rows if kind == number]
    if not listed:
        raise ValueError(f"{common}: has no lines of category {number} ({category})")
    return common, listed


def _records(
    folder: Path, listed: list[tuple[str, str]], pairs: Pairs, densepose: str
) -> list[Record]:
    people = [PurePath(person).stem for person, _ in listed]
    garments = [PurePath(garment).stem for _, garment in listed]
    numbers = [person.removesuffix("_0") for person in people]
    body_of = {
        "labels": required(folder / "dense", "{}_5.png"),
        "colour": required(folder / "image-densepose", "{}_0.jpg"),
        "none": absent,
    }[densepose]
    mask_of = optional(folder / "agnostic_masks", "{}_0.png", numbers)
    parse_of = optional(folder / "label_maps", "{}_4.png", numbers)
    pose_of = optional(folder / "keypoints", "{}_2.json", numbers)
    garment_mask_of = where_present(folder / "masks", "{}.png")
    # The true flow leads to the garment that is worn, so there is none for another garment.
    flow_of = optional(folder / "flow", "{}_0.npz", numbers) if pairs == "paired" else absent
    return [
        Record(
            name=person if pairs == "paired" else f"{person}__{garment}",
            category=folder.name,
            source=folder / "images" / person_file,
            reference=folder / "images" / garment_file,
            mask=mask_of(number),
            densepose=body_of(number),
            parse=parse_of(number),
            keypoints=pose_of(number),
            reference_mask=garment_mask_of(garment),
            flow=flow_of(number),
        )
        for person, garment, number, (person_file, garment_file) in zip(
            people, garments, numbers, listed, strict=True
        )
    ]

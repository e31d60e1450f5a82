"""Reads the samples of a published dataset, by its spec in `data.catalog`."""

import logging
import re
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from pathlib import Path, PurePath

from leffa.data.batch import Record
from leffa.data.catalog import CATALOG
from leffa.data.catalog.spec import (
    MATCHES,
    SPLITS,
    SYNTHETIC,
    DatasetSpec,
    FileSpec,
    GroupSpec,
    ListSpec,
    Pairs,
    Split,
    unpaired_name,
)
from leffa.data.keypoints import Annotation
from leffa.data.layout import (
    UNPAIRED_TRAINING,
    Layout,
    check_choice,
    check_root,
    check_truth,
    locate,
    read_csv_pairs,
    read_lines,
    spelling,
)
from leffa.data.matches import with_matches

log = logging.getLogger(__name__)

Rows = list[tuple[str, ...]]


class TryOnPairs(Layout):
    """The persons and garments of a try-on dataset.

    Optional fields are None if this split has no such files, except a requested DensePose.

    Args:
        spec: the dataset's specification, or its name in `CATALOG`.
        root: the folder with the pair lists.
        pairs: "paired" gives each person the garment that they wear and names the sample by the
            person's stem; "unpaired" gives the garment of the test list and names it
            `<person stem>__<garment stem>`. Training is always paired.
        truth: unpaired: also load the images of the persons in these garments, which only synthetic
            copies have.
        densepose: the encoding of the DensePose files to load, or "none".
        allow_subset: whether the lists may be shorter than the official ones.
        categories: names of groups, in their order; None: all groups that have the split.
    """

    def __init__(
        self,
        spec: DatasetSpec | str,
        root: str | Path,
        split: Split = "train",
        pairs: Pairs = "paired",
        densepose: str = "none",
        allow_subset: bool = False,
        categories: Sequence[str] | None = None,
        truth: bool = False,
    ) -> None:
        spec = _spec(spec)
        check_choice("split", split, SPLITS)
        check_choice("pairs", pairs, ("paired", "unpaired"))
        if (split, pairs) == ("train", "unpaired"):
            raise ValueError(UNPAIRED_TRAINING)
        if truth and pairs == "paired":
            raise ValueError("truth=true: where pairs=paired the person's image is the true one")
        check_choice("densepose", densepose, (*spec.densepose, "none"))
        groups = {
            each.name: each for each in spec.groups if any(split == one.split for one in each.lists)
        }
        chosen = groups if categories is None else categories
        if isinstance(chosen, str) or not chosen:
            raise ValueError(f"categories={categories}: give a list, such as [upper_body]")
        root, records = check_root(root), []
        for category in chosen:
            check_choice("categories", category, groups)
            group = groups[category]
            listing = group.listing(split, pairing="other" if pairs == "unpaired" else None)
            path, rows = _read_group(spec, root, group, listing)
            check_count(root, listing, len(rows), path, allow_subset)
            folder = root / group.folder
            found = _tryon_records(spec, folder, group, rows, pairs, densepose, truth)
            # A person's matches lead to the garment that they wear.
            records += with_matches(found, folder / MATCHES) if pairs == "paired" else found
        if truth:
            check_truth(root, records, group)
        super().__init__(records, root / "*" / path.name if spec.totals else path)


def _spec(spec: DatasetSpec | str) -> DatasetSpec:
    if isinstance(spec, str):
        check_choice("spec", spec, CATALOG)
        return CATALOG[spec]
    return spec


def _read_group(
    spec: DatasetSpec, root: Path, group: GroupSpec, listing: ListSpec
) -> tuple[Path, Rows]:
    """The pairs of a group, and the list they stand in: its own, else that of all groups."""
    own = root / listing.names[0]
    common = root / own.name
    if own.is_file() or own.name not in spec.totals or not common.is_file():
        return own, read_rows(own, listing)
    columns = ListSpec((own.name,), listing.split, (*listing.columns, "category"))
    number = str(spec.groups.index(group))
    rows = [row[:-1] for row in read_rows(common, columns) if row[-1] == number]
    if not rows:
        raise ValueError(f"{common}: has no lines of category {number} ({group.name})")
    return common, rows


def _tryon_records(
    spec: DatasetSpec,
    folder: Path,
    group: GroupSpec,
    rows: Rows,
    pairs: Pairs,
    densepose: str,
    truth: bool,
) -> list[Record]:
    mains = person_files, garment_files = group.main("person"), group.main("garment")
    places = [folder / files.spellings[0] for files in mains]
    if pairs == "paired" and spec.own_by_name:
        own = garment_files.pattern.removesuffix(PurePath(garment_files.pattern).suffix)
        rows = [
            (person, own.format(person_files.key_of_stem(person)) + PurePath(person).suffix)
            for person, _ in rows
        ]
    keys = {
        files.role: [files.key_of_stem(row[column]) for row in rows]
        for column, files in enumerate(mains)
    }
    names = [PurePath(row[0]).stem if pairs == "paired" else unpaired_name(*row) for row in rows]
    files = [each for each in group.files if each.role in keys]
    if pairs == "unpaired":
        # A person's ground-truth flow leads to the garment that they wear, not to another.
        files = [each for each in files if each.field != "flow"]
    if truth:
        keys["unpaired"] = names
        files += [each for each in group.files if each.role == "unpaired"]
    found = _find_files(files, folder, keys, densepose)
    return [
        Record(
            name=name,
            category=group.category,
            source=places[0] / person,
            reference=places[1] / garment,
            **{field: paths[number] for field, paths in found.items()},
        )
        for number, (name, (person, garment)) in enumerate(zip(names, rows, strict=True))
    ]


def _find_files(
    specs: Iterable[FileSpec],
    base: Path,
    keys: dict[str, list[str]],
    densepose: str,
) -> dict[str, list[Path | None]]:
    """The files of every record by field, from the records' keys by role."""
    found: dict[str, list[Path | None]] = {}
    for files in specs:
        if files.field is None or files.main:
            continue
        if files.field == "densepose" and files.encoding != densepose:
            continue
        need = "always" if files.field == "densepose" else files.need
        wanted = keys[files.role]
        # An image is in several pairs: its paths are made once and shared.
        find = cache(locate(spelling(base, files.spellings), files.pattern, need, wanted))
        found[files.field] = [find(key) for key in wanted]
    return found


class PosePairs(Layout):
    """Pairs of one person in two images; samples are named `<reference stem>_2_<source stem>`.

    Args:
        spec, root, densepose, allow_subset: as in `TryOnPairs`.
        target_first: the first column of the list is the source.
    """

    def __init__(
        self,
        spec: DatasetSpec | str,
        root: str | Path,
        split: Split = "train",
        densepose: str = "none",
        allow_subset: bool = False,
        target_first: bool = False,
    ) -> None:
        spec = _spec(spec)
        check_choice("split", split, tuple(group.name for group in spec.groups))
        check_choice("densepose", densepose, (*spec.densepose, "none"))
        root, group = check_root(root), spec.group(split)
        path, rows = read_pairs(root, group.lists[0], allow_subset)
        _check_persons(spec, rows, path)
        if target_first:
            rows = [row[::-1] for row in rows]
        folder = spelling(root, group.main("picture").spellings)
        lists = [each.find(root) for each in group.lists if each.form == "annotation"]
        joints = lists[0] if lists else None

        def joints_of(name: str) -> Annotation | None:
            return None if joints is None else Annotation(joints, spec.frame, name)

        records = pose_records(
            group, root, rows, densepose, folder.joinpath, joints_of, lambda name: group.category
        )
        super().__init__(records, path)


def _check_persons(spec: DatasetSpec, rows: Rows, path: Path) -> None:
    """Check that the two images of a pair show one person, if their names tell."""
    if not spec.person:
        return
    person_of = cache(lambda name: re.findall(spec.person, name)[:1])
    for first, second in rows:
        if person_of(first) != person_of(second):
            raise ValueError(
                f"{path}: {first} and {second} are two persons; use the published list"
            )


def pose_records(
    group: GroupSpec,
    root: Path,
    rows: Rows,
    densepose: str,
    picture_of: Callable[[str], Path],
    joints_of: Callable[[str], Annotation | None],
    category_of: Callable[[str], str],
    pairs: Pairs = "paired",
) -> list[Record]:
    """The records of pose transfer, named as in the field.

    Args:
        rows: (reference, source), by the names of their images.
        picture_of, joints_of, category_of: of an image's name.
        pairs: "unpaired": reference and source are two persons, and the truth is rendered.
    """
    stem_of = cache(lambda name: PurePath(name).stem)
    picture_of, joints_of, category_of = cache(picture_of), cache(joints_of), cache(category_of)
    references, sources = ([stem_of(row[column]) for row in rows] for column in (0, 1))
    names = [f"{one}_2_{other}" for one, other in zip(references, sources, strict=True)]
    keys = {"picture": sources, "pair" if pairs == "paired" else "unpaired": names}
    found = _find_files([each for each in group.files if each.role in keys], root, keys, densepose)
    for files in group.files:
        if files.field == "densepose" and files.encoding == densepose:
            find = cache(locate(root / files.spellings[0], files.pattern, "loose"))
            found["reference_densepose"] = [find(key) for key in references]
    return [
        Record(
            name=name,
            category=category_of(source),
            source=picture_of(source),
            reference=picture_of(reference),
            keypoints=joints_of(source),
            reference_keypoints=joints_of(reference),
            **{field: paths[number] for field, paths in found.items()},
        )
        for number, (name, (reference, source)) in enumerate(zip(names, rows, strict=True))
    ]


def read_pairs(root: Path, listing: ListSpec, allow_subset: bool) -> tuple[Path, Rows]:
    """A list of pairs under one of its names, and its rows, as many as there should be."""
    path = spelling(root, listing.names)
    rows = read_rows(path, listing)
    check_count(root, listing, len(rows), path, allow_subset)
    return path, rows


def read_rows(path: Path, listing: ListSpec) -> Rows:
    """The columns of every line of a list; ValueError where a line is of another form."""
    if listing.form == "csv":
        return [*read_csv_pairs(path)]
    rows: Rows = []
    for line in read_lines(path):
        try:
            rows += listing.parse(line)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    return rows


def check_count(root: Path, listing: ListSpec, found: int, path: Path, allow_subset: bool) -> None:
    """Compare the length of a list with the official one, so that half a dataset is not mistaken
    for all of it. A synthetic copy has a size of its own.

    Raises:
        ValueError: there are more, or fewer and `allow_subset` is not set.
    """
    official = listing.official
    if official is None or found == official or (root / SYNTHETIC).is_file():
        return
    if found > official:
        raise ValueError(
            f"{path}: lists {found:,} pairs, the official list has {official:,}; use the "
            "official list, or the dataset `folder` for a list of your own"
        )
    if not allow_subset:
        raise ValueError(
            f"{path}: lists {found:,} of {official:,} pairs; copy the whole list from the "
            "dataset's archive, or set allow_subset=true"
        )
    log.info("%s: %s of %s pairs", path, f"{found:,}", f"{official:,}")

"""Reads the samples of a published data set, by its spec in `data.catalog`."""

import logging
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path, PurePath

from leffa.data.batch import Annotation, Record
from leffa.data.catalog import CATALOG
from leffa.data.catalog.spec import (
    SYNTHETIC,
    DatasetSpec,
    FileSpec,
    GroupSpec,
    ListSpec,
    Pairs,
    Split,
)
from leffa.data.layout import (
    Layout,
    Locate,
    absent,
    check_choice,
    check_root,
    optional,
    read_csv_pairs,
    read_lines,
    required,
    spelling,
    where_present,
)

log = logging.getLogger(__name__)

Rows = list[tuple[str, ...]]
_LOCATE = {"always": required, "loose": where_present}


class TryOnPairs(Layout):
    """The persons and garments of a try-on data set.

    A field whose files need not be there is None where this split has none of them, except the
    DensePose that was asked for.

    Args:
        spec: of the data set, or its name in `CATALOG`.
        root: the folder that holds the pair lists.
        split: "train" or "test".
        pairs: "paired" gives each person the garment that they wear and names the sample by the
            person's stem; "unpaired" gives the garment of the test list and names it
            `<person stem>__<garment stem>`.
        densepose: the encoding of the DensePose files to read, or "none".
        allow_subset: the lists may be shorter than the official ones.
        categories: names of groups, in their order; None: all that have the split.
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
    ) -> None:
        spec = _spec(spec)
        check_choice("split", split, ("train", "test"))
        check_choice("pairs", pairs, ("paired", "unpaired"))
        if (split, pairs) == ("train", "unpaired"):
            raise ValueError(
                "pairs=unpaired: training has no unpaired list; use pairs=paired, or split=test"
            )
        check_choice("densepose", densepose, (*spec.densepose, "none"))
        root, records = check_root(root), []
        groups = [each for each in spec.groups if any(split == one.split for one in each.lists)]
        for group in groups if categories is None else map(spec.group, categories):
            listing = group.listing(split, pairing="other" if pairs == "unpaired" else None)
            path, rows = _read_group(spec, root, group, listing)
            check_count(root, listing, len(rows), path, allow_subset)
            records += _tryon_records(spec, root / group.folder, group, rows, pairs, densepose)
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
    spec: DatasetSpec, folder: Path, group: GroupSpec, rows: Rows, pairs: Pairs, densepose: str
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
    # The ground-truth flow leads to the garment that is worn: there is none for another garment.
    locate = {
        files: _locate(files, folder, keys[files.role])
        for files in group.files
        if files.field is not None
        and not files.main
        and (files.field != "densepose" or files.encoding == densepose)
        and (files.field != "flow" or pairs == "paired")
    }
    records = []
    for number, (person, garment) in enumerate(rows):
        stem = PurePath(person).stem
        records.append(
            Record(
                name=stem if pairs == "paired" else f"{stem}__{PurePath(garment).stem}",
                category=group.category,
                source=places[0] / person,
                reference=places[1] / garment,
                **{
                    str(files.field): find(keys[files.role][number])
                    for files, find in locate.items()
                },
            )
        )
    return records


def _locate(files: FileSpec, base: Path, keys: Sequence[str]) -> Locate:
    folder = spelling(base, files.spellings)
    if files.field == "densepose":
        return required(folder, files.pattern)
    if files.need in _LOCATE:
        return _LOCATE[files.need](folder, files.pattern)
    return optional(folder, files.pattern, keys)


class PosePairs(Layout):
    """Pairs of one person in two pictures; samples are named `<reference stem>_2_<source stem>`.

    Args:
        spec: of the data set, or its name in `CATALOG`.
        root: the folder that holds the pair lists.
        split: "train" or "test".
        densepose: the encoding of the DensePose files to read, or "none".
        allow_subset: the list may be shorter than the official one.
        check: raises ValueError where the list, whose path it gets too, is not to be trusted.
        target_first: the first column of the list is the source.
    """

    def __init__(
        self,
        spec: DatasetSpec | str,
        root: str | Path,
        split: Split = "train",
        densepose: str = "none",
        allow_subset: bool = False,
        check: Callable[[Rows, Path], None] | None = None,
        target_first: bool = False,
    ) -> None:
        spec = _spec(spec)
        check_choice("split", split, tuple(group.name for group in spec.groups))
        check_choice("densepose", densepose, (*spec.densepose, "none"))
        root, group = check_root(root), spec.group(split)
        path, rows = read_pairs(root, group.lists[0], allow_subset)
        if check is not None:
            check(rows, path)
        if target_first:
            rows = [row[::-1] for row in rows]
        folder = spelling(root, group.main("picture").spellings)
        found = [each.find(root) for each in group.lists if each.form == "annotation"]
        joints_of: Callable[[str], Annotation | None] = absent
        if found and (joints := found[0]) is not None:
            joints_of = lambda name: Annotation(joints, spec.frame, name)  # noqa: E731
        super().__init__(
            pose_records(group, root, rows, densepose, lambda name: folder / name, joints_of), path
        )


def read_pairs(root: Path, listing: ListSpec, allow_subset: bool) -> tuple[Path, Rows]:
    """A list of pairs under one of its names, and its rows, as many as there should be.

    Raises:
        FileNotFoundError, ValueError: as `read_rows` and `check_count`.
    """
    path = spelling(root, listing.names)
    rows = read_rows(path, listing)
    check_count(root, listing, len(rows), path, allow_subset)
    return path, rows


def pose_records(
    group: GroupSpec,
    root: Path,
    rows: Rows,
    densepose: str,
    picture_of: Callable[[str], Path],
    joints_of: Callable[[str], Annotation | None] = absent,
    category_of: Callable[[str], str] | None = None,
) -> list[Record]:
    """The records of pose transfer, named `<reference stem>_2_<source stem>` as in the field.

    Args:
        group: of the data set's spec.
        root: of the data set.
        rows: (reference, source), by the names of their pictures.
        densepose: its encoding, or "none".
        picture_of, joints_of, category_of: of a picture's name; without the last, the group's.
    """
    # A picture is in several pairs: its paths are made once and shared.
    stem_of = cache(lambda name: PurePath(name).stem)
    picture_of, joints_of = cache(picture_of), cache(joints_of)
    category_of = cache(category_of or (lambda name: group.category))
    names = [f"{stem_of(reference)}_2_{stem_of(source)}" for reference, source in rows]
    sources = [stem_of(source) for _, source in rows]
    files = {each.field: each for each in group.files}
    body, parse = files["densepose"], files.get("parse")
    body_of, reference_body_of = (
        cache(locate(root / body.spellings[0], body.pattern) if densepose != "none" else absent)
        for locate in (required, where_present)
    )
    parse_of = _locate(parse, root, sources) if parse else absent
    flow_of = _locate(files["flow"], root, names)
    return [
        Record(
            name=name,
            category=category_of(source),
            source=picture_of(source),
            reference=picture_of(reference),
            densepose=body_of(stem),
            parse=parse_of(stem),
            keypoints=joints_of(source),
            flow=flow_of(name),
            reference_densepose=reference_body_of(stem_of(reference)),
            reference_keypoints=joints_of(reference),
        )
        for name, stem, (reference, source) in zip(names, sources, rows, strict=True)
    ]


def read_rows(path: Path, listing: ListSpec) -> Rows:
    """The columns of every line of a list.

    Raises:
        FileNotFoundError, ValueError: as in `read_lines`; or a line is of another form.
    """
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
    """Compare the length of a list with the official one, so that half a data set is not taken for
    the whole. A synthetic copy has a size of its own.

    Args:
        root: of the data set.
        listing: the spec of the list.
        found: pairs that it has.
        path: of the list, for messages.
        allow_subset: fewer are welcome, and logged.

    Raises:
        ValueError: there are more, or fewer and `allow_subset` is not set.
    """
    official = listing.official
    if official is None or found == official or (root / SYNTHETIC).is_file():
        return
    if found > official:
        raise ValueError(
            f"{path}: lists {found:,} pairs, the official list has {official:,}; use the "
            "official list, or the data set `folder` for a list of your own"
        )
    if not allow_subset:
        raise ValueError(
            f"{path}: lists {found:,} of {official:,} pairs; copy the whole list from the "
            "data set's archive, or set allow_subset=true"
        )
    log.info("%s: %s of %s pairs", path, f"{found:,}", f"{official:,}")

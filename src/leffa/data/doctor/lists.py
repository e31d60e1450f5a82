"""Reads the lists of a data set, and says what is wrong with each of them."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from leffa.data.doctor.declare import Files, Group, Listing
from leffa.data.doctor.report import Count, Finding
from leffa.data.inshop import flat_name
from leffa.data.layout import read_csv_pairs
from leffa.io.tables import decode_text

_SEPARATOR = {
    **{"words": None, "commas": None, "names": None},
    **{"release": ",", "annotation": ":"},
}
_JOINTS = 18


@dataclass
class Listed:
    """What a list names.

    Args:
        listing: its declaration.
        where: the list, below the root.
        rows: the columns of each good line, file names as written.
        keys: the sample keys of each role, in the order of the list.
    """

    listing: Listing
    where: str
    rows: list[tuple[str, ...]] = field(default_factory=list)
    keys: dict[str, dict[str, None]] = field(default_factory=dict)

    @property
    def count(self) -> Count:
        """Its number of lines beside the official one."""
        return Count(self.where, len(self.rows), self.listing.official)


def find_list(root: Path, listing: Listing) -> Path | None:
    """The list under one of its names."""
    return next((root / name for name in listing.names if (root / name).is_file()), None)


def read_list(
    path: Path, where: str, group: Group, listing: Listing
) -> tuple[Listed, list[Finding]]:
    """The list and its findings; whether its files exist is not looked at here."""
    findings: list[Finding] = []
    listed = Listed(listing, where)
    lines = _lines(path, where, findings)
    columns = len(listing.columns)
    if listing.form == "csv" and lines:
        lines = []
        try:
            listed.rows += read_csv_pairs(path)
        except ValueError as error:
            findings.append(Finding("list-columns", where, str(error).removeprefix(f"{path}: ")))
    elif listing.form == "annotation" and lines:
        lines = lines[1:] if lines[0][1].split(":")[0].strip() == "name" else lines
    for number, line in lines:
        if listing.form == "commas":
            line = line.replace(",", " ")
        cells = [cell.strip() for cell in line.strip().split(_SEPARATOR[listing.form])]
        if listing.form == "annotation":
            if not _has_keypoints(cells[1:]):
                findings.append(Finding("list-keypoints", where, f"line {number}", cells[0][:60]))
            cells = cells[:1]
        if listing.form == "release":
            listed.rows += (rows := _release_pairs(cells))
            if not rows:
                findings.append(Finding("list-columns", where, f"line {number}", line.strip()[:60]))
            continue
        if len(cells) != columns or not all(cells):
            findings.append(Finding("list-columns", where, f"line {number}", line.strip()[:60]))
            continue
        listed.rows.append(tuple(cells))
    if not listed.rows:
        findings.append(Finding("list-empty", where))
    _collect_keys(listed, group, findings)
    findings += _repeated(listed)
    findings += _mispaired(listed, group)
    return listed, findings


def _lines(path: Path, where: str, findings: list[Finding]) -> list[tuple[int, str]]:
    """(number, text) of the lines that are not blank."""
    try:
        text, encoding = decode_text(path.read_bytes(), path)
    except ValueError as error:
        findings.append(Finding("list-encoding", where, str(error).removeprefix(f"{path}: ")))
        return []
    if encoding != "utf-8":
        findings.append(Finding("list-bom", where, encoding.removesuffix("-sig")))
    numbered = list(enumerate(text.splitlines(), start=1))
    stray = [number for number, line in numbered if line != line.strip() or not line]
    findings += [Finding("list-spaces", where, f"line {number}") for number in stray]
    return [(number, line) for number, line in numbered if line.strip()]


def _release_pairs(cells: list[str]) -> list[tuple[str, ...]]:
    """(reference, target) by flat names of a target and its references; none of a bad line."""
    try:
        target, *references = [flat_name(cell) for cell in cells]
    except ValueError:
        return []
    return [(reference, target) for reference in references]


def _has_keypoints(cells: list[str]) -> bool:
    try:
        axes = [json.loads(cell) for cell in cells]
    except ValueError:
        return False
    return len(axes) == 2 and all(isinstance(axis, list) and len(axis) == _JOINTS for axis in axes)


def _main_files(group: Group) -> dict[str, Files]:
    return {files.role: files for files in group.files if files.main}


def _collect_keys(listed: Listed, group: Group, findings: list[Finding]) -> None:
    mains = _main_files(group)
    roles = listed.listing.columns
    for row in listed.rows:
        keys = []
        for role, name in zip(roles, row, strict=True):
            if role == "ignored":
                continue
            key = mains[role].key(name)
            if key is None:
                wanted = mains[role].pattern.format("KEY")
                findings.append(
                    Finding("list-columns", listed.where, f"'{name}'", f"expected {wanted}")
                )
                continue
            keys.append(key)
            listed.keys.setdefault(role, {})[key] = None
        if roles[0] == "person" and keys:  # paired evaluation asks for the person's own garment
            listed.keys.setdefault("garment", {})[keys[0]] = None
        if roles == ("picture", "picture") and len(keys) == 2:
            listed.keys.setdefault("pair", {})["_2_".join(keys)] = None


def _repeated(listed: Listed) -> Iterator[Finding]:
    columns = 1 if listed.listing.unique == "first" else None
    counts = Counter(row[:columns] for row in listed.rows)
    for row, count in counts.items():
        if count > 1:
            yield Finding("list-duplicate", listed.where, " ".join(row), f"{count} times")


def _mispaired(listed: Listed, group: Group) -> list[Finding]:
    """Persons with somebody else's garment in a paired list, or with their own in an unpaired."""
    wanted = listed.listing.pairing
    if wanted is None or not listed.rows:
        return []
    mains = _main_files(group)
    person, garment = (mains[role] for role in listed.listing.columns)
    wrong = [
        row
        for row in listed.rows
        if (person.key(row[0]) == garment.key(row[1])) != (wanted == "own")
    ]
    # A few persons may have drawn their own garment; the paired list allows no exception.
    if wanted == "other" and len(wrong) * 2 <= len(listed.rows):
        return []
    return [Finding("list-pairing", listed.where, " ".join(row)) for row in wrong]


def check_together(lists: list[Listed], disjoint: bool) -> Iterator[Finding]:
    """What only several lists show: persons of the training in the test."""
    if not disjoint:
        return
    people: dict[str, dict[str, str]] = {"train": {}, "test": {}}
    for listed in lists:
        for role in ("person", "picture"):
            for key in listed.keys.get(role, ()):
                people[listed.listing.split].setdefault(key, listed.where)
    for key in people["train"].keys() & people["test"].keys():
        yield Finding("overlap", f"{people['train'][key]} and {people['test'][key]}", key)


def check_totals(
    root: Path, totals: tuple[str, ...], lists: Mapping[str, list[Listed]]
) -> Iterator[Finding]:
    """A root list must have the rows of the categories' lists and the number of each category."""
    for name in totals:
        parts = [
            (str(number), listed)
            for number, group in enumerate(lists.values())
            for listed in group
            if listed.where.endswith(f"/{name}")
        ]
        if not parts or not (root / name).is_file():
            continue
        findings: list[Finding] = []
        rows = {tuple(line.split()) for _, line in _lines(root / name, name, findings)}
        yield from findings
        expected = {(*row, number) for number, listed in parts for row in listed.rows}
        for row in rows ^ expected:
            detail = "only here" if row in rows else "missing here"
            yield Finding("lists-disagree", name, " ".join(row), detail)

"""Reads the lists of a dataset, and finds their errors."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from leffa.data.catalog.spec import GroupSpec, ListSpec, unpaired_name
from leffa.data.doctor.report import Count, Finding
from leffa.data.keypoints import COCO_18
from leffa.data.layout import read_csv_pairs
from leffa.io.tables import read_text


@dataclass
class Listed:
    """What a list names: the columns of each good line as written, and the sample keys of each
    role in the order of the list."""

    listing: ListSpec
    where: str  # below the root
    rows: list[tuple[str, ...]] = field(default_factory=list)
    keys: dict[str, dict[str, None]] = field(default_factory=dict)

    @property
    def count(self) -> Count:
        """Its number of lines beside the official one."""
        return Count(self.where, len(self.rows), self.listing.official)


def read_list(
    path: Path, where: str, group: GroupSpec, listing: ListSpec
) -> tuple[Listed, list[Finding]]:
    """The list and its findings; whether its files exist is not inspected at here."""
    findings: list[Finding] = []
    listed = Listed(listing, where)
    lines = _lines(path, where, findings)
    if listing.form == "csv" and lines:
        lines = []
        try:
            listed.rows += read_csv_pairs(path)
        except ValueError as error:
            findings.append(Finding("list-columns", where, str(error).removeprefix(f"{path}: ")))
    elif listing.form == "annotation" and lines:
        lines = lines[1:] if lines[0][1].split(":")[0].strip() == "name" else lines
    for number, line in lines:
        name = f"line {number}"
        if listing.form == "annotation":
            line, *axes = (cell.strip() for cell in line.split(":"))
            if not _has_keypoints(axes):
                findings.append(Finding("list-keypoints", where, name, line[:60]))
        try:
            listed.rows += listing.parse(line)
        except ValueError:
            findings.append(Finding("list-columns", where, name, line.strip()[:60]))
    if not listed.rows:
        findings.append(Finding("list-empty", where))
    findings += _collect_keys(listed, group)
    columns = 1 if listing.unique == "first" else None
    for row, count in Counter(row[:columns] for row in listed.rows).items():
        if count > 1:
            findings.append(Finding("list-duplicate", where, " ".join(row), f"{count} times"))
    findings += _mispaired(listed, group)
    return listed, findings


def _lines(path: Path, where: str, findings: list[Finding]) -> list[tuple[int, str]]:
    """(number, text) of the lines that are not blank."""
    try:
        text = read_text(path)
    except ValueError as error:
        findings.append(Finding("list-encoding", where, str(error).removeprefix(f"{path}: ")))
        return []
    return [(n, line) for n, line in enumerate(text.splitlines(), start=1) if line.strip()]


def _has_keypoints(cells: list[str]) -> bool:
    try:
        axes = [json.loads(cell) for cell in cells]
    except ValueError:
        return False
    return len(axes) == 2 and all(isinstance(axis, list) and len(axis) == COCO_18 for axis in axes)


def _collect_keys(listed: Listed, group: GroupSpec) -> Iterator[Finding]:
    roles = listed.listing.columns
    mains = {role: group.main(role) for role in roles if role != "ignored"}
    for row in listed.rows:
        keys = []
        for role, name in zip(roles, row, strict=True):
            if role == "ignored":
                continue
            if (key := mains[role].key(name)) is None:
                wanted = mains[role].pattern.format("KEY")
                yield Finding("list-columns", listed.where, f"'{name}'", f"expected {wanted}")
            else:
                keys.append(key)
                listed.keys.setdefault(role, {})[key] = None
        if roles[0] == "person" and keys:  # paired evaluation asks for the person's own garment
            listed.keys.setdefault("garment", {})[keys[0]] = None
        other = listed.listing.pairing == "other"
        if roles == ("picture", "picture") and len(keys) == 2:
            listed.keys.setdefault("unpaired" if other else "pair", {})["_2_".join(keys)] = None
        elif other and len(keys) == 2:
            listed.keys.setdefault("unpaired", {})[unpaired_name(*row)] = None


def _mispaired(listed: Listed, group: GroupSpec) -> list[Finding]:
    """Persons with somebody else's garment in a paired list, or with their own in an unpaired."""
    wanted = listed.listing.pairing
    if wanted is None:
        return []
    person, garment = (group.main(role) for role in listed.listing.columns)
    wrong = [
        row
        for row in listed.rows
        if (person.key(row[0]) == garment.key(row[1])) != (wanted == "own")
    ]
    # A few persons may have drawn their own garment; the paired list allows no exception.
    if wanted == "other" and len(wrong) * 2 <= len(listed.rows):
        return []
    return [Finding("list-pairing", listed.where, " ".join(row)) for row in wrong]


def check_overlap(lists: Iterable[Listed]) -> Iterator[Finding]:
    """Persons that are in both the training and the test list."""
    people: dict[str, dict[str, str]] = {"train": {}, "test": {}}
    for listed in lists:
        for role in ("person", "picture"):
            for key in listed.keys.get(role, ()):
                people[listed.listing.split].setdefault(key, listed.where)
    for key in people["train"].keys() & people["test"].keys():
        yield Finding("overlap", f"{people['train'][key]} and {people['test'][key]}", key)

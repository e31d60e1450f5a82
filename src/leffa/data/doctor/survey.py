"""Compares a folder with the spec of a dataset: what is there, missing, extra or misplaced."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from leffa.data.batch import Record
from leffa.data.catalog.spec import MATCHES, TREE, DatasetSpec, FileSpec, GroupSpec
from leffa.data.doctor.lists import Listed, read_list
from leffa.data.doctor.recognise import file_names, folder_names, is_there, official_name
from leffa.data.doctor.report import Finding
from leffa.io.folders import is_hidden

_WITHOUT = {  # what training and evaluation must be told where files of this content are absent
    "mask": "without them: a recipe as transform.agnostic",
    **dict.fromkeys(
        ("colour", "labels", "iuv", "vui"),
        "without them: transform.densepose=skeleton or none",
    ),
    "pose": "without them: mask files or a recipe that needs no joints, and no densepose=skeleton",
    **dict.fromkeys(
        ("parse_20", "parse_18"), "without them: mask files, and no loss_region=garment"
    ),
}


@dataclass(frozen=True)
class Present:
    """A listed file that is there."""

    path: Path
    where: str
    files: FileSpec
    group: str
    key: str


@dataclass
class Survey:
    """Findings about names, the listed files that are there, the lists of each group, and the pairs
    of a user's own folder by table."""

    findings: list[Finding] = field(default_factory=list)
    present: list[Present] = field(default_factory=list)
    lists: dict[str, list[Listed]] = field(default_factory=dict)
    own: dict[str | None, Sequence[Record]] = field(default_factory=dict)

    def add(self, kind: str, where: str, name: str = "", detail: str = "") -> None:
        self.findings.append(Finding(kind, where, name, detail))

    def splits(self, present: Present) -> set[str]:
        """Of the lists that name a photograph; its table where the folder is a user's own."""
        found: set[str] = {
            each.listing.split
            for each in self.lists.get(present.group, ())
            if present.key in each.keys.get(present.files.role, ())
        }
        return found or {present.group}


class Surveyor:
    """Surveys a published dataset; reads each folder's names once."""

    def __init__(self, root: Path, dataset: DatasetSpec) -> None:
        self.root, self.dataset = root, dataset
        self.survey = Survey()
        self.names, self.folder = cache(file_names), cache(self._folder)
        self._expected: dict[Path, set[str]] = defaultdict(set)

    def run(self) -> Survey:
        """Survey every group, then what belongs to none."""
        for group in self.dataset.groups:
            self.survey.lists[group.name] = self._read_lists(group)
        for group in self.dataset.groups:
            self._survey_group(group)
        self._find_extra_files()
        self._find_extra_folders()
        return self.survey

    def _folder(self, group: GroupSpec, files: FileSpec) -> Path | None:
        """The folder of these files under the first spelling that is there."""
        places = [self.root / group.folder / spelling for spelling in files.spellings]
        return next((place for place in places if is_there(place)), None)

    def _where(self, folder: Path) -> str:
        return folder.relative_to(self.root).as_posix()

    def _read_lists(self, group: GroupSpec) -> list[Listed]:
        lists = []
        for listing in group.lists:
            if (path := listing.find(self.root)) is not None:
                listed, findings = read_list(path, self._where(path), group, listing)
                lists.append(listed)
                self.survey.findings += findings
        return lists

    def _survey_group(self, group: GroupSpec) -> None:
        where, lists = group.folder or group.name, self.survey.lists[group.name]
        mains = [files for files in group.files if files.main]
        if not lists and not any(self._holds_keys(group, files) for files in mains):
            self.survey.add("split-absent", where, "", _officially(group))
            return
        read = {name for entry in lists for name in (*entry.listing.names, entry.listing.instead)}
        lacking = [each for each in group.lists if each.needed and each.names[0] not in read]
        if (
            lacking
            and not all(self.folder(group, files) for files in mains)
            and not any(entry.listing.needed or entry.listing.instead for entry in lists)
        ):
            self.survey.add("files-only", where, "", _officially(group))
        else:
            for listing in lacking:
                self.survey.add("list-missing", listing.names[0])
            for files in group.files:
                if self.folder(group, files) is None:
                    self._tell_no_folder(group, files)
        keys = self._keys(group, lists, mains)
        for files in (*group.files, *_matches(mains)):
            if (folder := self.folder(group, files)) is not None:
                self._match(group, files, folder, keys.get(files.role, []))

    def _holds_keys(self, group: GroupSpec, files: FileSpec) -> bool:
        """Whether the folder is there; the root itself must hold a name of the official form."""
        folder = self.folder(group, files)
        if folder is None:
            return False
        return folder != self.root or any(
            official_name(self.dataset, files, name) for name in self.names(folder)
        )

    def _tell_no_folder(self, group: GroupSpec, files: FileSpec) -> None:
        where = "/".join(part for part in (group.folder, files.spellings[0]) if part)
        if files.need == "always":
            self.survey.add("folder-missing", where)
        elif files.need == "whole" and not files.synthetic:
            self.survey.add("optional-absent", where, detail=_WITHOUT.get(files.content, ""))

    def _keys(
        self, group: GroupSpec, lists: list[Listed], mains: list[FileSpec]
    ) -> dict[str, list[str]]:
        """The keys of each role by the lists; without a list, whatever the main folder holds.

        Keys of which no file at all is there are reported and left out, so the other checks need
        not name them.
        """
        keys: dict[str, dict[str, None]] = {}
        for listed in lists:
            for role, found in listed.keys.items():
                keys.setdefault(role, {}).update(found)
        for files in mains:
            folder = self.folder(group, files)
            if files.role not in keys and folder is not None:
                names = sorted(self._own_names(folder, files))
                keys[files.role] = dict.fromkeys(key for name in names if (key := files.key(name)))
        kept = {role: list(found) for role, found in keys.items()}
        for files in mains if lists else []:
            own = {
                one: folder
                for one in group.files
                if one.role == files.role and (folder := self.folder(group, one)) is not None
            }
            if files not in own:
                continue
            wanted = keys[files.role]
            there = {
                key
                for key in wanted
                if any(one.pattern.format(key) in self.names(place) for one, place in own.items())
            }
            for listed in lists:
                for key in listed.keys.get(files.role, {}).keys() - there:
                    self.survey.add("list-absent", listed.where, files.pattern.format(key))
            kept[files.role] = [key for key in wanted if key in there]
        return kept

    def _own_names(self, folder: Path, files: FileSpec) -> Iterator[str]:
        """Visible names in the folder that fit no longer pattern of the same folder."""
        longer = [
            other
            for group in self.dataset.groups
            for other in group.files
            if other.folder == files.folder and len(other.pattern) > len(files.pattern)
        ]
        for name in self.names(folder):
            if not is_hidden(name) and not any(other.key(name) for other in longer):
                yield name

    def _match(self, group: GroupSpec, files: FileSpec, folder: Path, keys: list[str]) -> None:
        """Sort the keys into present and missing."""
        where, expected, missing = self._where(folder), self._expected[folder], []
        for key in keys:
            name = files.pattern.format(key)
            expected.add(name)
            if (found := self.names(folder).get(name)) is None:
                missing.append(name)
            else:
                path = (folder.parent if folder.name == TREE else folder) / found
                self.survey.present.append(Present(path, where, files, group.name, key))
        if not missing:
            return
        if files.need in ("loose", "split"):
            detail = f"{len(keys) - len(missing)} of {len(keys)} {files.pattern}"
            self.survey.add("partly", where, detail)
        elif files.need == "whole" and len(missing) == len(keys):
            if not files.synthetic:
                name = f"no {files.pattern} of {group.name}"
                self.survey.add("optional-absent", where, name, _WITHOUT.get(files.content, ""))
        else:
            for name in missing:
                self.survey.add("file-missing", where, name)

    def _find_extra_files(self) -> None:
        for folder, expected in self._expected.items():
            for name in self.names(folder).keys() - expected:
                if folder != self.root and not is_hidden(name):
                    self.survey.add("extra-file", self._where(folder), name)

    def _find_extra_folders(self) -> None:
        groups = self.dataset.groups
        known = {group.folder for group in groups} | set(self.dataset.beside)
        for group in groups:
            for files in group.files:
                known |= {Path(group.folder, each).as_posix() for each in files.spellings}
            known.add(Path(group.folder, MATCHES).as_posix())
        for base in {self.root / group.folder for group in groups} | {self.root}:
            for name in folder_names(base):
                if not is_hidden(name) and (place := self._where(base / name)) not in known:
                    self.survey.add("extra-folder", place)


def _matches(mains: Sequence[FileSpec]) -> list[FileSpec]:
    """What `leffa prepare matches` makes for each person, which no release has."""
    return [
        FileSpec(MATCHES, f"{Path(files.pattern).stem}.json", MATCHES, need="loose")
        for files in mains
        if files.role == "person"
    ]


def _officially(group: GroupSpec) -> str:
    """What the release has."""
    counts = [
        f"{listing.official:,} lines in {listing.names[0]}"
        for listing in group.lists
        if listing.official is not None
    ]
    return f"a subset; officially {', '.join(counts)}" if counts else ""

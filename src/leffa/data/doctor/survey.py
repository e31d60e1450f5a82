"""Compares a folder with a data set's declaration: what is there, missing, extra or misplaced."""

import difflib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from leffa.data.batch import Record
from leffa.data.catalog.spec import TREE, DatasetSpec, FileSpec, GroupSpec
from leffa.data.doctor.kinds import WITHOUT
from leffa.data.doctor.lists import Listed, read_list
from leffa.data.doctor.names import file_names, folder_names, is_there, plain
from leffa.data.doctor.recognise import official_name
from leffa.data.doctor.report import Finding
from leffa.io.folders import is_hidden


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
    """What lies in the folder.

    Args:
        findings: about names.
        present: the listed files that are there.
        lists: of each group.
        own: the pairs of a user's own folder, by table.
    """

    findings: list[Finding] = field(default_factory=list)
    present: list[Present] = field(default_factory=list)
    lists: dict[str, list[Listed]] = field(default_factory=dict)
    own: dict[str | None, Sequence[Record]] = field(default_factory=dict)

    def add(self, kind: str, where: str, name: str = "", detail: str = "") -> None:
        """Record a finding."""
        self.findings.append(Finding(kind, where, name, detail))


class Surveyor:
    """Reads each folder's names once.

    Args:
        root: of the data set.
        dataset: its declaration.
    """

    def __init__(self, root: Path, dataset: DatasetSpec) -> None:
        self.root, self.dataset = root, dataset
        self.survey = Survey()
        self.names = cache(file_names)
        self.listed = cache(self._find_listed)
        self.folder = cache(self._find_folder)
        self._expected: dict[Path, set[str]] = defaultdict(set)

    def run(self) -> Survey:
        """Survey every group, then what belongs to none."""
        for group in self.dataset.groups:
            self.survey.lists[group.name] = self._read_lists(group)
        for group in self.dataset.groups:
            self._survey_group(group)
        self._find_extras()
        return self.survey

    def _find_folder(self, group: GroupSpec, files: FileSpec) -> Path | None:
        """The folder of these files under the first spelling that is there."""
        places = [self.root / group.folder / spelling for spelling in files.spellings]
        return next((place for place in places if is_there(place)), None)

    def _survey_group(self, group: GroupSpec) -> None:
        survey, where = self.survey, group.folder or group.name
        lists = survey.lists[group.name]
        folders = {files: self.folder(group, files) for files in group.files}
        mains = [files for files in group.files if files.main]
        if not lists and not any(self._holds_keys(folders[files], files) for files in mains):
            survey.add("split-absent", where, "", _officially(group))
            return
        read = {name for entry in lists for name in (*entry.listing.names, entry.listing.instead)}
        incomplete = [
            listing for listing in group.lists if listing.needed and listing.names[0] not in read
        ]
        if (
            incomplete
            and not all(folders[files] for files in mains)
            and not any(entry.listing.needed or entry.listing.instead for entry in lists)
        ):
            survey.add("files-only", where, "", _officially(group))
        else:
            for listing in incomplete:
                survey.add("list-missing", listing.names[0])
            for files in group.files:
                self._check_folder(group, files, folders[files])
        keys = self._keys(lists, mains, folders)
        keys = self._drop_absent(group, lists, keys, folders)
        for files, folder in folders.items():
            if folder is not None:
                self._match(group, files, folder, keys.get(files.role, {}))

    def _read_lists(self, group: GroupSpec) -> list[Listed]:
        lists = []
        for listing in group.lists:
            path = listing.find(self.root)
            if path is not None:
                where = path.relative_to(self.root).as_posix()
                listed, findings = read_list(path, where, group, listing)
                lists.append(listed)
                self.survey.findings += findings
        return lists

    def _holds_keys(self, folder: Path | None, files: FileSpec) -> bool:
        """Whether the folder is there; the root itself must hold a name of the official form."""
        if folder is None:
            return False
        return folder != self.root or any(
            official_name(self.dataset, files, name) for name in self.names(folder)
        )

    def _keys(
        self, lists: list[Listed], mains: list[FileSpec], folders: dict[FileSpec, Path | None]
    ) -> dict[str, dict[str, None]]:
        """The keys of each role by the lists; without a list, whatever the main folder holds."""
        keys: dict[str, dict[str, None]] = {}
        for listed in lists:
            for role, found in listed.keys.items():
                keys.setdefault(role, {}).update(found)
        for files in mains:
            folder = folders[files]
            if files.role not in keys and folder is not None:
                names = sorted(self._own_names(folder, files))
                keys[files.role] = dict.fromkeys(key for name in names if (key := files.key(name)))
        return keys

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

    def _drop_absent(
        self,
        group: GroupSpec,
        lists: list[Listed],
        keys: dict[str, dict[str, None]],
        folders: dict[FileSpec, Path | None],
    ) -> dict[str, dict[str, None]]:
        """Report keys of which no file at all is there; the other checks need not name them."""
        kept = dict(keys)
        for role, wanted in keys.items():
            own = [files for files in group.files if files.role == role and folders[files]]
            main = next((files for files in own if files.main), None)
            if main is None or not lists:
                continue
            names = {files: {name.lower() for name in self.names(folders[files])} for files in own}
            stems = {Path(name).stem for name in names[main]}
            absent = {
                key
                for key in wanted
                if Path(main.pattern.format(key)).stem.lower() not in stems
                and not any(files.pattern.format(key).lower() in names[files] for files in own)
            }
            for listed in lists:
                for key in absent & listed.keys.get(role, {}).keys():
                    if not self._elsewhere(group, main, main.pattern.format(key)):
                        self.survey.add("list-absent", listed.where, main.pattern.format(key))
            lost = {k for k in absent if not self._elsewhere(group, main, main.pattern.format(k))}
            kept[role] = {key: None for key in wanted if key not in lost}
        return kept

    def _check_folder(self, group: GroupSpec, files: FileSpec, folder: Path | None) -> None:
        if folder is not None:
            return
        base = self.root / group.folder
        where = "/".join(part for part in (group.folder, files.spellings[0]) if part)
        declared = {name for other in group.files for name in other.spellings}
        others = [name for name in folder_names(base) if name not in declared]
        alike = [
            name
            for name in others
            if any(plain(name) == plain(spelling) for spelling in files.spellings)
        ] or difflib.get_close_matches(files.spellings[0], others, n=1, cutoff=0.85)
        if alike:
            self.survey.add("folder-misnamed", where, alike[0])
        elif files.need == "always":
            self.survey.add("folder-missing", where)
        elif files.need == "whole" and not files.synthetic:
            self.survey.add("optional-absent", where, detail=WITHOUT.get(files.content, ""))

    def _match(
        self, group: GroupSpec, files: FileSpec, folder: Path, keys: dict[str, None]
    ) -> None:
        """Sort the keys into present and missing, and say why where it shows."""
        where = folder.relative_to(self.root).as_posix()
        names = self.names(folder)
        wanted = {files.pattern.format(key): key for key in keys}
        self._expected[folder] |= wanted.keys()
        for name, key in wanted.items():
            if name in names:
                path = folder / name if folder.name != TREE else folder.parent / names[name]
                self.survey.present.append(Present(path, where, files, group.name, key))
        missing = wanted.keys() - names.keys()
        if not missing:
            return
        explained = self._explain(group, files, folder, missing)
        missing -= explained
        if files.need in ("loose", "split"):
            if missing:
                detail = f"{len(wanted) - len(missing)} of {len(wanted)} {files.pattern}"
                self.survey.add("partly", where, detail)
        elif files.need == "whole" and len(missing) == len(wanted):
            if not files.synthetic:
                name = f"no {files.pattern} of {group.name}"
                self.survey.add("optional-absent", where, name, WITHOUT.get(files.content, ""))
        else:
            for name in missing:
                self.survey.add("file-missing", where, name)

    def _explain(
        self, group: GroupSpec, files: FileSpec, folder: Path, missing: Iterable[str]
    ) -> set[str]:
        """Report and return the missing files that are there in another guise."""
        where = folder.relative_to(self.root).as_posix()
        names = self.names(folder)
        lower = {name.lower(): name for name in names}
        stems = {Path(name).stem: name for name in names if not is_hidden(name)}
        explained = set()
        for name in missing:
            if other := lower.get(name.lower()):
                kind, detail = "case-differs", f"is {other}"
            elif other := stems.get(Path(name).stem):
                kind, detail = "suffix-differs", f"is {other}"
            elif place := self._elsewhere(group, files, name):
                kind, detail = "elsewhere", f"is in {place}"
                other = ""
            else:
                continue
            explained.add(name)
            if other:
                self._expected[folder].add(other)
            self.survey.add(kind, where, name, detail)
        return explained

    def _elsewhere(self, group: GroupSpec, files: FileSpec, name: str) -> str | None:
        """The folder of another group that holds the file of this kind, unlisted there."""
        for other in self.dataset.groups:
            folder = self.folder(other, files)
            if other is group or folder is None or folder == self.folder(group, files):
                continue
            if name in self.names(folder) and files.key(name) not in self.listed(other, files.role):
                return folder.relative_to(self.root).as_posix()
        return None

    def _find_listed(self, group: GroupSpec, role: str) -> set[str]:
        """The keys that the lists of a group name."""
        return {key for entry in self.survey.lists[group.name] for key in entry.keys.get(role, ())}

    def _find_extras(self) -> None:
        for folder, expected in self._expected.items():
            where = folder.relative_to(self.root).as_posix()
            for name in self.names(folder).keys() - expected:
                if is_hidden(name):
                    self.survey.add("hidden-file", where, name)
                elif folder != self.root:
                    self.survey.add("extra-file", where, name)
        bases = {self.root / group.folder for group in self.dataset.groups} | {self.root}
        known = (
            {
                Path(group.folder, spelling).as_posix()
                for group in self.dataset.groups
                for files in group.files
                for spelling in files.spellings
            }
            | {group.folder for group in self.dataset.groups}
            | set(self.dataset.beside)
        )
        misnamed = {found.name for found in self.survey.findings if found.kind == "folder-misnamed"}
        for base in bases:
            for name in folder_names(base):
                place = (base / name).relative_to(self.root).as_posix()
                if is_hidden(name):
                    self.survey.add("hidden-file", base.relative_to(self.root).as_posix(), name)
                elif place not in known and name not in misnamed:
                    self.survey.add("extra-folder", place)


def _officially(group: GroupSpec) -> str:
    """What the release has."""
    counts = [
        f"{listing.official:,} lines in {listing.names[0]}"
        for listing in group.lists
        if listing.official is not None
    ]
    return f"a subset; officially {', '.join(counts)}" if counts else ""

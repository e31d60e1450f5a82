"""The doctor's report: findings of single files, gathered into one line per problem."""

import json
import tomllib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

from leffa.data.doctor.ready import Ready, ready_lines
from leffa.io.outputs import marked

_SHOWN = 3  # names in a line


class Kind(NamedTuple):
    """A kind of finding: what is wrong, in words that follow a folder's name, and the remedy."""

    says: str
    remedy: str = ""
    harmless: bool = False


KINDS: dict[str, Kind] = {
    name: Kind(**entry)
    for name, entry in tomllib.loads(
        Path(__file__).with_name("kinds.toml").read_text(encoding="utf-8")
    ).items()
}


class Finding(NamedTuple):
    """One thing about one file: `kind` is a key of `KINDS`, `where` a folder or list."""

    kind: str
    where: str
    name: str = ""
    detail: str = ""


@dataclass(frozen=True)
class Problem:
    """All findings of one kind in one place."""

    kind: str
    where: str  # the folder or list, below the dataset's root
    names: tuple[str, ...]  # the files or lines, with what was found in brackets, sorted

    @property
    def harmless(self) -> bool:
        """Whether it needs no action."""
        return KINDS[self.kind].harmless

    @property
    def line(self) -> str:
        """The place, what is wrong, how many, the first few, and the remedy, in one line."""
        says, remedy, _ = KINDS[self.kind]
        named = [name for name in self.names if name]
        shown = ", ".join(named[:_SHOWN])
        if len(named) > _SHOWN:
            shown = f"{len(named):,}, first {shown}"
        count = f": {shown}" if shown else ""
        remedy = f"; {remedy}" if remedy else ""
        return printable(f"{self.where}: {says} [{self.kind}]{count}{remedy}")


@dataclass(frozen=True)
class Count:
    """How many samples a list has, beside the official number where there is one."""

    what: str
    found: int
    official: int | None = None

    @property
    def line(self) -> str:
        """For example `test_pairs.txt: complete: 2,032`."""
        if self.official is None:
            return f"{self.what}: {self.found:,}"
        if self.found == self.official:
            return f"{self.what}: complete: {self.found:,}"
        if self.found < self.official:
            return (
                f"{self.what}: subset: {self.found:,} of {self.official:,}; training and "
                "evaluation take it with allow_subset=true"
            )
        return f"{self.what}: {self.found:,}, officially {self.official:,}"


@dataclass(frozen=True)
class Row:
    """The files of one sample for the contact sheet, and what was found in them."""

    key: str
    files: dict[str, Path]  # by column
    remarks: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """The whole examination."""

    dataset: str  # a key of `CATALOG`
    title: str  # its name in print
    root: Path
    synthetic: bool  # it is a synthetic copy, which official numbers do not bind
    counts: Sequence[Count]  # per list
    folders: dict[str, int]  # files that were opened, by folder and pattern
    problems: Sequence[Problem]  # as `gather` sorts them
    files: int  # that were opened
    seconds: float
    samples: Sequence[Row] = field(default=(), repr=False)  # for the contact sheet
    ready: Sequence[Ready] = ()  # of a user's own folder, by table

    @property
    def clean(self) -> bool:
        """Whether all findings are harmless."""
        return all(problem.harmless for problem in self.problems)

    def to_text(self) -> str:
        synthetic = ", a synthetic copy" if self.synthetic else ""
        lines = [f"{self.title} ({self.dataset}{synthetic}) in {self.root}", ""]
        lines += [f"  {count.line}" for count in self.counts]
        lines += [f"  {folder}: {count:,} files" for folder, count in self.folders.items()]
        for heading, harmless in (("to mend", False), ("worth knowing", True)):
            found = [problem.line for problem in self.problems if problem.harmless == harmless]
            if found:
                lines += ["", f"{heading}:", *(f"  {line}" for line in found)]
        if self.ready:
            lines += ["", "pairs:", *(f"  {line}" for line in ready_lines(self.ready))]
        serious = sum(not problem.harmless for problem in self.problems)
        verdict = "no problems" if self.clean else f"{serious} problem{'s' * (serious > 1)}"
        if self.clean and any(each.masks is None for each in self.ready):
            verdict += ", but not ready for try-on"
        rate = self.files / max(self.seconds, 1e-6)
        lines += ["", f"{verdict}; {self.files:,} files opened, {rate:,.0f} files/s"]
        return printable("\n".join(lines))

    def to_json(self) -> str:
        """The full report, with all names."""
        content = {
            "dataset": self.dataset,
            "root": str(self.root),
            "clean": self.clean,
            "synthetic": self.synthetic,
            "counts": [asdict(count) for count in self.counts],
            "folders": self.folders,
            "problems": [
                {
                    "kind": problem.kind,
                    "where": problem.where,
                    "count": len(problem.names),
                    **KINDS[problem.kind]._asdict(),
                    "names": problem.names,
                }
                for problem in self.problems
            ],
            "ready": [asdict(each) for each in self.ready],
            "files": self.files,
            "seconds": round(self.seconds, 3),
        }
        return json.dumps(marked(content), indent=2) + "\n"


def printable(text: str) -> str:
    """The text with escapes for what is no character: bytes of a file's name that are not UTF-8."""
    return text.encode(errors="backslashreplace").decode()


def gather(findings: Iterable[Finding]) -> list[Problem]:
    """One problem for each kind and place, in the order of `KINDS`, the harmless ones last."""
    grouped: dict[tuple[str, str], set[str]] = defaultdict(set)
    for kind, where, name, detail in findings:
        grouped[kind, where].add(f"{name} ({detail})" if name and detail else name or detail)
    order = {kind: place for place, kind in enumerate(KINDS)}
    problems = [Problem(*key, tuple(sorted(names))) for key, names in grouped.items()]
    return sorted(problems, key=lambda found: (found.harmless, order[found.kind], found.where))

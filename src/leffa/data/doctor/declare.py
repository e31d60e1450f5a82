"""How a data set is declared: folders, names of files, contents, lists and official counts.

A sample has a key, such as `00006_00`; a pattern turns it into a file's name and back. Several
spellings of a folder or list are given in the order in which they are tried.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

Need = Literal["always", "whole", "loose"]  # must be there; all or none; file by file
Split = Literal["train", "test"]
Form = Literal["words", "commas", "csv", "names", "annotation", "release"]

TREE = "**"
SPLITS: tuple[Split, ...] = ("train", "test")


@dataclass(frozen=True)
class Files:
    """One kind of file.

    Args:
        folder: below the group's folder, or several spellings of it. One that ends in `TREE` holds
            the In-shop release, whose paths stand for flat names.
        pattern: a file's name, `{}` standing for the key.
        content: a key of `contents.CONTENTS`.
        role: whose key it is: of a column of the lists, or "pair".
        need: "always", "whole" (all files or none) or "loose" (any of them).
        main: it is the photograph that a list names in its role's column.
        drawn: only synthetic copies have it.
    """

    folder: str | tuple[str, ...]
    pattern: str
    content: str
    role: str = "person"
    need: Need = "whole"
    main: bool = False
    drawn: bool = False

    @property
    def spellings(self) -> tuple[str, ...]:
        """The folder's names."""
        return (self.folder,) if isinstance(self.folder, str) else self.folder

    @cached_property
    def _form(self) -> re.Pattern[str]:
        before, after = self.pattern.split("{}")
        return re.compile(re.escape(before) + "(.+)" + re.escape(after))

    def key(self, name: str) -> str | None:
        """The key of a file's name, None where it does not fit the pattern."""
        match = self._form.fullmatch(name)
        return match[1] if match else None


@dataclass(frozen=True)
class Listing:
    """One list of samples.

    Args:
        names: below the root, in the order in which they are tried.
        split: "train" or "test".
        columns: the role of each column, "ignored" for one that training does not read.
        official: its number of lines.
        form: columns between white space ("words") or commas too ("commas"), `from,to` ("csv"), one
            column ("names"), keypoints ("annotation"), or a target and its references as paths of
            the In-shop release ("release").
        pairing: "own" garment, somebody "other"'s, or None where it does not matter.
        unique: what must not be repeated, the "first" column or the whole "row".
        needed: a group that has files must have it, or one that stands for it.
        instead: the first name of the list that this one stands for.
    """

    names: tuple[str, ...]
    split: Split
    columns: tuple[str, ...] = ("person", "garment")
    official: int | None = None
    form: Form = "words"
    pairing: Literal["own", "other"] | None = None
    unique: Literal["first", "row"] = "first"
    needed: bool = True
    instead: str | None = None


@dataclass(frozen=True)
class Group:
    """Files that belong together and their lists, such as a split or a category."""

    name: str
    folder: str
    files: tuple[Files, ...]
    lists: tuple[Listing, ...]


@dataclass(frozen=True)
class DataSet:
    """A data set as its users have it on disk.

    Args:
        title: its name in print.
        page: where it is asked for.
        key: a regular expression for the official keys.
        groups: splits or categories.
        size: (width, height) of the official photographs.
        disjoint: no person may be in a training and in a test list.
        same_size: all photographs have one size.
        totals: root lists that repeat the rows of the groups' lists of the same name.
        beside: folders that a release holds beside these and that nothing reads.
    """

    title: str
    page: str
    key: str
    groups: tuple[Group, ...]
    size: tuple[int, int] | None = None
    disjoint: bool = True
    same_size: bool = True
    totals: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()

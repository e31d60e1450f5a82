"""The spec of a dataset: its folders, file names, contents, lists, official counts and sizes.

The reader, the doctor, `leffa prepare` and the synthetic writer all work from it. A sample has a
key, such as `00006_00`; a pattern turns it into a file's name and back. Several spellings of a
folder or list are given in the order in which they are tried.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Literal

from leffa.data.inshop import flat_name
from leffa.data.labels import LabelSet

# It must "always" be there; all files or none ("whole"), which in the "split" form holds for each
# split on its own; or any of them ("loose").
Need = Literal["always", "whole", "split", "loose"]
Split = Literal["train", "test"]
Pairs = Literal["paired", "unpaired"]
# Columns between white space ("words") or commas too ("commas"), `from,to` ("csv"), one column
# ("names"), keypoints ("annotation"), or a target and its references as paths of the In-shop
# release ("release").
Form = Literal["words", "commas", "csv", "names", "annotation", "release"]

SYNTHETIC = "synthetic.json"  # in the root of a synthetic copy: tells it from the real dataset
MATCHES = "matches"  # folder of a try-on group, made by `leffa prepare matches`
TREE = "**"  # a folder that ends so holds the In-shop release, whose paths stand for flat names
SPLITS: tuple[Split, ...] = ("train", "test")


@dataclass(frozen=True)
class FileSpec:
    """One kind of file."""

    folder: str | tuple[str, ...]  # below the group's folder, or several spellings of it
    pattern: str  # a file's name, `{}` standing for the key
    content: str  # one of `doctor.contents.CONTENTS`
    # Whose key it is: of a column of the lists, of a "pair" of pose transfer, or of an "unpaired"
    # person and reference.
    role: str = "person"
    need: Need = "whole"
    field: str | None = None  # of a `Record`; None where training and evaluation do not read it
    main: bool = False  # it is the photograph that a list names in its role's column
    synthetic: bool = False  # only synthetic copies have it
    encoder: str = ""  # a key of `synthetic.samples.ENCODERS`, where that is not the content

    @property
    def spellings(self) -> tuple[str, ...]:
        return (self.folder,) if isinstance(self.folder, str) else self.folder

    @property
    def encoding(self) -> str:
        """How the readers' option `densepose` calls the content."""
        return "iuv" if self.content == "vui" else self.content

    def key(self, name: str) -> str | None:
        """The key of a file's name, None where it does not fit the pattern."""
        before, after = self.pattern.split("{}")
        end = len(name) - len(after)
        fits = name.startswith(before) and name.endswith(after) and len(before) < end
        return name[len(before) : end] if fits else None

    def key_of_stem(self, name: str) -> str:
        """The key of a file's name, whatever its suffix."""
        before, after = PurePath(self.pattern).stem.split("{}")
        return PurePath(name).stem.removeprefix(before).removesuffix(after)


@dataclass(frozen=True)
class ListSpec:
    """One list of samples."""

    names: tuple[str, ...]  # below the root, in the order in which they are tried
    split: Split
    columns: tuple[str, ...] = ("person", "garment")  # roles; training does not read an "ignored"
    official: int | None = None  # number of lines
    form: Form = "words"
    pairing: Literal["own", "other"] | None = None  # whose garment; None where it does not matter
    unique: Literal["first", "row"] = "first"  # what must not be repeated: the first column or all
    needed: bool = True  # a group that has files must have it, or one that stands for it
    instead: str | None = None  # the first name of the list that this one stands for
    separator: str = " "  # of the columns of a synthetic copy's list

    def find(self, root: Path) -> Path | None:
        """The list under one of its names."""
        return next((root / name for name in self.names if (root / name).is_file()), None)

    def parse(self, line: str) -> list[tuple[str, ...]]:
        """The rows of a line of text; several where a target has several references.

        Raises:
            ValueError: the line is of another form; the message follows the list's path.
        """
        if self.form == "release":
            target, *references = [name.strip() for name in line.split(",")]
            if not references:
                raise ValueError(
                    f"expected 'target,reference' on each line, found '{line}'; copy the list "
                    "again from NTED's release"
                )
            return [(flat_name(reference), flat_name(target)) for reference in references]
        cells = (line.replace(",", " ") if self.form == "commas" else line).split()
        if len(cells) != len(self.columns):
            raise ValueError(
                f"expected '{self._header}' on each line, separated by spaces, found '{line}'; "
                "correct that line"
            )
        if self.form == "commas":
            cells = [PurePath(cell).name for cell in cells]
        return [tuple(cells)]

    @property
    def _header(self) -> str:
        if self.columns == ("picture", "picture"):
            return "reference source"
        return " ".join("garment" if role == "ignored" else role for role in self.columns)


@dataclass(frozen=True)
class GroupSpec:
    """Files that belong together and their lists: a split, or a category."""

    name: str
    folder: str  # below the root
    files: tuple[FileSpec, ...]
    lists: tuple[ListSpec, ...] = ()
    category: str = "person"  # of its samples

    def main(self, role: str) -> FileSpec:
        """The photographs of a role."""
        return next(files for files in self.files if files.main and files.role == role)

    def listing(self, split: str, form: Form | None = None, pairing: str | None = None) -> ListSpec:
        """The first list of this split, form and pairing."""
        return next(
            listing
            for listing in self.lists
            if listing.split == split
            and form in (None, listing.form)
            and pairing in (None, listing.pairing)
        )


@dataclass(frozen=True)
class SyntheticSpec:
    """How the samples of a synthetic copy are numbered."""

    # From a number to the keys that are rendered together: a try-on sample, or one person's images.
    keys: Callable[[int], tuple[str, ...]]
    limit: int  # the most numbers of a split (and of a category)
    size: tuple[int, int] = (192, 256)  # (width, height) unless another is asked for
    pairs: tuple[tuple[int, int], ...] = ()  # of places in `keys`, as (reference, source)
    # The number of the first test sample; None: `limit`. More training samples never change the
    # test set.
    first_test: int | None = None
    trains: bool = True  # there is a training split


@dataclass(frozen=True)
class DatasetSpec:
    """A dataset as it is on a user's disk."""

    title: str  # its name in print
    page: str  # where it is asked for
    key: str  # a regular expression for the official keys
    groups: tuple[GroupSpec, ...]
    size: tuple[int, int] | None = None  # (width, height) of the official photographs
    disjoint: bool = True  # no person may be in a training and in a test list
    same_size: bool = True  # all photographs have one size
    own_by_name: bool = False  # one's own garment has the person's key, whatever the lists say
    totals: tuple[str, ...] = ()  # root lists that repeat the groups' lists of the same name
    beside: tuple[str, ...] = ()  # folders that a release holds and nothing reads
    frame: tuple[int, int] = (0, 0)  # (width, height) that published keypoints are counted in
    person: str = ""  # a regular expression for what names the person in an image's name
    label_set: LabelSet | None = None  # of the parse files that `leffa prepare masks` reads
    synthetic: SyntheticSpec | None = None  # None where no synthetic copy can be written

    def group(self, name: str) -> GroupSpec:
        return next(group for group in self.groups if group.name == name)

    @property
    def densepose(self) -> tuple[str, ...]:
        """The encodings in which it has DensePose files."""
        found = [each.encoding for each in self.groups[0].files if each.field == "densepose"]
        return tuple(dict.fromkeys(found))


def groups_of_splits(
    files: tuple[FileSpec, ...], lists: tuple[ListSpec, ...], category: str
) -> tuple[GroupSpec, ...]:
    """A group for each list, whose split is its folder."""
    return tuple(GroupSpec(each.split, each.split, files, (each,), category) for each in lists)


def unpaired_name(person: str, garment: str) -> str:
    """The name of the sample of a person in another's garment, from the names of their images."""
    return f"{PurePath(person).stem}__{PurePath(garment).stem}"


def drawn_truth(parse: str | None = None, encoder: str = "") -> tuple[FileSpec, ...]:
    """The files of synthetic copies for persons with the references of an unpaired list:
    the true image, its parsing (content and encoder as those of the persons, None where these
    have none), and the flow."""
    kinds = [("image", "{}.jpg", "photo", "truth", ""), ("flow", "{}.npz", "flow", "flow", "")]
    if parse is not None:
        kinds.insert(1, ("parse", "{}.png", parse, "truth_parse", encoder))
    return tuple(
        FileSpec(
            *(f"unpaired-{folder}", pattern, content, "unpaired", "loose", field),
            synthetic=True,
            encoder=encoder,
        )
        for folder, pattern, content, field, encoder in kinds
    )


def six_digits(number: int) -> tuple[str, ...]:
    """The key of a try-on sample."""
    return (f"{number:06d}",)


def pose_lists(split: Split, words: tuple[str, ...], pairs: int) -> tuple[ListSpec, ListSpec]:
    """PATN's lists: pairs and keypoints, each under every spelling in use."""
    both = ("picture", "picture")
    names, joints = (
        tuple(f"{word}-{kind}-{split}.csv" for word in words) for kind in ("pairs", "annotation")
    )
    return (
        ListSpec(names, split, both, pairs, "csv", unique="row"),
        ListSpec(joints, split, both[:1], form="annotation", needed=False),
    )

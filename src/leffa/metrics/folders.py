"""Folders of images, checked before anything is computed on them; only file headers are read."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from leffa.io.folders import SUFFIXES, is_hidden, normal, scan
from leffa.io.pictures import Header, read_header
from leffa.io.tables import read_table

SHOWN = 5  # names per problem in a message
PAIR_COLUMNS = ("prediction", "true")


class FolderMismatch(ValueError):
    """The folders cannot be compared; `problems` lists why, one line each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(["cannot score these folders:", *(f"- {p}" for p in problems)]))
        self.problems = problems


@dataclass(frozen=True)
class ImageFile:
    """One image of a folder; `name` has no suffix."""

    name: str
    path: Path
    header: Header

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.header.size[::-1]


@dataclass(frozen=True)
class ImageFolder:
    """The images of one folder by name, what is wrong with them, and a line on other files."""

    path: Path
    images: dict[str, ImageFile]
    problems: list[str]
    excluded: str = ""

    def count(self, fact: str) -> dict[str, int]:
        """How many images have each value of a header's field, such as "format"."""
        return dict(Counter(getattr(image.header, fact) for image in self.images.values()))


def read_folder(path: Path, modes: Sequence[str] = ("RGB",)) -> ImageFolder:
    """List and check the images directly in a folder; `modes` are those of PIL that are allowed."""
    if not path.is_dir():
        raise FileNotFoundError(f"{path}: no such folder; give a folder of images")
    found = scan(path)
    images: dict[str, ImageFile] = {}
    unreadable, turned, other_modes = [], [], []
    for name, file in found.files.items():
        try:
            header = read_header(file)
        except (ValueError, FileNotFoundError):
            unreadable.append(file.name)
            continue
        images[name] = ImageFile(name, file, header)
        if header.turned != 1:
            turned.append(file.name)
        if header.mode not in modes:
            other_modes.append(f"{file.name} ({header.mode})")
    twice = [f"{first.name} and {second.name}" for first, second in found.repeated]
    folders = [each for each in path.iterdir() if each.is_dir() and not is_hidden(each.name)]
    nested = [each.name for each in folders if scan(each).files]
    problems = [
        *problem(f"{path}: unreadable, save again", unreadable),
        *problem(f"{path}: two files of one name, remove one", twice),
        *problem(f"{path}: not 8-bit {' or '.join(modes)}, convert", other_modes),
        *problem(f"{path}: stored rotated (EXIF orientation), save upright", turned),
        *problem(f"{path}: images in sub-folders, score those separately or move them", nested),
    ]
    if not images and not problems:
        problems = [f"{path}: no images ({', '.join(SUFFIXES)})"]
    return ImageFolder(path, images, problems, found.excluded_line)


def match(
    pred: ImageFolder,
    true: ImageFolder,
    names: Mapping[str, str] | None = None,
    ids: str = "stem",
) -> tuple[list[tuple[ImageFile, ImageFile]], list[str]]:
    """Pair every prediction with its true image; returns the pairs and the problems.

    Args:
        names: the true image's name for each prediction, without suffixes; `true` may then hold
            more images. By default each true image has its prediction.
        ids: the rule of `ID_RULES` by which names belong together where they are not the same.
    """
    if names is not None:
        names = {normal(p): normal(t) for p, t in names.items()}
    elif ids == "stem" or pred.images.keys() == true.images.keys():
        names = {name: name for name in true.images}
    else:
        names, problems = _names_by_rule(pred, true, ids)
        if problems:
            return [], problems
    pairs = [
        (pred.images[p], true.images[t])
        for p, t in sorted(names.items())
        if p in pred.images and t in true.images
    ]
    problems = [
        *problem("predictions missing", names.keys() - pred.images.keys()),
        *problem("predictions without a true image", pred.images.keys() - names.keys()),
        *problem("true images missing", set(names.values()) - true.images.keys()),
    ]
    return pairs, problems


def _names_by_rule(
    pred: ImageFolder, true: ImageFolder, ids: str
) -> tuple[Mapping[str, str], list[str]]:
    """Prediction's name -> true image's name; a true image without prediction keeps its own."""
    preds, trues = (
        _by_id(folder, rule) for folder, rule in zip((pred, true), ID_RULES[ids], strict=True)
    )
    # In pose transfer many predictions show one person in one pose.
    unique = [(true, trues)] if ids in MANY_TO_ONE else [(pred, preds), (true, trues)]
    clashes = [
        f"{folder.path}: {' and '.join(sorted(names)[:2])} (both {key})"
        for folder, by_id in unique
        for key, names in by_id.items()
        if len(names) > 1
    ]
    if clashes:
        rule = f"names that the protocol's rule ({ids}) cannot tell apart, give both sides the same"
        return {}, problem(rule, clashes)
    return {p: names[0] for key, names in trues.items() for p in preds.get(key, names)}, []


def _by_id(folder: ImageFolder, rule: Callable[[str], str]) -> dict[str, list[str]]:
    names: dict[str, list[str]] = {}
    for name in folder.images:
        names.setdefault(rule(name), []).append(name)
    return names


def _eight_characters(name: str) -> str:
    """From the first digit on; DeepFashion's names with "inshop" as they are (VtonEval)."""
    digit = re.search(r"\d", name)
    return name if digit is None or "inshop" in name else name[digit.start() :][:8]


def _first_part(name: str) -> str:
    return name.split("_")[0]


def _pidm_target(name: str) -> str:
    """Of `<from>_2_<to>_vis`, the file of the true image."""
    return "deep" + name.split("_2_")[-1].split("_vis")[0]


# What a prediction and its true image have in common, each computed from its name.
ID_RULES: dict[str, tuple[Callable[[str], str], Callable[[str], str]]] = {
    "eight_characters": (_eight_characters, _eight_characters),
    "first_part": (_first_part, _first_part),
    "pidm": (_pidm_target, str),
}
MANY_TO_ONE = frozenset({"pidm"})  # rules by which several predictions have one true image


def read_pairs(path: Path) -> dict[str, str]:
    """Prediction's name -> true image's name, of a CSV file with these two columns."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such list of pairs")
    pairs: dict[str, str] = {}
    for number, row in read_table(path, PAIR_COLUMNS):
        pred, true = (_without_suffix(row[column]) for column in PAIR_COLUMNS)
        if not pred or not true:
            raise ValueError(f"{path}: line {number}: give a prediction and its true image")
        if pred in pairs:
            raise ValueError(f"{path}: line {number}: {pred} is listed before")
        pairs[pred] = true
    return pairs


def _without_suffix(file: str) -> str:
    path = Path(file)
    return normal(path.stem if path.suffix.lower() in SUFFIXES else path.name)


def problem(what: str, which: Iterable[str]) -> list[str]:
    """One line that counts and names the first few, or nothing."""
    found = sorted(which)
    if not found:
        return []
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return [f"{what} ({len(found)}): {', '.join(found[:SHOWN])}{more}"]

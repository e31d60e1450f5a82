"""Pair lists from the names of files, for releases that come without them.

Each function writes the lists that are missing and returns their paths. A FileNotFoundError says
what it lacks, and where to ask for it.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import permutations
from pathlib import Path

from leffa.data.catalog import DATASETS
from leffa.data.catalog.spec import SPLITS, Split
from leffa.data.deepfashion import find_joints, find_pictures
from leffa.data.keypoints import Annotation, listed_names, read_annotation
from leffa.data.labels import CATEGORIES
from leffa.data.layout import read_csv_pairs, read_lines, spelling
from leffa.io.atomic import write_text

_SHOULDERS_AND_HIPS = [2, 5, 9, 12]  # BODY_25


def list_viton_hd(root: Path) -> list[Path]:
    """`train_pairs.txt`: every person with the garment of the same name.

    The test list pairs persons with others' garments and cannot be made from names.
    """
    written = []
    path = root / "train_pairs.txt"
    if not path.is_file() and (root / "train").is_dir():
        people, garments = (
            _names(root / "train" / name, "viton_hd") for name in ("image", "cloth")
        )
        written.append(_write_lines(path, [f"{name} {name}" for name in sorted(people & garments)]))
    if not (root / "test_pairs.txt").is_file():
        raise FileNotFoundError(
            f"{root / 'test_pairs.txt'}: no such list, and it cannot be made from names; "
            f"{_asked_for('viton_hd')}"
        )
    return written


def list_dress_code(root: Path) -> list[Path]:
    """The lists of the categories from the lists of the root, or the other way round."""
    written = []
    for name in DATASETS["dress_code"].totals:
        present = [category for category in CATEGORIES if (root / category).is_dir()]
        missing = [category for category in present if not (root / category / name).is_file()]
        whole = root / name
        if (missing or not present) and not whole.is_file():
            first = root / (missing or CATEGORIES)[0] / name
            raise FileNotFoundError(f"{first}: no such list; {_asked_for('dress_code')}")
        for category in missing:
            number = str(CATEGORIES.index(category))
            rows = [line.split() for line in read_lines(whole)]
            own = ["\t".join(row[:2]) for row in rows if row[2:] == [number]]
            written.append(_write_lines(root / category / name, own))
        if not whole.is_file():
            rows = [
                [*line.split(), str(CATEGORIES.index(category))]
                for category in present
                for line in read_lines(root / category / name)
            ]
            written.append(_write_lines(whole, ["\t".join(row) for row in rows]))
    return written


def list_deepfashion(root: Path) -> list[Path]:
    """All ordered pairs of one garment on one model, of the pictures in `train.lst`, `test.lst`.

    Pictures without shoulders and hips are left out where joints are known. The published lists
    have fewer pairs, by a choice that is not published (by names alone, the published train.lst
    gives 154,758 pairs instead of 101,966): to compare numbers, use those.
    """
    written = []
    for split in SPLITS:
        path = _pair_list(root, split)
        if path.is_file():
            continue
        names = [Path(line).name for line in _list_of_pictures(root, split)]
        joints_of = find_joints(root, split)
        known = [name for name in names if _has_torso(joints_of(name))]
        written.append(_write_pairs(path, known, lambda name: name.rsplit("_", maxsplit=1)[0]))
    return written


def list_market1501(root: Path) -> list[Path]:
    """All ordered pairs of one person.

    Junk (-1), distractors (0000) and pictures without shoulders and hips are left out (PATN,
    `create_pairs_dataset.py`). The published test list is a sample of 12,000 of these pairs: to
    compare numbers, use it.
    """
    written = []
    for split in SPLITS:
        group = DATASETS["market1501"].group(split)
        path = root / group.lists[0].names[0]
        if path.is_file():
            continue
        folder = spelling(root, group.main("picture").spellings)
        people = sorted(_names(folder, "market1501"))
        people = [name for name in people if not name.startswith(("-1", "0000"))]
        if (joints := group.listing(split, "annotation").find(root)) is not None:
            rows, frame = listed_names(joints), DATASETS["market1501"].frame
            annotations = {name: Annotation(joints, frame, name) for name in people if name in rows}
            people = [name for name, found in annotations.items() if _has_torso(found)]
        written.append(_write_pairs(path, people, lambda name: name.split("_")[0]))
    return written


LISTS: dict[str, Callable[[Path], list[Path]]] = {
    "viton_hd": list_viton_hd,
    "dress_code": list_dress_code,
    "deepfashion": list_deepfashion,
    "market1501": list_market1501,
}


def deepfashion_pictures(root: Path) -> dict[str, Path]:
    """Every listed picture, by its flat name; raises FileNotFoundError where some are missing."""
    found: dict[str, Path] = {}
    for split in SPLITS:
        pairs = _pair_list(root, split)
        listed = (
            [name for pair in read_csv_pairs(pairs) for name in pair] if pairs.is_file() else []
        )
        if (root / f"{split}.lst").is_file() or not listed:
            listed += _list_of_pictures(root, split)
        locate = find_pictures(root, split, None)
        found |= {name: locate(name) for name in sorted(set(listed))}
    missing = [path for path in found.values() if not path.is_file()]
    if missing:
        raise FileNotFoundError(
            f"{missing[0]}: no such picture, and {len(missing) - 1:,} more of {len(found):,} are "
            f"missing; {_asked_for('deepfashion')}"
        )
    return found


def _pair_list(root: Path, split: Split) -> Path:
    return spelling(root, DATASETS["deepfashion"].group(split).listing(split).names)


def _list_of_pictures(root: Path, split: Split) -> list[str]:
    path = root / f"{split}.lst"
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: no such list; copy it and the pair lists from CFLD's release "
            f"(https://github.com/YanzuoLu/CFLD); the pictures: {_asked_for('deepfashion')}"
        )
    return read_lines(path)


def _has_torso(joints: Annotation | None) -> bool:
    """Whether any of shoulders and hips was found; True where nothing is known of the joints."""
    return joints is None or bool(read_annotation(joints)[_SHOULDERS_AND_HIPS, 2].any())


def _names(folder: Path, dataset: str) -> set[str]:
    names = {path.name for path in folder.glob("*.jpg")} if folder.is_dir() else set()
    if not names:
        raise FileNotFoundError(f"{folder}: holds no pictures; {_asked_for(dataset)}")
    return names


def _asked_for(dataset: str) -> str:
    return f"ask for the data set at {DATASETS[dataset].page}"


def _write_pairs(path: Path, names: Iterable[str], subject: Callable[[str], str]) -> Path:
    """`a,b` for each ordered pair of names of one subject, in the order of the names."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[subject(name)].append(name)
    rows = [f"{a},{b}" for group in groups.values() for a, b in permutations(group, 2)]
    return _write_lines(path, ["from,to", *rows])


def _write_lines(path: Path, lines: Sequence[str]) -> Path:
    write_text(path, "".join(f"{line}\n" for line in lines))
    return path

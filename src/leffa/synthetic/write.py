"""The drawn world on disk, in the layouts of the data sets: the classes that read those read it.

Here are the layouts of try-on; `write_pose` has those of pose transfer, and all are found here.
"""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from leffa.data.batch import DRAWN as SETTINGS
from leffa.synthetic.files import Progress, check_counts, claim, draw_missing, write_lines
from leffa.synthetic.labels import CATEGORIES, Category
from leffa.synthetic.samples import (
    DressCodeSample,
    FolderSample,
    Recipe,
    VitonHDSample,
    VitonSample,
)
from leffa.synthetic.write_pose import write_deepfashion, write_market1501, write_wpose

__all__ = [
    "SETTINGS",
    "WRITERS",
    "derangement",
    "write_deepfashion",
    "write_dress_code",
    "write_folder",
    "write_market1501",
    "write_viton",
    "write_viton_hd",
    "write_wpose",
]

# Where the test samples begin, so that more training samples never change the test set.
_VITON_HD_TEST = 50_000
_DRESS_CODE_CATEGORY, _DRESS_CODE_TEST = 200_000, 100_000


def write_viton_hd(
    root: str | Path,
    train: int,
    test: int,
    seed: int = 0,
    height: int = 256,
    width: int = 192,
    workers: int = 1,
    progress: Progress | None = None,
) -> None:
    """Write upper-body try-on samples in VITON-HD's layout, plus `flow/` and `image-iuv/`.

    `test_pairs.txt` is the unpaired list: every person with another one's garment.

    Args:
        root: the folder to fill; it may hold an earlier run of the same settings, which is
            completed or extended.
        train: number of training samples, up to 50,000.
        test: number of test samples, 0 or from 2 to 50,000.
        seed: of the whole world; 0 is a seed.
        height, width: of every picture, pixels.
        workers: processes; the files do not depend on it.
        progress: called with (samples done, samples in all).

    Raises:
        ValueError: the numbers are out of range, or the folder holds something else.
    """
    root = Path(root)
    check_counts(train, test, limit=_VITON_HD_TEST)
    recipe = Recipe(seed, height, width)
    claim(root, "viton_hd", recipe, train, test)
    splits = {
        "train": [VitonHDSample(recipe, root / "train", number) for number in range(train)],
        "test": [
            VitonHDSample(recipe, root / "test", _VITON_HD_TEST + number) for number in range(test)
        ],
    }
    draw_missing([*splits["train"], *splits["test"]], workers, progress)
    for split, samples in splits.items():
        files = [f"{sample.stem}.jpg" for sample in samples]
        garments = [files[other] for other in derangement(len(files), seed)]
        write_lines(
            root / f"{split}_pairs.txt",
            (" ".join(pair) for pair in zip(files, garments, strict=True)),
        )


def write_dress_code(
    root: str | Path,
    train: int,
    test: int,
    seed: int = 0,
    height: int = 256,
    width: int = 192,
    workers: int = 1,
    progress: Progress | None = None,
) -> None:
    """Write try-on samples in DressCode's layout, `train` and `test` in each category.

    Beside its own folders there are `image-densepose/` (IDM-VTON's), `agnostic_masks/` (CatVTON's),
    `masks/` (LaDI-VTON's) and `flow/`. Arguments and errors as in `write_viton_hd`; up to 100,000 a
    split.
    """
    root = Path(root)
    check_counts(train, test, limit=_DRESS_CODE_TEST)
    recipe = Recipe(seed, height, width)
    claim(root, "dress_code", recipe, train, test)
    samples = {
        (category, split): [
            DressCodeSample(
                recipe, root / category, category, index * _DRESS_CODE_CATEGORY + start + number
            )
            for number in range(count)
        ]
        for index, category in enumerate(CATEGORIES)
        for split, start, count in (("train", 0, train), ("test", _DRESS_CODE_TEST, test))
    }
    draw_missing([sample for group in samples.values() for sample in group], workers, progress)
    _list_dress_code(root, samples, seed)


def write_viton(
    root: str | Path,
    train: int,
    test: int,
    seed: int = 0,
    height: int = 256,
    width: int = 192,
    workers: int = 1,
    progress: Progress | None = None,
) -> None:
    """Write upper-body try-on samples in the layout of the original VITON, plus `flow/`.

    Arguments and errors as in `write_viton_hd`; up to 100,000 a split.
    """
    root = Path(root)
    check_counts(train, test, limit=_DRESS_CODE_TEST)
    recipe = Recipe(seed, height, width)
    claim(root, "viton", recipe, train, test)
    splits = {
        split: [VitonSample(recipe, root / split, start + number) for number in range(count)]
        for split, start, count in (("train", 0, train), ("test", _DRESS_CODE_TEST, test))
    }
    draw_missing([*splits["train"], *splits["test"]], workers, progress)
    for split, samples in splits.items():
        order = derangement(test, seed) if split == "test" else range(train)
        rows = (
            f"{sample.person} {samples[other].garment}"
            for sample, other in zip(samples, order, strict=True)
        )
        write_lines(root / f"{split}_pairs.txt", rows)


def write_folder(
    root: str | Path,
    train: int,
    test: int,
    seed: int = 0,
    height: int = 256,
    width: int = 192,
    workers: int = 1,
    progress: Progress | None = None,
) -> None:
    """Write try-on samples of all categories as a folder of one's own: `train.csv`, `test.csv`.

    Arguments and errors as in `write_viton_hd`; up to 100,000 a split.
    """
    root = Path(root)
    check_counts(train, test, limit=_DRESS_CODE_TEST)
    recipe = Recipe(seed, height, width)
    claim(root, "folder", recipe, train, test)
    splits = {
        split: [
            FolderSample(recipe, root, CATEGORIES[number % len(CATEGORIES)], start + number)
            for number in range(count)
        ]
        for split, start, count in (("train", 0, train), ("test", _DRESS_CODE_TEST, test))
    }
    draw_missing([*splits["train"], *splits["test"]], workers, progress)
    for split, samples in splits.items():
        rows = [{**sample.columns, "category": sample.category} for sample in samples]
        text = io.StringIO(newline="")
        if rows:
            table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
            table.writeheader()
            table.writerows(rows)
        write_lines(root / f"{split}.csv", text.getvalue().splitlines())


def derangement(count: int, seed: int) -> list[int]:
    """A random permutation of range(count) that leaves nothing in its place (count 1 excepted)."""
    order = np.random.default_rng([seed, count]).permutation(count)
    other = np.empty(count, dtype=int)
    other[order] = np.roll(order, 1)
    return [int(place) for place in other]


def _list_dress_code(
    root: Path, samples: Mapping[tuple[Category, str], Sequence[DressCodeSample]], seed: int
) -> None:
    """Write the pair lists of each category, and of all of them with a category column."""
    lists: dict[str, list[tuple[str, str, str]]] = {}
    for (category, split), group in samples.items():
        number = str(CATEGORIES.index(category))
        own = [(sample.person, sample.garment, number) for sample in group]
        named = {"train_pairs" if split == "train" else "test_pairs_paired": own}
        if split == "test":
            others = derangement(len(own), seed)
            named["test_pairs_unpaired"] = [
                (row[0], own[other][1], number) for row, other in zip(own, others, strict=True)
            ]
        for name, rows in named.items():
            write_lines(root / category / f"{name}.txt", ("\t".join(row[:2]) for row in rows))
            lists.setdefault(name, []).extend(rows)
    for name, rows in lists.items():
        write_lines(root / f"{name}.txt", ("\t".join(row) for row in rows))


WRITERS: dict[str, Callable[..., None]] = {
    "viton_hd": write_viton_hd,
    "dress_code": write_dress_code,
    "viton": write_viton,
    "folder": write_folder,
    "deepfashion": write_deepfashion,
    "market1501": write_market1501,
    "wpose": write_wpose,
}
"""What `leffa draw` can write."""

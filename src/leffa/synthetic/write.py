"""The drawn world on disk, in the layouts of VITON-HD, DressCode and DeepFashion.

The classes that read those data sets read it.

A sample follows from the seed and its number alone: the same bytes with any number of workers, in
any order. Files appear complete or not at all, and a second run draws only what is missing.
"""

import json
import logging
import multiprocessing
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from leffa.synthetic.labels import CATEGORIES, Category
from leffa.synthetic.samples import (
    DeepFashionSample,
    DressCodeSample,
    Recipe,
    Sample,
    VitonHDSample,
)
from leffa.synthetic.world import VERSION

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]  # (done, total)
SETTINGS = "synthetic.json"

# Where the test samples begin, so that more training samples never change the test set.
_VITON_HD_TEST = 50_000
_DRESS_CODE_CATEGORY, _DRESS_CODE_TEST = 200_000, 100_000
_DEEPFASHION_TEST = 50_000_000


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
    _check_counts(train, test, limit=_VITON_HD_TEST)
    recipe = Recipe(seed, height, width)
    _claim(root, "viton_hd", recipe, train, test)
    splits = {
        "train": [VitonHDSample(recipe, root / "train", number) for number in range(train)],
        "test": [
            VitonHDSample(recipe, root / "test", _VITON_HD_TEST + number) for number in range(test)
        ],
    }
    _draw_missing([*splits["train"], *splits["test"]], workers, progress)
    for split, samples in splits.items():
        files = [f"{sample.stem}.jpg" for sample in samples]
        garments = [files[other] for other in derangement(len(files), seed)]
        _write_lines(
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
    _check_counts(train, test, limit=_DRESS_CODE_TEST)
    recipe = Recipe(seed, height, width)
    _claim(root, "dress_code", recipe, train, test)
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
    _draw_missing([sample for group in samples.values() for sample in group], workers, progress)
    _list_dress_code(root, samples, seed)


def write_deepfashion(
    root: str | Path,
    train: int,
    test: int,
    seed: int = 0,
    height: int = 256,
    width: int = 176,
    workers: int = 1,
    progress: Progress | None = None,
) -> None:
    """Write pose-transfer pairs in CFLD's layout of DeepFashion; `root` is its `fashion`.

    `train` and `test` count pairs. A person has three pictures, of which each is once the reference
    (`from`) and once the target (`to`). Beside CFLD's files there are `densepose/<stem>.png` (I, U,
    V), `flow/<from stem>_2_<to stem>.npz` (from pixels of the target to the reference) and
    `keypoints/`. Other arguments and errors as in `write_viton_hd`.
    """
    root = Path(root)
    _check_counts(train, test, limit=3 * _DEEPFASHION_TEST)
    recipe = Recipe(seed, height, width)
    _claim(root, "deepfashion", recipe, train, test)
    people = {
        split: [
            DeepFashionSample(recipe, root, split, start + number)
            for number in range(-(-pairs // 3))
        ]
        for split, start, pairs in (("train", 0, train), ("test", _DEEPFASHION_TEST, test))
    }
    _draw_missing([*people["train"], *people["test"]], workers, progress)
    for split, pairs in (("train", train), ("test", test)):
        _list_deepfashion(root, split, people[split], pairs)


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
            _write_lines(root / category / f"{name}.txt", ("\t".join(row[:2]) for row in rows))
            lists.setdefault(name, []).extend(rows)
    for name, rows in lists.items():
        _write_lines(root / f"{name}.txt", ("\t".join(row) for row in rows))


def _list_deepfashion(
    root: Path, split: str, people: Sequence[DeepFashionSample], pairs: int
) -> None:
    """Write the lists of pictures, of pairs and of keypoints of one split."""
    stems = [(person, stem) for person in people for stem in person.stems]
    listed = [pair for person in people for pair in person.pairs][:pairs]
    rows = [f"{reference}.jpg,{source}.jpg" for reference, source in listed]
    annotations = []
    for person, stem in stems:
        y, x = json.loads(person.keypoint_path(stem).read_text())
        annotations.append(f"{stem}.jpg:{json.dumps(y)}:{json.dumps(x)}")
    _write_lines(root / f"{split}.lst", (f"{stem}.jpg" for _, stem in stems))
    _write_lines(root / f"fasion-resize-pairs-{split}.csv", ["from,to", *rows])
    header = "name:keypoints_y:keypoints_x"
    _write_lines(root / f"fasion-resize-annotation-{split}.csv", [header, *annotations])


def _check_counts(train: int, test: int, limit: int) -> None:
    for split, count in (("train", train), ("test", test)):
        if not 0 <= count <= limit:
            raise ValueError(f"{split}={count}: give a number of samples from 0 to {limit:,}")
    if test == 1:
        raise ValueError(
            "test=1: one garment cannot be worn by somebody else; ask for 0, or for 2 or more"
        )


def _claim(root: Path, layout: str, recipe: Recipe, train: int, test: int) -> None:
    """Record the settings in the folder; refuse one that holds anything else."""
    settings = {
        "layout": layout,
        "version": VERSION,
        "seed": recipe.seed,
        "height": recipe.height,
        "width": recipe.width,
    }
    path = root / SETTINGS
    if path.exists():
        found = json.loads(path.read_text())
        different = [
            f"{key} {found.get(key)!r} instead of {value!r}"
            for key, value in settings.items()
            if found.get(key) != value
        ]
        if different:
            raise ValueError(
                f"{path}: was written with {', '.join(different)}; "
                "choose another folder or delete this one"
            )
    elif root.exists() and any(root.iterdir()):
        raise ValueError(f"{root}: is not empty and has no {SETTINGS}; choose an empty folder")
    _write(path, json.dumps({**settings, "train": train, "test": test}, indent=2).encode() + b"\n")


def _draw_missing(samples: Sequence[Sample], workers: int, progress: Progress | None) -> None:
    """Draw the samples that lack a file, and write them."""
    missing = [sample for sample in samples if not all(path.exists() for path in sample.paths())]
    done, total = len(samples) - len(missing), len(samples)
    log.info("drawing %d samples, %d are there already", len(missing), done)
    for folder in {path.parent for sample in missing for path in sample.paths()}:
        folder.mkdir(parents=True, exist_ok=True)
    for finished, _ in enumerate(_run(missing, workers), start=done + 1):
        if progress is not None:
            progress(finished, total)


def _run(samples: Sequence[Sample], workers: int) -> Iterable[None]:
    if workers <= 1 or len(samples) < 2:
        yield from map(_draw, samples)
        return
    # Fresh processes: a copy of one that runs threads (torch) can hang.
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield from pool.map(_draw, samples, chunksize=8)


def _draw(sample: Sample) -> None:
    for path, content in sample.draw().items():
        _write(path, content)


def _write(path: Path, content: bytes) -> None:
    """Write a file that is complete as soon as it has its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(content)
    temporary.replace(path)


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    _write(path, "".join(f"{line}\n" for line in lines).encode())

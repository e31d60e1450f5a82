"""The drawn world on disk, in the layouts of pose transfer: DeepFashion, Market-1501 and WPose."""

import json
from collections.abc import Sequence
from pathlib import Path

from leffa.synthetic.files import Progress, check_counts, claim, draw_missing, write_lines
from leffa.synthetic.pose_samples import (
    DeepFashionSample,
    Market1501Sample,
    PoseSample,
    WPoseSample,
)
from leffa.synthetic.samples import Recipe

# Where the test persons begin, so that more training samples never change the test set.
_DEEPFASHION_TEST = 50_000_000
_MARKET_TEST = 5_000  # a person has four digits
_WPOSE_LIMIT = 100_000


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
    check_counts(train, test, limit=3 * _DEEPFASHION_TEST)
    recipe = Recipe(seed, height, width)
    claim(root, "deepfashion", recipe, train, test)
    people = {
        split: [
            DeepFashionSample(recipe, root, split, start + number)
            for number in range(_persons(pairs, 3))
        ]
        for split, start, pairs in (("train", 0, train), ("test", _DEEPFASHION_TEST, test))
    }
    draw_missing([*people["train"], *people["test"]], workers, progress)
    for split, pairs in (("train", train), ("test", test)):
        names = (f"{stem}.jpg" for person in people[split] for stem in person.stems)
        write_lines(root / f"{split}.lst", names)
        _list_pairs(root / f"fasion-resize-pairs-{split}.csv", people[split], pairs)
        _list_joints(root / f"fasion-resize-annotation-{split}.csv", people[split])


def write_market1501(
    root: str | Path,
    train: int,
    test: int,
    seed: int = 0,
    height: int = 128,
    width: int = 64,
    workers: int = 1,
    progress: Progress | None = None,
) -> None:
    """Write pose-transfer pairs in PATN's layout of Market-1501; `root` is its `market_data`.

    `train` and `test` count pairs, six of each person. Beside PATN's files there are
    `densepose/<stem>.png` (I, U, V), `flow/` and `keypoints/`, as in `write_deepfashion`.
    """
    root = Path(root)
    check_counts(train, test, limit=6 * (_MARKET_TEST - 1))
    recipe = Recipe(seed, height, width)
    claim(root, "market1501", recipe, train, test)
    people = {
        split: [
            Market1501Sample(recipe, root, split, start + number)
            for number in range(_persons(pairs, 6))
        ]
        for split, start, pairs in (("train", 0, train), ("test", _MARKET_TEST, test))
    }
    draw_missing([*people["train"], *people["test"]], workers, progress)
    for split, pairs in (("train", train), ("test", test)):
        _list_pairs(root / f"market-pairs-{split}.csv", people[split], pairs)
        _list_joints(root / f"market-annotation-{split}.csv", people[split])


def write_wpose(
    root: str | Path,
    train: int,
    test: int,
    seed: int = 0,
    height: int = 256,
    width: int = 192,
    workers: int = 1,
    progress: Progress | None = None,
) -> None:
    """Write pose-transfer pairs in WPose's layout, plus `flow/`; there is no training part.

    `test` counts pairs, three of each person. Other arguments and errors as in `write_viton_hd`.
    """
    root = Path(root)
    if train:
        raise ValueError(f"train={train}: wpose is for tests only; ask for train=0")
    check_counts(train, test, limit=3 * _WPOSE_LIMIT)
    recipe = Recipe(seed, height, width)
    claim(root, "wpose", recipe, train, test)
    people = [WPoseSample(recipe, root, "test", number) for number in range(_persons(test, 3))]
    draw_missing(people, workers, progress)
    listed = [pair for person in people for pair in person.named_pairs][:test]
    rows = (f"{reference}.png {source}.png" for reference, source in listed)
    write_lines(root / "test_pairs.txt", rows)


def _persons(pairs: int, pairs_each: int) -> int:
    return -(-pairs // pairs_each)


def _list_pairs(path: Path, people: Sequence[PoseSample], pairs: int) -> None:
    listed = [pair for person in people for pair in person.named_pairs][:pairs]
    rows = (f"{reference}.jpg,{source}.jpg" for reference, source in listed)
    write_lines(path, ["from,to", *rows])


def _list_joints(path: Path, people: Sequence[PoseSample]) -> None:
    """PATN's list of keypoints, from the files that the pictures left."""
    rows = []
    for person in people:
        for stem in person.stems:
            y, x = json.loads(person.joints(stem).read_text(encoding="utf-8"))
            rows.append(f"{stem}.jpg:{json.dumps(y)}:{json.dumps(x)}")
    write_lines(path, ["name:keypoints_y:keypoints_x", *rows])

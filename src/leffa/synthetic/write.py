"""Writes synthetic data sets in the layouts of real ones, which the same classes then read."""

import json
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path, PurePath

import numpy as np

from leffa.data.catalog import CATALOG, SYNTHETIC_LAYOUTS
from leffa.data.catalog.folder import COLUMNS
from leffa.data.catalog.spec import SPLITS, DatasetSpec, ListSpec, Split
from leffa.synthetic.files import Progress, check_counts, claim, draw_missing, write_lines
from leffa.synthetic.samples import Recipe, Sample, plan

Samples = dict[str, list[Sample]]  # by group


def write_dataset(
    layout: str,
    root: str | Path,
    train: int,
    test: int,
    seed: int = 0,
    height: int | None = None,
    width: int | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> None:
    """Write a synthetic data set; everything that its spec names is there, and ground-truth flow.

    Args:
        layout: one of `SYNTHETIC_LAYOUTS`.
        root: the folder to fill; it may hold an earlier run of the same settings, which is
            completed or extended.
        train: number of training samples, in DressCode of each category. In pose transfer samples
            are pairs, three (Market-1501: six) of one person, whose pictures are drawn together.
        test: number of test samples, 0 or from 2.
        seed: of the whole data set; 0 is a seed.
        height, width: of every picture, pixels; None: as is usual in the layout.
        workers: processes; the files do not depend on it.
        progress: called with (samples or persons done, in all).

    Raises:
        ValueError: the numbers are out of range, or the folder holds something else.
    """
    root, spec = Path(root), CATALOG[layout]
    numbering = plan(spec)
    each = max(1, len(numbering.pairs))
    if train and not numbering.trains:
        raise ValueError(f"train={train}: {layout} is for tests only; ask for train=0")
    check_counts(train, test, limit=each * numbering.limit)
    usual = numbering.size
    recipe = Recipe(
        seed, usual[1] if height is None else height, usual[0] if width is None else width
    )
    claim(root, layout, recipe, train, test)
    counts = {"train": train, "test": test}
    samples = {
        split: _samples(layout, recipe, root, split, -(-counts[split] // each)) for split in SPLITS
    }
    draw_missing(
        [one for groups in samples.values() for group in groups.values() for one in group],
        workers,
        progress,
    )
    for split, groups in samples.items():
        if layout == "folder":
            _write_table(root, split, [one for group in groups.values() for one in group])
        else:
            _write_lists(root, spec, split, groups, counts[split], seed)


def _samples(layout: str, recipe: Recipe, root: Path, split: Split, count: int) -> Samples:
    """The samples of a split: in the group of its name, or `count` of each category; a folder of
    one's own has `count` in all, of each category in turn."""
    spec = CATALOG[layout]
    numbering, names = plan(spec), [group.name for group in spec.groups]
    first = 0
    if split == "test":
        first = numbering.limit if numbering.first_test is None else numbering.first_test

    def make(group: str, start: int, places: range) -> list[Sample]:
        return [Sample(layout, recipe, root, group, start + place) for place in places]

    if split in names:
        return {split: make(split, first, range(count))}
    if names[-1] in SPLITS:
        return {}  # no such split
    if layout == "folder":
        return {
            name: make(name, first, range(place, count, len(names)))
            for place, name in enumerate(names)
        }
    return {
        name: make(name, 2 * numbering.limit * place + first, range(count))
        for place, name in enumerate(names)
    }


def _write_lists(
    root: Path, spec: DatasetSpec, split: Split, groups: Samples, count: int, seed: int
) -> None:
    """Write the lists of a split: each group's, and those of all groups with a category column."""
    totals: dict[str, list[str]] = {}
    for number, (name, samples) in enumerate(groups.items()):
        for listing in spec.group(name).lists:
            if listing.split != split or listing.form == "release":
                continue
            rows = list(_rows(listing, samples, count, seed))
            write_lines(root / listing.names[0], rows)
            total = totals.setdefault(PurePath(listing.names[0]).name, [])
            total += [f"{row}{listing.separator}{number}" for row in rows]
    for file in totals.keys() & set(spec.totals):
        write_lines(root / file, totals[file])


def _rows(listing: ListSpec, samples: Sequence[Sample], count: int, seed: int) -> Iterable[str]:
    """The lines of a list."""
    match listing.form:
        case "names":
            yield from (one.name("picture", key) for one in samples for key in range(len(one.keys)))
        case "annotation":
            yield "name:keypoints_y:keypoints_x"
            for one in samples:
                for place, key in enumerate(one.keys):
                    y, x = json.loads(one.joints(key).read_text(encoding="utf-8"))
                    yield f"{one.name('picture', place)}:{json.dumps(y)}:{json.dumps(x)}"
        case "csv" | "commas":
            separator = "," if listing.form == "csv" else listing.separator
            yield from ["from,to"] if listing.form == "csv" else []
            pairs = [pair for one in samples for pair in one.pairs][:count]
            yield from (separator.join(pair) for pair in pairs)
        case _:
            own = listing.pairing == "own"
            order = range(len(samples)) if own else derangement(len(samples), seed)
            for one, other in zip(samples, order, strict=True):
                yield listing.separator.join((one.name("person"), samples[other].name("garment")))


def _write_table(root: Path, split: Split, samples: Sequence[Sample]) -> None:
    """Write the table of a folder of one's own, samples by their numbers."""
    rows = []
    for one in sorted(samples, key=lambda one: one.number):
        files = CATALOG["folder"].group(one.group).files
        paths = [one.path(each, one.keys[0]).relative_to(root).as_posix() for each in files]
        rows.append(",".join([*paths, one.group]))
    header = [",".join([*COLUMNS.values(), "category"])] if rows else []
    write_lines(root / f"{split}.csv", [*header, *rows])


def derangement(count: int, seed: int) -> list[int]:
    """A random permutation of range(count) that leaves nothing in its place (count 1 excepted)."""
    order = np.random.default_rng([seed, count]).permutation(count)
    other = np.empty(count, dtype=int)
    other[order] = np.roll(order, 1)
    return [int(place) for place in other]


WRITERS = {name: partial(write_dataset, name) for name in SYNTHETIC_LAYOUTS}
"""By layout."""

# Configurations name these.
write_viton_hd, write_dress_code, write_viton, write_folder = (
    WRITERS[name] for name in ("viton_hd", "dress_code", "viton", "folder")
)
write_deepfashion, write_market1501, write_wpose = (
    WRITERS[name] for name in ("deepfashion", "market1501", "wpose")
)

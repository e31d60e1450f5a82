"""Writes synthetic datasets in the layouts of real ones, which the same classes then read.

A sample depends only on the seed and its number: the same bytes with any number of workers, in any
order. Files are written atomically, and only missing ones are rendered.
"""

import json
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path, PurePath

import numpy as np

from leffa.data.catalog import CATALOG
from leffa.data.catalog.folder import COLUMNS
from leffa.data.catalog.spec import SPLITS, SYNTHETIC, DatasetSpec, ListSpec, Split
from leffa.io.atomic import write_bytes
from leffa.io.processes import map_items
from leffa.synthetic.render import VERSION
from leffa.synthetic.samples import Recipe, Sample, numbering

log = logging.getLogger(__name__)

Groups = dict[str, list[Sample]]  # the samples of a split, by the name of their group


def write_dataset(
    layout: str,
    root: str | Path,
    train: int,
    test: int,
    seed: int = 0,
    height: int | None = None,
    width: int | None = None,
    workers: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Write a synthetic dataset: all files of its spec, and the ground-truth flow.

    The persons of an unpaired list are also rendered in the garments, or in pose transfer in the
    appearance, that it gives them.

    Args:
        layout: one of `SYNTHETIC_LAYOUTS`.
        root: the folder to fill; it may hold an earlier run of the same settings, which is
            completed or extended.
        train: number of training samples, in DressCode of each category. In pose transfer samples
            are pairs, three (Market-1501: six) of one person, whose images are rendered together.
        test: number of test samples, 0 or from 2.
        seed: of the whole dataset; 0 is a seed.
        height, width: of every image, pixels; None: as is usual in the layout.
        workers: processes; the files do not depend on it.
        progress: called with (samples or persons done, in all).

    Raises:
        ValueError: the numbers are out of range, or the folder holds something else.
    """
    root, spec = Path(root), CATALOG[layout]
    counts: dict[Split, int] = {"train": train, "test": test}
    _check_counts(layout, spec, counts)
    usual_width, usual_height = numbering(spec).size
    recipe = Recipe(
        layout,
        seed,
        height=usual_height if height is None else height,
        width=usual_width if width is None else width,
    )
    _claim(root, recipe, counts)
    pairs = max(1, len(numbering(spec).pairs))
    samples = {split: _samples(recipe, root, split, -(-counts[split] // pairs)) for split in SPLITS}
    every = [one for groups in samples.values() for group in groups.values() for one in group]
    every += _unpaired(spec, samples["test"], seed)
    _draw_missing(every, workers, progress)
    for split, groups in samples.items():
        if layout == "folder":
            _write_table(root, split, [one for group in groups.values() for one in group])
        else:
            _write_lists(root, spec, split, groups, counts[split], seed)


def _check_counts(layout: str, spec: DatasetSpec, counts: dict[Split, int]) -> None:
    """Raise ValueError unless so many samples of each split can be rendered and paired."""
    plan = numbering(spec)
    if counts["train"] and not plan.trains:
        raise ValueError(f"train={counts['train']}: {layout} is for tests only; give train=0")
    limit = plan.limit * max(1, len(plan.pairs))
    for split, count in counts.items():
        if not 0 <= count <= limit:
            raise ValueError(f"{split}={count}: give a number of samples from 0 to {limit:,}")
    if counts["test"] == 1:
        raise ValueError("test=1: one garment cannot be worn by anyone else; give 0, or 2 or more")


def _claim(root: Path, recipe: Recipe, counts: dict[Split, int]) -> None:
    """Record the settings in the folder; refuse one that holds anything else."""
    settings = {"layout": recipe.layout, "version": VERSION, **asdict(recipe)}
    path = root / SYNTHETIC
    if path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))
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
        raise ValueError(f"{root}: is not empty and has no {SYNTHETIC}; choose an empty folder")
    _write(path, json.dumps({**settings, **counts}, indent=2).encode() + b"\n")


def _samples(recipe: Recipe, root: Path, split: Split, count: int) -> Groups:
    """The samples of a split: in the group of its name, or `count` of each category; a folder of
    one's own has `count` in all, of each category in turn."""
    spec = CATALOG[recipe.layout]
    plan, names = numbering(spec), [group.name for group in spec.groups]
    first = 0
    if split == "test":
        first = plan.limit if plan.first_test is None else plan.first_test
    if split in names:
        numbers: dict[str, range] = {split: range(first, first + count)}
    elif recipe.layout == "folder":
        step = len(names)
        numbers = {name: range(first + n, first + count, step) for n, name in enumerate(names)}
    else:
        starts = {name: first + 2 * plan.limit * n for n, name in enumerate(names)}
        numbers = {name: range(start, start + count) for name, start in starts.items()}
    return {
        name: [Sample(recipe, root, name, number) for number in each]
        for name, each in numbers.items()
    }


def _unpaired(spec: DatasetSpec, groups: Groups, seed: int) -> list[Sample]:
    """The persons of the unpaired lists with the references that these give them."""
    return [
        one
        for name, samples in groups.items()
        if any(listing.pairing == "other" for listing in spec.group(name).lists)
        for one in _with_others(samples, seed)
    ]


def _with_others(samples: Sequence[Sample], seed: int) -> list[Sample]:
    """Each sample with the reference of another; none where there is one alone."""
    if len(samples) < 2:
        return []
    order = derangement(len(samples), seed)
    return [
        replace(one, reference=samples[n].number) for one, n in zip(samples, order, strict=True)
    ]


def _draw_missing(
    samples: Sequence[Sample], workers: int, progress: Callable[[int, int], None] | None
) -> None:
    """Render the samples that lack a file, and write them."""
    missing = [one for one in samples if not all(path.exists() for path, _, _ in one.files())]
    there = len(samples) - len(missing)
    log.info("rendering %d samples, %d exist already", len(missing), there)
    for _ in map_items(_draw, missing, workers, progress, there, chunk=1):
        pass


def _draw(sample: Sample) -> None:
    for path, content in sample.draw().items():
        _write(path, content)


def _write(path: Path, content: bytes) -> None:
    """Write a file that is complete as soon as it has its name; one that is there is left alone, so
    a complete copy may be read-only."""
    if not (path.is_file() and path.read_bytes() == content):
        write_bytes(path, content)


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    _write(path, "".join(f"{line}\n" for line in lines).encode())


def _write_lists(
    root: Path, spec: DatasetSpec, split: Split, groups: Groups, count: int, seed: int
) -> None:
    """Write the lists of a split: each group's, and those of all groups with a category column."""
    totals: dict[str, list[str]] = {}
    for number, (name, samples) in enumerate(groups.items()):
        for listing in spec.group(name).lists:
            if listing.split != split or listing.form == "release":
                continue
            if listing.pairing == "other" and len(samples) == 1:  # of pose transfer
                continue
            rows = list(_rows(listing, samples, count, seed))
            _write_lines(root / listing.names[0], rows)
            total = totals.setdefault(PurePath(listing.names[0]).name, [])
            total += [f"{row}{listing.separator}{number}" for row in rows]
    for file in totals.keys() & set(spec.totals):
        _write_lines(root / file, totals[file])


def _rows(listing: ListSpec, samples: Sequence[Sample], count: int, seed: int) -> Iterable[str]:
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
            if listing.pairing == "other":
                samples = _with_others(samples, seed)
            pairs = [(one, pair) for one in samples for pair in one.pairs.values()]
            for one, (reference, source) in pairs[:count]:
                names = (one.other or one).name("picture", reference), one.name("picture", source)
                yield separator.join(names)
        case _:
            own = listing.pairing == "own"
            order = range(len(samples)) if own else derangement(len(samples), seed)
            for one, other in zip(samples, order, strict=True):
                yield listing.separator.join((one.name("person"), samples[other].name("garment")))


def _write_table(root: Path, split: Split, samples: Sequence[Sample]) -> None:
    """Write the table of the user's own folder, samples by their numbers."""
    rows = []
    for one in sorted(samples, key=lambda one: one.number):
        paths = [path.relative_to(root).as_posix() for path, _, _ in one.files()]
        rows.append(",".join([*paths, one.group]))
    header = [",".join([*COLUMNS.values(), "category"])] if rows else []
    _write_lines(root / f"{split}.csv", [*header, *rows])


def derangement(count: int, seed: int) -> list[int]:
    """A random permutation of range(count) that leaves nothing in its place (count 1 excepted)."""
    order = np.random.default_rng([seed, count]).permutation(count)
    other = np.empty(count, dtype=int)
    other[order] = np.roll(order, 1)
    return [int(place) for place in other]


# Configurations name these.
write_viton_hd, write_dress_code, write_viton, write_folder = (
    partial(write_dataset, layout) for layout in ("viton_hd", "dress_code", "viton", "folder")
)
write_deepfashion, write_market1501, write_wpose = (
    partial(write_dataset, layout) for layout in ("deepfashion", "market1501", "wpose")
)

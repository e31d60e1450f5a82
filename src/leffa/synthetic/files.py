"""Writing many samples: whole files or none, only what is missing, in as many processes as asked.

A sample follows from the seed and its number alone: the same bytes with any number of workers, in
any order.
"""

import json
import logging
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from leffa.data.catalog.spec import SYNTHETIC
from leffa.io.atomic import write_bytes
from leffa.io.processes import ProcessPool
from leffa.synthetic.samples import Recipe, Sample
from leffa.synthetic.world import VERSION

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]  # (done, total)


def check_counts(train: int, test: int, limit: int) -> None:
    """Raise ValueError unless so many samples of each split can be drawn and paired."""
    for split, count in (("train", train), ("test", test)):
        if not 0 <= count <= limit:
            raise ValueError(f"{split}={count}: give a number of samples from 0 to {limit:,}")
    if test == 1:
        raise ValueError(
            "test=1: one garment cannot be worn by somebody else; ask for 0, or for 2 or more"
        )


def claim(root: Path, layout: str, recipe: Recipe, train: int, test: int) -> None:
    """Record the settings in the folder; refuse one that holds anything else."""
    settings = {
        "layout": layout,
        "version": VERSION,
        "seed": recipe.seed,
        "height": recipe.height,
        "width": recipe.width,
    }
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
    _write(path, json.dumps({**settings, "train": train, "test": test}, indent=2).encode() + b"\n")


def draw_missing(samples: Sequence[Sample], workers: int, progress: Progress | None) -> None:
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
    with ProcessPool(workers) as pool:
        yield from pool.map(_draw, samples, chunksize=8)


def _draw(sample: Sample) -> None:
    for path, content in sample.draw().items():
        _write(path, content)


def _write(path: Path, content: bytes) -> None:
    """Write a file that is complete as soon as it has its name; one that is there is left alone, so
    a complete copy may be read-only."""
    if path.is_file() and path.read_bytes() == content:
        return
    write_bytes(path, content)


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a list, a line each."""
    _write(path, "".join(f"{line}\n" for line in lines).encode())

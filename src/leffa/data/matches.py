"""Trusted matches of a pair of photographs: their file, and their mapping to the canvas.

`leffa prepare matches` makes a file for each pair, also where it finds none, in the folder
`matches` beside the photographs' folders:

    {"recipe": "...", "person": {"file": "a.jpg", "size": [W, H]}, "garment": {...},
     "matches": [[x, y, u, v], ...]}

x, y on the person and u, v on the garment are fractions of the images, from their outer edges.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from leffa.data.batch import Record
from leffa.data.catalog.spec import MATCHES, unpaired_name
from leffa.data.fit import Placement, Size
from leffa.io.folders import names_in

Matches = NDArray[np.float32]  # (N, 4)

COMMAND = f"leffa prepare {MATCHES} ROOT"
_AGAIN = f"delete it and run {COMMAND} again"


def with_matches(
    records: Sequence[Record], folder: Path, name: Callable[[Record], str] = attrgetter("name")
) -> list[Record]:
    """The records with their files in a folder `matches`, where it has them; `name` is a file's."""
    names = names_in(folder)
    return [
        replace(record, matches=folder / file)
        if (file := f"{name(record)}.json") in names
        else record
        for record in records
    ]


def pair_name(record: Record) -> str:
    """By the two images, for folders where a person may have several garments."""
    return unpaired_name(record.source.name, record.reference.name)


def require_matches(records: Sequence[Record], what: str, some: bool = False) -> None:
    """Raise ValueError, with the remedy, where a pair has no file of matches, or not its own;
    with `some`, also where none of the pairs has a match. `what` needs them."""
    lacking = [record for record in records if record.matches is None]
    if lacking:
        raise ValueError(
            f"{what}: {len(lacking)} of {len(records)} pairs have no file of trusted matches, "
            f"first {lacking[0].name}; {COMMAND} makes them"
        )
    counts = [len(_load_own(record)["matches"]) for record in records]
    if some and not any(counts):
        raise ValueError(
            f"{what}: none of the {len(records)} pairs has a trusted match, as plain garments have "
            "none; give other data, or do without"
        )


def format_matches(record: Record, sizes: tuple[Size, Size], recipe: str, matches: Matches) -> str:
    """The text of a file of matches; `sizes` (width, height) are of source and reference."""
    pictures = {
        who: {"file": path.name, "size": list(size)} for who, path, size in _pictures(record, sizes)
    }
    rows = [[round(float(value), 6) for value in row] for row in matches]
    return json.dumps({"recipe": recipe, **pictures, "matches": rows}) + "\n"


def read_matches(record: Record, sizes: tuple[Size, Size]) -> Matches:
    """The matches (N, 4) of a record that has a file of them.

    Raises:
        FileNotFoundError, ValueError: it is missing or damaged, or was made for another pair or for
            images of other sizes than these (width, height) of source and reference.
    """
    content = _load_own(record)
    for who, _, size in _pictures(record, sizes):
        if (made := content[who]["size"]) != list(size):
            raise ValueError(
                f"{record.matches}: was made for the {who} {content[who]['file']} of {_by(made)}, "
                f"which has {_by(size)}; {_AGAIN}"
            )
    return np.array(content["matches"], np.float32).reshape(-1, 4)


def load_matches(path: Path) -> dict[str, Any]:
    """The content of a file of matches; raises FileNotFoundError or ValueError as above."""
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
        whole = isinstance(content["recipe"], str)
        for picture in (content["person"], content["garment"]):
            sides = [type(side) for side in picture["size"]]
            whole = whole and isinstance(picture["file"], str) and sides == [int, int]
        for x, y, u, v in content["matches"]:
            whole = whole and all(0 <= value <= 1 for value in (x, y, u, v))  # NaN is not
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: no such file; {COMMAND} makes it") from error
    except (OSError, ValueError, TypeError, KeyError):
        whole = False
    if not whole:
        raise ValueError(f"{path}: holds no matches; {_AGAIN}")
    return content


def _load_own(record: Record) -> dict[str, Any]:
    """The content of a record's file, which must be about its two images."""
    assert record.matches is not None
    content = load_matches(record.matches)
    for who, path in (("person", record.source), ("garment", record.reference)):
        if content[who]["file"] != path.name:
            raise ValueError(
                f"{record.matches}: was made for the {who} {content[who]['file']}, not for "
                f"{path.name}; {_AGAIN}"
            )
    return content


def place_matches(matches: Matches, source: Placement, reference: Placement) -> Tensor:
    """The matches (N', 4) between two canvases, as (x, y, u, v) in [-1, 1], corner-aligned: those
    that lie on both, to half a pixel beyond the outermost centres."""
    moved = np.concatenate(
        [source.points(matches[:, :2]), reference.points(matches[:, 2:])], axis=1
    )
    moved = moved[((moved >= 0) & (moved <= 1)).all(axis=1)]
    sides = np.array((*source.canvas, *reference.canvas), np.float32)
    return torch.from_numpy((moved * sides - 0.5) / (sides - 1) * 2 - 1).float()


def matches_inside(matches: Tensor, mask: Tensor) -> Tensor:
    """Those (N', 4) whose place on the person lies in a mask (1, H, W), 0 or 1."""
    sides = matches.new_tensor(mask.shape[:0:-1]) - 1
    x, y = ((matches[:, :2] + 1) / 2 * sides).round().long().unbind(dim=1)
    height, width = mask.shape[1:]
    return matches[mask[0, y.clamp(0, height - 1), x.clamp(0, width - 1)] > 0]


def mirror_matches(matches: Tensor) -> Tensor:
    """The matches (N, 4) of the mirrored images."""
    return matches * matches.new_tensor([-1, 1, -1, 1])


def _pictures(record: Record, sizes: tuple[Size, Size]) -> Iterable[tuple[str, Path, Size]]:
    paths = (record.source, record.reference)
    return zip(("person", "garment"), paths, sizes, strict=True)


def _by(size: Sequence[int]) -> str:
    return "x".join(map(str, size))

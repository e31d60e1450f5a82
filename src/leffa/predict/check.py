"""Checks a user's files before the work starts; problems are reported in one line."""

import logging
import random
from functools import cache
from pathlib import Path

import numpy as np

from leffa.data.batch import Record
from leffa.data.doctor.quick import check_mask
from leffa.data.transforms import PersonTransform
from leffa.io.pictures import FEWEST_COLOURS, decode, is_transparent, read_header

log = logging.getLogger(__name__)

_MOST_BODY = 0.97  # of a DensePose map; a photograph taken for one is bright all over


def check_record(record: Record, transform: PersonTransform) -> None:
    """Raise ValueError or FileNotFoundError unless a sample can be made of these files.

    Everything is opened once, so an error in the last of a thousand files is found at once, too.
    """
    try:
        for path in (record.source, record.reference):
            _check_photograph(path, transform)
        if transform.task == "tryon" and transform.agnostic is None and record.mask is not None:
            check_mask(record.mask)
        if record.densepose is not None:
            _check_body(record.densepose, transform)
        empty = not transform(record, random.Random(0))["mask"].any()
    except ValueError as error:  # its remedy may be a key of the configuration
        raise ValueError(str(error).replace("densepose=", "--encoding ")) from error
    if empty:
        raise ValueError(
            f"{record.source}: its mask is empty at {transform.width}x{transform.height}; give a "
            "larger one"
        )


def check_present(record: Record, transform: PersonTransform) -> None:
    """Raise ValueError, with the remedy, where the model needs a file that was not given."""
    masked = transform.task == "tryon"
    if masked and transform.agnostic is None and record.mask is None:
        raise ValueError(
            f"{record.source}: has no mask, and try-on must know what to repaint; give --mask "
            "(white is repainted), or --recipe NAME with --parse and --keypoints; `leffa photo` "
            "makes them"
        )
    if masked and transform.agnostic is not None and record.parse is None:
        raise ValueError(
            f"{record.source}: has no parsing map, which the mask is made from; give --parse, or "
            "--mask instead"
        )
    if transform.encoding is not None and record.densepose is None:
        raise ValueError(
            f"{record.source}: has no DensePose map, which this model was trained with; give "
            f"--densepose ({transform.densepose}), or --encoding none to do without, at a cost in "
            "quality"
        )
    if (transform.densepose == "skeleton" or transform.pose) and record.keypoints is None:
        raise ValueError(
            f"{record.source}: has no keypoints, which this model was trained with; give "
            "--keypoints (OpenPose json)"
        )


def _check_photograph(path: Path, transform: PersonTransform) -> None:
    if (turned := read_header(path).turned) != 1:
        _tell(f"{path}: rotated upright (EXIF orientation {turned}); its maps must fit that")
    if transform.as_shown and is_transparent(decode(path)):
        _tell(f"{path}: has transparent areas, which become white")
    colours = transform.open_photograph(path).getcolors(FEWEST_COLOURS - 1)
    if colours is not None:
        raise ValueError(
            f"{path}: has only {len(colours)} colours, so it is a mask or a label map; give the "
            "photograph itself"
        )


@cache
def _tell(line: str) -> None:
    """Once in a process: files are checked when they are prepared, and before images are made."""
    log.info(line)


def _check_body(path: Path, transform: PersonTransform) -> None:
    if (encoding := transform.encoding) is None:
        return
    share = float(encoding.body(np.asarray(encoding.read(path))).mean())
    if share == 0:
        raise ValueError(f"{path}: shows no body; give the DensePose of this person")
    if share > _MOST_BODY:
        raise ValueError(
            f"{path}: shows body everywhere, so it is not a DensePose map ({transform.densepose}); "
            "give the map, not the photograph, or say its --encoding"
        )

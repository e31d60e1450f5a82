"""The mask of a person from the map files."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from leffa.data.batch import Record
from leffa.data.densepose import densepose_encoding
from leffa.data.files import PersonFiles
from leffa.data.labels import LabelSet
from leffa.data.recipe import agnostic_mask
from leffa.io.pictures import open_picture
from leffa.preprocess.agnostic import AGNOSTIC


def mask_from_files(
    record: Record,
    recipe: str,
    label_set: LabelSet,
    encoding: str | None,
    mode: str = "L",
    photograph: Callable[[Path], Image.Image] = open_picture,
) -> Image.Image:
    """The mask of the record's source, black and white, of its size.

    Args:
        recipe: a key of `AGNOSTIC`.
        label_set: of the parse.
        encoding: of the DensePose file; None: it is not read.
        mode: PIL's, of the mask.
        photograph: how `record.source` is read.

    Raises:
        ValueError: the maps lack what the recipe needs, or do not fit; the message names a file.
    """
    files = PersonFiles(record, photograph)
    reader = None if encoding is None else densepose_encoding(encoding)
    person = files.maps(files.source.size, label_set, reader)
    try:
        mask = agnostic_mask(AGNOSTIC[recipe], person)
    except ValueError as error:
        unread = encoding is None and record.densepose is not None
        hint = " (its DensePose was not read: --encoding says how)" if unread else ""
        raise ValueError(f"{record.source}: {error}{hint}") from error
    return Image.fromarray(np.where(mask, np.uint8(255), np.uint8(0))).convert(mode)

"""DensePose files in each encoding that `data.densepose` reads."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from leffa.data.densepose import ENCODINGS
from leffa.data.layout import check_choice
from leffa.data.part_colours import PART_COLOURS
from leffa.io.atomic import replacing

Pixels = NDArray[np.uint8]


def encode_surface(surface: Pixels, encoding: str) -> Pixels:
    """The image that a file of this encoding holds, (H, W, 3) as red, green, blue, or (H, W).

    Args:
        surface: (H, W, 3) part, U and V.
        encoding: one of `data.densepose.ENCODINGS`; of "labels_uv" it is the label map.
    """
    check_choice("densepose", encoding, ENCODINGS)
    if encoding == "colour":
        return PART_COLOURS.astype(np.uint8)[surface[..., 0]]
    if encoding in ("labels", "labels_uv"):
        return surface[..., 0]
    return surface[..., ["iuv".index(channel) for channel in encoding]]


def write_surface(surface: Pixels, path: Path, encoding: str) -> list[Path]:
    """Write a map as PNG; "labels_uv" adds `<stem>_uv.npz` beside it, U and V from 0 to 1.

    Returns:
        The files written.
    """
    picture = Image.fromarray(encode_surface(surface, encoding))
    written = [path]
    if encoding == "labels_uv":
        beside = path.with_name(f"{path.stem}_uv.npz")
        uv = np.moveaxis(surface[..., 1:], -1, 0).astype(np.float32) / 255
        with replacing(beside) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, uv=uv)
        written.append(beside)
    with replacing(path) as temporary:
        picture.save(temporary, "PNG")
    return written

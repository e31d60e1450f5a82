"""Looks into photographs and masks. Imports no torch."""

from pathlib import Path

import numpy as np
from PIL import Image

from leffa.data.doctor.look import THUMB, Look, Pixels, decode
from leffa.io.pictures import FEWEST_COLOURS, is_transparent

_GREY = (64, 192)  # as in `leffa.data.images`: neither black nor white, even after JPEG
_MOST_GREY = 0.1
_FEWEST = 0.001  # share of a mask or body map below which it is as good as empty
_MOST = 0.99  # share of a mask above which it is as good as full


def photo(path: Path, data: bytes, look: Look) -> None:
    image = decode(path, data, look)
    if image is None:
        return
    if image.mode != "RGB":
        look.add("colour-mode", f"{image.mode}, expected RGB")
    if image.mode.startswith(("I", "F")):
        return  # 16 bits and floats have no range that a picture could be made of
    if is_transparent(image):
        look.add("transparent")
    rgb = image.convert("RGB")
    if colours := rgb.getcolors(FEWEST_COLOURS - 1):
        look.add("few-colours" if len(colours) > 1 else "blank")
    look.thumb = np.asarray(rgb.resize(THUMB, Image.Resampling.BOX))


def _mask(path: Path, data: bytes, look: Look) -> Pixels | None:
    """Checks common to masks; the pixels where they are a mask."""
    image = decode(path, data, look)
    if image is None:
        return None
    if image.mode not in ("L", "P", "RGB", "1"):
        look.add("colour-mode", f"{image.mode}, expected grey or RGB")
        return None
    if is_transparent(image):
        look.add("transparent")
        return None
    pixels = np.asarray(image.convert("L"))
    grey = np.mean((pixels >= _GREY[0]) & (pixels < _GREY[1]))
    if grey > _MOST_GREY:
        look.add("mask-grey", f"{grey:.0%} grey")
        return None
    # A mask of 0 and 1 is black to every reader.
    covered = np.mean(pixels >= 128)
    if covered < _FEWEST:
        look.add("mask-empty", "its values are 0 and 1" if pixels.max() == 1 else "")
        return None
    if covered > _MOST:
        look.add("mask-full")
        return None
    return pixels


def agnostic_mask(path: Path, data: bytes, look: Look) -> None:
    pixels = _mask(path, data, look)
    # The top row is background or head, which are kept; in an inverted mask it is all white.
    if pixels is not None and (pixels[0] >= 128).all() and (pixels[:, [0, -1]] >= 128).mean() > 0.5:
        look.add("mask-inverted")


def garment_mask(path: Path, data: bytes, look: Look) -> None:
    pixels = _mask(path, data, look)
    if pixels is not None:
        corners = pixels[[0, 0, -1, -1], [0, -1, 0, -1]] >= 128
        if corners.all():
            look.add("mask-inverted")


def silhouette(path: Path, data: bytes, look: Look) -> None:
    pixels = _mask(path, data, look)
    if pixels is not None:
        look.show_body(pixels >= 128)


def agnostic(path: Path, data: bytes, look: Look) -> None:
    photo(path, data, look)


def drawing(path: Path, data: bytes, look: Look) -> None:
    image = decode(path, data, look)
    if image is not None and image.mode.startswith(("I", "F")):
        look.add("colour-mode", f"{image.mode}, expected 8 bits a channel")

"""Looks into label maps, DensePose, poses and arrays. Imports no torch."""

import io
import zipfile
from pathlib import Path

import numpy as np

from leffa.data.doctor.look import Inspector, Look, Pixels, decode
from leffa.data.keypoints import FRACTIONS, NOBODY, read_people
from leffa.data.part_colours import PART_COLOURS
from leffa.io.pictures import LOSSY

_FEWEST = 0.001  # share of a mask or body map below which it is as good as empty
_FAR = 60  # distance in RGB from every DensePose colour that JPEG noise does not make
_MOST_FAR = 0.2  # of the body: soft edges between two parts stay below
_PARTS = 24


def _labels(path: Path, data: bytes, look: Look, wrong: str) -> Pixels | None:
    image = decode(path, data, look)
    if image is None:
        return None
    if image.mode not in ("L", "P"):
        look.add(wrong, f"{image.mode} picture, expected one label a pixel")
        return None
    if image.format in LOSSY:
        look.add(wrong, f"stored as {image.format}, which turns labels into others")
        return None
    return np.asarray(image)


def parse(highest: int) -> Inspector:
    def check(path: Path, data: bytes, look: Look) -> None:
        labels = _labels(path, data, look, "parse-labels")
        if labels is None:
            return
        if (found := int(labels.max())) > highest:
            look.add("parse-labels", f"{found}, at most {highest}")
        elif found == 0:
            look.add("parse-empty")
        else:
            look.show_body(labels > 0)

    return check


def part_labels(path: Path, data: bytes, look: Look) -> None:
    parts = _labels(path, data, look, "densepose-encoding")
    if parts is not None:
        _parts(parts, look)


def iuv(channel: int) -> Inspector:
    """A colour picture whose `channel`, 0 or 2, holds the part ids and the others U and V."""
    order = ("(I, U, V)", "(V, U, I)")[channel // 2]

    def check(path: Path, data: bytes, look: Look) -> None:
        image = decode(path, data, look)
        if image is None:
            return
        if image.mode != "RGB":
            look.add("densepose-encoding", f"{image.mode} picture, expected RGB = {order}")
            return
        if image.format in LOSSY:
            look.add("densepose-encoding", f"stored as {image.format}, which changes part ids")
            return
        pixels = np.asarray(image)
        if pixels[..., channel].max() > _PARTS >= pixels[..., 2 - channel].max() > 0:
            look.add("densepose-encoding", f"the channels are turned round, expected {order}")
        else:
            _parts(pixels[..., channel], look)

    return check


def _parts(parts: Pixels, look: Look) -> None:
    if (highest := int(parts.max())) > _PARTS:
        look.add("densepose-encoding", f"reaches {highest}, not a part id (0-{_PARTS})")
    elif (parts > 0).mean() < _FEWEST:
        look.add("densepose-black")
    else:
        look.show_body(parts > 0)


def colour(path: Path, data: bytes, look: Look) -> None:
    image = decode(path, data, look)
    if image is None:
        return
    if image.mode != "RGB":
        look.add("densepose-encoding", f"{image.mode} picture, expected the colours of the parts")
        return
    # Every fourth pixel each way: 1/16 of the cost, and parts are far wider.
    pixels = np.asarray(image)[::4, ::4]
    body = pixels.max(axis=-1) >= 72  # half of the dimmest part; noise on black is far below
    if body.mean() < _FEWEST:
        look.add("densepose-black")
        return
    shown = pixels[body][:: max(1, body.sum() // 4096)].astype(np.int32)
    distance = np.linalg.norm(shown[:, None] - PART_COLOURS[None, 1:], axis=-1).min(axis=1)
    if (distance > _FAR).mean() > _MOST_FAR:
        look.add("densepose-encoding", "not the colours of DensePose parts")
        return
    look.show_body(body)


def pose(path: Path, data: bytes, look: Look) -> None:
    """Keypoints in any format; whether they fit is found later, with the photo and the parse."""
    try:
        look.people = read_people(path)
    except ValueError as error:
        reason = str(error).removeprefix(f"{path}: ")
        if reason == NOBODY:
            look.add("pose-nobody")
        else:
            look.add("pose-unreadable", reason.split(";")[0][:60])
        return
    if look.people.frame == FRACTIONS:
        look.add("pose-fractions")
    if (count := len(look.people.joints)) > 1:
        look.add("pose-several", f"{count} persons")


def arrays(**shapes: tuple[int | None, ...]) -> Inspector:
    """An archive with these arrays; None stands for a height or width."""

    def check(path: Path, data: bytes, look: Look) -> None:
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as archive:
                found = {name: archive[name] for name in archive.files}
        except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
            look.add("array-unreadable", str(error)[:60])
            return
        for name, shape in shapes.items():
            array = found.get(name)
            if name in found and not isinstance(array, np.ndarray):
                look.add("array-unreadable", f"{name} is no array")  # numpy gives plain bytes
            elif array is None:
                look.add("array-content", f"no array {name}")
            elif len(array.shape) != len(shape) or any(
                wanted not in (None, side) for wanted, side in zip(shape, array.shape, strict=True)
            ):
                look.add("array-content", f"{name} has the shape {array.shape}")
            elif np.issubdtype(array.dtype, np.floating) and not np.isfinite(array).all():
                look.add("array-content", f"{name} is not finite")
            else:
                height, width = (
                    side for side, wanted in zip(array.shape, shape, strict=True) if wanted is None
                )
                look.size = (width, height)

    return check
